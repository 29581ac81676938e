//! What happened in a short time, each name once. Pure bookkeeping: it must not know files or time.

use std::collections::HashMap;

use protocol::workspace::{Change, ChangeKind};

/// How many names are told at once, and how many bytes they have together.
const CHANGES_MAX: usize = 4096;
const BYTES_MAX: usize = 512 << 10;

/// Changes that were not told yet.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_path: HashMap<Vec<u8>, (u64, Change)>,
    count: u64,
    bytes: usize,
    is_everything: bool,
}

impl Changes {
    /// More happened than can be told.
    pub(super) fn everything(&mut self) {
        *self = Self { is_everything: true, ..Self::default() };
    }

    /// It is new, or was found in a folder that is.
    pub(super) fn created(&mut self, path: Vec<u8>, is_folder: bool) {
        match self.kind_of(&path) {
            Some(ChangeKind::Deleted) => self.put(path, is_folder, ChangeKind::Changed),
            Some(_) => {}
            None => self.put(path, is_folder, ChangeKind::Created),
        }
    }

    /// It has other content. What is told of it already says as much.
    pub(super) fn changed(&mut self, path: Vec<u8>, is_folder: bool) {
        if self.kind_of(&path).is_none() {
            self.put(path, is_folder, ChangeKind::Changed);
        }
    }

    /// It is gone.
    pub(super) fn deleted(&mut self, path: Vec<u8>, is_folder: bool) {
        match self.take_one(&path) {
            // It came and went.
            Some(ChangeKind::Created) => {}
            Some(ChangeKind::Moved { from }) => {
                self.left(from, is_folder);
                // What it replaced is gone in any case.
                self.put(path, is_folder, ChangeKind::Deleted);
            }
            Some(_) | None => self.put(path, is_folder, ChangeKind::Deleted),
        }
    }

    /// It has the name `path` now.
    pub(super) fn moved(&mut self, from: Vec<u8>, path: Vec<u8>, is_folder: bool) {
        let from = match self.take_one(&from) {
            Some(ChangeKind::Moved { from: first }) => {
                if first == path {
                    self.put(path, is_folder, ChangeKind::Changed);
                    return;
                }
                first
            }
            _ => from,
        };
        self.put(path, is_folder, ChangeKind::Moved { from });
    }

    /// What is told of names below a folder that has another name, or with `None` is somewhere else.
    pub(super) fn folder_moved(&mut self, from: &[u8], to: Option<&[u8]>) {
        let below: Vec<Vec<u8>> = self.by_path.keys().filter(|path| is_below(path, from)).cloned().collect();
        for path in below {
            let Some((_, Change { is_folder, .. })) = self.by_path.get(&path) else { continue };
            let is_folder = *is_folder;
            let Some(kind) = self.take_one(&path) else { continue };
            if let Some(to) = to {
                self.put([to, &path[from.len()..]].concat(), is_folder, kind);
            }
        }
    }

    /// Takes what is to be told, in the order in which it happened.
    pub(super) fn take(&mut self) -> Vec<Change> {
        let taken = std::mem::take(self);
        if taken.is_everything {
            return vec![Change { path: Vec::new(), is_folder: true, kind: ChangeKind::Everything }];
        }
        let mut changes: Vec<(u64, Change)> = taken.by_path.into_values().collect();
        changes.sort_unstable_by_key(|(order, _)| *order);
        changes.into_iter().map(|(_, change)| change).collect()
    }

    /// A name that something was moved away from before it was deleted.
    fn left(&mut self, path: Vec<u8>, is_folder: bool) {
        match self.kind_of(&path) {
            None => self.put(path, is_folder, ChangeKind::Deleted),
            // Another took its place since.
            Some(ChangeKind::Created) => self.put(path, is_folder, ChangeKind::Changed),
            Some(_) => {}
        }
    }

    fn kind_of(&self, path: &[u8]) -> Option<&ChangeKind> {
        self.by_path.get(path).map(|(_, change)| &change.kind)
    }

    fn take_one(&mut self, path: &[u8]) -> Option<ChangeKind> {
        let (_, change) = self.by_path.remove(path)?;
        self.bytes -= bytes_of(&change);
        Some(change.kind)
    }

