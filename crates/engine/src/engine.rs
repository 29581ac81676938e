//! The engine's face: what dialects call. Each call finds the sandbox's task and asks it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use protocol::SandboxId;
use store::{Batch, Counter, SandboxRecord, Store};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Caller, Error, ErrorKind, Result, Runtime, Sandbox, SandboxSpec, Settings,
    keys::KnownKeys,
    log::LogLine,
    program::{CommandSpec, Job, Mode, ProgramFile, ProgramResult, Streams},
    reconcile,
    runtime::RuntimeEvent,
    sandbox::{Admitted, Command, Handle, Task, admit, event, task_start, view_of},
};

/// Everything that sandboxes' tasks share.
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) keys: KnownKeys,
    /// Permits to run.
    pub(crate) running: Arc<Semaphore>,
    /// The way to each sandbox's task. Locked for a look or a change only, never across an await.
    registry: Mutex<HashMap<SandboxId, Handle>>,
}

/// The engine. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

impl Engine {
    /// Starts the engine: records and what the runtime has are brought to agree, then every record gets its
    /// task. `exits` are the runtime's sandboxes that end by themselves.
    ///
    /// # Errors
    /// When the store or the runtime can't be read.
    pub async fn start(
        settings: Settings,
        store: Store,
        runtime: Arc<dyn Runtime>,
        events: mpsc::UnboundedReceiver<RuntimeEvent>,
    ) -> Result<Self> {
        let records = reconcile::reconcile(&store, runtime.as_ref(), &settings).await?;
        let inner = Arc::new(Inner {
            running: Arc::new(Semaphore::new(settings.running_max)),
            keys: KnownKeys::read(&store).await?,
            settings,
            store,
            runtime,
            registry: Mutex::new(HashMap::new()),
        });
        for record in records {
            let (id, engine) = (record.id, Arc::clone(&inner));
            let handle = task_start(Task { engine, record, job: None });
            inner.registry_insert(id, handle);
        }
        tokio::spawn(events_pass(Arc::clone(&inner), events));
        Ok(Self { inner })
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Makes a sandbox, also if the caller goes away meanwhile. It is launched when something is run in it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], [`ErrorKind::Busy`].
    pub async fn sandbox_create(&self, caller: &Caller, spec: SandboxSpec) -> Result<Sandbox> {
        let Admitted { record, program } = self.admit(caller, spec)?;
        let view = view_of(&record);
        let body = program.as_ref().map(postcard::to_stdvec).transpose().map_err(Error::internal)?;
        self.inner.program_room_check(body.as_ref().map_or(0, Vec::len)).await?;
        let batch = Batch::new()
            .sandbox_insert(record.clone(), body)
            .event_append(event(&record, "created", &caller.owner))
            .counter_add(Counter::SandboxesCreated, 1);
        let engine = self.clone();
        // A task of its own: a record that nobody looks after would stay until the next start.
        let made = tokio::spawn(async move {
            engine.inner.store.apply(batch).await.map_err(Error::internal)?;
            engine.task_start(Task { engine: Arc::clone(&engine.inner), record, job: None });
            Ok(view)
        });
        made.await.map_err(Error::internal)?
    }

