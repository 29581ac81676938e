//! Lists: which of them, and which page.

use engine::{Sandbox, Snapshot};

use super::{
    super::{error::LifecycleError, types::PaginationInfo},
    state_word,
};

/// Items on a page that says nothing else, and at most.
const PAGE_SIZE: usize = 20;
const PAGE_SIZE_MAX: usize = 200;

/// Which page.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    number: usize,
    size: usize,
}

impl Page {
    fn of(query: &[(String, String)]) -> Result<Self, LifecycleError> {
        let number = |name: &str, default: usize, most: usize| {
            let Some((_, text)) = query.iter().rev().find(|(given, _)| given == name) else {
                return Ok(default);
            };
            let given = text.parse::<usize>().ok().filter(|number| (1..=most).contains(number));
            given.ok_or_else(|| {
                LifecycleError::invalid(name, format!("must be a number from 1 to {most}, not {text:?}"))
            })
        };
        Ok(Self {
            number: number("page", 1, i32::MAX as usize)?,
            size: number("pageSize", PAGE_SIZE, PAGE_SIZE_MAX)?,
        })
    }
}

/// What a list of sandboxes is asked for.
#[derive(Debug)]
pub(in super::super) struct SandboxFilter {
    /// Any of these, in lower case; all if there are none.
    states: Vec<String>,
    /// All of these.
    metadata: Vec<(String, String)>,
    page: Page,
}

impl SandboxFilter {
    pub(in super::super) fn of(query: &[(String, String)]) -> Result<Self, LifecycleError> {
        let metadata = query.iter().filter(|(name, _)| name == "metadata");
        // The value is a query of its own, encoded once more.
        let metadata =
            metadata.flat_map(|(_, value)| form_urlencoded::parse(value.as_bytes()).into_owned()).collect();
        Ok(Self { states: states_of(query), metadata, page: Page::of(query)? })
    }

    /// Whether it fits.
    pub(in super::super) fn fits(&self, sandbox: &Sandbox) -> bool {
        let is_state = self.states.is_empty()
            || self.states.iter().any(|state| state.eq_ignore_ascii_case(state_word(sandbox)));
        let has = |(key, value): &(String, String)| sandbox.metadata.get(key) == Some(value);
        is_state && self.metadata.iter().all(has)
    }

    /// The page of those that fit.
    pub(in super::super) fn page<T>(&self, items: Vec<T>) -> (Vec<T>, PaginationInfo) {
        page_of(items, &self.page)
    }
}

/// What a list of snapshots is asked for.
#[derive(Debug)]
pub(in super::super) struct SnapshotFilter {
    states: Vec<String>,
    sandbox: Option<String>,
    name: Option<String>,
    page: Page,
}

impl SnapshotFilter {
    pub(in super::super) fn of(query: &[(String, String)]) -> Result<Self, LifecycleError> {
        let one = |wanted: &str| {
            query.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
        };
        Ok(Self {
            states: states_of(query),
            sandbox: one("sandboxId"),
            name: one("name"),
            page: Page::of(query)?,
        })
    }

    /// Whether it fits. All snapshots that are listed are ready.
    pub(in super::super) fn fits(&self, snapshot: &Snapshot) -> bool {
        let is_state =
            self.states.is_empty() || self.states.iter().any(|state| state.eq_ignore_ascii_case("Ready"));
        let is_of = self.sandbox.as_ref().is_none_or(|id| *id == snapshot.sandbox.to_string());
        is_state && is_of && self.name.as_ref().is_none_or(|name| *name == snapshot.name)
    }

    /// The page of those that fit.
    pub(in super::super) fn page<T>(&self, items: Vec<T>) -> (Vec<T>, PaginationInfo) {
        page_of(items, &self.page)
    }
}

fn states_of(query: &[(String, String)]) -> Vec<String> {
    query.iter().filter(|(name, _)| name == "state").map(|(_, value)| value.clone()).collect()
}

fn page_of<T>(mut items: Vec<T>, page: &Page) -> (Vec<T>, PaginationInfo) {
    let total = items.len();
    let pages = total.div_ceil(page.size);
    let first = (page.number - 1).saturating_mul(page.size).min(total);
    let shown = items.drain(first..total.min(first + page.size)).collect();
    let info = PaginationInfo {
        page: page.number,
        page_size: page.size,
        total_items: total,
        total_pages: pages,
        has_next_page: page.number < pages,
    };
    (shown, info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Vec<(String, String)> {
        form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    #[test]
    fn metadata_is_encoded_twice() {
        let filter =
            SandboxFilter::of(&query("metadata=project%3DApollo%26note%3DDemo%252520Test%26a%3D")).unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(filter.metadata, [pair("project", "Apollo"), pair("note", "Demo%20Test"), pair("a", "")]);
    }

    #[test]
    fn pages_are_counted_from_one() {
        let page = |text: &str| {
            let filter = SandboxFilter::of(&query(text)).unwrap();
            let (items, info) = filter.page((0..45).collect::<Vec<_>>());
            (items.first().copied(), items.len(), info.total_pages, info.has_next_page)
        };
        assert_eq!(page(""), (Some(0), 20, 3, true));
        assert_eq!(page("page=3"), (Some(40), 5, 3, false));
        assert_eq!(page("page=4"), (None, 0, 3, false));
        assert_eq!(page("page=2147483647&pageSize=200"), (None, 0, 1, false));
        assert_eq!(page("pageSize=45"), (Some(0), 45, 1, false));
        for wrong in ["page=0", "page=-1", "page=x", "pageSize=0", "pageSize=201", "page=1.5", "page="] {
            assert!(SandboxFilter::of(&query(wrong)).is_err(), "{wrong}");
        }
    }
}
