//! What a sandbox may use. Units are in the names; a limit is always set, never "unlimited".

use serde::{Deserialize, Serialize};

/// The least memory that a sandbox can be given: below it the agent itself does not start reliably.
pub const MEMORY_BYTES_MIN: u64 = 16 << 20;

/// Open files of one process unless something else is asked for. The kernel has a number for the whole host
/// (`fs.file-max`), so this times the number of processes must stay well below what hosts have.
const OPEN_FILES: u32 = 4096;

/// The limits that the cgroup, the quota and the mounts of one sandbox hold it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all processes together, page cache and tmpfs included. Swap is off.
    pub memory_bytes: u64,
    /// CPU time per second of wall time, in thousandths of one core: 1500 is one core and a half.
    pub cpu_millis: u32,
    /// Processes and threads at once, the agent included.
    pub pids: u32,
    /// What the writable layer may hold.
    pub disk_bytes: u64,
    /// Open files per process (`RLIMIT_NOFILE`).
    pub open_files: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            cpu_millis: 1000,
            pids: 256,
            disk_bytes: 2 << 30,
            open_files: OPEN_FILES,
        }
    }
}
