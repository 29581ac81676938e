//! The engine's face: what dialects call. Each call finds the sandbox's task and asks it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use protocol::{SandboxId, launcher::Stats};
use store::{Batch, Counter, SandboxRecord, SandboxState, Store};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Caller, Error, ErrorKind, ImageSpec, Result, Runtime, Sandbox, SandboxSpec, Settings, VariableNote,
    agent,
    export::Exports,
    images,
    keys::KnownKeys,
    log::LogLine,
    machine::Machine,
    program::{CommandSpec, Job, Mode, ProgramFile, ProgramResult, Streams},
    reconcile,
    runtime::RuntimeEvent,
    sandbox::{Admitted, Command, Handle, Task, admit, task_start},
    tokens::Tokens,
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
    /// The last number given to a sandbox.
    numbers: AtomicU64,
    pub(crate) exports: Exports,
    /// What images that are here say of themselves.
    pub(crate) images: images::Known,
    pub(crate) tokens: Tokens,
    pub(crate) machine: Machine,
    /// Held while a name is looked for and taken.
    pub(crate) naming: tokio::sync::Mutex<()>,
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
        let found = reconcile::reconcile(&store, runtime.as_ref(), &settings).await?;
        let numbers = store.counter_get(Counter::SandboxesNumbered).await.map_err(Error::internal)?;
        let inner = Arc::new(Inner {
            running: Arc::new(Semaphore::new(settings.running_max)),
            keys: KnownKeys::read(&store).await?,
            tokens: Tokens::read(&store).await?,
            settings,
            store,
            runtime,
            registry: Mutex::new(HashMap::new()),
            numbers: AtomicU64::new(numbers),
            exports: Exports::default(),
            images: images::Known::default(),
            machine: Machine::default(),
            naming: tokio::sync::Mutex::new(()),
        });
        for (record, runs) in found {
            let (id, engine) = (record.id, Arc::clone(&inner));
            let handle = task_start(Task { engine, record, job: None, runs });
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
        let mut sandboxes =
            self.inner.sandboxes_look(|sandbox| sees(caller, sandbox).then(|| sandbox.clone()));
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
    /// [`ErrorKind::NotFound`], [`ErrorKind::Busy`], [`ErrorKind::LaunchFailed`], [`ErrorKind::SandboxEnded`];
    /// [`ErrorKind::TimedOut`] when a persistent program's sandbox does not answer before it is up. A program that
    /// fails, or is ended at a limit, is a result and no error.
    pub async fn program_run(&self, caller: &Caller, id: SandboxId) -> Result<ProgramResult> {
        let by = caller.owner.clone();
        self.handle(caller, id)?.ask(id, |reply| Command::Run { by, reply }).await?
    }

    /// Runs a program in a fresh sandbox of which nothing is kept. Ends when the caller goes away, that is,
    /// when the future is dropped: nobody could have the result.
    ///
    /// # Errors
    /// Those of [`Self::sandbox_create`] and [`Self::program_run`].
    pub async fn program_run_once(&self, caller: &Caller, spec: SandboxSpec) -> Result<ProgramResult> {
        let Admitted { record, program, .. } = self.admit(caller, spec).await?;
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
        let Admitted { record, .. } = self.admit(caller, spec).await?;
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
        let Admitted { record, program, .. } = self.admit(caller, spec).await?;
        let Some(program) = program.filter(|program| program.mode == Mode::Oneshot) else {
            return Err(Error::invalid("mode", "a program that nothing is kept of must be one-shot"));
        };
        self.job_run_once(record, Job::program_joined(&program, arguments, streams)?).await
    }

    async fn job_run_once(&self, mut record: SandboxRecord, job: Job) -> Result<ProgramResult> {
        record.ephemeral = true;
        let (id, by) = (record.id, record.owner.clone());
        let batch =
            Batch::new().sandbox_insert(record.clone(), None).counter_add(Counter::SandboxesCreated, 1);
        let handle =
            self.task_start(Task { engine: Arc::clone(&self.inner), record, job: Some(job), runs: false });
        // Side by side: what a crash leaves over is found with the record or, by its files, without it.
        let (stored, result) = tokio::join!(
            self.inner.store.apply(batch),
            handle.ask(id, |reply: oneshot::Sender<_>| Command::Run { by, reply }),
        );
        stored.map_err(Error::internal)?;
        result?
    }

    /// Has a sandbox's lease end at another time.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Invalid`] for a time that is past; [`ErrorKind::Conflict`] for one
    /// without a lease, or that has ended.
    pub async fn lease_set(&self, caller: &Caller, id: SandboxId, until: Timestamp) -> Result<()> {
        let by = caller.owner.clone();
        self.handle(caller, id)?.ask(id, |reply| Command::LeaseSet { until, by, reply }).await?
    }

    /// Changes words of a sandbox's metadata; one that becomes none is taken away.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn metadata_patch(
        &self,
        caller: &Caller,
        id: SandboxId,
        patch: BTreeMap<String, Option<String>>,
    ) -> Result<Sandbox> {
        let by = caller.owner.clone();
        let handle = self.handle(caller, id)?;
        handle.ask(id, |reply| Command::MetadataPatch { patch, by, reply }).await??;
        self.sandbox_get(caller, id).await
    }

    /// Sets a variable of a sandbox's environment, in the place of one of the same name. What is started from then on
    /// has it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Invalid`] for what Linux does not pass to a process.
    pub async fn variable_set(
        &self,
        caller: &Caller,
        id: SandboxId,
        name: String,
        value: String,
    ) -> Result<VariableNote> {
        let by = caller.owner.clone();
        self.handle(caller, id)?.ask(id, |reply| Command::VariableSet { name, value, by, reply }).await?
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

    pub(crate) async fn admit(&self, caller: &Caller, spec: SandboxSpec) -> Result<Admitted> {
        let (mut admitted, missing) = self.admit_at_once(caller, spec).await?;
        if let Some(image) = missing {
            admitted.record.image = self.inner.image_of(&image).await?.to_string();
        }
        Ok(admitted)
    }

    /// The same, and the image is not pulled: returned if it is not here.
    pub(crate) async fn admit_at_once(
        &self,
        caller: &Caller,
        spec: SandboxSpec,
    ) -> Result<(Admitted, Option<ImageSpec>)> {
        let image = spec.image.clone();
        let mut admitted = admit(caller, spec, &self.inner.settings)?;
        self.sandboxes_room_check(1)?;
        match self.inner.image_here(&image).await? {
            Ok(name) => admitted.record.image = name.to_string(),
            Err(reference) => {
                admitted.record.image = reference;
                return Ok((admitted, Some(image)));
            }
        }
        Ok((admitted, None))
    }

    /// Whether so many more sandboxes may be made.
    pub(crate) fn sandboxes_room_check(&self, count: usize) -> Result<()> {
        let most = self.inner.settings.sandboxes_max;
        if self.inner.registry().len() + count > most {
            let text =
                format!("Too many sandboxes (at most {most}); delete some or wait for their leases to end");
            return Err(Error::new(ErrorKind::Busy { retry_after_s: 5 }, text));
        }
        Ok(())
    }

    pub(crate) fn task_start(&self, task: Task) -> Handle {
        let id = task.record.id;
        let handle = task_start(task);
        self.inner.registry_insert(id, handle.clone());
        handle
    }

    /// The way to a sandbox, if the caller may know of it.
    pub(crate) fn handle(&self, caller: &Caller, id: SandboxId) -> Result<Handle> {
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

    pub(crate) fn registry_insert(&self, id: SandboxId, handle: Handle) {
        self.registry().insert(id, handle);
    }

    /// What `look` finds in the sandboxes.
    pub(crate) fn sandboxes_look<T>(&self, mut look: impl FnMut(&Sandbox) -> Option<T>) -> Vec<T> {
        self.registry().values().filter_map(|handle| look(&handle.view.borrow())).collect()
    }

    /// A number that no sandbox had. It counts when [`Counter::SandboxesNumbered`] is raised by one.
    pub(crate) fn number_next(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A connection to the agent of a sandbox that is up.
    pub(crate) async fn agent_connect(&self, id: SandboxId) -> Result<agent::Connection> {
        let socket = self.runtime.agent_connect(id).await;
        socket.map(agent::Connection::new).map_err(|error| {
            Error::new(ErrorKind::SandboxEnded, "The sandbox ended while the request ran").caused_by(error)
        })
    }

    /// Whether the agent of a sandbox answers soon.
    pub(crate) async fn agent_answers(&self, id: SandboxId) -> bool {
        let ping = async {
            let socket = self.runtime.agent_connect(id).await.ok()?;
            agent::ping(&mut agent::Connection::new(socket)).await.ok()
        };
        matches!(tokio::time::timeout(PING_PATIENCE, ping).await, Ok(Some(())))
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

/// How long an agent may take to answer that it is there.
const PING_PATIENCE: Duration = Duration::from_secs(5);

/// Hands ends of sandboxes to their tasks.
async fn events_pass(engine: Arc<Inner>, mut events: mpsc::UnboundedReceiver<RuntimeEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            RuntimeEvent::Exited(exit) => {
                tracing::debug!(sandbox = %exit.sandbox, stats = ?exit.stats, "the sandbox ended by itself");
                engine.exited(exit.sandbox, exit.stats);
            }
            RuntimeEvent::Restarted => {
                if let Err(error) = engine.runtime_review().await {
                    tracing::error!(?error, "what runs could not be compared with what should");
                }
            }
        }
    }
}

impl Inner {
    fn exited(&self, sandbox: SandboxId, stats: Stats) {
        if let Some(handle) = self.registry().get(&sandbox) {
            let _ = handle.commands.send(Command::Exited(stats));
        }
    }

    /// Compares what runs with what should, after the runtime was out of order: what it could not tell is told
    /// now, and what nobody knows of is removed.
    async fn runtime_review(&self) -> Result<()> {
        let should: Vec<SandboxId> = self
            .registry()
            .iter()
            .filter(|(_, handle)| {
                matches!(handle.view.borrow().state, SandboxState::Running | SandboxState::Paused)
            })
            .map(|(id, _)| *id)
            .collect();
        let found = self.runtime.inventory().await.map_err(Error::internal)?;
        let runs: HashSet<SandboxId> = found.iter().filter(|found| found.runs).map(|it| it.sandbox).collect();
        for sandbox in should.into_iter().filter(|sandbox| !runs.contains(sandbox)) {
            self.exited(sandbox, Stats::default());
        }
        for found in found {
            let known = self.registry().contains_key(&found.sandbox) || self.exports.contains(found.sandbox);
            if !known {
                self.runtime.remove(found.sandbox).await.map_err(Error::internal)?;
            }
        }
        Ok(())
    }
}
