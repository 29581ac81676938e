//! Digests: what content is called by. SHA-256 is the only kind that is taken.

use std::{fmt, str::FromStr};

use protocol::image::{ImageDigest, InvalidDigest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";
const HEX_DIGITS: usize = 64;

/// The SHA-256 of some content, as `sha256:` and 64 digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hasher(Sha256::new_with_prefix(bytes))
    }

    pub(super) fn from_hasher(hasher: Sha256) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(HEX_DIGITS);
        for byte in hasher.finalize() {
            // A String takes everything.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// As other processes call it.
    ///
    /// # Errors
    /// None: every digest of this type is one of that.
    pub fn image_digest(&self) -> Result<ImageDigest, InvalidDigest> {
        self.to_string().parse()
    }

    /// The digits: a name for a file.
    pub(super) fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}{}", self.0)
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix(PREFIX).ok_or("its digest is not of the kind sha256")?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() == HEX_DIGITS && hex.bytes().all(is_digit) {
            Ok(Self(hex.to_owned()))
        } else {
            Err("its digest has not 64 digits of 0-9 and a-f after `sha256:`")
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageDigest> for Digest {
    fn from(digest: ImageDigest) -> Self {
        Self(digest.to_string().split_off(PREFIX.len()))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_digests_are_taken() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(empty.parse::<Digest>(), Ok(Digest::of(b"")));
        assert_eq!(Digest::of(b"").to_string(), empty);
        for text in [
            "",
            "sha256:",
            &empty[7..],
            &empty[..70],
            &format!("{empty}0"),
            &empty.to_uppercase(),
            "sha512:00",
            &format!("sha256:../{}", &empty[10..]),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
