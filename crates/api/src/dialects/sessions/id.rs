//! Ids of sessions: `session_<epoch ms>_<base36>`. On a server that asks for no keys whoever knows one may use the
//! session, so nobody can guess one: its last part has 128 random bits.

use jiff::Timestamp;

const PREFIX: &str = "session_";
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// As many as 128 bits take.
const DIGITS_COUNT: usize = 25;

/// A new one.
///
/// # Errors
/// When the system has no random numbers.
pub(super) fn session_id(now: Timestamp) -> Result<String, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(format!("{PREFIX}{}_{}", now.as_millisecond(), base36(u128::from_le_bytes(random))))
}

/// Always with as many digits.
fn base36(mut number: u128) -> String {
    let mut text = [b'0'; DIGITS_COUNT];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(number % 36).unwrap_or_default()];
        number /= 36;
    }
    text.iter().map(|&digit| char::from(digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_as_documented_and_differ() {
        let now = Timestamp::from_millisecond(1_234_567_890_123).unwrap();
        let (one, two) = (session_id(now).unwrap(), session_id(now).unwrap());
        assert_ne!(one, two);
        let rest = one.strip_prefix("session_1234567890123_").unwrap();
        assert!(rest.len() == 25 && rest.bytes().all(|byte| DIGITS.contains(&byte)), "{one}");
    }

    #[test]
    fn every_bit_counts() {
        assert_eq!(base36(0), "0".repeat(25));
        assert_eq!(base36(35), format!("{}z", "0".repeat(24)));
        assert_eq!(u128::from_str_radix(&base36(u128::MAX), 36), Ok(u128::MAX));
    }
}
