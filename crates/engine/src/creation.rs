//! Making a sandbox: its record, its place among the others, and what it begins with.

use std::{collections::HashSet, sync::Arc};

use protocol::SandboxId;
use store::{Batch, Counter, Pending, SandboxRecord, SandboxVolume, StoreError};
use tokio::sync::oneshot;

use crate::{
    Beginning, Caller, Engine, Error, ErrorKind, Result, Sandbox, SandboxSpec,
    sandbox::{Admitted, Command, Operate, Task, What, event, task_start, view_of},
};

impl Engine {
    /// Makes a sandbox, also if the caller goes away meanwhile. One with a program is launched when that is run;
    /// one without is up when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], [`ErrorKind::Busy`], [`ErrorKind::Conflict`] when the name is taken; without a
    /// program those of [`Self::sandbox_start`], and then there is no such sandbox.
    pub async fn sandbox_create(&self, caller: &Caller, spec: SandboxSpec) -> Result<Sandbox> {
        self.sandbox_create_with(caller, spec, Beginning::default()).await
    }

    /// The same, and one that is kept up begins with this. Nobody finds it otherwise, not even after a crash.
    ///
    /// # Errors
    /// Those of [`Self::sandbox_create`] and [`Self::snapshot_create`]; [`ErrorKind::Unavailable`] when it does not
    /// have the user.
    pub async fn sandbox_create_with(
        &self,
        caller: &Caller,
        spec: SandboxSpec,
        beginning: Beginning,
    ) -> Result<Sandbox> {
        let Admitted { mut record, program, volumes } = self.admit(caller, spec)?;
        if let Some(origin) = beginning.origin {
            let snapshot = self.snapshot_record(caller, origin).await?;
            record.image = snapshot.image;
        }
        let body = program.as_ref().map(postcard::to_stdvec).transpose().map_err(Error::internal)?;
        self.inner.program_room_check(body.as_ref().map_or(0, Vec::len)).await?;
        let (engine, caller) = (self.clone(), caller.clone());
        // A task of its own: a record that nobody looks after would stay until the next start.
        let made = tokio::spawn(async move {
            let (volumes, volumes_made) = engine.volumes_have(&caller, volumes).await?;
            let named: Vec<_> = volumes.iter().filter_map(SandboxVolume::named).collect();
            record.volumes = volumes;
            let made = match body {
                Some(body) => engine.make(&caller, record, Some(body), None).await,
                None => engine.make_and_begin(&caller, record, beginning).await,
            };
            if made.is_err() {
                engine.inner.volumes_end(&volumes_made).await;
                // One that was removed meanwhile may have got its folder again.
                engine.inner.volumes_clear(&named).await;
            }
            made
        });
        made.await.map_err(Error::internal)?
    }

