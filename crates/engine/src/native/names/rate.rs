//! How many questions a sandbox may ask in a second. Pure.

use std::time::Instant;

/// In the long run, and at once after a pause.
const PER_SECOND: f64 = 200.0;
const AT_ONCE: f64 = 400.0;

/// What is left to ask.
pub(super) struct Rate {
    left: f64,
    at: Instant,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, at: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * PER_SECOND).min(AT_ONCE);
        self.at = now;
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_many_a_second_and_no_more() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let taken =
            |rate: &mut Rate, at| (0..1000).filter(|_| rate.take(start + Duration::from_millis(at))).count();
        assert_eq!(taken(&mut rate, 0), 400);
        assert_eq!(taken(&mut rate, 100), 20);
        assert_eq!(taken(&mut rate, 60_000), 400);
    }
}
