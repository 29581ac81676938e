//! What the unpacking process says at its end. Whoever reads it takes it for a stranger's word.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::images::digest::Digest;

/// The most that an answer may have.
pub(in crate::images) const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Its one answer.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::images) enum Answer {
    Unpacked(Unpacked),
    Refused(String),
}

/// A layer that was unpacked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::images) struct Unpacked {
    /// The digest of the archive without its compression.
    pub(in crate::images) diff_id: Digest,
    pub(in crate::images) entries: u64,
    /// About what it takes on the disk.
    pub(in crate::images) bytes: u64,
    /// Devices that were not made and attributes that could not be set.
    pub(in crate::images) skipped: u64,
    /// Folders that hide all that the layers below have in them: only the host's root can mark them.
    pub(in crate::images) opaque: Vec<Place>,
    /// Folders that the archive has no entry of: they are as the layers below have them.
    pub(in crate::images) implied: Vec<Place>,
}

/// A path within the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::images) struct Place(pub(in crate::images) Vec<u8>);

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD_NO_PAD.decode(text).map(Self).map_err(D::Error::custom)
    }
}