    async fn make_and_begin(
        &self,
        caller: &Caller,
        record: SandboxRecord,
        beginning: Beginning,
    ) -> Result<Sandbox> {
        let id = record.id;
        let (reply, begun) = oneshot::channel();
        let Beginning { user, snapshot, origin } = beginning;
        let pending = origin.map_or(Pending::Create, |origin| Pending::Fork { origin });
        let first = Operate { by: caller.owner.clone(), what: What::Start { user, snapshot, reply } };
        self.make(caller, record, None, Some((pending, first))).await?;
        // A task that ends without an answer has just deleted its sandbox.
        let begun = begun.await.unwrap_or_else(|_| Err(Error::sandbox_not_found(id)));
        if let Err(error) = begun {
            match self.sandbox_delete(caller, id).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::error!(sandbox = %id, ?error, "a sandbox that could not be made stays");
                }
                _ => {}
            }
            return Err(error);
        }
        self.sandbox_get(caller, id).await
    }

    /// Puts a sandbox on record and starts its task. One that is kept up gets its first operation before anybody
    /// can find it.
    async fn make(
        &self,
        caller: &Caller,
        mut record: SandboxRecord,
        body: Option<Vec<u8>>,
        first: Option<(Pending, Operate)>,
    ) -> Result<Sandbox> {
        let naming = match &record.name {
            Some(name) => Some(self.name_take(&record.owner, &record.dialect, name).await?),
            None => None,
        };
        let mut batch = Batch::new();
        if let Some((pending, _)) = &first {
            record.number = Some(self.inner.number_next());
            record.ordinal = naming.as_ref().map(|_| self.ordinal_free(&record.dialect));
            record.pending = Some(pending.clone());
            batch = batch.counter_add(Counter::SandboxesNumbered, 1);
        }
        let (id, view) = (record.id, view_of(&record));
        let batch = batch
            .sandbox_insert(record.clone(), body)
            .event_append(event(&record, "created", &caller.owner))
            .counter_add(Counter::SandboxesCreated, 1);
        // One that is still to be launched is settled when it is.
        let batch = if view.program.is_some() { batch.durable() } else { batch };
        self.inner.store.apply(batch).await.map_err(not_recorded)?;
        let handle = task_start(Task { engine: Arc::clone(&self.inner), record, job: None, runs: false });
        if let Some((_, first)) = first {
            let _ = handle.commands.send(Command::Operate(first));
        }
        self.inner.registry_insert(id, handle);
        drop(naming);
        Ok(view)
    }

    /// Makes sure that a name is free, and that nobody else takes it, or an ordinal, until the guard is dropped.
    async fn name_take(
        &self,
        owner: &str,
        dialect: &str,
        name: &str,
    ) -> Result<tokio::sync::MutexGuard<'_, ()>> {
        let guard = self.inner.naming.lock().await;
        if self.named(dialect, name).iter().any(|sandbox| sandbox.owner == owner) {
            return Err(Error::new(ErrorKind::Conflict, format!("Sandbox {name:?} already exists")));
        }
        Ok(guard)
    }

    /// The lowest number that no sandbox of the dialect has.
    fn ordinal_free(&self, dialect: &str) -> u32 {
        let taken =
            self.inner.sandboxes_look(|sandbox| sandbox.ordinal.filter(|_| sandbox.dialect == dialect));
        let taken: HashSet<u32> = taken.into_iter().collect();
        (0..).find(|ordinal| !taken.contains(ordinal)).unwrap_or(u32::MAX)
    }

    /// Every owner's sandbox of this name.
    fn named(&self, dialect: &str, name: &str) -> Vec<Sandbox> {
        self.inner.sandboxes_look(|sandbox| {
            let fits = sandbox.dialect == dialect && sandbox.name.as_deref() == Some(name);
            fits.then(|| sandbox.clone())
        })
    }

    /// The sandbox of this name: the caller's own; for an administrator without one the only one that anybody has.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] for an administrator when several others have one.
    pub async fn sandbox_by_name(&self, caller: &Caller, dialect: &str, name: &str) -> Result<Sandbox> {
        let mut found = self.named(dialect, name);
        if let Some(own) = found.iter().position(|sandbox| sandbox.owner == caller.owner) {
            return Ok(found.swap_remove(own));
        }
        match found.pop().filter(|_| caller.administrator) {
            Some(only) if found.is_empty() => Ok(only),
            Some(last) => {
                let ids: Vec<SandboxId> = found.iter().map(|sandbox| sandbox.id).chain([last.id]).collect();
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                let text = format!(
                    "Several keys have one called {name:?} (sandboxes {}); use the key of its owner",
                    ids.join(", ")
                );
                Err(Error::new(ErrorKind::Conflict, text))
            }
            None => Err(Error::new(ErrorKind::NotFound, format!("Sandbox {name:?} not found"))),
        }
    }
}

/// Why a sandbox could not be put on record.
fn not_recorded(error: StoreError) -> Error {
    match error {
        StoreError::NotFound { noun: "volume", .. } => {
            Error::new(ErrorKind::Conflict, "A volume of the sandbox was removed meanwhile; try again")
        }
        error => Error::internal(error),
    }
}
