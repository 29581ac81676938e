//! The task's part in the end of a sandbox: on request, by its lease, or because nobody is there for it.

use jiff::Timestamp;
use protocol::{SnapshotId, VolumeId, launcher::Stats};
use store::{Batch, EndReason, SandboxState, SandboxVolume};

use super::{admission::later, recording::event, task::State};
use crate::{Error, ErrorKind, Result};

impl State {
    /// Stops waiting for a run that goes on, and says why to whoever asked for it.
    pub(super) fn current_drop(&mut self, why: &str) {
        if let Some(current) = self.current.take() {
            current.outcome.abort();
            if let Some(reply) = current.reply {
                let _ = reply.send(Err(Error::new(ErrorKind::SandboxEnded, format!("The sandbox {why}"))));
            }
        }
    }

    /// Ends a run that goes on.
    pub(super) async fn processes_end(&mut self, why: &str) -> Result<()> {
        self.current_drop(why);
        self.processes_kill().await.map(|_| ())
    }

    pub(super) async fn processes_kill(&mut self) -> Result<Stats> {
        let id = self.task.record.id;
        self.task.engine.runtime.kill(id).await.map_err(Error::internal)
    }

    /// Ends it, removes everything of it, its snapshots and its record. That it is to go is written first: a start
    /// that finds it so finishes the work.
    pub(super) async fn delete(&mut self, reason: EndReason, by: &str) -> Result<()> {
        self.current_drop(&reason.to_string());
        let half_taken = self.operations_drop(&reason).await;
        let id = self.task.record.id;
        let mut snapshots: Vec<SnapshotId> = half_taken.into_iter().collect();
        if !self.task.record.ephemeral {
            self.task.record.state = SandboxState::Stopping;
            self.record_write(None, by).await?;
            let taken = self.task.engine.store.snapshot_list(id).await.map_err(Error::internal)?;
            let going = taken.into_iter().filter(|snapshot| !snapshot.outlives);
            snapshots.extend(going.map(|snapshot| snapshot.id));
        }
        self.task.engine.runtime.remove(id).await.map_err(Error::internal)?;
        self.forget(by, &snapshots).await;
        self.snapshots_remove(&snapshots).await;
        Ok(())
    }

    /// Removes the record, those of snapshots, and the way to this task.
    pub(super) async fn forget(&mut self, by: &str, snapshots: &[SnapshotId]) {
        let record = &self.task.record;
        let mut batch = Batch::new().sandbox_delete(record.id);
        if !record.ephemeral {
            batch = batch.event_append(event(record, "deleted", by));
        }
        let batch = snapshots.iter().fold(batch, |batch, id| batch.snapshot_delete(*id));
        let volumes: Vec<VolumeId> = record.volumes.iter().filter_map(SandboxVolume::ends_with_it).collect();
        let batch = volumes.iter().fold(batch, |batch, id| batch.volume_delete_unused(*id));
        let engine = &self.task.engine;
        if let Err(error) = engine.store.apply(batch).await {
            tracing::error!(sandbox = %record.id, %error, "the record of a deleted sandbox stays");
        }
        engine.volumes_clear(&volumes).await;
        engine.registry_remove(record.id);
    }

    /// Whoever asked for a run of which nothing is kept has gone: nobody can ever have its result. Returns
    /// whether the task is done.
    pub(super) async fn caller_gone(&mut self) -> bool {
        let deleted = self.delete(EndReason::Killed { by: "its caller".to_owned() }, "").await;
        if let Err(error) = &deleted {
            tracing::error!(sandbox = %self.task.record.id, ?error, "a sandbox whose caller has gone can't be ended");
        }
        deleted.is_ok()
    }

    /// The lease is over: what runs is ended and stays listed for a while; what does not run goes. Returns
    /// whether the task is done.
    pub(super) async fn lease_over(&mut self) -> bool {
        if self.current.is_none() && !self.up {
            return self.delete(EndReason::LeaseEnded, "lease").await.is_ok();
        }
        self.end(EndReason::LeaseEnded, "lease").await;
        self.queue_next().await;
        false
    }

    /// Ends what runs of it; its files and its record stay.
    pub(super) async fn end(&mut self, reason: EndReason, by: &str) {
        let half_taken = self.operations_drop(&reason).await;
        if let Err(error) = self.processes_end(&reason.to_string()).await {
            tracing::error!(sandbox = %self.task.record.id, ?error, %reason, "a sandbox can't be ended");
        }
        (self.up, self.permit) = (false, None);
        if let Some(snapshot) = half_taken {
            let forgotten = Batch::new().snapshot_delete(snapshot);
            if let Err(error) = self.task.engine.store.apply(forgotten).await {
                tracing::error!(%snapshot, %error, "the row of a snapshot that is none stays until the next start");
            }
            self.snapshots_remove(&[snapshot]).await;
        }
        self.log.finish();
        let retention = self.task.engine.settings.ended_retention;
        let record = &mut self.task.record;
        record.pending = None;
        record.end = Some(reason);
        record.state = SandboxState::Terminated;
        record.ended_at = Some(Timestamp::now());
        let retained = later(Timestamp::now(), retention);
        record.lease_until = record.lease_until.map(|until| until.max(retained));
        if let Err(error) = self.record_write(Some("ended"), by).await {
            tracing::error!(sandbox = %self.task.record.id, ?error, "the end of a sandbox was not recorded");
        }
    }
}
