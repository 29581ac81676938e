//! What an operator may set.

use std::time::Duration;

use protocol::limits::Limits;

use crate::{Error, LimitsSpec, Result, sandbox::limits};

/// The engine's settings. `Settings::default()` is what a server starts with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a sandbox gets that asks for nothing.
    pub limits_default: Limits,
    /// The most that a sandbox may ask for.
    pub limits_max: Limits,
    /// The time that one run of a program may take, unless it asks for another.
    pub timeout_default: Duration,
    /// The most that a program may ask for.
    pub timeout_max: Duration,
    /// How long a sandbox that runs to its end stays listed.
    pub lease_oneshot: Duration,
    /// How long a sandbox that stays up lives without an explicit lease.
    pub lease_persistent: Duration,
    /// How long a sandbox whose lease ended while it ran stays listed.
    pub ended_retention: Duration,
    /// Sandboxes on record at once.
    pub sandboxes_max: usize,
    /// Sandboxes that run at once.
    pub running_max: usize,
    /// Snapshots that one sandbox may have.
    pub snapshots_max: usize,
    /// How many times its disk limit a sandbox and all its snapshots may hold together.
    pub snapshot_disk_factor: u32,
    /// Bytes that the programs of all sandboxes on record may hold together. They lie in the database, on the
    /// host's disk.
    pub programs_bytes_max: u64,
    /// Bytes of each output stream that a run returns.
    pub output_bytes_max: u64,
    /// Environment of every process of the `host` image.
    pub environment: Vec<(String, String)>,
    /// Volumes of everybody together.
    pub volumes_max: usize,
    /// What a volume may hold of which nothing is said.
    pub volume_bytes_default: u64,
    /// The most that may be said.
    pub volume_bytes_max: u64,
    /// Folders of the host below which sandboxes may have volumes, as clients call them; no slash at the end. The
    /// runtime has them in the same order.
    pub volume_prefixes: Vec<String>,
    /// Whether this host can give sandboxes a network.
    pub network_available: bool,
    /// The boot of the host, as the kernel names it: what ran in another one is gone.
    pub boot: String,
}

impl Settings {
    /// Whether sandboxes can be made with them: one that asks for nothing must not be refused for it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] with the limit whose default is out of range, or of what is none at all.
    pub fn check(&self) -> Result<()> {
        limits(&LimitsSpec::default(), self)?;
        if self.timeout_max.is_zero() {
            return Err(Error::invalid("timeout", "the longest must be more than nothing"));
        }
        if self.running_max == 0 || self.sandboxes_max == 0 {
            return Err(Error::invalid("sandboxes", "at least one must be allowed"));
        }
        if self.snapshot_disk_factor == 0 {
            return Err(Error::invalid("snapshot_disk_factor", "must be at least 1"));
        }
        Ok(())
    }

    /// What a sandbox with these limits and its snapshots may hold together.
    pub(crate) fn total_bytes(&self, limits: &Limits) -> u64 {
        limits.disk_bytes.saturating_mul(u64::from(self.snapshot_disk_factor))
    }
}

impl Default for Settings {
    fn default() -> Self {
        let cores = u32::try_from(std::thread::available_parallelism().map_or(1, usize::from)).unwrap_or(1);
        Self {
            // "CPU: 50 % quota": half of the machine, but not less than one core.
            limits_default: Limits { cpu_millis: (cores * 500).max(1000), ..Limits::default() },
            limits_max: Limits {
                memory_bytes: 16 << 30,
                cpu_millis: cores * 1000,
                pids: 8192,
                disk_bytes: 64 << 30,
                open_files: 65_536,
            },
            timeout_default: Duration::from_secs(30),
            timeout_max: Duration::from_hours(1),
            lease_oneshot: Duration::from_hours(1),
            lease_persistent: Duration::from_hours(24),
            ended_retention: Duration::from_hours(1),
            sandboxes_max: 10_000,
            running_max: 500,
            snapshots_max: 10_000,
            snapshot_disk_factor: 4,
            programs_bytes_max: 8 << 30,
            output_bytes_max: 8 << 20,
            environment: Vec::new(),
            volumes_max: 1000,
            volume_bytes_default: 10 << 30,
            volume_bytes_max: 1 << 40,
            volume_prefixes: Vec::new(),
            network_available: true,
            boot: String::new(),
        }
    }
}
