//! A reader that says no when more comes than was agreed: what has no end must not look like one that has.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

/// The reader passes on up to this many bytes; one more is an error.
#[derive(Debug)]
pub(crate) struct Limited<R> {
    reader: R,
    bytes_max: u64,
    left: u64,
}

/// There is more than was agreed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {bytes_max} bytes")]
pub(crate) struct TooLarge {
    pub(crate) bytes_max: u64,
}

impl<R> Limited<R> {
    pub(crate) fn new(reader: R, bytes_max: u64) -> Self {
        Self { reader, bytes_max, left: bytes_max }
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(io::Error::new(io::ErrorKind::FileTooLarge, TooLarge { bytes_max: self.bytes_max })),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Limited<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.reader).poll_read(context, buffer))?;
        let counted = this.count(buffer.filled().len() - before);
        if counted.is_err() {
            // A read that fails has read nothing (tokio's `AsyncRead`).
            buffer.set_filled(before);
        }
        Poll::Ready(counted)
    }
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Limited<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        let bytes_max = this.bytes_max;
        let bytes = ready!(Pin::new(&mut this.reader).poll_fill_buf(context))?;
        if bytes.len() as u64 > this.left {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, TooLarge { bytes_max })));
        }
        Poll::Ready(Ok(bytes))
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        let this = self.get_mut();
        this.left = this.left.saturating_sub(bytes as u64);
        Pin::new(&mut this.reader).consume(bytes);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn exactly_as_much_as_was_agreed_is_passed_on() {
        let mut read = Vec::new();
        Limited::new(&b"12345"[..], 5).read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"12345");
        let copied = tokio::io::copy_buf(&mut Limited::new(&b"12345"[..], 5), &mut tokio::io::sink()).await;
        assert_eq!(copied.unwrap(), 5);
    }

    #[tokio::test]
    async fn more_is_an_error_and_no_end() {
        let is_too_large = |error: &io::Error| {
            error.get_ref().and_then(|inner| inner.downcast_ref()) == Some(&TooLarge { bytes_max: 4 })
        };
        let error = Limited::new(&b"12345"[..], 4).read_to_end(&mut Vec::new()).await.unwrap_err();
        assert!(is_too_large(&error), "{error:?}");
        let endless = tokio::io::BufReader::new(tokio::io::repeat(1));
        let copied = tokio::io::copy_buf(&mut Limited::new(endless, 4), &mut tokio::io::sink()).await;
        assert!(is_too_large(&copied.unwrap_err()));
    }
}