    fn put(&mut self, path: Vec<u8>, is_folder: bool, kind: ChangeKind) {
        if self.is_everything {
            return;
        }
        self.take_one(&path);
        self.count += 1;
        let change = Change { path: path.clone(), is_folder, kind };
        self.bytes += bytes_of(&change);
        self.by_path.insert(path, (self.count, change));
        if self.by_path.len() > CHANGES_MAX || self.bytes > BYTES_MAX {
            self.everything();
        }
    }
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}

fn bytes_of(change: &Change) -> usize {
    let from = match &change.kind {
        ChangeKind::Moved { from } => from.len(),
        _ => 0,
    };
    // The path is held twice.
    2 * change.path.len() + from
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(happen: impl FnOnce(&mut Changes)) -> Vec<String> {
        let mut changes = Changes::default();
        happen(&mut changes);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let line = |change: &Change| match &change.kind {
            ChangeKind::Moved { from } => format!("{} from {}", text(&change.path), text(from)),
            kind => format!("{} {kind:?}", text(&change.path)).trim().to_owned(),
        };
        changes.take().iter().map(line).collect()
    }

    fn name(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    #[test]
    fn each_name_is_told_once() {
        let written = told(|it| {
            it.created(name("a"), false);
            it.changed(name("a"), false);
            it.changed(name("b"), false);
            it.changed(name("a"), false);
        });
        assert_eq!(written, ["a Created", "b Changed"]);
        let passing = told(|it| {
            it.created(name("a"), false);
            it.deleted(name("a"), false);
        });
        assert_eq!(passing, [""; 0]);
        let replaced = told(|it| {
            it.deleted(name("a"), false);
            it.created(name("a"), false);
        });
        assert_eq!(replaced, ["a Changed"]);
    }

    #[test]
    fn moves_are_followed() {
        let twice = told(|it| {
            it.changed(name("a"), false);
            it.moved(name("a"), name("b"), false);
            it.moved(name("b"), name("c"), false);
        });
        assert_eq!(twice, ["c from a"]);
        let back = told(|it| {
            it.moved(name("a"), name("b"), false);
            it.moved(name("b"), name("a"), false);
        });
        assert_eq!(back, ["a Changed"]);
        let gone = told(|it| {
            it.moved(name("a"), name("b"), false);
            it.deleted(name("b"), false);
        });
        assert_eq!(gone, ["a Deleted", "b Deleted"]);
    }

    #[test]
    fn what_is_in_a_folder_moves_with_it() {
        let moved = told(|it| {
            it.created(name("d"), true);
            it.created(name("d/x"), false);
            it.created(name("dd"), false);
            it.folder_moved(b"d", Some(b"e"));
            it.moved(name("d"), name("e"), true);
        });
        assert_eq!(moved, ["dd Created", "e/x Created", "e from d"]);
        let left = told(|it| {
            it.created(name("d/x"), false);
            it.folder_moved(b"d", None);
            it.deleted(name("d"), true);
        });
        assert_eq!(left, ["d Deleted"]);
    }

    /// As vim saves: the old file becomes a backup, which goes when the new one is whole.
    #[test]
    fn a_file_that_was_put_aside_and_written_anew_has_changed() {
        let saved = told(|it| {
            it.moved(name("x"), name("x~"), false);
            it.created(name("x"), false);
            it.changed(name("x"), false);
            it.deleted(name("x~"), false);
        });
        assert_eq!(saved, ["x Changed", "x~ Deleted"]);
    }

    #[test]
    fn too_much_is_everything_and_then_it_starts_anew() {
        let mut changes = Changes::default();
        for number in 0..=CHANGES_MAX {
            changes.created(number.to_string().into_bytes(), false);
        }
        changes.created(name("later"), false);
        let told = changes.take();
        assert_eq!((told.len(), &told[0].kind), (1, &ChangeKind::Everything));
        changes.created(name("a"), false);
        assert_eq!(changes.take()[0].kind, ChangeKind::Created);
        let long = told_bytes(BYTES_MAX / 4000);
        assert_eq!(long, [ChangeKind::Everything]);
    }

    fn told_bytes(count: usize) -> Vec<ChangeKind> {
        let mut changes = Changes::default();
        for number in 0..count {
            changes.created(format!("{number:04000}").into_bytes(), false);
        }
        changes.take().into_iter().map(|change| change.kind).collect()
    }
}
