//! Waiting for what happens soon but not at once: looked for again and again until a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until there is something, and returns it.
///
/// # Errors
/// The time that passed in vain.
pub fn found<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, Duration> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() >= within {
            return Err(start.elapsed());
        }
        thread::sleep(INTERVAL);
    }
}

/// Waits until `reached` says yes.
///
/// # Panics
/// After ten seconds, with `what`.
pub fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    if found(Duration::from_secs(10), || reached().then_some(())).is_err() {
        panic!("still not after ten seconds: {what}");
    }
}
