//! How fast a client may send messages. It must not know what they are.

use std::time::Duration;

use tokio::time::Instant;

/// Messages in a second, and at once.
pub(super) const MESSAGES_PER_S: u32 = 100;
/// As many may be held back before a client that goes on is closed.
const HELD_BACK_MAX: u32 = 300;

/// One client's pace.
pub(super) struct Pace {
    /// Messages that may come at once at `at`.
    left: f64,
    at: Instant,
    held_back: u32,
}

/// What is to be done with a message.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is in time.
    Go,
    /// It is to wait so long; the client is told if it is the first.
    Wait { time: Duration, first: bool },
    /// The client does not stop.
    Close,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: f64::from(MESSAGES_PER_S), at: now, held_back: 0 }
    }

    /// A message came.
    pub(super) fn message(&mut self, now: Instant) -> Verdict {
        let rate = f64::from(MESSAGES_PER_S);
        self.left = (self.left + now.saturating_duration_since(self.at).as_secs_f64() * rate).min(rate);
        self.at = now;
        if self.left >= rate / 2.0 {
            self.held_back = 0;
        }
        self.left -= 1.0;
        if self.left >= 0.0 {
            return Verdict::Go;
        }
        self.held_back += 1;
        if self.held_back > HELD_BACK_MAX {
            return Verdict::Close;
        }
        Verdict::Wait { time: Duration::from_secs_f64(-self.left / rate), first: self.held_back == 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_slowed_and_then_closed() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert!((0..100).all(|_| pace.message(now) == Verdict::Go));
        let mut firsts = 0;
        for _ in 0..HELD_BACK_MAX {
            let Verdict::Wait { time, first } = pace.message(now) else { panic!("it waits") };
            now += time;
            firsts += u32::from(first);
        }
        assert_eq!(firsts, 1);
        assert_eq!(pace.message(now), Verdict::Close);
    }

    #[test]
    fn one_that_keeps_to_the_pace_is_never_slowed() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for message in 0..10_000 {
            assert_eq!(pace.message(start + Duration::from_millis(10) * message), Verdict::Go);
        }
    }
}
