//! What the engine knows, in this dialect's words.

use engine::{EndReason, Event, LogLine, LogStream, Sandbox, SandboxState, Snapshot};

use super::{
    super::types::{DiagnosticBody, SandboxBody, SandboxStatus, SnapshotBody, SnapshotStatus},
    create::Details,
};
use crate::timestamps::WireTimestamp;

/// A sandbox. In the answer to the request that made it, what it was made from is left out.
pub(in super::super) fn sandbox_body(sandbox: &Sandbox, with_source: bool) -> SandboxBody {
    let details: Details =
        sandbox.details.clone().and_then(|details| serde_json::from_value(details).ok()).unwrap_or_default();
    SandboxBody {
        id: sandbox.id.to_string(),
        image: details.image.filter(|_| with_source),
        snapshot_id: details.snapshot.filter(|_| with_source),
        platform: details.platform,
        status: status(sandbox),
        metadata: sandbox.metadata.clone(),
        extensions: details.extensions,
        entrypoint: sandbox.entrypoint.clone().unwrap_or_default(),
        expires_at: sandbox.lease_until.map(WireTimestamp),
        created_at: WireTimestamp(sandbox.created_at),
    }
}

/// A state as it is written.
pub(in super::super) fn state_word(sandbox: &Sandbox) -> &'static str {
    match sandbox.state {
        SandboxState::Pending => "Pending",
        SandboxState::Running => "Running",
        SandboxState::Pausing => "Pausing",
        SandboxState::Paused => "Paused",
        SandboxState::Resuming => "Resuming",
        SandboxState::Stopping => "Stopping",
        SandboxState::Failed => "Failed",
        SandboxState::Terminated => match &sandbox.end {
            Some(EndReason::Exited { code: 0 } | EndReason::Killed { .. } | EndReason::LeaseEnded) | None => {
                "Terminated"
            }
            Some(_) => "Failed",
        },
    }
}

fn status(sandbox: &Sandbox) -> SandboxStatus {
    let changed = [sandbox.started_at, sandbox.ended_at].into_iter().flatten();
    let reason = match (&sandbox.state, &sandbox.end) {
        (SandboxState::Pending, _) => Some("provisioning"),
        (SandboxState::Paused, _) => Some("paused"),
        (SandboxState::Running, _) => Some("running"),
        (_, Some(end)) => Some(match end {
            EndReason::Exited { .. } => "entrypoint_exited",
            EndReason::Signaled { .. } => "entrypoint_killed",
            EndReason::TimedOut { .. } => "timed_out",
            EndReason::OutOfMemory { .. } => "out_of_memory",
            EndReason::Killed { .. } => "user_delete",
            EndReason::LeaseEnded => "ttl_expiry",
            EndReason::LaunchFailed { .. } => "launch_failed",
            EndReason::NoImage { .. } => "image_unavailable",
            EndReason::Lost { .. } => "runtime_error",
        }),
        (_, None) => None,
    };
    let message = match &sandbox.end {
        // Its step is for the operator.
        Some(EndReason::LaunchFailed { .. }) => Some("The sandbox could not be launched".to_owned()),
        Some(EndReason::NoImage { reason }) => Some(reason.clone()),
        Some(end) => Some(format!("The sandbox {end}")),
        None => None,
    };
    SandboxStatus {
        state: state_word(sandbox),
        reason,
        message,
        last_transition_at: WireTimestamp(changed.fold(sandbox.created_at, Ord::max)),
    }
}

/// A snapshot. It is ready when anybody is told of it.
pub(in super::super) fn snapshot_body(snapshot: &Snapshot) -> SnapshotBody {
    SnapshotBody {
        id: snapshot.id.to_string(),
        sandbox_id: snapshot.sandbox.to_string(),
        name: Some(snapshot.name.clone()),
        status: SnapshotStatus {
            state: "Ready",
            reason: "snapshot_ready",
            last_transition_at: WireTimestamp(snapshot.created_at),
        },
        created_at: WireTimestamp(snapshot.created_at),
    }
}

/// Lines of a log as text.
pub(in super::super) fn log_lines(lines: &[LogLine]) -> String {
    lines.iter().fold(String::new(), |text, line| {
        let stream = match line.stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        text + &format!("{:.3} {stream} {}\n", line.at, line.text)
    })
}

/// Events as text, the oldest first.
pub(in super::super) fn event_lines(events: &[Event]) -> String {
    events.iter().rev().fold(String::new(), |text, event| {
        let detail = if event.detail.is_null() { String::new() } else { format!(" {}", event.detail) };
        text + &format!("{:.3} lifecycle {}{detail}\n", event.at, event.kind)
    })
}

/// Text about a sandbox.
pub(in super::super) fn diagnostic_body(
    sandbox: &Sandbox,
    kind: &'static str,
    scope: String,
    content: String,
    truncated: bool,
) -> DiagnosticBody {
    DiagnosticBody {
        sandbox_id: sandbox.id.to_string(),
        kind,
        scope,
        delivery: "inline",
        content_type: "text/plain; charset=utf-8",
        content_length: content.len(),
        content,
        truncated,
    }
}
