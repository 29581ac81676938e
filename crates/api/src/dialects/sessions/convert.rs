//! From this dialect's words to the engine's and back: the only place where both meet.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine::{
    EndReason, ExecResult, Lease, MachineStats, OnAccess, Sandbox, SandboxSpec, SandboxState, Settings,
    VariableNote, WorkspaceTree,
};
use jiff::Timestamp;
use protocol::{
    agent::ExitStatus,
    launcher::NetworkMode,
    workspace::{EntryKind, ProcessInfo},
};
use serde_json::{Value, json};

use super::{
    DIALECT,
    error::SessionsError,
    session::wrong,
    types::{
        AmountBody, ContentBody, ContentRequest, NodeBody, OutcomeBody, ProcessBody, SessionBody,
        SessionRequest, StatsBody, VariableBody,
    },
};
use crate::{settings::SessionsSettings, timestamps::WireTimestamp};

/// The exit code of a command that took too long, as timeout(1) has it.
const EXIT_CODE_TIMED_OUT: i32 = 124;
/// The longest that a client may call a user.
const USER_BYTES_MAX: usize = 1024;
const USER_ID: &str = "userId";

/// A session to make: kept up while it is used, with a network where the host can give one.
pub(super) fn session_spec(
    request: SessionRequest,
    id: String,
    settings: &SessionsSettings,
    engine: &Settings,
) -> Result<SandboxSpec, SessionsError> {
    let user = request.user_id.unwrap_or(Value::Null);
    if !(user.is_null() || user.is_string() || user.is_number()) || user.to_string().len() > USER_BYTES_MAX {
        return Err(wrong("userId: must be a string or a number, or null"));
    }
    if request.status.is_some_and(|status| status != ACTIVE) {
        return Err(wrong("status: a session begins as active"));
    }
    let seconds = |time: std::time::Duration| u32::try_from(time.as_secs().max(1)).unwrap_or(u32::MAX);
    let network = if engine.network_available { NetworkMode::Nat } else { NetworkMode::None };
    Ok(SandboxSpec {
        name: Some(id),
        network: Some(network),
        lease: Lease::After(settings.lease),
        on_access: OnAccess {
            renew_s: Some(seconds(settings.lease)),
            pause_idle_s: Some(seconds(settings.idle_pause)),
        },
        details: Some(json!({ USER_ID: user })),
        ..SandboxSpec::new(DIALECT)
    })
}

const ACTIVE: &str = "active";

/// A session.
pub(super) fn session_body(session: &Sandbox) -> SessionBody {
    let user = session.details.as_ref().and_then(|details| details.get(USER_ID)).cloned();
    let by_will = matches!(session.end, Some(EndReason::LeaseEnded | EndReason::Killed { .. }));
    let status = match session.state {
        SandboxState::Running | SandboxState::Pausing => ACTIVE,
        SandboxState::Paused | SandboxState::Resuming => "paused",
        SandboxState::Pending => "starting",
        SandboxState::Terminated | SandboxState::Failed if !by_will => "paused",
        SandboxState::Stopping | SandboxState::Terminated | SandboxState::Failed => "ended",
    };
    SessionBody {
        id: session.name.clone().unwrap_or_default(),
        user_id: user.unwrap_or(Value::Null),
        status,
        created_at: WireTimestamp(session.created_at),
        last_activity: WireTimestamp(session.used_at.unwrap_or(session.created_at)),
    }
}

/// The tree, and how many entries are left out of it because their names are no UTF-8.
pub(super) fn tree_body(tree: WorkspaceTree) -> (Vec<NodeBody>, usize) {
    let all = tree.entries.len();
    let mut below: HashMap<String, Vec<NodeBody>> = HashMap::new();
    for entry in tree.entries {
        let Ok(path) = String::from_utf8(entry.path) else { continue };
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let (folder, name) = (folder.to_owned(), name.to_owned());
        let (kind, size) = match entry.kind {
            EntryKind::Folder => ("directory", None),
            EntryKind::File { size_bytes } => ("file", Some(size_bytes)),
            EntryKind::Link => ("symlink", None),
            EntryKind::Other => ("other", None),
        };
        let mime_type = size.map(|_| mime_type(&name));
        let children = (kind == "directory").then(Vec::new);
        let node = NodeBody { id: path.clone(), name, path, kind, children, size, mime_type };
        below.entry(folder).or_default().push(node);
    }
    let mut shown = 0;
    let nodes = nodes_below("", &mut below, &mut shown);
    (nodes, all - shown)
}

fn nodes_below(folder: &str, below: &mut HashMap<String, Vec<NodeBody>>, shown: &mut usize) -> Vec<NodeBody> {
    let mut nodes = below.remove(folder).unwrap_or_default();
    *shown += nodes.len();
    for node in &mut nodes {
        if node.children.is_some() {
            node.children = Some(nodes_below(&node.path, below, shown));
        }
    }
    nodes.sort_unstable_by(|a, b| {
        b.children.is_some().cmp(&a.children.is_some()).then_with(|| a.name.cmp(&b.name))
    });
    nodes
}

fn mime_type(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, ending)) if ending.eq_ignore_ascii_case("py") => "text/x-python".to_owned(),
        _ => mime_guess::from_path(name).first_or_octet_stream().to_string(),
    }
}

/// What a file holds.
pub(super) fn content_body(bytes: Vec<u8>) -> ContentBody {
    match String::from_utf8(bytes) {
        Ok(content) => ContentBody { content, encoding: None },
        Err(error) => ContentBody { content: STANDARD.encode(error.as_bytes()), encoding: Some(BASE64) },
    }
}

const BASE64: &str = "base64";

