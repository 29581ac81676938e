//! The `Range` header: RFC 9110, section 14.

/// What is wanted of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// So many bytes from an offset.
    Part { offset: u64, length: u64 },
    /// Nothing that it has, or what is no range.
    Unsatisfiable,
}

/// Reads a header about a file of this size. Several ranges at once are answered by the whole, as a server may.
pub(super) fn range_parse(header: &str, size: u64) -> Wanted {
    let Some(ranges) = header.trim().strip_prefix("bytes=") else { return Wanted::Unsatisfiable };
    if ranges.contains(',') {
        return Wanted::Whole;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Wanted::Unsatisfiable };
    let number =
        |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let (first, end) = match (first, last) {
        ("", last) => match number(last) {
            Some(length) if length > 0 => (size.saturating_sub(length), size),
            _ => return Wanted::Unsatisfiable,
        },
        (first, "") => match number(first) {
            Some(first) => (first, size),
            None => return Wanted::Unsatisfiable,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(size)),
            _ => return Wanted::Unsatisfiable,
        },
    };
    if first < end { Wanted::Part { offset: first, length: end - first } } else { Wanted::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        let part = |offset, length| Wanted::Part { offset, length };
        for (header, wanted) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-4", part(2, 3)),
            ("bytes=8-", part(8, 2)),
            ("bytes=0-99999999999999999", part(0, 10)),
            ("bytes=0-18446744073709551615", part(0, 10)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-99", part(0, 10)),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=4-2", Wanted::Unsatisfiable),
            ("bytes=-", Wanted::Unsatisfiable),
            ("bytes=+1-2", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999-", Wanted::Unsatisfiable),
            ("items=0-1", Wanted::Unsatisfiable),
            ("bytes=a-b", Wanted::Unsatisfiable),
        ] {
            assert_eq!(range_parse(header, 10), wanted, "{header}");
        }
        assert_eq!(range_parse("bytes=-5", 0), Wanted::Unsatisfiable);
    }
}
