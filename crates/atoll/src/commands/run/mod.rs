//! `atoll run`: one command or program in a fresh sandbox, without a server.
//!
//! Nothing of the sandbox outlives the run, however that ends: the launcher ends and removes it when this
//! process has gone.

mod job;
mod signals;
mod streams;

use std::{io, process::ExitCode, sync::Arc};

use engine::{
    Caller, Engine, Lease, LimitsSpec, NativeRuntime, SandboxSpec, Settings,
    program::{LimitHit, ProgramResult, Streams},
};
use jail::launcher::AtServerEnd;
use protocol::{
    HostPath,
    agent::ExitStatus,
    launcher::NetworkMode,
    limits::Limits,
    policy::{Action, NetworkPolicy, Rule, Target},
};
use storage::{
    environment::environment_base,
    layout::{DataDir, LayoutError},
    progress::progress_on_stderr,
    toolchains::toolchain_install,
};
use store::Store;
use tokio::sync::mpsc;

use self::{job::Job, signals::Ending};
use crate::{
    allowed,
    cli::{MEMORY_MAX, NetOption, RunOptions, TIMEOUT_MAX},
    config::{SERVER_UID, network},
    failure::{During, Failure, Outcome},
    host::{self, Host, HostOptions},
    terminal::{say, written},
};

/// Runs that may go on at once: each has a data directory of its own, kept for the next one.
const RUNS_AT_ONCE: u32 = 64;

/// The size of the file that a run's layers are in. It is sparse.
const STORAGE_BYTES: u64 = 16 << 30;

/// The exit status of a run that was ended at its time limit, as that of timeout(1).
const TIMED_OUT: u8 = 124;

/// How a run ended.
enum End {
    Ran(ProgramResult),
    /// Its output could not be written.
    Output(io::Error),
    /// This signal came.
    Signal(i32),
}

pub(crate) fn run(options: RunOptions) -> Outcome<ExitCode> {
    let job = Job::of(&options)?;
    let (data, mut host) = prepare(&options)?;
    for name in job.toolchains() {
        let mut progress = progress_on_stderr();
        toolchain_install(&data, *name, &mut *progress).during(&format!("install the toolchain {name}"))?;
    }
    let defaults = Settings::default();
    let settings = Settings {
        environment: environment_base(&data),
        timeout_max: TIMEOUT_MAX,
        limits_max: Limits { memory_bytes: MEMORY_MAX, ..defaults.limits_max },
        ..defaults
    };
    jail::privileges::drop_to(SERVER_UID, SERVER_UID).during("give up root")?;
    for note in std::mem::take(&mut host.notes) {
        say(format_args!("atoll: {note}"));
    }
    let keeper = host.launcher.keeper_pid;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().during("start the runtime")?;
    let end = runtime.block_on(run_unprivileged(host, data, settings, job, &options));
    // With its tasks go the sockets of the launcher and its keeper. Whoever waits for this process finds nothing left of the run.
    drop(runtime);
    jail::launcher::end_await(keeper);
    match end? {
        End::Ran(result) => Ok(ExitCode::from(status_tell(&result))),
        End::Output(error) => written(Err(error)).map(|()| ExitCode::SUCCESS),
        End::Signal(number) => Ok(ExitCode::from(status_byte(ExitStatus::Signaled(number)))),
    }
}

/// Says which limits were hit, and returns the exit status.
fn status_tell(result: &ProgramResult) -> u8 {
    for line in String::from_utf8_lossy(&result.stderr).lines() {
        say(format_args!("atoll: {line}"));
    }
    if result.limits_hit.contains(&LimitHit::Timeout) {
        return TIMED_OUT;
    }
    status_byte(result.status.unwrap_or(ExitStatus::Exited(0)))
}

fn status_byte(status: ExitStatus) -> u8 {
    u8::try_from(status.shell_code()).unwrap_or(u8::MAX)
}

