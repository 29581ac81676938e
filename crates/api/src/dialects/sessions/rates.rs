//! How often a session may be asked, and how much may be uploaded to it, in a time. The counts are this server's: they
//! begin anew with it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use protocol::SandboxId;

/// Requests of one session in a minute.
const REQUESTS_MAX: u64 = 1000;
const REQUESTS_WINDOW: Duration = Duration::from_secs(60);
/// Bytes uploaded to one session in an hour.
const UPLOAD_BYTES_MAX: u64 = 100 << 20;
const UPLOAD_WINDOW: Duration = Duration::from_hours(1);

/// Counts for all sessions.
pub(super) struct Rates {
    requests: Windows<SandboxId>,
    uploads: Windows<SandboxId>,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            requests: Windows::new(REQUESTS_MAX, REQUESTS_WINDOW),
            uploads: Windows::new(UPLOAD_BYTES_MAX, UPLOAD_WINDOW),
        }
    }
}

impl Rates {
    /// Counts a request.
    pub(super) fn request(&self, session: SandboxId) -> Standing {
        self.requests.take(session, 1, Instant::now())
    }

    /// Counts bytes of an upload; all of them or, if they are too many, none.
    pub(super) fn upload(&self, session: SandboxId, bytes: u64) -> Standing {
        self.uploads.take(session, bytes, Instant::now())
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether it may.
    pub(super) allowed: bool,
    limit: u64,
    remaining: u64,
    /// Seconds until the count begins anew.
    pub(super) reset_s: u64,
}

impl Standing {
    /// Says it in headers.
    pub(super) fn headers_add(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            ("ratelimit-limit", self.limit),
            ("ratelimit-remaining", self.remaining),
            ("ratelimit-reset", self.reset_s),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
}

/// Counts that begin anew when their time is over.
struct Windows<K> {
    limit: u64,
    length: Duration,
    counts: Mutex<Counts<K>>,
}

struct Counts<K> {
    of: HashMap<K, Window>,
    /// As many may be there before old ones are looked for.
    swept_at: usize,
}

struct Window {
    since: Instant,
    taken: u64,
}

const SWEEP_MIN: usize = 1024;

impl<K: Eq + Hash> Windows<K> {
    fn new(limit: u64, length: Duration) -> Self {
        Self { limit, length, counts: Mutex::new(Counts { of: HashMap::new(), swept_at: SWEEP_MIN }) }
    }

    fn take(&self, whose: K, amount: u64, now: Instant) -> Standing {
        let over = |window: &Window| now.saturating_duration_since(window.since) >= self.length;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.of.len() >= counts.swept_at {
            counts.of.retain(|_, window| !over(window));
            counts.swept_at = (counts.of.len() * 2).max(SWEEP_MIN);
        }
        let window = counts.of.entry(whose).or_insert(Window { since: now, taken: 0 });
        if over(window) {
            *window = Window { since: now, taken: 0 };
        }
        let allowed = window.taken.saturating_add(amount) <= self.limit;
        if allowed {
            window.taken += amount;
        }
        let left = self.length.saturating_sub(now.saturating_duration_since(window.since));
        Standing {
            allowed,
            limit: self.limit,
            remaining: self.limit - window.taken,
            reset_s: left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_so_much_and_begins_anew() {
        let (windows, start) = (Windows::new(3, Duration::from_secs(60)), Instant::now());
        let take = |who: u8, amount, after_s| {
            let standing = windows.take(who, amount, start + Duration::from_secs(after_s));
            (standing.allowed, standing.remaining, standing.reset_s)
        };
        assert_eq!(take(1, 1, 0), (true, 2, 60));
        assert_eq!(take(1, 3, 10), (false, 2, 50), "all or nothing");
        assert_eq!(take(1, 2, 20), (true, 0, 40));
        assert_eq!(take(1, 1, 59), (false, 0, 1));
        assert_eq!(take(2, 1, 59), (true, 2, 60), "each has its own");
        assert_eq!(take(1, 1, 60), (true, 2, 60));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let (windows, start) = (Windows::new(1, Duration::from_secs(60)), Instant::now());
        for who in 0..SWEEP_MIN {
            windows.take(who, 1, start);
        }
        windows.take(SWEEP_MIN, 1, start + Duration::from_secs(60));
        assert_eq!(windows.counts.lock().unwrap().of.len(), 1);
    }
}
