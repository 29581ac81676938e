//! The text of a key: how it is made, what it looks like, what is kept of it. It must not know who has it.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{Error, Result, tokens::hex};

const PREFIX: &str = "ws_";
const RANDOM_BYTES: usize = 24;
const TEXT_BYTES: usize = PREFIX.len() + 2 * RANDOM_BYTES;
/// How much of it lists show: six digits, 24 bits of 192.
const SHOWN_BYTES: usize = PREFIX.len() + 6;

/// A key: `ws_` and 48 lower-case hex digits. Its debug output doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

impl KeySecret {
    /// A new one, from the kernel's random numbers.
    pub(super) fn random() -> Result<Self> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        Ok(Self(PREFIX.to_owned() + &hex(&bytes)))
    }

    /// A text of the form of a key; `None` for any other, which no key can be.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let is_key =
            text.len() == TEXT_BYTES && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_key.then(|| Self(text.to_owned()))
    }

    /// What is stored. It needs no salt and no slow function: nobody can try 2^192 keys.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// What lists show of it.
    pub(super) fn prefix(&self) -> &str {
        &self.0[..SHOWN_BYTES]
    }

    /// The key itself, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}…", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_documented_form_and_is_new_each_time() {
        let (one, other) = (KeySecret::random().unwrap(), KeySecret::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 51);
        assert_eq!(KeySecret::parse(one.expose()), Some(one.clone()));
        assert_eq!(one.prefix(), &one.expose()[..9]);
        assert_eq!(format!("{one:?}"), format!("{}…", one.prefix()));
    }

    #[test]
    fn nothing_else_is_a_key() {
        let good = format!("ws_{}", "0a".repeat(24));
        assert!(KeySecret::parse(&good).is_some());
        let others = [
            "",
            "ws_",
            &good[..50],
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace('a', "g"),
            &good.replacen('0', "é", 1),
            &format!("ws-{}", &good[3..]),
        ];
        for text in others {
            assert_eq!(KeySecret::parse(text), None, "{text}");
        }
    }
}
