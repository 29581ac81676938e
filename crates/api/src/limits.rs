//! How much of a request is read: the size of its body, its share of all bodies' memory, and the time that it
//! takes.

use std::{sync::Arc, time::Duration};

use axum::{
    body::BodyDataStream,
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::time::timeout;

use crate::{
    budget::{BodyShare, SMALL_BYTES},
    patience::Patience,
    reject::Rejection,
};

/// How long and how far a refused body is read on, so that a client that sends first and reads afterwards
/// gets to see the answer instead of a reset connection (RFC 9112, section 9.6).
const LINGER_MAX: Duration = Duration::from_secs(2);
/// See [`LINGER_MAX`].
const LINGER_BYTES_MAX: usize = 256 << 20;
/// Memory is set aside for the announced length only up to here; the rest must arrive first.
const RESERVE_BYTES_MAX: usize = SMALL_BYTES;

/// Reads a request's body whole.
///
/// # Errors
/// [`Rejection::BodyTooLarge`] at once when the announced length is over `bytes_max`, else as soon as more
/// has arrived; [`Rejection::BodyTimedOut`], [`Rejection::BodyMemory`] and [`Rejection::BodyBroken`].
pub(crate) async fn body_read(request: Request, bytes_max: usize) -> Result<Bytes, Rejection> {
    let (head, body) = request.into_parts();
    let announced = length_announced(&head.headers);
    if announced.is_some_and(|length| length > bytes_max) {
        // Who expects a `100 Continue` has not sent the body yet, and reading would ask for it.
        if !head.headers.contains_key(header::EXPECT) {
            linger(body.into_data_stream());
        }
        return Err(Rejection::BodyTooLarge { bytes_max });
    }
    let share = head.extensions.get::<Arc<BodyShare>>();
    let mut patience = Patience::new();
    let mut stream = body.into_data_stream();
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(0).min(RESERVE_BYTES_MAX));
    while let Some(piece) = patience.wait(stream.next()).await.ok_or(Rejection::BodyTimedOut)? {
        let piece = piece.map_err(Rejection::BodyBroken)?;
        patience.moved(piece.len());
        let bytes = whole.len() + piece.len();
        if bytes > bytes_max {
            linger(stream);
            return Err(Rejection::BodyTooLarge { bytes_max });
        }
        if let Some(share) = share
            && let Err(refused) = share.grow(bytes).await
        {
            linger(stream);
            return Err(refused);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The `Content-Length`. One that is too large for the type is as good as the largest.
pub(crate) fn length_announced(headers: &HeaderMap) -> Option<usize> {
    let digits = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    Some(digits.parse().unwrap_or(usize::MAX))
}

/// Reads on and throws away in the background, while the answer is under way.
pub(crate) fn linger(mut stream: BodyDataStream) {
    tokio::spawn(timeout(LINGER_MAX, async move {
        let mut dropped_bytes = 0;
        while let Some(Ok(piece)) = stream.next().await {
            dropped_bytes += piece.len();
            if dropped_bytes > LINGER_BYTES_MAX {
                break;
            }
        }
    }));
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::body::Body;
    use futures::stream;

    use super::*;

    /// A request with this body, and a `Content-Length` of its own.
    pub(crate) fn request(length: Option<&str>, body: Body) -> Request {
        let builder = Request::builder().method("POST");
        match length {
            Some(length) => builder.header(header::CONTENT_LENGTH, length),
            None => builder,
        }
        .body(body)
        .unwrap()
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_maximum_is_read() {
        for length in [Some("10"), None] {
            let body = body_read(request(length, Body::from("0123456789")), 10).await.unwrap();
            assert_eq!(body, "0123456789");
        }
        assert!(body_read(request(None, Body::empty()), 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_byte_more_is_refused() {
        let refused = body_read(request(None, Body::from("0123456789a")), 10).await;
        assert!(matches!(refused, Err(Rejection::BodyTooLarge { bytes_max: 10 })));
    }

    #[tokio::test]
    async fn an_announced_length_over_the_maximum_is_refused_unread() {
        for length in ["11", "99999999999999999999999999"] {
            let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
            let refused = body_read(request(Some(length), never), 10).await;
            assert!(matches!(refused, Err(Rejection::BodyTooLarge { .. })));
        }
    }

    #[tokio::test]
    async fn an_endless_body_is_refused_after_the_maximum() {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        // After five pieces nothing comes any more: whoever wants a sixth before answering waits forever.
        let endless = stream::iter(0..5)
            .map(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok::<_, std::io::Error>(Bytes::from_static(b"1234"))
            })
            .chain(stream::pending());
        let refused = body_read(request(None, Body::from_stream(endless)), 10).await;
        assert!(matches!(refused, Err(Rejection::BodyTooLarge { .. })));
        assert_eq!(sent.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stalls_is_given_up() {
        let stalled = Body::from_stream(
            stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]).chain(stream::pending()),
        );
        assert!(matches!(body_read(request(None, stalled), 10).await, Err(Rejection::BodyTimedOut)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_is_given_up() {
        let dripping = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b" "))
        });
        let dripping = Body::from_stream(dripping);
        assert!(matches!(body_read(request(None, dripping), 1 << 20).await, Err(Rejection::BodyTimedOut)));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_refused() {
        let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
        let refused = body_read(request(None, Body::from_stream(broken)), 10).await;
        assert!(matches!(refused, Err(Rejection::BodyBroken(_))));
    }
}
