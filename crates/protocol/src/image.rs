//! What the processes call images by, and what they tell each other of them. Never a path, never a registry's bytes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const PREFIX: &str = "sha256:";

/// The SHA-256 of an image's manifest, or of the archive that it was imported from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageDigest([u8; 32]);

/// The text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not `sha256:` and 64 digits of 0-9 and a-f")]
pub struct InvalidDigest;

impl fmt::Display for ImageDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl FromStr for ImageDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == 64).ok_or(InvalidDigest)?;
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(InvalidDigest),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

/// A read-only root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ImageName {
    /// The host's own `/usr` and what belongs to it.
    Host,
    /// An image that was pulled or imported. What is called by a digest never changes.
    Oci(ImageDigest),
}

impl fmt::Display for ImageName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => out.write_str("host"),
            Self::Oci(digest) => digest.fmt(out),
        }
    }
}

impl FromStr for ImageName {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        if text == "host" { Ok(Self::Host) } else { text.parse().map(Self::Oci) }
    }
}

/// The longest reference of an image, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 1024;
/// The longest user name or password for a registry, in bytes.
pub const LOGIN_BYTES_MAX: usize = 32 << 10;
/// What an image may say of itself, encoded, to be of use: well within a datagram.
pub const FACTS_BYTES_MAX: usize = 96 << 10;

/// A user name and a password for a registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryLogin {
    /// The user's name.
    pub username: String,
    /// The password, or what stands for one.
    pub password: String,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RegistryLogin").finish_non_exhaustive()
    }
}

/// What an image says of itself: a stranger's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// What it is called by.
    pub digest: ImageDigest,
    /// What it is for: `linux/amd64`.
    pub platform: String,
    /// The program, with its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program where there is no entry point.
    pub cmd: Vec<String>,
    /// Variables, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// User, and group after a colon, each by name or number; empty for root.
    pub user: String,
    /// The folder that programs start in; empty for `/`.
    pub workdir: String,
}

/// How far a pull has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullProgress {
    /// Everything is downloaded, and a layer being unpacked: the numbers are that layer's.
    pub unpacking: bool,
    /// Bytes, packed, that are done.
    pub done_bytes: u64,
    /// Bytes, packed, that there are.
    pub total_bytes: u64,
}

/// Why there is no such image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFailure {
    /// What kind of reason.
    pub kind: ImageFailureKind,
    /// The reason in words, for the client.
    pub text: String,
}

/// A kind of reason why there is no such image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageFailureKind {
    /// The text is no reference of an image.
    Reference,
    /// It is not here; it may be had from its registry.
    NotHere,
    /// Its registry has none of this name.
    NotFound,
    /// It is private, or the login is wrong.
    Denied,
    /// It is for other platforms.
    Platform,
    /// What came is not what its digest says.
    Digest,
    /// A layer is hostile or damaged, or what describes the image is of no use.
    Content,
    /// The storage has no room for it.
    NoRoom,
    /// The registry cannot be reached, or answers with an error.
    Unreachable,
    /// Too much goes on; worth trying again.
    Busy,
    /// The host is broken.
    Internal,
}

impl fmt::Display for ImageFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for ImageFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_they_are_written_as() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in ["host", digest] {
            assert_eq!(text.parse::<ImageName>().unwrap().to_string(), text);
        }
        for text in ["", "Host", "debian:12", "../host", &digest[7..], &digest[..70], &digest.to_uppercase()]
        {
            assert_eq!(text.parse::<ImageName>(), Err(InvalidDigest), "{text}");
        }
        assert_eq!(format!("sha256:{}", "+1".repeat(32)).parse::<ImageDigest>(), Err(InvalidDigest));
    }

    #[test]
    fn a_login_is_not_printed() {
        let login = RegistryLogin { username: "me".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{login:?}").contains("secret"));
    }
}
