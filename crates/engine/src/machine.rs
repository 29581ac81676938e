//! What the machine itself does: how busy its processors are, what its memory and its storage hold. A share of time
//! needs two looks; this remembers the earlier one. Where the figures come from is the runtime's.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Engine, Error, Result, Runtime};

/// The machine at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineSample {
    /// Time that its processors worked, all together, in whatever unit.
    pub busy: u64,
    /// All their time, in the same unit.
    pub whole: u64,
    /// Its memory.
    pub memory_total_bytes: u64,
    /// What of it programs can't have without others giving something up.
    pub memory_used_bytes: u64,
    /// The file system that sandboxes are kept in.
    pub disk_total_bytes: u64,
    /// What of it is used.
    pub disk_used_bytes: u64,
    /// Processes.
    pub processes: u64,
}

/// The machine over the last moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachineStats {
    /// How much of their time its processors worked, in percent of all of them.
    pub cpu_percent: f64,
    /// Its latest figures.
    pub sample: MachineSample,
}

/// Two looks are at least so far apart; who asks sooner gets the answer that is known.
const APART: Duration = Duration::from_millis(500);
/// The first look has no earlier one, and waits so long for a second.
const FIRST_APART: Duration = Duration::from_millis(100);

/// The latest look.
#[derive(Default)]
pub(crate) struct Machine(tokio::sync::Mutex<Option<(Instant, MachineStats)>>);

impl Machine {
    async fn look(&self, runtime: &dyn Runtime) -> Result<MachineStats> {
        let mut latest = self.0.lock().await;
        let before = match *latest {
            Some((at, stats)) if at.elapsed() < APART => return Ok(stats),
            Some((_, stats)) => stats.sample,
            None => {
                let first = runtime.machine().await.map_err(Error::internal)?;
                sleep(FIRST_APART).await;
                first
            }
        };
        let sample = runtime.machine().await.map_err(Error::internal)?;
        let stats = MachineStats { cpu_percent: busy_percent(&before, &sample), sample };
        *latest = Some((Instant::now(), stats));
        Ok(stats)
    }
}

fn busy_percent(before: &MachineSample, after: &MachineSample) -> f64 {
    let busy = after.busy.saturating_sub(before.busy);
    let whole = after.whole.saturating_sub(before.whole).max(1);
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let percent = busy as f64 * 100.0 / whole as f64;
    percent.min(100.0)
}

impl Engine {
    /// What the machine does that sandboxes run on.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Internal`] when the host does not tell.
    pub async fn machine_stats(&self) -> Result<MachineStats> {
        self.inner.machine.look(self.inner.runtime.as_ref()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(busy: u64, whole: u64) -> MachineSample {
        MachineSample {
            busy,
            whole,
            memory_total_bytes: 0,
            memory_used_bytes: 0,
            disk_total_bytes: 0,
            disk_used_bytes: 0,
            processes: 0,
        }
    }

    #[test]
    fn a_share_is_what_happened_between_two_looks() {
        assert!((busy_percent(&sample(100, 1000), &sample(150, 1200)) - 25.0).abs() < 1e-9);
        assert!(busy_percent(&sample(5, 5), &sample(5, 5)).abs() < 1e-9);
        assert!(busy_percent(&sample(5, 5), &sample(0, 0)).abs() < 1e-9, "counters that went back");
    }
}
