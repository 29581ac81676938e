//! Bringing records and what is on the host to agree, when the engine starts: what lives is taken over, what was
//! half done is finished or taken back, what nobody knows of is removed.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use protocol::{SandboxId, SnapshotId, VolumeId, launcher::Found};
use store::{
    Batch, EndReason, Fact, Page, Pending, SandboxFilter, SandboxRecord, SandboxState, SandboxVolume,
    SnapshotRecord, Store, StoreError, VolumeRecord,
};

use crate::{
    Error, ErrorKind, Result, Runtime, Settings,
    sandbox::{event, later, snapshot_taken},
    snapshot::record_of,
};

/// Returns the records, each with whether its sandbox runs.
pub(crate) async fn reconcile(
    store: &Store,
    runtime: &dyn Runtime,
    settings: &Settings,
) -> Result<Vec<(SandboxRecord, bool)>> {
    let page = store.sandbox_list(SandboxFilter::default(), Page::ALL).await.map_err(Error::internal)?;
    let mut snapshots = store.snapshot_list_all(None).await.map_err(Error::internal)?;
    let intents = store.snapshot_intents().await.map_err(Error::internal)?;
    let there: HashSet<SnapshotId> =
        runtime.snapshot_list().await.map_err(Error::internal)?.into_iter().collect();
    let (mut taken, not_taken): (Vec<_>, Vec<_>) =
        intents.into_iter().partition(|intent| intent.name.is_some() && there.contains(&intent.id));
    let last_boot = store.fact_get(Fact::Boot).await.map_err(Error::internal)?;
    if last_boot.is_none() && page.records.is_empty() {
        unknown_refuse("snapshots", there.len())?;
        unknown_refuse("volumes", runtime.volume_list().await.map_err(Error::internal)?.len())?;
    }
    let rebooted = last_boot.is_some_and(|boot| boot != settings.boot);
    let lost =
        if rebooted { "the host was restarted" } else { "its processes were gone when the server started" };
    let found = runtime.inventory().await.map_err(Error::internal)?;
    let found: HashMap<SandboxId, Found> = found.into_iter().map(|found| (found.sandbox, found)).collect();
    let mut known = HashSet::new();
    let mut kept = Vec::with_capacity(page.records.len());
    let mut batch = Batch::new().fact_put(Fact::Boot, settings.boot.clone());
    let mut gone: HashSet<SandboxId> = HashSet::new();
    for mut record in page.records {
        known.insert(record.id);
        let runs = found.get(&record.id).is_some_and(|found| found.runs);
        if is_to_go(&record) {
            tracing::info!(sandbox = %record.id, "removing a sandbox that was being made or removed");
            runtime.remove(record.id).await.map_err(Error::internal)?;
            batch = batch.sandbox_delete(record.id);
            let ending = record.volumes.iter().filter_map(SandboxVolume::ends_with_it);
            batch = ending.fold(batch, Batch::volume_delete_unused);
            gone.insert(record.id);
            continue;
        }
        for taken in taken.extract_if(.., |taken| taken.sandbox == record.id) {
            let told = snapshot_taken(&record, &taken, "restart");
            batch = batch.snapshot_settle(taken.id).event_append(told);
            tracing::info!(sandbox = %record.id, snapshot = %taken.id, "a snapshot that was being taken is there");
            if matches!(&record.pending, Some(Pending::Command { snapshot, .. }) if *snapshot == taken.id) {
                record.pending = None;
                batch = batch.sandbox_update(record.clone());
            }
            snapshots.push(taken);
        }
        let adopted = runs && was_alive(record.state);
        if runs && !adopted {
            runtime.kill(record.id).await.map_err(Error::internal)?;
        }
        if was_alive(record.state) && !adopted && !matches!(record.pending, Some(Pending::Restore { .. })) {
            record.state = SandboxState::Terminated;
            record.ended_at = Some(Timestamp::now());
            record.end = Some(EndReason::Lost { detail: lost.to_owned() });
            record.pending = None;
            let retained = later(Timestamp::now(), settings.ended_retention);
            record.lease_until = record.lease_until.map(|until| until.max(retained));
            batch = batch.sandbox_update(record.clone()).event_append(event(&record, "ended", "restart"));
            tracing::info!(sandbox = %record.id, "the sandbox ended: {lost}");
        }
        kept.push((record, adopted));
    }
    for sandbox in found.into_keys().filter(|sandbox| !known.contains(sandbox)) {
        tracing::info!(%sandbox, "removing what is left of a sandbox that is not on record");
        runtime.remove(sandbox).await.map_err(Error::internal)?;
    }
    // After this, no snapshot is on record that is about to be removed.
    let (stay, go): (Vec<_>, Vec<_>) = snapshots
        .into_iter()
        .partition(|it| it.name.is_some() && (it.outlives || !gone.contains(&it.sandbox)));
    let forgotten = go.iter().chain(&taken).chain(&not_taken);
    batch = forgotten.fold(batch, |batch, snapshot| batch.snapshot_delete(snapshot.id));
    // The boot is on the disk before there is any snapshot.
    store.apply(batch.durable()).await.map_err(Error::internal)?;
    let sandboxes = kept.iter().map(|(record, _)| record.id).collect();
    for snapshot in snapshots_unrecorded(there, &stay) {
        let found = if rebooted { snapshot_found(runtime, snapshot, &sandboxes).await } else { None };
        if let Some(record) = found {
            match store.apply(Batch::new().snapshot_insert(record).durable()).await {
                Ok(()) => {
                    tracing::warn!(%snapshot, "a snapshot was missing on record, and is recorded again");
                    continue;
                }
                Err(StoreError::Exists { .. }) => {}
                Err(error) => return Err(Error::internal(error)),
            }
        }
        tracing::info!(%snapshot, "removing a snapshot that is not on record");
        runtime.snapshot_remove(snapshot).await.map_err(Error::internal)?;
    }
    volumes_reconcile(store, runtime).await?;
    Ok(kept)
}

