//! Room in the storage, looked at before something is made in it that would be half done without.

use std::time::Duration;

use storage::{layout::DataDir, pool::pool_space};
use tokio::time::{Instant, sleep};

use crate::runtime::RuntimeError;

/// How long a launch waits for room in the storage, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);
/// What is left for bookkeeping: below it nothing new is begun.
const FLOOR_BYTES: u64 = 32 << 20;

/// Waits until the storage has room for what a sandbox may write. Quotas together may be more than it holds; this
/// keeps one after another from filling it. What a removed sandbox held comes back only after a while (btrfs frees
/// it in the background), which is what is waited for.
///
/// Nothing is set aside: launches at the same moment see the same room. It keeps most from starting in vain; the
/// quota of each is what bounds it. The kernel counts for every kind of pool: free is what may still be written by
/// others than root, and nothing where a btrfs has no room for metadata.
pub(super) async fn room_await(data: &DataDir, disk_bytes: u64) -> Result<(), RuntimeError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let Ok(space) = pool_space(data) else { return Ok(()) };
        let needed = space.floor_bytes(disk_bytes);
        if space.free_bytes >= needed {
            return Ok(());
        }
        if Instant::now() >= give_up {
            return Err(full(space.free_bytes, needed));
        }
        sleep(POLL).await;
    }
}

/// Whether there is room for a snapshot: it shares what it holds, and needs little.
pub(super) fn room_check(data: &DataDir) -> Result<(), RuntimeError> {
    match pool_space(data) {
        Ok(space) if space.free_bytes < FLOOR_BYTES => Err(full(space.free_bytes, FLOOR_BYTES)),
        _ => Ok(()),
    }
}

fn full(free_bytes: u64, needed_bytes: u64) -> RuntimeError {
    RuntimeError::StorageFull { free_mb: free_bytes >> 20, needed_mb: needed_bytes >> 20 }
}
