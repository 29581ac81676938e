//! The task's part in operations: one after the other, the record written before and after each.

use std::sync::Arc;

use jiff::Timestamp;
use protocol::{ExecId, SnapshotId};
use store::{Batch, EndReason, Pending, SandboxState};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    handle::{CommandOutcome, Operate, Target, What},
    operation::{Done, Operation, Work},
    recording::{event, snapshot_taken},
    taking::Taken,
    task::State,
    uptime::paused,
};
use crate::{
    Error, ErrorKind, Result, Snapshot,
    snapshot::{SnapshotName, SnapshotSpec},
};

/// The operation that goes on.
pub(super) struct Ongoing {
    pub(super) done: JoinHandle<Done>,
    /// The snapshot that may be there if it is broken off.
    pub(super) snapshot: Option<SnapshotId>,
    restoring: Option<Restoring>,
    /// What the trail says when it is done, if that is all there is to say.
    told: Option<&'static str>,
    by: String,
    reply: Reply,
}

impl Ongoing {
    /// Whether it pauses the sandbox.
    pub(super) fn is_pause(&self) -> bool {
        self.told == Some(PAUSED)
    }
}

/// What the trail says of a pause.
const PAUSED: &str = "paused";

/// What a restore is of, and the snapshots that go when it is done.
struct Restoring {
    snapshot: SnapshotId,
    dropped: Vec<SnapshotId>,
}

/// Who waits for it.
enum Reply {
    Done(oneshot::Sender<Result<()>>),
    Command(oneshot::Sender<Result<CommandOutcome>>),
    Snapshot(oneshot::Sender<Result<Snapshot>>),
    Nobody,
}

impl Reply {
    fn refuse(self, error: Error) {
        match self {
            Self::Done(reply) => drop(reply.send(Err(error))),
            Self::Command(reply) => drop(reply.send(Err(error))),
            Self::Snapshot(reply) => drop(reply.send(Err(error))),
            Self::Nobody => {}
        }
    }
}

impl State {
    /// Begins an operation, or puts it behind the one that goes on.
    pub(super) async fn operate(&mut self, operate: Operate) {
        self.operations.push_back(operate);
        self.operation_next().await;
    }

    /// Begins the next operation, if none goes on.
    pub(super) async fn operation_next(&mut self) {
        while self.ongoing.is_none() {
            let Some(operate) = self.operations.pop_front() else { return };
            let by = operate.by;
            let keeps_up = self.is_kept_up();
            let (work, spec, restoring, pending, reply) = match operate.what {
                What::Start { user, snapshot: spec, reply } => {
                    let snapshot = spec.as_ref().map(|_| SnapshotId::random());
                    (Work::Start { user, snapshot }, spec, None, None, Reply::Done(reply))
                }
                What::Command { user, command, snapshot: spec, reply } => {
                    let exec = ExecId::random();
                    let snapshot = spec.as_ref().map(|_| SnapshotId::random());
                    let pending = snapshot.zip(spec.as_ref()).map(|(snapshot, spec)| Pending::Command {
                        exec,
                        snapshot,
                        prefix: spec.name.prefix(),
                        note: spec.note.clone().unwrap_or_default(),
                    });
                    let work = Work::Command { exec, user, command, snapshot };
                    (work, spec, None, pending, Reply::Command(reply))
                }
                What::Snapshot { spec, reply } => {
                    let work = Work::Snapshot(SnapshotId::random());
                    (work, Some(spec), None, None, Reply::Snapshot(reply))
                }
                What::Restore { target, later_dropped, reply } => {
                    let (snapshot, dropped) = match self.restore_target(&target, later_dropped).await {
                        Ok(found) => found,
                        Err(error) => {
                            let _ = reply.send(Err(error));
                            continue;
                        }
                    };
                    let pending = Pending::Restore { snapshot, dropped: dropped.clone() };
                    let work = Work::Restore { snapshot, start: keeps_up };
                    let restoring = Restoring { snapshot, dropped };
                    (work, None, Some(restoring), Some(pending), Reply::Done(reply))
                }
                What::Import { archive, spec, reply } => {
                    if reply.is_closed() {
                        // Whoever sends the archive has gone while it waited.
                        continue;
                    }
                    let work = Work::Import { archive, snapshot: SnapshotId::random() };
                    (work, Some(spec), None, None, Reply::Snapshot(reply))
                }
                What::Wipe { reply } => (Work::Wipe, None, None, None, Reply::Done(reply)),
                What::Pause { reply } => match self.pause_check() {
                    Ok(()) => (Work::Pause, None, None, None, Reply::Done(reply)),
                    Err(error) => {
                        let _ = reply.send(Err(error));
                        continue;
                    }
                },
                What::Resume { or_running, reply } => match self.resume_check(or_running) {
                    Ok(true) => (Work::Resume, None, None, None, Reply::Done(reply)),
                    checked => {
                        let _ = reply.send(checked.map(|_| ()));
                        continue;
                    }
                },
            };
            let ongoing = Begin { work, spec, restoring, by, reply };
            if let Err((reply, error)) = self.operation_begin(ongoing, pending).await {
                reply.refuse(error);
            }
        }
    }

