//! Measured times and what is said of them. It must not know what was measured.

use std::time::Duration;

/// Times of one thing, in the order in which they were measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time, in microseconds, that `per_mille` of 1000 samples do not exceed (the nearest-rank method).
    /// `None` without samples.
    pub(crate) fn percentile_us(&self, per_mille: usize) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
        sorted.get(rank - 1).map(|time| time.as_secs_f64() * 1e6)
    }
}

impl Extend<Duration> for Samples {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, times: I) {
        self.0.extend(times);
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(times_us: impl IntoIterator<Item = u64>) -> Samples {
        times_us.into_iter().map(Duration::from_micros).collect()
    }

    #[test]
    fn percentiles_are_samples_by_rank() {
        let hundred = samples((1..=100).rev());
        assert_eq!(hundred.percentile_us(500), Some(50.0));
        assert_eq!(hundred.percentile_us(990), Some(99.0));
        assert_eq!(hundred.percentile_us(1000), Some(100.0));
        assert_eq!(samples([7]).percentile_us(500), Some(7.0));
    }

    #[test]
    fn without_samples_there_is_no_percentile() {
        assert_eq!(samples([]).percentile_us(500), None);
    }
}
