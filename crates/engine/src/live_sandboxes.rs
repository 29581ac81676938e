//! The engine's face for sandboxes that are kept up: commands in them, their snapshots, forks.

use std::{collections::HashMap, sync::Arc};

use protocol::{SandboxId, SnapshotId};
use store::{Batch, Counter, Pending, SandboxRecord, SandboxState, SnapshotRecord, StoreError};
use tokio::sync::oneshot;

#[cfg(doc)]
use crate::ErrorKind;
use crate::{
    Archive, Caller, CommandOutcome, Engine, Error, Result, Sandbox, Snapshot, SnapshotName, SnapshotSpec,
    program::CommandSpec,
    sandbox::{Command, Operate, Target, Task, What, event, snapshot_deleted},
};

/// Sandboxes that one fork may make.
const FORKS_MAX: usize = 1000;

impl Engine {
    /// Has a sandbox up, whatever it was: launched if it is not, its agent answering.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Busy`], [`ErrorKind::LaunchFailed`], [`ErrorKind::Conflict`] for one
    /// that is launched for its program only.
    pub async fn sandbox_start(&self, caller: &Caller, id: SandboxId) -> Result<()> {
        self.operate(caller, id, |reply| What::Start { user: None, snapshot: None, reply }).await
    }

    /// Whether a sandbox's agent answers.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn agent_ping(&self, caller: &Caller, id: SandboxId) -> Result<bool> {
        let sandbox = self.sandbox_get(caller, id).await?;
        Ok(sandbox.state == SandboxState::Running && self.inner.agent_answers(id).await)
    }

    /// Runs a command in a sandbox that is kept up, and takes a snapshot after it if one is wanted, however the
    /// command ended. Commands of one sandbox follow each other, and its other operations.
    ///
    /// # Errors
    /// Those of [`Self::sandbox_start`]; [`ErrorKind::SandboxEnded`]; [`ErrorKind::Unavailable`] when the command
    /// ran and the snapshot could not be taken. A command that fails, or is ended at its time limit, is a result.
    pub async fn command_run(
        &self,
        caller: &Caller,
        id: SandboxId,
        command: CommandSpec,
        snapshot: Option<SnapshotSpec>,
    ) -> Result<CommandOutcome> {
        self.command_run_as(caller, id, None, command, snapshot).await
    }

    /// The same as a user of the sandbox, by name or number. The work folder is that user's then.
    ///
    /// # Errors
    /// Those of [`Self::command_run`]; [`ErrorKind::Unavailable`] when there is no such user.
    pub async fn command_run_as(
        &self,
        caller: &Caller,
        id: SandboxId,
        user: Option<String>,
        command: CommandSpec,
        snapshot: Option<SnapshotSpec>,
    ) -> Result<CommandOutcome> {
        let max = self.inner.settings.timeout_max;
        if command.timeout.is_zero() || command.timeout > max {
            let text = format!("must be between 1 and {} ms", max.as_millis());
            return Err(Error::invalid("timeout", text));
        }
        self.snapshot_room_check(id, snapshot.is_some()).await?;
        self.operate(caller, id, |reply| What::Command { user, command, snapshot, reply }).await
    }

    /// Empties a sandbox's work folder.
    ///
    /// # Errors
    /// Those of [`Self::sandbox_start`].
    pub async fn work_folder_wipe(&self, caller: &Caller, id: SandboxId) -> Result<()> {
        self.operate(caller, id, |reply| What::Wipe { reply }).await
    }

    /// Replaces what is in a sandbox's work folder by the content of an archive, and takes a snapshot of that. Where
    /// the archive is refused or breaks off, nothing has changed.
    ///
    /// # Errors
    /// Those of [`Self::sandbox_start`]; [`ErrorKind::Invalid`] and [`ErrorKind::Refused`] with what is wrong with the
    /// archive; [`ErrorKind::TooLarge`] when it does not fit into the sandbox's disk; [`ErrorKind::TimedOut`];
    /// [`ErrorKind::Unavailable`] when the storage is full, or has no room for the snapshot after it.
    pub async fn work_folder_import(
        &self,
        caller: &Caller,
        id: SandboxId,
        archive: Archive,
        spec: SnapshotSpec,
    ) -> Result<Snapshot> {
        self.snapshot_room_check(id, true).await?;
        let taken = self.operate(caller, id, |reply| What::Import { archive, spec, reply }).await?;
        // With its number, unless it has gone again.
        let listed = self.snapshot_list(caller, id).await?;
        Ok(listed.into_iter().find(|listed| listed.id == taken.id).unwrap_or(taken))
    }

    /// Stops all processes of a sandbox, their memory kept. It uses no processor until it is resumed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] for one that does not run, or is paused.
    pub async fn sandbox_pause(&self, caller: &Caller, id: SandboxId) -> Result<()> {
        self.operate(caller, id, |reply| What::Pause { reply }).await
    }

    /// Lets a paused sandbox go on where it was.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] for one that is not paused.
    pub async fn sandbox_resume(&self, caller: &Caller, id: SandboxId) -> Result<()> {
        self.operate(caller, id, |reply| What::Resume { or_running: false, reply }).await
    }

    /// Takes a snapshot of a sandbox's files, whether it runs or not. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] when the name is taken or there are no files yet;
    /// [`ErrorKind::Unavailable`] when there is no room.
    pub async fn snapshot_create(
        &self,
        caller: &Caller,
        id: SandboxId,
        spec: SnapshotSpec,
    ) -> Result<Snapshot> {
        self.operate(caller, id, |reply| What::Snapshot { spec, reply }).await
    }

    /// A sandbox's snapshots, in the order in which they were taken.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn snapshot_list(&self, caller: &Caller, id: SandboxId) -> Result<Vec<Snapshot>> {
        self.sandbox_get(caller, id).await?;
        let records = self.inner.store.snapshot_list(id).await.map_err(Error::internal)?;
        Ok(records.iter().filter(|record| record.name.is_some()).map(Snapshot::of).collect())
    }

    /// All snapshots that the caller may see, in the order in which they were taken.
    ///
    /// # Errors
    /// None at present.
    pub async fn snapshot_list_all(&self, caller: &Caller) -> Result<Vec<Snapshot>> {
        let owner = (!caller.administrator).then(|| caller.owner.clone());
        let records = self.inner.store.snapshot_list_all(owner).await.map_err(Error::internal)?;
        Ok(records.iter().filter(|record| record.name.is_some()).map(Snapshot::of).collect())
    }

    /// All snapshots of a dialect's sandboxes that the caller may see, each with its sandbox, the newest first.
    ///
    /// # Errors
    /// None at present.
    pub async fn snapshot_list_of_dialect(
        &self,
        caller: &Caller,
        dialect: &str,
    ) -> Result<Vec<(Arc<Sandbox>, Snapshot)>> {
        let sandboxes = self.sandbox_list(caller).await?.into_iter();
        let sandboxes = sandboxes.filter(|sandbox| sandbox.dialect == dialect);
        let sandboxes: HashMap<SandboxId, Arc<Sandbox>> =
            sandboxes.map(|sandbox| (sandbox.id, Arc::new(sandbox))).collect();
        let taken = self.snapshot_list_all(caller).await?.into_iter().rev();
        let of = |snapshot: &Snapshot| sandboxes.get(&snapshot.sandbox).cloned();
        Ok(taken.filter_map(|snapshot| Some((of(&snapshot)?, snapshot))).collect())
    }

    /// Puts a sandbox's files back to what a snapshot holds. What runs in it is ended; one that is kept up is up
    /// again when this returns. With `later_dropped`, snapshots taken after this one are removed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] while its program runs.
    pub async fn snapshot_restore(
        &self,
        caller: &Caller,
        id: SandboxId,
        snapshot: SnapshotId,
        later_dropped: bool,
    ) -> Result<()> {
        let target = Target::Id(snapshot);
        self.operate(caller, id, |reply| What::Restore { target, later_dropped, reply }).await
    }

    /// The same with the snapshot that has this name when it is the restore's turn.
    ///
    /// # Errors
    /// Those of [`Self::snapshot_restore`].
    pub async fn snapshot_restore_by_name(
        &self,
        caller: &Caller,
        id: SandboxId,
        name: &str,
        later_dropped: bool,
    ) -> Result<()> {
        let target = Target::Name(name.to_owned());
        self.operate(caller, id, |reply| What::Restore { target, later_dropped, reply }).await
    }

    /// A snapshot that the caller may see, also when its sandbox is gone.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn snapshot_get(&self, caller: &Caller, snapshot: SnapshotId) -> Result<Snapshot> {
        self.snapshot_record(caller, snapshot).await.map(|record| Snapshot::of(&record))
    }

    pub(crate) async fn snapshot_record(
        &self,
        caller: &Caller,
        snapshot: SnapshotId,
    ) -> Result<SnapshotRecord> {
        let found = self.inner.store.snapshot_get(snapshot).await;
        let found = found.map_err(|error| match error {
            StoreError::NotFound { .. } => Error::snapshot_not_found(),
            error => Error::internal(error),
        })?;
        let seen = found.name.is_some() && (caller.administrator || found.owner == caller.owner);
        if seen { Ok(found) } else { Err(Error::snapshot_not_found()) }
    }

    /// Removes a snapshot, also when its sandbox is gone.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn snapshot_remove(&self, caller: &Caller, snapshot: SnapshotId) -> Result<()> {
        let record = self.snapshot_record(caller, snapshot).await?;
        self.snapshot_forget(&record, caller).await
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn snapshot_delete(&self, caller: &Caller, id: SandboxId, snapshot: SnapshotId) -> Result<()> {
        self.sandbox_get(caller, id).await?;
        let record = self.snapshot_record(caller, snapshot).await?;
        if record.sandbox != id {
            return Err(Error::snapshot_not_found());
        }
        self.snapshot_forget(&record, caller).await
    }

    async fn snapshot_forget(&self, record: &SnapshotRecord, caller: &Caller) -> Result<()> {
        let (snapshot, told) = (record.id, snapshot_deleted(record, &caller.owner));
        // Its row must not come back with a power cut: nobody could restore it.
        let batch = Batch::new().snapshot_delete(snapshot).event_append(told).durable();
        let inner = Arc::clone(&self.inner);
        to_its_end(async move {
            inner.store.apply(batch).await.map_err(Error::internal)?;
            inner.runtime.snapshot_remove(snapshot).await.map_err(Error::internal)
        })
        .await
    }

    /// Makes `count` new sandboxes with the files of one that exists, whether it runs or not, all up when this
    /// returns; or none. Also if the caller goes away meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Busy`], [`ErrorKind::Invalid`], and those of
    /// [`Self::snapshot_create`] and [`Self::sandbox_start`].
    pub async fn sandbox_fork(&self, caller: &Caller, id: SandboxId, count: usize) -> Result<Vec<Sandbox>> {
        if count == 0 || count > FORKS_MAX {
            return Err(Error::invalid("count", format!("must be between 1 and {FORKS_MAX}, not {count}")));
        }
        self.sandboxes_room_check(count)?;
        let source = self.sandbox_get(caller, id).await?;
        let (engine, caller) = (self.clone(), caller.clone());
        to_its_end(async move {
            let spec = SnapshotSpec::new(SnapshotName::None);
            let origin = engine.operate(&caller, id, |reply| What::Snapshot { spec, reply }).await?;
            let forks = engine.forks_make(&caller, &source, origin.id, count).await;
            let forgotten = Batch::new().snapshot_delete(origin.id);
            engine.inner.store.apply(forgotten).await.map_err(Error::internal)?;
            engine.inner.runtime.snapshot_remove(origin.id).await.map_err(Error::internal)?;
            forks
        })
        .await
    }

    async fn forks_make(
        &self,
        caller: &Caller,
        source: &Sandbox,
        origin: SnapshotId,
        count: usize,
    ) -> Result<Vec<Sandbox>> {
        let original = self.inner.store.sandbox_get(source.id).await.map_err(Error::internal)?;
        let records: Vec<SandboxRecord> = (0..count)
            .map(|_| SandboxRecord {
                id: SandboxId::random(),
                owner: caller.owner.clone(),
                name: None,
                number: Some(self.inner.number_next()),
                ordinal: None,
                state: SandboxState::Pending,
                created_at: jiff::Timestamp::now(),
                started_at: None,
                ended_at: None,
                end: None,
                program: None,
                last_result: None,
                pending: Some(Pending::Fork { origin }),
                ..original.clone()
            })
            .collect();
        let batch = records.iter().fold(Batch::new(), |batch, record| {
            batch
                .sandbox_insert(record.clone(), None)
                .event_append(event(record, "forked", &caller.owner))
                .counter_add(Counter::SandboxesCreated, 1)
                .counter_add(Counter::SandboxesNumbered, 1)
        });
        self.inner.store.apply(batch).await.map_err(Error::internal)?;
        let ids: Vec<SandboxId> = records.iter().map(|record| record.id).collect();
        for record in records {
            let engine = Arc::clone(&self.inner);
            self.task_start(Task { engine, record, job: None, runs: false });
        }
        let started = ids.iter().map(|id| self.sandbox_start(caller, *id));
        let started: Result<Vec<()>> = futures::future::try_join_all(started).await;
        if let Err(error) = started {
            for id in ids {
                if let Err(error) = self.sandbox_delete(caller, id).await {
                    tracing::error!(sandbox = %id, ?error, "a fork that failed stays");
                }
            }
            return Err(error);
        }
        let mut forks = Vec::with_capacity(count);
        for id in ids {
            forks.push(self.sandbox_get(caller, id).await?);
        }
        Ok(forks)
    }

    async fn operate<T>(
        &self,
        caller: &Caller,
        id: SandboxId,
        what: impl FnOnce(oneshot::Sender<Result<T>>) -> What,
    ) -> Result<T> {
        let by = caller.owner.clone();
        self.handle(caller, id)?.ask(id, |reply| Command::Operate(Operate { by, what: what(reply) })).await?
    }

    /// Whether a sandbox may have another snapshot, before anything is done of which one is to be taken.
    async fn snapshot_room_check(&self, id: SandboxId, wanted: bool) -> Result<()> {
        let most = self.inner.settings.snapshots_max;
        if wanted && self.inner.store.snapshot_count(id).await.map_err(Error::internal)? >= most {
            return Err(Error::snapshots_full(most));
        }
        Ok(())
    }
}

/// Does what must not be left half done, also if whoever asked for it goes away meanwhile.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.map_err(Error::internal)?
}