    /// A sandbox as it is now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn sandbox_get(&self, caller: &Caller, id: SandboxId) -> Result<Sandbox> {
        let handle = self.handle(caller, id)?;
        let view = handle.view.borrow().clone();
        Ok(view)
    }

    /// Every sandbox that the caller may see, the newest first.
    ///
    /// # Errors
    /// None at present.
    pub async fn sandbox_list(&self, caller: &Caller) -> Result<Vec<Sandbox>> {
        let mut sandboxes: Vec<Sandbox> = self
            .inner
            .registry()
            .values()
            .map(|handle| handle.view.borrow().clone())
            .filter(|sandbox| sees(caller, sandbox))
            .collect();
        sandboxes.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(b.id.cmp(&a.id)));
        Ok(sandboxes)
    }

    /// Ends a sandbox and removes everything of it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn sandbox_delete(&self, caller: &Caller, id: SandboxId) -> Result<()> {
        let by = caller.owner.clone();
        self.handle(caller, id)?.ask(id, |reply| Command::Delete { by, reply }).await?
    }

    /// Runs a sandbox's program: to its end, or until it is up if it is persistent. Runs of one sandbox
    /// follow each other. Goes on if the caller goes away: its result is kept.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Busy`], [`ErrorKind::LaunchFailed`], [`ErrorKind::SandboxEnded`].
    /// A program that fails, or is ended at a limit, is a result and no error.
    pub async fn program_run(&self, caller: &Caller, id: SandboxId) -> Result<ProgramResult> {
        self.handle(caller, id)?.ask(id, |reply| Command::Run { reply }).await?
    }

    /// Runs a program in a fresh sandbox of which nothing is kept. Ends when the caller goes away, that is,
    /// when the future is dropped: nobody could have the result.
    ///
    /// # Errors
    /// Those of [`Self::sandbox_create`] and [`Self::program_run`].
    pub async fn program_run_once(&self, caller: &Caller, spec: SandboxSpec) -> Result<ProgramResult> {
        let Admitted { record, program } = self.admit(caller, spec)?;
        let Some(program) = program.filter(|program| program.mode == Mode::Oneshot) else {
            return Err(Error::invalid("mode", "a program that nothing is kept of must be one-shot"));
        };
        self.job_run_once(record, Job::program(&program)?).await
    }

    /// Runs a command in a fresh sandbox of which nothing is kept, joined to `streams`. The result has no output
    /// but lines about limits. Ends as [`Self::program_run_once`] does.
    ///
    /// # Errors
    /// Those of [`Self::sandbox_create`] and [`Self::program_run`].
    pub async fn command_run_once(
        &self,
        caller: &Caller,
        spec: SandboxSpec,
        command: CommandSpec,
        streams: Streams,
    ) -> Result<ProgramResult> {
        let Admitted { record, .. } = self.admit(caller, spec)?;
        self.job_run_once(record, Job::command(command, streams)).await
    }

    /// As [`Self::program_run_once`], with arguments for the program, and joined to `streams`.
    ///
    /// # Errors
    /// Those of [`Self::sandbox_create`] and [`Self::program_run`].
    pub async fn program_run_streamed(
        &self,
        caller: &Caller,
        spec: SandboxSpec,
        arguments: Vec<String>,
        streams: Streams,
    ) -> Result<ProgramResult> {
        let Admitted { record, program } = self.admit(caller, spec)?;
        let Some(program) = program.filter(|program| program.mode == Mode::Oneshot) else {
            return Err(Error::invalid("mode", "a program that nothing is kept of must be one-shot"));
        };
        self.job_run_once(record, Job::program_joined(&program, arguments, streams)?).await
    }

    async fn job_run_once(&self, mut record: SandboxRecord, job: Job) -> Result<ProgramResult> {
        record.ephemeral = true;
        let id = record.id;
        let batch =
            Batch::new().sandbox_insert(record.clone(), None).counter_add(Counter::SandboxesCreated, 1);
        let handle = self.task_start(Task { engine: Arc::clone(&self.inner), record, job: Some(job) });
        // Side by side: what a crash leaves over is found with the record or, by its files, without it.
        let (stored, result) = tokio::join!(
            self.inner.store.apply(batch),
            handle.ask(id, |reply: oneshot::Sender<_>| Command::Run { reply }),
        );
        stored.map_err(Error::internal)?;
        result?
    }

    /// Puts files into a sandbox: for the runs to come, and at once if it runs.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Refused`] with what the file system said.
    pub async fn files_write(&self, caller: &Caller, id: SandboxId, files: Vec<ProgramFile>) -> Result<()> {
        self.handle(caller, id)?.ask(id, |reply| Command::FilesWrite { files, reply }).await?
    }

    /// The latest lines that a sandbox's program wrote, oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn log_tail(&self, caller: &Caller, id: SandboxId, lines: usize) -> Result<Vec<LogLine>> {
        self.handle(caller, id)?.ask(id, |reply| Command::LogTail { lines, reply }).await
    }

    fn admit(&self, caller: &Caller, spec: SandboxSpec) -> Result<Admitted> {
        let admitted = admit(caller, spec, &self.inner.settings)?;
        let most = self.inner.settings.sandboxes_max;
        if self.inner.registry().len() >= most {
            let text =
                format!("Too many sandboxes (at most {most}); delete some or wait for their leases to end");
            return Err(Error::new(ErrorKind::Busy { retry_after_s: 5 }, text));
        }
        Ok(admitted)
    }

    fn task_start(&self, task: Task) -> Handle {
        let id = task.record.id;
        let handle = task_start(task);
        self.inner.registry_insert(id, handle.clone());
        handle
    }

    /// The way to a sandbox, if the caller may know of it.
    fn handle(&self, caller: &Caller, id: SandboxId) -> Result<Handle> {
        let found = self.inner.registry().get(&id).cloned();
        found.filter(|handle| sees(caller, &handle.view.borrow())).ok_or_else(|| Error::sandbox_not_found(id))
    }
}

fn sees(caller: &Caller, sandbox: &Sandbox) -> bool {
    caller.administrator || caller.owner == sandbox.owner
}

impl Inner {
    fn registry(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxId, Handle>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registry_insert(&self, id: SandboxId, handle: Handle) {
        self.registry().insert(id, handle);
    }

    pub(crate) fn registry_remove(&self, id: SandboxId) {
        self.registry().remove(&id);
    }

    /// Whether the database may take another program of this size.
    pub(crate) async fn program_room_check(&self, bytes: usize) -> Result<()> {
        if bytes <= PROGRAM_BYTES_SMALL {
            return Ok(());
        }
        let most = self.settings.programs_bytes_max;
        let held = self.store.programs_bytes().await.map_err(Error::internal)?;
        if held.saturating_add(bytes as u64) <= most {
            return Ok(());
        }
        let text = format!("The programs of all sandboxes may hold {} MB together; delete some", most >> 20);
        Err(Error::new(ErrorKind::Unavailable, text))
    }
}

/// Programs up to this size are bounded by how many sandboxes there may be.
const PROGRAM_BYTES_SMALL: usize = 64 << 10;

/// Hands ends of sandboxes to their tasks.
async fn events_pass(engine: Arc<Inner>, mut events: mpsc::UnboundedReceiver<RuntimeEvent>) {
    while let Some(event) = events.recv().await {
        let RuntimeEvent::Exited(exit) = event else { continue };
        tracing::debug!(sandbox = %exit.sandbox, stats = ?exit.stats, "the sandbox ended by itself");
        if let Some(handle) = engine.registry().get(&exit.sandbox) {
            let _ = handle.commands.send(Command::Exited);
        }
    }
}
