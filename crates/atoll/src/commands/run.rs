//! `atoll run`: one command or program in a fresh sandbox, without a server.

use std::{io::Write, path::Path, process::ExitCode, sync::Arc};

use engine::{
    Caller, Engine, LimitsSpec, LogStream, NativeRuntime, SandboxSpec, Settings,
    program::{CommandSpec, Language, Mode, OutputPiece, Program, ProgramResult},
};
use jail::launcher::AtServerEnd;
use protocol::{HostPath, agent::ExitStatus, launcher::NetworkMode};
use storage::{
    environment::environment_base,
    layout::{DataDir, LayoutError},
    progress::progress_on_stderr,
    toolchains::{ToolchainName, toolchain_install},
};
use store::Store;
use tokio::sync::mpsc;

use crate::{
    cli::{NetOption, RunOptions},
    config::{SERVER_UID, network},
    failure::{During, Failure, Outcome},
    host::{self, Host, HostOptions},
    terminal::say,
};

/// Runs that may go on at once: each has a data directory of its own, kept for the next one.
const RUNS_AT_ONCE: u32 = 64;

/// Pieces of output on their way to the terminal.
const OUTPUT_PIECES: usize = 16;

/// The size of the file that a run's layers are in. It is sparse.
const STORAGE_BYTES: u64 = 16 << 30;

pub(crate) fn run(options: RunOptions) -> Outcome<ExitCode> {
    let job = job(&options)?;
    let (data, host) = prepare(&options)?;
    if let Job::Program(program) = &job {
        for name in toolchains_of(program.language) {
            let mut progress = progress_on_stderr();
            toolchain_install(&data, *name, &mut *progress)
                .during(&format!("install the toolchain {name}"))?;
        }
    }
    let settings = Settings { environment: environment_base(&data), ..Settings::default() };
    jail::privileges::drop_to(SERVER_UID, SERVER_UID).during("give up root")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().during("start the runtime")?;
    let result = runtime.block_on(run_unprivileged(host, data, settings, job, &options))?;
    for line in String::from_utf8_lossy(&result.stderr).lines() {
        say(format_args!("atoll: {line}"));
    }
    let code = match result.status {
        Some(_) if result.limits_hit.contains(&engine::program::LimitHit::Timeout) => 124,
        Some(status) => status.shell_code(),
        None => ExitStatus::Exited(0).shell_code(),
    };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(255)))
}

/// What to run.
enum Job {
    Command(CommandSpec),
    Program(Program),
}

fn job(options: &RunOptions) -> Outcome<Job> {
    let Some(runtime) = options.runtime else {
        return Ok(Job::Command(CommandSpec { argv: options.command.clone(), timeout: options.timeout }));
    };
    let [file] = options.command.as_slice() else {
        return Err(Failure::new("--runtime takes one source file"));
    };
    let code = std::fs::read_to_string(file).during(&format!("read {file}"))?;
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).map(str::to_owned);
    Ok(Job::Program(Program {
        language: Language::from(runtime),
        code,
        // Tracebacks and type errors then name the file as the person knows it.
        entry_point: name,
        files: Vec::new(),
        mode: Mode::Oneshot,
        install_dependencies: false,
        dev_server: false,
        timeout: options.timeout,
    }))
}

fn toolchains_of(language: Language) -> &'static [ToolchainName] {
    match language {
        Language::Node => &[ToolchainName::Node],
        Language::Bun => &[ToolchainName::Bun],
        Language::Typescript => &[ToolchainName::Node, ToolchainName::Typescript],
        Language::Python | Language::Bash => &[],
    }
}

/// Prepares the first data directory that no other run uses.
fn prepare(options: &RunOptions) -> Outcome<(DataDir, Host)> {
    for number in 0..RUNS_AT_ONCE {
        let root = HostPath::new(&options.run_dir).join(number.to_string());
        let data = DataDir::new(root).during("use the run folder")?;
        let data = data.with_toolchains(HostPath::new(&options.toolchains));
        data.create(SERVER_UID, SERVER_UID).during("prepare the run folder")?;
        match data.lock() {
            Ok(free) => drop(free),
            Err(LayoutError::Locked { .. }) => continue,
            Err(error) => return Err(error).during("lock the run folder"),
        }
        let networks = options.network_allow.iter().map(|text| network(text)).collect::<Outcome<_>>()?;
        let host = host::prepare(HostOptions {
            data: data.clone(),
            server_uid: SERVER_UID,
            storage_bytes: Some(STORAGE_BYTES),
            dns: Vec::new(),
            network_allow: networks,
            at_server_end: AtServerEnd::EndSandboxes,
            prepare_ahead: false,
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
) -> Outcome<ProgramResult> {
    let Host { launcher, notes, held, .. } = host;
    for note in &notes {
        say(format_args!("atoll: {note}"));
    }
    let store = Store::open(&data.database()).during("open the store")?;
    let (runtime, exits) = NativeRuntime::connect(launcher.socket, data).during("connect to the launcher")?;
    let engine = Engine::start(settings, store, Arc::new(runtime), exits).await.during("start the engine")?;
    let network = match options.net {
        NetOption::None => NetworkMode::None,
        NetOption::Nat => NetworkMode::Nat,
    };
    let spec = SandboxSpec {
        dialect: "cli",
        network: Some(network),
        limits: LimitsSpec { memory_bytes: Some(options.memory), ..LimitsSpec::default() },
        env: options.env.clone(),
        metadata: std::collections::BTreeMap::new(),
        lease: None,
        program: None,
    };
    let (output, pieces) = mpsc::channel(OUTPUT_PIECES);
    let caller = Caller::open();
    let run = async {
        match job {
            Job::Command(command) => engine.command_run_once(&caller, spec, command, output).await,
            Job::Program(program) => {
                let spec = SandboxSpec { program: Some(program), ..spec };
                engine.program_run_streamed(&caller, spec, output).await
            }
        }
    };
    let (result, written) = tokio::join!(run, output_write(pieces));
    drop(held);
    written.during("write the program's output")?;
    result.during("run it")
}

/// Passes output on as it comes.
async fn output_write(mut pieces: mpsc::Receiver<OutputPiece>) -> std::io::Result<()> {
    while let Some((stream, bytes)) = pieces.recv().await {
        let written = match stream {
            LogStream::Stdout => std::io::stdout().write_all(&bytes).and_then(|()| std::io::stdout().flush()),
            LogStream::Stderr => std::io::stderr().write_all(&bytes),
        };
        match written {
            // Whoever read has had enough, as in `atoll run -- yes | head`.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}