/// A folder without a record is one that was being removed; a record without a folder is one that was being made.
async fn volumes_reconcile(store: &Store, runtime: &dyn Runtime) -> Result<()> {
    let mut there: HashSet<VolumeId> =
        runtime.volume_list().await.map_err(Error::internal)?.into_iter().collect();
    let mut batch = Batch::new();
    for VolumeRecord { id, name, .. } in store.volume_list(None).await.map_err(Error::internal)? {
        if !there.remove(&id) {
            tracing::warn!(volume = %id, name, "forgetting a volume that is not in the storage");
            batch = batch.volume_forget(id);
        }
    }
    store.apply(batch).await.map_err(Error::internal)?;
    for volume in there {
        tracing::info!(%volume, "removing a volume that is not on record");
        runtime.volume_remove(volume).await.map_err(Error::internal)?;
    }
    Ok(())
}

/// What a snapshot's own note says, where its row went with a power cut: the database's newest rows may not have
/// reached the disk, a snapshot has.
async fn snapshot_found(
    runtime: &dyn Runtime,
    snapshot: SnapshotId,
    sandboxes: &HashSet<SandboxId>,
) -> Option<SnapshotRecord> {
    let note = runtime.snapshot_note(snapshot).await.ok()?;
    let record = record_of(snapshot, &note)?;
    let is_someones = record.outlives || sandboxes.contains(&record.sandbox);
    (record.name.is_some() && is_someones).then_some(record)
}

/// Snapshots that are on no record. Those on record that are not there are told of.
fn snapshots_unrecorded(mut there: HashSet<SnapshotId>, records: &[SnapshotRecord]) -> HashSet<SnapshotId> {
    for SnapshotRecord { id, .. } in records {
        if !there.remove(id) {
            tracing::error!(snapshot = %id, "a snapshot is on record and not in the storage");
        }
    }
    there
}

/// One of which nothing is kept; one whose deletion was begun; one that nobody was told of.
fn is_to_go(record: &SandboxRecord) -> bool {
    record.ephemeral
        || record.state == SandboxState::Stopping
        || matches!(record.pending, Some(Pending::Create | Pending::Fork { .. }))
}

fn was_alive(state: SandboxState) -> bool {
    use SandboxState::{Paused, Pausing, Resuming, Running};
    matches!(state, Running | Pausing | Paused | Resuming)
}

/// Under a database that no server has used yet there are no snapshots and no volumes. If there are, it is not the one that belongs to
/// the storage, and what is on none of its records must not be removed.
fn unknown_refuse(what: &str, there: usize) -> Result<()> {
    if there == 0 {
        return Ok(());
    }
    let text = format!(
        "the database is new, and the storage has {there} {what} that it would lose: put back the database that \
         belongs to this data directory, or choose another data directory; to give them up, delete what is in \
         storage/{what}"
    );
    Err(Error::new(ErrorKind::Refused, text))
}