    /// The snapshot to restore, and those that go with it.
    async fn restore_target(
        &self,
        target: &Target,
        later_dropped: bool,
    ) -> Result<(SnapshotId, Vec<SnapshotId>)> {
        let engine = &self.task.engine;
        let taken = engine.store.snapshot_list(self.task.record.id).await.map_err(Error::internal)?;
        let found = taken.iter().find(|taken| match target {
            Target::Id(id) => taken.name.is_some() && taken.id == *id,
            Target::Name(name) => taken.name.as_ref() == Some(name),
        });
        let found = found.ok_or_else(Error::snapshot_not_found)?;
        let later =
            taken.iter().filter(|taken| later_dropped && taken.name.is_some() && taken.seq > found.seq);
        Ok((found.id, later.map(|taken| taken.id).collect()))
    }

    async fn operation_begin(
        &mut self,
        begin: Begin,
        pending: Option<Pending>,
    ) -> std::result::Result<(), (Reply, Error)> {
        let Begin { work, spec, restoring, by, reply } = begin;
        if !self.is_kept_up() && self.current.is_some() && matches!(work, Work::Restore { .. }) {
            let text = "The sandbox's program runs; restore it when it has ended";
            return Err((reply, Error::new(ErrorKind::Conflict, text)));
        }
        if work.needs_agent() && self.is_paused() {
            return Err((reply, paused()));
        }
        let restarts = matches!(work, Work::Restore { start: true, .. });
        let launches = (work.needs_agent() || restarts) && !self.is_up();
        if work.needs_agent() && !self.is_up() && !self.is_kept_up() {
            let text = "Nothing runs in the sandbox";
            return Err((reply, Error::new(ErrorKind::Conflict, text)));
        }
        if launches && let Err(error) = self.permit_take() {
            return Err((reply, error));
        }
        let origin = match &self.task.record.pending {
            Some(Pending::Fork { origin }) => Some(*origin),
            _ => None,
        };
        if launches || pending.is_some() {
            let before = self.task.record.clone();
            let record = &mut self.task.record;
            record.pending = pending.or(record.pending.take());
            if launches {
                record.state = SandboxState::Running;
                record.started_at = Some(Timestamp::now());
                (record.ended_at, record.end) = (None, None);
            }
            let written = self.record_write(launches.then_some("launched"), &by).await;
            if let Err(error) = written {
                self.task.record = before;
                if launches {
                    self.permit = None;
                }
                return Err((reply, error));
            }
        }
        let snapshot = work.snapshot();
        let told = match work {
            Work::Wipe => Some("wiped"),
            Work::Pause => Some(PAUSED),
            Work::Resume => Some("resumed"),
            _ => None,
        };
        let operation = Operation {
            engine: Arc::clone(&self.task.engine),
            record: self.task.record.clone(),
            view: self.view.subscribe(),
            up: self.is_up(),
            paused: self.is_paused(),
            entry: None,
            origin,
            spec,
            snapshot_millis: self.snapshot_millis,
        };
        let done = tokio::spawn(operation.perform(work));
        self.ongoing = Some(Ongoing { done, snapshot, restoring, told, by, reply });
        Ok(())
    }

    /// Goes on with what was pending under an earlier server.
    pub(super) async fn operation_resume(&mut self, pending: Pending) {
        let (work, spec, restoring) = match pending {
            Pending::Command { exec, snapshot, prefix, note } if self.up => {
                let spec =
                    SnapshotSpec { note: Some(note), ..SnapshotSpec::new(SnapshotName::Timed(prefix)) };
                (Work::CommandResume { exec, snapshot }, Some(spec), None)
            }
            Pending::Restore { snapshot, dropped } => {
                let work = Work::Restore { snapshot, start: self.is_kept_up() };
                (work, None, Some(Restoring { snapshot, dropped }))
            }
            Pending::Command { .. } | Pending::Create | Pending::Fork { .. } => return,
        };
        let begin = Begin { work, spec, restoring, by: "restart".to_owned(), reply: Reply::Nobody };
        let pending = self.task.record.pending.clone();
        if let Err((_, error)) = self.operation_begin(begin, pending).await {
            tracing::error!(sandbox = %self.task.record.id, ?error, "what was begun with a sandbox is not finished");
        }
    }

