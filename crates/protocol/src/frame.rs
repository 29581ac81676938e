//! Frames on the connection between server and agent: a kind, a length, a payload.
//!
//! ```text
//! | length: u32, little endian | kind: u8 | payload: length bytes |
//! ```
//!
//! [`Kind::Message`] carries one value in postcard encoding; the other kinds carry raw bytes. Both sides
//! refuse a frame over [`PAYLOAD_BYTES_MAX`], the server one over [`ANSWER_BYTES_MAX`], before they allocate for
//! it.

use serde::{Serialize, de::DeserializeOwned};

/// Bytes in front of each payload.
pub const HEADER_BYTES: usize = 5;
/// The largest payload: a message (arguments, environment) or a piece of a stream.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// How large a piece of a stream the sides send: large enough to be cheap, small enough to interleave.
pub const STREAM_BYTES: usize = 64 << 10;
/// The largest payload that an agent sends: a piece of a stream. Its events are smaller. The server refuses more,
/// as it has many connections, and an agent that was taken over may leave a frame unfinished on each.
pub const ANSWER_BYTES_MAX: usize = STREAM_BYTES;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A [`crate::agent::Request`] (server to agent) or a [`crate::agent::Event`] (agent to server).
    Message = 0,
    /// Bytes towards the sandbox: standard input or the content of a written file.
    Input = 1,
    /// Bytes of a program's standard output, of a pty, or of a file that is read.
    Output = 2,
    /// Bytes of a program's standard error.
    ErrorOutput = 3,
    /// No more [`Kind::Input`] follows. Empty.
    InputEnd = 4,
}

impl TryFrom<u8> for Kind {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Self, FrameError> {
        match byte {
            0 => Ok(Self::Message),
            1 => Ok(Self::Input),
            2 => Ok(Self::Output),
            3 => Ok(Self::ErrorOutput),
            4 => Ok(Self::InputEnd),
            kind => Err(FrameError::UnknownKind(kind)),
        }
    }
}

/// Why bytes from the other side are not frames. The connection can't be used after one.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length field is over the maximum.
    #[error("a frame of {bytes} bytes is over the maximum of {bytes_max}")]
    TooLarge {
        /// What it says.
        bytes: usize,
        /// What it may.
        bytes_max: usize,
    },
    /// The kind byte is none of [`Kind`].
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// The payload of a message is not the value that was expected.
    #[error("malformed message")]
    Malformed(#[source] postcard::Error),
}

/// A header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: Kind,
    /// Its length in bytes, at most [`PAYLOAD_BYTES_MAX`].
    pub payload_bytes: usize,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] and [`FrameError::UnknownKind`].
    pub fn decode(bytes: [u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [a, b, c, d, kind] = bytes;
        let payload_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        Self { kind: Kind::try_from(kind)?, payload_bytes }.within(PAYLOAD_BYTES_MAX)
    }

    /// The same, if the payload is no larger than this.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`].
    pub fn within(self, bytes_max: usize) -> Result<Self, FrameError> {
        match self.payload_bytes {
            bytes if bytes > bytes_max => Err(FrameError::TooLarge { bytes, bytes_max }),
            _ => Ok(self),
        }
    }

    /// Writes a header.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`].
    pub fn encode(self) -> Result<[u8; HEADER_BYTES], FrameError> {
        let Self { kind, payload_bytes: bytes } = self.within(PAYLOAD_BYTES_MAX)?;
        let too_large = |_| FrameError::TooLarge { bytes, bytes_max: PAYLOAD_BYTES_MAX };
        let [a, b, c, d] = u32::try_from(bytes).map_err(too_large)?.to_le_bytes();
        Ok([a, b, c, d, kind as u8])
    }
}

/// A whole frame of raw bytes, header included.
///
/// # Errors
/// [`FrameError::TooLarge`].
pub fn encode(kind: Kind, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let header = Header { kind, payload_bytes: payload.len() }.encode()?;
    Ok([&header[..], payload].concat())
}

/// A whole [`Kind::Message`] frame around `value`, header included.
///
/// # Errors
/// [`FrameError::TooLarge`], or [`FrameError::Malformed`] for a value that postcard can't encode.
pub fn encode_message<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = postcard::to_extend(value, vec![0; HEADER_BYTES]).map_err(FrameError::Malformed)?;
    let header = Header { kind: Kind::Message, payload_bytes: frame.len() - HEADER_BYTES }.encode()?;
    frame[..HEADER_BYTES].copy_from_slice(&header);
    Ok(frame)
}

/// A value as the payload of an output frame: see [`crate::workspace`].
///
/// # Errors
/// [`FrameError::Malformed`] for a value that postcard can't encode.
pub fn encode_payload<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    postcard::to_extend(value, Vec::new()).map_err(FrameError::Malformed)
}

/// The value in the payload of a [`Kind::Message`] frame, or of one that [`encode_payload`] has made.
///
/// # Errors
/// [`FrameError::Malformed`], also when bytes are left over.
pub fn decode_message<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(payload).map_err(FrameError::Malformed)? {
        (value, []) => Ok(value),
        _ => Err(FrameError::Malformed(postcard::Error::DeserializeBadEncoding)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Request;

    #[test]
    fn messages_survive_a_round_trip() {
        let frame = encode_message(&Request::Ping).unwrap();
        let header = Header::decode(frame[..HEADER_BYTES].try_into().unwrap()).unwrap();
        assert_eq!(header.kind, Kind::Message);
        assert_eq!(header.payload_bytes, frame.len() - HEADER_BYTES);
        assert_eq!(decode_message::<Request>(&frame[HEADER_BYTES..]).unwrap(), Request::Ping);
    }

    #[test]
    fn oversized_and_unknown_frames_are_refused() {
        let too_large = u32::try_from(PAYLOAD_BYTES_MAX + 1).unwrap().to_le_bytes();
        let bytes = [too_large[0], too_large[1], too_large[2], too_large[3], 0];
        assert!(matches!(Header::decode(bytes), Err(FrameError::TooLarge { .. })));
        assert!(matches!(Header::decode([0, 0, 0, 0, 9]), Err(FrameError::UnknownKind(9))));
        assert!(encode(Kind::Output, &vec![0; PAYLOAD_BYTES_MAX + 1]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn hostile_payloads_never_panic(payload: Vec<u8>) {
            let _ = decode_message::<Request>(&payload);
            let _ = decode_message::<crate::agent::Event>(&payload);
        }
    }
}
