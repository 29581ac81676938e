//! Where this dialect's words and the engine's meet.

use std::time::Duration;

use axum::http::HeaderValue;
use engine::{
    Beginning, CommandOutcome, Key, KeySecret, Lease, Sandbox, SandboxSpec, SandboxState, Settings, Snapshot,
    SnapshotName, SnapshotSpec,
    program::{CommandSpec, LimitHit, ProgramResult},
};
use protocol::launcher::NetworkMode;

use super::{
    DIALECT,
    types::{
        CommandBody, CommandRequest, KeyBody, KeyMadeBody, KeysBody, MeBody, Seconds, SnapshotBody,
        SnapshotsBody, VmBody, VmInfoBody, VmRequest, VmStatusWord, VmsBody,
    },
};
use crate::{reject::Rejection, settings::VmsSettings};

/// Where the two kinds of ports begin.
const AGENT_PORT_FIRST: u32 = 3333;
const SSH_PORT_FIRST: u32 = 2222;
/// The snapshot that a machine begins with.
const INITIAL: &str = "initial";
/// What the names of those after commands begin with.
const AFTER_COMMAND: &str = "cmd_";
/// What the names of those after imports begin with.
const AFTER_IMPORT: &str = "import_";
const NAME_BYTES_MAX: usize = 63;
const TIMEOUT_DEFAULT_S: f64 = 30.0;
/// The most that Linux passes as one argument (`MAX_ARG_STRLEN` of execve(2)), with the NUL at its end.
const COMMAND_BYTES_MAX: usize = (128 << 10) - 1;
/// The exit code of a command that took too long, as timeout(1) has it.
const EXIT_CODE_TIMED_OUT: i32 = 124;
const TIMED_OUT: &str = "Command timed out";

/// A key that was just made, with its secret.
pub(super) fn key_made_body(key: Key, secret: &KeySecret) -> KeyMadeBody {
    KeyMadeBody {
        id: key.id,
        key: secret.expose().to_owned(),
        name: key.name,
        created_at: Seconds(key.created_at),
        message: "Save your API key - it won't be shown again!",
    }
}

/// The keys that count. The dialect has no word for a revoked one.
pub(super) fn keys_body(keys: Vec<Key>) -> KeysBody {
    let counting = keys.into_iter().filter(|key| key.revoked_at.is_none());
    KeysBody { api_keys: counting.map(key_body).collect() }
}

fn key_body(key: Key) -> KeyBody {
    KeyBody {
        id: key.id,
        key: format!("{}...", key.prefix),
        name: key.name,
        created_at: Seconds(key.created_at),
    }
}

/// Whose key this is.
pub(super) fn me_body(key: Key) -> MeBody {
    MeBody { api_key_id: key.id, api_key_name: key.name, created_at: Seconds(key.created_at) }
}

/// A machine to make: kept up until it is deleted, with a network where the host can give one.
pub(super) fn vm_spec(request: VmRequest, settings: &Settings) -> Result<SandboxSpec, Rejection> {
    let name = request.name.filter(|name| !name.is_empty()).ok_or(Rejection::Required("name"))?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        let problem = format!("must be 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` or `-`");
        return Err(Rejection::field("name", problem));
    }
    if name == "." || name == ".." {
        // Clients take them out of a path before they send it.
        return Err(Rejection::field("name", "must not be a step of a path"));
    }
    let network = if settings.network_available { NetworkMode::Nat } else { NetworkMode::None };
    Ok(SandboxSpec {
        network: Some(network),
        name: Some(name),
        lease: Lease::Never,
        ..SandboxSpec::new(DIALECT)
    })
}

/// What a machine begins with.
pub(super) fn vm_beginning(settings: &VmsSettings) -> Beginning {
    let name = SnapshotName::Given(INITIAL.to_owned());
    Beginning { user: settings.user.clone(), snapshot: Some(SnapshotSpec::new(name)), origin: None }
}

/// A machine.
pub(super) fn vm_body(vm: &Sandbox, settings: &VmsSettings) -> VmBody {
    let ordinal = vm.ordinal.unwrap_or(0);
    let changed = [vm.started_at, vm.ended_at].into_iter().flatten().fold(vm.created_at, Ord::max);
    VmBody {
        id: vm.number.unwrap_or(0),
        name: name_of(vm),
        base_vm: settings.base_vm.clone(),
        status: match vm.state {
            SandboxState::Pending => VmStatusWord::Creating,
            SandboxState::Running
            | SandboxState::Pausing
            | SandboxState::Paused
            | SandboxState::Resuming
            | SandboxState::Stopping => VmStatusWord::Running,
            SandboxState::Terminated => VmStatusWord::Stopped,
            SandboxState::Failed => VmStatusWord::Error,
        },
        agent_port: AGENT_PORT_FIRST + ordinal,
        ssh_port: SSH_PORT_FIRST + ordinal,
        created_at: Seconds(vm.created_at),
        updated_at: Seconds(changed),
    }
}