    /// An operation is done: what came of it is recorded, then told.
    pub(super) async fn operation_ended(&mut self, done: Option<Done>) {
        let Some(ongoing) = self.ongoing.take() else { return };
        let Ongoing { restoring, told, by, reply, .. } = ongoing;
        let lost = || Error::internal("an operation's task panicked");
        let Done { up, paused, entry, end, result, snapshot, error } = done.unwrap_or_else(|| Done {
            up: self.up,
            paused: self.is_paused(),
            entry: None,
            end: None,
            result: None,
            snapshot: None,
            error: Some(lost()),
        });
        if self.is_kept_up() {
            self.up_set(up, paused, end);
        }
        if let Some(entry) = entry {
            self.entry_end = None;
            self.entry_follow(entry);
        }
        let (taken, refused) = match snapshot.transpose() {
            Ok(taken) => (taken, None),
            Err(refused) => (None, Some(refused)),
        };
        let restored = restoring.filter(|_| error.is_none());
        let failed = error.is_some() || refused.is_some();
        // One that could not be made is still nobody's, should this server end before it is removed.
        let was_made = matches!(self.task.record.pending, Some(Pending::Create | Pending::Fork { .. }));
        if !(failed && was_made) {
            self.task.record.pending = None;
        }
        let written = match (taken, restored) {
            (Some(taken), _) => self.snapshot_settle(taken, &by, was_made).await.map(Some),
            (None, Some(restored)) => self.restored_record(&restored, &by).await.map(|()| None),
            (None, None) if was_made => self.record_settle().await.map(|()| None),
            (None, None) => self.record_write(told.filter(|_| !failed), &by).await.map(|()| None),
        };
        let error = error.or(refused);
        match (reply, written, error) {
            (reply, Err(error), _) | (reply, _, Some(error)) => reply.refuse(error),
            (Reply::Done(reply), Ok(_), None) => drop(reply.send(Ok(()))),
            (Reply::Snapshot(reply), Ok(Some(snapshot)), None) => drop(reply.send(Ok(snapshot))),
            (Reply::Command(reply), Ok(snapshot), None) => drop(reply.send(match result {
                Some(result) => Ok(CommandOutcome { result, snapshot }),
                None => Err(lost()),
            })),
            (reply, Ok(_), None) => reply.refuse(lost()),
        }
        if let Some(stats) = self.exited.take() {
            self.exited_by_itself(&stats).await;
        }
        if let Some(end) = self.entry_end.take() {
            self.entry_ended(Some(end)).await;
        }
        self.operation_next().await;
        self.queue_next().await;
    }

    /// A snapshot is on the disk, its row in the store: now it counts. Where a sandbox comes to be with it, both are
    /// on the disk before anybody is told; otherwise what is left to write is done by the next start at the latest.
    async fn snapshot_settle(&mut self, taken: Taken, by: &str, was_made: bool) -> Result<Snapshot> {
        let Taken { record: snapshot, millis } = taken;
        self.snapshot_millis = millis;
        let record = &self.task.record;
        let batch = Batch::new()
            .sandbox_update(record.clone())
            .snapshot_settle(snapshot.id)
            .event_append(snapshot_taken(record, &snapshot, by));
        if was_made {
            if let Err(error) = self.task.engine.store.apply(batch.durable()).await {
                self.snapshots_remove(&[snapshot.id]).await;
                return Err(Error::internal(error));
            }
        } else {
            let written = self.task.engine.store.submit(batch);
            tokio::spawn(async move {
                if let Err(error) = written.await {
                    tracing::error!(snapshot = %snapshot.id, %error, "a snapshot is not listed until the next start");
                }
            });
        }
        self.view_update();
        Ok(Snapshot::of(&snapshot))
    }

    async fn restored_record(&mut self, restored: &Restoring, by: &str) -> Result<()> {
        let Restoring { snapshot, dropped } = restored;
        let record = &self.task.record;
        let mut told = event(record, "restored", by);
        told.detail = serde_json::json!({ "snapshot": snapshot, "dropped": dropped });
        let batch = Batch::new().sandbox_update(record.clone()).event_append(told);
        let batch = dropped.iter().fold(batch, |batch, id| batch.snapshot_delete(*id)).durable();
        self.task.engine.store.apply(batch).await.map_err(Error::internal)?;
        self.view_update();
        self.snapshots_remove(dropped).await;
        Ok(())
    }

    /// Removes snapshots that are on no record any more. What stays is found at the next start.
    pub(super) async fn snapshots_remove(&self, snapshots: &[SnapshotId]) {
        for snapshot in snapshots {
            if let Err(error) = self.task.engine.runtime.snapshot_remove(*snapshot).await {
                tracing::error!(%snapshot, %error, "a snapshot stays until the next start");
            }
        }
    }

    /// Breaks off what goes on and what waits. Returns the snapshot that may have come of it.
    pub(super) async fn operations_drop(&mut self, why: &EndReason) -> Option<SnapshotId> {
        let error = || Error::new(ErrorKind::SandboxEnded, format!("The sandbox {why}"));
        self.operations.drain(..).for_each(|operate| operate.refuse(error()));
        let ongoing = self.ongoing.take()?;
        ongoing.done.abort();
        // From here on it writes nothing.
        let _ = ongoing.done.await;
        ongoing.reply.refuse(error());
        ongoing.snapshot
    }
}

/// An operation about to begin.
struct Begin {
    work: Work,
    spec: Option<SnapshotSpec>,
    restoring: Option<Restoring>,
    by: String,
    reply: Reply,
}