/// Where to write a file, and what.
pub(super) fn content_wanted(request: ContentRequest) -> Result<(String, Vec<u8>), SessionsError> {
    let (Some(path), Some(content)) = (request.path.filter(|path| !path.is_empty()), request.content) else {
        return Err(wrong("File path and content are required"));
    };
    match request.encoding.as_deref() {
        None | Some("utf8" | "utf-8") => Ok((path, content.into_bytes())),
        Some(BASE64) => {
            let bytes = STANDARD.decode(content);
            Ok((path, bytes.map_err(|error| wrong(format!("content: is no base64: {error}")))?))
        }
        Some(_) => Err(wrong("encoding: must be base64 or utf-8")),
    }
}

/// What a command gave.
pub(super) fn execute_body(result: ExecResult) -> OutcomeBody {
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    };
    let mut stderr = text(result.stderr);
    let mut note = |line: String| {
        if !(stderr.is_empty() || stderr.ends_with('\n')) {
            stderr.push('\n');
        }
        stderr.push_str(&line);
    };
    if result.dropped_bytes > 0 {
        note(format!("[{} bytes of output were dropped]\n", result.dropped_bytes));
    }
    if result.timed_out {
        note("Command timed out\n".to_owned());
    }
    let exit_code = if result.timed_out { EXIT_CODE_TIMED_OUT } else { exit_code(result.status) };
    OutcomeBody { stdout: text(result.stdout), stderr, exit_code }
}

/// The status as a shell has it.
pub(super) fn exit_code(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Exited(code) => code,
        ExitStatus::Signaled(signal) => 128 + signal,
    }
}

/// A process.
pub(super) fn process_body(process: ProcessInfo, session: &str) -> ProcessBody {
    let command = if process.argv.is_empty() { process.name.clone() } else { process.argv.join(" ") };
    #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
    let tenths = |whole: u64, unit: f64| (whole as f64 * 10.0 / unit).round() / 10.0;
    ProcessBody {
        id: process.pid,
        session_id: session.to_owned(),
        pid: process.pid,
        name: process.name,
        command,
        status: match process.state {
            'T' | 't' => "stopped",
            'Z' | 'X' => "zombie",
            _ => "running",
        },
        cpu_usage: tenths(process.cpu_millis, 10.0),
        memory_usage: tenths(process.memory_bytes, f64::from(1 << 20)),
        started_at: WireTimestamp(
            Timestamp::from_millisecond(process.started_at_ms).unwrap_or(Timestamp::UNIX_EPOCH),
        ),
    }
}

/// The variables that were set.
pub(super) fn variable_bodies(session: &Sandbox) -> Vec<VariableBody> {
    let value = |name: &str| {
        let found = session.env.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let body = |note: &VariableNote| {
        variable_body(note.clone(), value(&note.name), session.name.as_deref().unwrap_or_default())
    };
    session.variables.iter().map(body).collect()
}

/// A variable.
pub(super) fn variable_body(note: VariableNote, value: String, session: &str) -> VariableBody {
    VariableBody {
        id: note.number,
        session_id: session.to_owned(),
        key: note.name,
        value,
        created_at: WireTimestamp(note.set_at),
    }
}

/// Whether a shell could set a variable of this name.
pub(super) fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What the machine does.
pub(super) fn stats_body(stats: MachineStats) -> StatsBody {
    let sample = stats.sample;
    let amount = |used: u64, total: u64| AmountBody { used: used >> 20, total: total >> 20 };
    StatsBody {
        cpu: (stats.cpu_percent * 10.0).round() / 10.0,
        memory: amount(sample.memory_used_bytes, sample.memory_total_bytes),
        disk: amount(sample.disk_used_bytes, sample.disk_total_bytes),
        processes: sample.processes,
    }
}

#[cfg(test)]
mod tests {
    use protocol::workspace::TreeEntry;

    use super::*;

    #[test]
    fn a_tree_has_folders_first_and_names_in_order() {
        let entry = |path: &[u8], kind| TreeEntry { path: path.to_vec(), kind };
        let file = EntryKind::File { size_bytes: 3 };
        let entries = vec![
            entry(b"b.py", file),
            entry(b".env", file),
            entry(b"z", EntryKind::Folder),
            entry(b"a", EntryKind::Link),
            entry(b"\xff", EntryKind::Folder),
            entry(b"z/new\nline", file),
            entry(b"\xff/x", file),
        ];
        let (nodes, left_out) = tree_body(WorkspaceTree { entries, is_whole: true });
        assert_eq!(left_out, 2);
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["z", ".env", "a", "b.py"]);
        assert_eq!(nodes[3].mime_type.as_deref(), Some("text/x-python"));
        assert_eq!(nodes[0].children.as_ref().unwrap()[0].path, "z/new\nline");
        assert_eq!((nodes[2].kind, nodes[2].size), ("symlink", None));
    }

    #[test]
    fn bytes_are_base64_and_come_back() {
        assert_eq!(content_body(b"a\n".to_vec()).encoding, None);
        let ContentBody { content, encoding } = content_body(vec![0xff, 0]);
        assert_eq!((content.as_str(), encoding), ("/wA=", Some("base64")));
        let request = ContentRequest {
            path: Some("f".to_owned()),
            content: Some(content),
            encoding: encoding.map(str::to_owned),
        };
        assert_eq!(content_wanted(request).unwrap(), ("f".to_owned(), vec![0xff, 0]));
    }

    #[test]
    fn names_of_variables() {
        assert!(["A", "_", "a_1"].into_iter().all(is_variable_name));
        assert!(!["", "1A", "A-B", "A B", "A=", "Ä"].into_iter().any(is_variable_name));
    }
}
