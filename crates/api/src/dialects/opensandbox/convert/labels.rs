//! Metadata by the rules of Kubernetes labels
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).

use std::collections::BTreeMap;

use super::super::error::LifecycleError;

/// Keys of the API's own.
const RESERVED_PREFIX: &str = "opensandbox.io/";
/// The longest name and the longest value.
const NAME_BYTES_MAX: usize = 63;
/// The longest prefix of a name: a DNS subdomain.
const PREFIX_BYTES_MAX: usize = 253;
/// Labels that one sandbox may have: they are in the record, and in every list.
const LABELS_MAX: usize = 256;

/// Metadata of a sandbox that is to be made.
pub(super) fn metadata(given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, LifecycleError> {
    count_check(given.len())?;
    for (key, value) in &given {
        label_check(key, Some(value))?;
    }
    Ok(given)
}

/// Changes to metadata (RFC 7396).
pub(in super::super) fn metadata_patch(
    given: BTreeMap<String, Option<String>>,
) -> Result<BTreeMap<String, Option<String>>, LifecycleError> {
    count_check(given.len())?;
    for (key, value) in &given {
        label_check(key, value.as_deref())?;
    }
    Ok(given)
}

fn count_check(count: usize) -> Result<(), LifecycleError> {
    if count > LABELS_MAX {
        return Err(LifecycleError::invalid("metadata", format!("has more than {LABELS_MAX} keys")));
    }
    Ok(())
}

fn label_check(key: &str, value: Option<&str>) -> Result<(), LifecycleError> {
    if key.starts_with(RESERVED_PREFIX) {
        let problem = format!("keys that begin with {RESERVED_PREFIX} are reserved");
        return Err(LifecycleError::invalid("metadata", problem));
    }
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !is_name(name) || prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
        let problem = format!(
            "{} is no key of a label: at most {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.` that begin and end \
             with a letter or digit, perhaps after a DNS name and `/`",
            shown(key)
        );
        return Err(LifecycleError::invalid("metadata", problem));
    }
    if value.is_some_and(|value| !value.is_empty() && !is_name(value)) {
        let problem = format!(
            "the value of {key:?} must be at most {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.` that begin and end \
             with a letter or digit"
        );
        return Err(LifecycleError::invalid("metadata", problem));
    }
    Ok(())
}

pub(super) fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

fn is_name(text: &str) -> bool {
    let ends = |end: Option<char>| end.is_some_and(|end| end.is_ascii_alphanumeric());
    text.len() <= NAME_BYTES_MAX
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_subdomain(text: &str) -> bool {
    let is_part = |part: &str| {
        let ends = |end: Option<u8>| end.is_some_and(|end| end.is_ascii_lowercase() || end.is_ascii_digit());
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ends(part.bytes().next()) && ends(part.bytes().next_back()) && part.bytes().all(inside)
    };
    text.len() <= PREFIX_BYTES_MAX && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, value: &str) -> bool {
        metadata(BTreeMap::from([(key.to_owned(), value.to_owned())])).is_ok()
    }

    #[test]
    fn labels_of_kubernetes_pass() {
        let longest = "a".repeat(63);
        for (key, value) in [
            ("team", "ml"),
            ("a", ""),
            ("My_Key.1-x", "V_1.2-z"),
            ("example.com/part", "1"),
            (longest.as_str(), longest.as_str()),
        ] {
            assert!(check(key, value), "{key}={value}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = "a".repeat(64);
        for (key, value) in [
            ("", "x"),
            ("-a", "x"),
            ("a-", "x"),
            ("a b", "x"),
            ("a/b/c", "x"),
            ("/a", "x"),
            ("Example.com/a", "x"),
            ("ex..com/a", "x"),
            (long.as_str(), "x"),
            ("a", long.as_str()),
            ("a", "-x"),
            ("a", "x y"),
            ("a", "é"),
            ("opensandbox.io/a", "x"),
        ] {
            assert!(!check(key, value), "{key}={value}");
        }
        let many: BTreeMap<String, Option<String>> = (0..300).map(|n| (format!("k{n}"), None)).collect();
        assert!(metadata_patch(many).is_err());
        assert!(metadata_patch(BTreeMap::from([("opensandbox.io/x".to_owned(), None)])).is_err());
    }
}
