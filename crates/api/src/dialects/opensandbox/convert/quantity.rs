//! Amounts as Kubernetes writes them: `500m`, `2`, `512Mi`, `1e9`.

/// The suffixes, and by what they multiply: thousandths, decimal and binary ones.
const SUFFIXES: [(&str, f64); 17] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("K", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("", 1.0),
];

/// The number that a text means, if it means one and not less than nothing.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let (digits, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))?;
    let plain = |digit: char| digit.is_ascii_digit() || matches!(digit, '.' | '+' | '-' | 'e' | 'E');
    let value = digits.chars().all(plain).then(|| digits.parse::<f64>().ok()).flatten()? * factor;
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// Whole units, rounded up as Kubernetes does.
pub(super) fn whole(text: &str) -> Option<u64> {
    let value = number(text)?.ceil();
    // 2^63: beyond any machine, and exact as a floating-point number.
    (value <= 9_223_372_036_854_775_808.0).then_some(value as u64)
}

/// Thousandths, rounded up.
pub(super) fn thousandths(text: &str) -> Option<u32> {
    let value = (number(text)? * 1000.0).ceil();
    (value <= f64::from(u32::MAX)).then_some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        for (text, expected) in [
            ("512Mi", 512 << 20),
            ("1Gi", 1 << 30),
            ("1.5Gi", 3 << 29),
            ("1G", 1_000_000_000),
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("1k", 1000),
            ("500m", 1),
            ("0", 0),
            (" 2Ki ", 2048),
        ] {
            assert_eq!(whole(text), Some(expected), "{text}");
        }
        for (text, expected) in [("500m", 500), ("1", 1000), ("0.5", 500), ("2.0", 2000), ("100u", 1)] {
            assert_eq!(thousandths(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in ["", "Mi", "-1", "1 Gi", "1GiB", "abc", "1e999", "inf", "NaN", "0x10", "1,5", "９"] {
            assert_eq!((whole(text), thousandths(text)), (None, None), "{text}");
        }
    }
}
