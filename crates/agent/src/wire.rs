//! Frames over one connection: read with constant memory, written whole.
//!
//! It must not know what a request means. Reading can be cancelled at any `await` without losing a byte.

use std::io::{self, IoSlice};

use protocol::{
    agent::{Event, Request},
    frame::{self, FrameError, HEADER_BYTES, Header, Kind, STREAM_BYTES},
};
use tokio::net::UnixStream;

/// What a connection reads at once until a larger frame comes.
const SMALL_BYTES: usize = 4 << 10;

/// Why a connection can't be used any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The socket failed, or the other side closed it in the middle of a frame.
    #[error("connection lost")]
    Lost(#[from] io::Error),
    /// The bytes are not frames.
    #[error(transparent)]
    Malformed(#[from] FrameError),
    /// A frame that has no meaning at this place.
    #[error("a frame of kind {0:?} is not expected here")]
    Unexpected(Kind),
}

/// The reading side.
pub(crate) struct FrameReader<'a> {
    stream: &'a UnixStream,
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that were taken.
    taken: usize,
    /// Bytes of the current frame's payload that were not taken.
    payload_left: usize,
    /// A header that was read too early.
    held: Option<Header>,
}

impl<'a> FrameReader<'a> {
    pub(crate) fn new(stream: &'a UnixStream) -> Self {
        Self { stream, buffer: Vec::with_capacity(SMALL_BYTES), taken: 0, payload_left: 0, held: None }
    }

    /// The next frame's header, whatever is left of the frame before it skipped. `None` when the other side
    /// has closed the connection between two frames.
    ///
    /// # Errors
    /// [`WireError::Lost`] and [`WireError::Malformed`].
    pub(crate) async fn header(&mut self) -> Result<Option<Header>, WireError> {
        if let Some(header) = self.held.take() {
            return Ok(Some(header));
        }
        while self.payload_left > 0 {
            let skipped = self.piece().await?.len();
            self.consume(skipped);
        }
        loop {
            if let Some(bytes) = self.unread().first_chunk::<HEADER_BYTES>() {
                let header = Header::decode(*bytes)?;
                self.taken += HEADER_BYTES;
                self.payload_left = header.payload_bytes;
                return Ok(Some(header));
            }
            if !self.fill().await? {
                return if self.unread().is_empty() { Ok(None) } else { Err(truncated()) };
            }
        }
    }

    /// Gives a header back, for the next [`Self::header`]. Only before any of its payload was taken.
    pub(crate) fn hold(&mut self, header: Header) {
        self.held = Some(header);
    }

    /// The request in the current frame's payload.
    ///
    /// # Errors
    /// [`WireError::Lost`] and [`WireError::Malformed`].
    pub(crate) async fn request(&mut self) -> Result<Request, WireError> {
        // Grows with what arrives, never ahead of it: a header alone can't make the agent allocate.
        let mut payload = Vec::new();
        while self.payload_left > 0 {
            let piece = self.piece().await?;
            payload.extend_from_slice(piece);
            let taken = piece.len();
            self.consume(taken);
        }
        Ok(frame::decode_message(&payload)?)
    }

    /// The next bytes of the current frame's payload, at most [`STREAM_BYTES`]; empty at its end. They come
    /// again until they are consumed.
    ///
    /// # Errors
    /// [`WireError::Lost`].
    pub(crate) async fn piece(&mut self) -> Result<&[u8], WireError> {
        if self.payload_left > 0 && self.unread().is_empty() && !self.fill().await? {
            return Err(truncated());
        }
        let length = self.unread().len().min(self.payload_left);
        Ok(&self.buffer[self.taken..self.taken + length])
    }

    /// Takes bytes that [`Self::piece`] has shown.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.taken += bytes;
        self.payload_left -= bytes;
    }

    /// What was read from the connection but belongs to no frame that was taken.
    pub(crate) fn into_unread(self) -> Vec<u8> {
        self.unread().to_vec()
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Reads more; `false` at the end of the connection.
    async fn fill(&mut self) -> Result<bool, WireError> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.is_empty() && self.payload_left > self.buffer.capacity() {
            self.buffer.reserve_exact(STREAM_BYTES);
        }
        loop {
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn truncated() -> WireError {
    WireError::Lost(io::ErrorKind::UnexpectedEof.into())
}

/// The writing side.
#[derive(Clone, Copy)]
pub(crate) struct FrameWriter<'a> {
    stream: &'a UnixStream,
}

impl<'a> FrameWriter<'a> {
    pub(crate) fn new(stream: &'a UnixStream) -> Self {
        Self { stream }
    }

    /// Sends an event.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) async fn event(&self, event: &Event) -> Result<(), WireError> {
        let frame = frame::encode_message(event)?;
        self.frame_parts(&frame, &[]).await
    }

    /// Sends a frame of raw bytes.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) async fn frame(&self, kind: Kind, payload: &[u8]) -> Result<(), WireError> {
        let header = Header { kind, payload_bytes: payload.len() }.encode()?;
        self.frame_parts(&header, payload).await
    }

    async fn frame_parts(&self, head: &[u8], body: &[u8]) -> Result<(), WireError> {
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut left = &mut parts[..];
        while !left.is_empty() {
            self.writable().await?;
            let sent = self.try_write(left)?;
            IoSlice::advance_slices(&mut left, sent);
        }
        Ok(())
    }

    /// Waits until the socket takes more, perhaps in vain.
    ///
    /// # Errors
    /// [`WireError::Lost`].
    pub(crate) async fn writable(&self) -> Result<(), WireError> {
        Ok(self.stream.writable().await?)
    }

    /// Writes what the socket takes at once of raw frame bytes, which may be nothing.
    ///
    /// # Errors
    /// [`WireError::Lost`].
    pub(crate) fn try_write(&self, parts: &[IoSlice<'_>]) -> Result<usize, WireError> {
        match self.stream.try_write_vectored(parts) {
            Ok(sent) => Ok(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}