/// Prepares the first data directory that no other run uses.
fn prepare(options: &RunOptions) -> Outcome<(DataDir, Host)> {
    let networks: Vec<_> = options.network_allow.iter().map(|text| network(text)).collect::<Outcome<_>>()?;
    let toolchains = allowed::folder("toolchains", &options.toolchains)?;
    host::root_check()?;
    for number in 0..RUNS_AT_ONCE {
        let root = HostPath::new(&options.run_dir).join(number.to_string());
        let data = DataDir::new(root).during("use the run folder")?;
        let data = data.with_toolchains(toolchains.clone());
        data.create(SERVER_UID, SERVER_UID).during("prepare the run folder")?;
        match data.lock() {
            Ok(free) => drop(free),
            Err(LayoutError::Locked { .. }) => continue,
            Err(error) => return Err(error).during("lock the run folder"),
        }
        let host = host::prepare(HostOptions {
            data: data.clone(),
            server_uid: SERVER_UID,
            storage_bytes: Some(STORAGE_BYTES),
            dns: Vec::new(),
            network_allow: networks,
            at_server_end: AtServerEnd::EndSandboxes,
            prepare_ahead: false,
            volume_prefixes: Vec::new(),
        })?;
        return Ok((data, host));
    }
    Err(Failure::new(format!("{RUNS_AT_ONCE} runs go on already")).hint("start a server: `atoll serve`"))
}

async fn run_unprivileged(
    host: Host,
    data: DataDir,
    settings: Settings,
    job: Job,
    options: &RunOptions,
) -> Outcome<End> {
    let ending = Ending::listen().during("listen for signals")?;
    let Host { launcher, held: _held, .. } = host;
    records_forget(&data).during("remove the records of an earlier run")?;
    let store = Store::open(&data.database()).during("open the store")?;
    let (runtime, exits) = NativeRuntime::connect(launcher, data).during("connect to the launcher")?;
    let engine = Engine::start(settings, store, Arc::new(runtime), exits).await.during("start the engine")?;
    let spec = sandbox_spec(options)?;
    let (output, pieces) = mpsc::channel(streams::PIECES);
    let output_written = streams::output_write(pieces).during("start to write output")?;
    let input = match &job {
        Job::Program { input_taken: true, .. } => streams::input_none(),
        _ => streams::input_read().during("start to read input")?,
    };
    let (caller, streams) = (Caller::open(), Streams { input, output });
    let run = async {
        Ok(match job {
            Job::Command(command) => engine.command_run_once(&caller, spec, command, streams).await,
            Job::Program { program, arguments, .. } => {
                let spec = SandboxSpec { program: Some(program), ..spec };
                engine.program_run_streamed(&caller, spec, arguments, streams).await
            }
        })
    };
    // What the program wrote is written whole, whatever its run came to.
    let run_written = async {
        let output_written = async { output_written.await.unwrap_or(Ok(())) };
        tokio::try_join!(run, output_written)
    };
    tokio::select! {
        ended = run_written => match ended {
            Ok((result, ())) => result.during("run it in a sandbox").map(End::Ran),
            Err(error) => Ok(End::Output(error)),
        },
        number = ending.first() => Ok(End::Signal(number)),
    }
}

/// Removes the database of the run before, which may have been another version's. Nothing in it is wanted: what
/// a run that was killed has left is found by its files.
fn records_forget(data: &DataDir) -> io::Result<()> {
    let database = data.database();
    for ending in ["", "-wal", "-shm"] {
        match std::fs::remove_file(format!("{database}{ending}")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn sandbox_spec(options: &RunOptions) -> Outcome<SandboxSpec> {
    let network = match options.net {
        NetOption::None => NetworkMode::None,
        NetOption::Nat => NetworkMode::Nat,
    };
    Ok(SandboxSpec {
        network: Some(network),
        network_policy: network_policy(options)?,
        limits: LimitsSpec { memory_bytes: Some(options.memory), ..LimitsSpec::default() },
        env: options.env.clone(),
        // Its time limit ends it, and the end of this process.
        lease: Lease::Never,
        ..SandboxSpec::new("cli")
    })
}

/// What is denied comes first. Where something is allowed, nothing else is.
fn network_policy(options: &RunOptions) -> Outcome<Option<NetworkPolicy>> {
    let RunOptions { allow_net, deny_net, net, .. } = options;
    if allow_net.is_empty() && deny_net.is_empty() {
        return Ok(None);
    }
    if matches!(net, NetOption::None) {
        let failure = Failure::new("--allow-net and --deny-net are for a sandbox with a network");
        return Err(failure.hint("add --net nat"));
    }
    let rule = |action| move |target: &Target| Rule { action, target: target.clone() };
    let rules = deny_net.iter().map(rule(Action::Deny)).chain(allow_net.iter().map(rule(Action::Allow)));
    let default = if allow_net.is_empty() { Action::Allow } else { Action::Deny };
    NetworkPolicy::new(default, rules.collect()).map(Some).during("read --allow-net and --deny-net")
}
