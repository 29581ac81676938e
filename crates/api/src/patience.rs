//! How long a client is waited for in the middle of a message. It must not know which way the bytes go.
//!
//! A time limit between two pieces alone would let a client hold what it holds for days, a byte at a time; a
//! limit on the whole would cut off those that are merely far away. So the time that is spent waiting is
//! counted, and what arrives earns some back.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// A client that moves nothing for this long has gone.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(30);
/// What a slow client has to move a second, on average, to be waited for without end.
pub(crate) const RATE_MIN_BYTES: usize = 32 << 10;

/// What is left of the time to wait for one client.
pub(crate) struct Patience {
    left: Duration,
    wait: Option<Wait>,
}

struct Wait {
    since: Instant,
    over: Pin<Box<Sleep>>,
}

impl Patience {
    /// The full time.
    pub(crate) fn new() -> Self {
        Self { left: STALL_MAX, wait: None }
    }

    /// Call it when the client makes the server wait: ready once there is no time left.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let wait =
            self.wait.get_or_insert_with(|| Wait { since: Instant::now(), over: Box::pin(sleep(left)) });
        wait.over.as_mut().poll(cx)
    }

    /// The client moved so many bytes.
    pub(crate) fn moved(&mut self, bytes: usize) {
        if let Some(wait) = self.wait.take() {
            self.left = self.left.saturating_sub(wait.since.elapsed());
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1) * bytes / u32::try_from(RATE_MIN_BYTES).unwrap_or(u32::MAX);
        self.left = (self.left + earned).min(STALL_MAX);
    }

    /// Nothing is waited for any more: what comes next has the full time.
    pub(crate) fn renew(&mut self) {
        *self = Self::new();
    }

    /// Waits for the client; `None` when there is no time left. Say afterwards what it [`moved`](Self::moved).
    pub(crate) async fn wait<T>(&mut self, mut event: impl Future<Output = T> + Unpin) -> Option<T> {
        poll_fn(|cx| {
            if let Poll::Ready(value) = Pin::new(&mut event).poll(cx) {
                return Poll::Ready(Some(value));
            }
            ready!(self.poll_over(cx));
            Poll::Ready(None)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    /// Moves `bytes` every `pause`, and returns for how long that is waited for.
    async fn endured(pause: Duration, bytes: usize) -> Option<Duration> {
        let (mut patience, start) = (Patience::new(), Instant::now());
        for _ in 0..10_000 {
            if patience.wait(Box::pin(sleep(pause))).await.is_none() {
                return Some(start.elapsed());
            }
            patience.moved(bytes);
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_given_up() {
        let start = Instant::now();
        assert!(Patience::new().wait(pending::<()>()).await.is_none());
        assert_eq!(start.elapsed().as_secs(), STALL_MAX.as_secs());
        assert_eq!(Patience::new().wait(ready(1)).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_client_is_given_up_as_well() {
        let endured = endured(Duration::from_secs(20), 1).await.unwrap();
        assert!(endured < STALL_MAX + Duration::from_secs(1), "{endured:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_waited_for_and_one_below_the_rate_is_not() {
        assert_eq!(endured(Duration::from_secs(20), 21 * RATE_MIN_BYTES).await, None);
        assert!(endured(Duration::from_secs(20), 15 * RATE_MIN_BYTES).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_not_saved_up() {
        let mut patience = Patience::new();
        patience.moved(usize::MAX);
        assert!(patience.wait(Box::pin(sleep(STALL_MAX + Duration::from_secs(1)))).await.is_none());
    }
}
