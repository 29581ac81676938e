//! Extended headers of POSIX.1-2001 (pax): `length key=value` records for what a tar header has no room for.

use super::entry::Time;

/// What goes in front of the name of an extended attribute.
const ATTRIBUTE_PREFIX: &[u8] = b"SCHILY.xattr.";
const NANOS_DIGITS: usize = 9;

/// Appends a record.
pub(super) fn record_push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts itself: one more digit may make one more digit necessary.
    let rest = key.len() + value.len() + b" =\n".len();
    let mut length = rest + digits(rest);
    if length != rest + digits(length) {
        length = rest + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// The records of an extended header; `None` when it has anything else.
pub(super) fn records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(digits(usize::MAX)).position(|&byte| byte == b' ')?;
        let length = usize::try_from(number(&bytes[..space])?).ok()?;
        let record = bytes.get(space + 1..length)?;
        let record = record.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

/// A decimal number without a sign.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The key of an extended attribute. A key ends at its first `=`, so one in a name is written as GNU tar does.
pub(super) fn attribute_key(name: &[u8]) -> Vec<u8> {
    let mut key = ATTRIBUTE_PREFIX.to_vec();
    for &byte in name {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            byte => key.push(byte),
        }
    }
    key
}

/// The name of the extended attribute that a key stands for.
pub(super) fn attribute_name(key: &[u8]) -> Option<Vec<u8>> {
    let mut left = key.strip_prefix(ATTRIBUTE_PREFIX)?;
    let mut name = Vec::with_capacity(left.len());
    while let [byte, rest @ ..] = left {
        (left, _) = match left {
            [b'%', b'3', b'D', rest @ ..] => (rest, name.push(b'=')),
            [b'%', b'2', b'5', rest @ ..] => (rest, name.push(b'%')),
            _ => (rest, name.push(*byte)),
        };
    }
    Some(name)
}

/// The text of a time: `-1.5` is half a second later than two seconds before the epoch.
pub(super) fn time_text(time: Time) -> String {
    let Time { seconds, nanos } = time;
    if nanos == 0 {
        seconds.to_string()
    } else if seconds < 0 {
        let whole = (seconds + 1).unsigned_abs();
        format!("-{whole}.{:09}", 1_000_000_000 - nanos)
    } else {
        format!("{seconds}.{nanos:09}")
    }
}

/// The time that a text says; digits beyond nanoseconds are dropped.
pub(super) fn time_parse(text: &[u8]) -> Option<Time> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(number(parts.next()?)?).ok()?;
    let nanos = match parts.next() {
        None | Some(b"") => 0,
        Some(fraction) => {
            if !fraction.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let padded = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(NANOS_DIGITS);
            padded.fold(0, |nanos: u32, digit| nanos * 10 + u32::from(digit - b'0'))
        }
    };
    Some(match (is_negative, nanos) {
        (false, nanos) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos: 0 },
        (true, nanos) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_every_length_are_read_back() {
        for length in 0..1200 {
            let value = vec![b'\n'; length];
            let mut bytes = Vec::new();
            record_push(&mut bytes, b"path", &value);
            record_push(&mut bytes, b"a", b"=");
            assert_eq!(records(&bytes).unwrap(), [(&b"path"[..], &value[..]), (b"a", b"=")]);
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bytes in [&b"x"[..], b"5 a=b", b"6 a=b", b"99 a=b\n", b"0 a=b\n", b"+6 a=b\n", b"5 ab\n", b"1 \n"]
        {
            assert_eq!(records(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn names_of_attributes_survive_a_round_trip() {
        for name in [&b"user.a"[..], b"user.a=b", b"user.%3D=%25", b"user.\xff%"] {
            let key = attribute_key(name);
            assert!(!key.contains(&b'='));
            assert_eq!(attribute_name(&key).unwrap(), name);
        }
        assert_eq!(attribute_name(b"path"), None);
    }

    #[test]
    fn times_survive_a_round_trip() {
        for (seconds, nanos, text) in [
            (0, 0, "0"),
            (12, 5, "12.000000005"),
            (-1, 0, "-1"),
            (-1, 500_000_000, "-0.500000000"),
            (-2, 500_000_000, "-1.500000000"),
            (1_700_000_000, 123_456_789, "1700000000.123456789"),
        ] {
            let time = Time { seconds, nanos };
            assert_eq!(time_text(time), text);
            assert_eq!(time_parse(text.as_bytes()), Some(time));
        }
        assert_eq!(time_parse(b"1.5"), Some(Time { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(time_parse(b"1."), Some(Time { seconds: 1, nanos: 0 }));
        for text in ["", "-", "x", "1.x", "1e3", "99999999999999999999", "--1"] {
            assert_eq!(time_parse(text.as_bytes()), None, "{text}");
        }
    }
}