/// A machine, and whether it answers.
pub(super) fn vm_info_body(vm: &Sandbox, agent_healthy: bool, settings: &VmsSettings) -> VmInfoBody {
    VmInfoBody { vm: vm_body(vm, settings), agent_healthy }
}

/// The machines among sandboxes of all kinds.
pub(super) fn vms_body(sandboxes: &[Sandbox], settings: &VmsSettings) -> VmsBody {
    let vms = sandboxes.iter().filter(|sandbox| sandbox.dialect == DIALECT && is_machine(sandbox));
    VmsBody { vms: vms.map(|vm| vm_body(vm, settings)).collect() }
}

/// A fork of a machine is none: it has no name to reach it by, nor ports.
pub(super) fn is_machine(sandbox: &Sandbox) -> bool {
    sandbox.name.is_some()
}

fn name_of(vm: &Sandbox) -> String {
    vm.name.clone().unwrap_or_default()
}

/// A command, and the snapshot after it.
pub(super) fn command_spec(
    request: CommandRequest,
    settings: &Settings,
) -> Result<(CommandSpec, SnapshotSpec), Rejection> {
    let command =
        request.command.filter(|command| !command.is_empty()).ok_or(Rejection::Required("command"))?;
    if command.contains('\0') {
        return Err(Rejection::field("command", "must not have a NUL"));
    }
    if command.len() > COMMAND_BYTES_MAX {
        return Err(Rejection::field("command", format!("must be at most {COMMAND_BYTES_MAX} bytes")));
    }
    let timeout = timeout(request.timeout.unwrap_or(TIMEOUT_DEFAULT_S), settings.timeout_max)?;
    let name = SnapshotName::Timed(AFTER_COMMAND.to_owned());
    let snapshot = SnapshotSpec { note: Some(command.clone()), ..SnapshotSpec::new(name) };
    let argv = ["sh", "-c", &command].map(str::to_owned).to_vec();
    Ok((CommandSpec { argv, timeout }, snapshot))
}

/// The snapshot after an import.
pub(super) fn import_snapshot() -> SnapshotSpec {
    SnapshotSpec::new(SnapshotName::Timed(AFTER_IMPORT.to_owned()))
}

/// What an export is to be called where it is saved. Snapshots that were taken through another dialect may have any
/// name.
pub(super) fn archive_disposition(vm: &str, snapshot: &str) -> HeaderValue {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let name: String =
        format!("{vm}-{snapshot}").chars().map(|letter| if fits(letter) { letter } else { '_' }).collect();
    let value = format!("attachment; filename=\"{name}.tar.zst\"");
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Seconds within the limits. The agent counts milliseconds.
fn timeout(seconds: f64, most: Duration) -> Result<Duration, Rejection> {
    let given = Duration::try_from_secs_f64(seconds).ok();
    given.filter(|given| *given >= Duration::from_millis(1) && *given <= most).ok_or_else(|| {
        let most = most.as_secs_f64();
        Rejection::field("timeout", format!("must be between 0.001 and {most} seconds, not {seconds}"))
    })
}

/// What a command gave.
pub(super) fn command_body(outcome: CommandOutcome) -> CommandBody {
    let CommandOutcome { result, snapshot } = outcome;
    let timed_out = result.limits_hit.contains(&LimitHit::Timeout);
    let (stderr, exit_code) = match result.status {
        _ if timed_out => (stderr_timed_out(&result), EXIT_CODE_TIMED_OUT),
        status => (text(&result.stderr), status.map_or(0, |status| status.shell_code())),
    };
    CommandBody {
        stdout: text(&result.stdout),
        stderr,
        exit_code,
        snapshot: snapshot.map(|snapshot| snapshot.name).unwrap_or_default(),
    }
}

/// What the command wrote, lines about other limits, and at the very end the words that clients look for.
fn stderr_timed_out(result: &ProgramResult) -> String {
    let written = result.stderr_written();
    let notes = text(&result.stderr[written.len()..]);
    // The engine's own line about the time comes first.
    let others = notes.trim_start_matches('\n').lines().skip(1);
    let mut all = text(written);
    for line in others.chain([TIMED_OUT]) {
        if !all.is_empty() && !all.ends_with('\n') {
            all.push('\n');
        }
        all.push_str(line);
    }
    all
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A machine's snapshots.
pub(super) fn snapshots_body(vm: &Sandbox, snapshots: Vec<Snapshot>) -> SnapshotsBody {
    let bodies = snapshots.into_iter().map(|snapshot| snapshot_body(vm, snapshot));
    SnapshotsBody { snapshots: bodies.collect() }
}

/// One of a machine's snapshots.
pub(super) fn snapshot_body(vm: &Sandbox, snapshot: Snapshot) -> SnapshotBody {
    SnapshotBody {
        id: snapshot.number,
        vm_id: vm.number.unwrap_or(0),
        vm_name: name_of(vm),
        snapshot_name: snapshot.name,
        command: snapshot.note,
        s3_key: (),
        created_at: Seconds(snapshot.created_at),
    }
}

#[cfg(test)]
mod tests;
