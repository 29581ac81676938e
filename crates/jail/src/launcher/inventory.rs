//! What of sandboxes is on the host, whoever started them; those prepared ahead are not told of.

use std::collections::BTreeMap;

use protocol::{
    SandboxId, SnapshotId,
    launcher::{Found, INVENTORY_PAGE},
};

use super::serve::Launcher;
use crate::failure::StepError;

impl Launcher {
    /// Sandboxes that have a folder of what runs.
    pub(super) fn started(&self) -> Vec<SandboxId> {
        let Ok(folders) = std::fs::read_dir(self.config.data.run()) else { return Vec::new() };
        folders
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|sandbox| !self.prepared.contains(*sandbox))
            .collect()
    }

    /// One page, in the order of the ids.
    pub(super) fn inventory_page(&self, after: Option<SandboxId>) -> Result<Vec<Found>, StepError> {
        let mut all = BTreeMap::new();
        let unknown = |sandbox| Found { sandbox, runs: false, has_layer: false };
        for sandbox in self.layers.list()? {
            all.entry(sandbox).or_insert_with(|| unknown(sandbox)).has_layer = true;
        }
        for sandbox in self.running.keys().copied() {
            all.entry(sandbox).or_insert_with(|| unknown(sandbox)).runs = true;
        }
        let wanted = |sandbox: SandboxId| {
            after.is_none_or(|after| sandbox > after) && !self.prepared.contains(sandbox)
        };
        Ok(all.into_values().filter(|found| wanted(found.sandbox)).take(INVENTORY_PAGE).collect())
    }

    /// One page of the snapshots, in the order of their ids.
    pub(super) fn snapshot_page(&self, after: Option<SnapshotId>) -> Result<Vec<SnapshotId>, StepError> {
        let mut all = self.layers.snapshot_list()?;
        all.retain(|snapshot| after.is_none_or(|after| *snapshot > after));
        all.sort_unstable();
        all.truncate(INVENTORY_PAGE);
        Ok(all)
    }
}
