//! Every state and result that the engine can return, and what a client is shown of it.

use std::time::Duration;

use engine::program::{Language, Mode};
use protocol::{agent::ExitStatus, launcher::NetworkMode, limits::Limits};
use serde_json::json;

use super::*;

fn base() -> BaseUrl {
    BaseUrl("http://127.0.0.1:8080".to_owned())
}

fn program(mode: Mode, dev_server: bool) -> ProgramSummary {
    ProgramSummary { language: Language::Typescript, mode, timeout: Duration::from_millis(1500), dev_server }
}

fn sandbox() -> Sandbox {
    Sandbox {
        image: "host".to_owned(),
        id: "fab81d7c-f665-432b-85c4-f9d380019709".parse().unwrap(),
        owner: String::new(),
        dialect: "sandbox-service".to_owned(),
        name: None,
        number: None,
        ordinal: None,
        state: SandboxState::Pending,
        end: None,
        created_at: "2024-12-09T19:30:00Z".parse().unwrap(),
        started_at: None,
        ended_at: None,
        lease_until: Some("2024-12-09T19:40:00.5Z".parse().unwrap()),
        limits: Limits::default(),
        network: NetworkMode::None,
        network_policy: None,
        metadata: std::collections::BTreeMap::new(),
        entrypoint: None,
        on_access: engine::OnAccess::default(),
        details: None,
        used_at: None,
        variables: std::sync::Arc::default(),
        env: std::sync::Arc::default(),
        program: Some(program(Mode::Oneshot, false)),
        last_result: None,
    }
}

fn result(status: Option<ExitStatus>) -> ProgramResult {
    ProgramResult {
        noted_bytes: 0,
        status,
        stdout: b"out".to_vec(),
        stderr: b"err".to_vec(),
        wall: Duration::from_micros(12_999),
        limits_hit: vec![],
    }
}

#[test]
fn a_sandbox_has_the_documents_fields() {
    let expected = json!({
        "id": "fab81d7c-f665-432b-85c4-f9d380019709",
        "status": "created",
        "runtime": "typescript",
        "created_at": "2024-12-09T19:30:00.000Z",
        "timeout_ms": 1500,
        "memory_limit_mb": 256,
    });
    assert_eq!(serde_json::to_value(sandbox_body(&sandbox(), &base())).unwrap(), expected);
}

#[test]
fn a_sandbox_without_a_program_shows_too() {
    let mut sandbox = Sandbox { program: None, ..sandbox() };
    let body = sandbox_body(&sandbox, &base());
    assert_eq!((body.runtime, body.timeout_ms), ("host", 600_500));
    sandbox.lease_until = None;
    assert_eq!(sandbox_body(&sandbox, &base()).timeout_ms, 0);
}

#[test]
fn an_ended_sandbox_says_when_and_why() {
    let ended_at = Some("2024-12-09T19:31:00Z".parse().unwrap());
    let shown = |end| {
        let body = sandbox_body(&Sandbox { end: Some(end), ended_at, ..sandbox() }, &base());
        serde_json::to_value(body).unwrap()["ended"].take()
    };
    let at = "2024-12-09T19:31:00.000Z";
    assert_eq!(
        shown(EndReason::TimedOut { limit_ms: 1500 }),
        json!({"at": at, "reason": "timed_out", "text": "ran out of time (limit 1500 ms)"})
    );
    let failed = EndReason::LaunchFailed { step: "make /var/lib/atoll/run/x".to_owned(), errno: 2 };
    assert_eq!(
        shown(failed),
        json!({"at": at, "reason": "launch_failed", "text": "could not be launched"}),
        "paths of the host are not shown"
    );
}

#[test]
fn a_development_server_has_a_url() {
    let url = |mode, dev_server| {
        let sandbox = Sandbox { program: Some(program(mode, dev_server)), ..sandbox() };
        sandbox_body(&sandbox, &base()).dev_server_url
    };
    let expected = "http://127.0.0.1:8080/proxy/fab81d7c-f665-432b-85c4-f9d380019709/";
    assert_eq!(url(Mode::Persistent, true).as_deref(), Some(expected));
    assert_eq!(url(Mode::Persistent, false), None);
    assert_eq!(url(Mode::Oneshot, true), None);
}

#[test]
fn every_state_has_its_word() {
    let word = |state| status(&Sandbox { state, ..sandbox() });
    assert_eq!(word(SandboxState::Pending), StatusWord::Created);
    for state in [
        SandboxState::Running,
        SandboxState::Pausing,
        SandboxState::Paused,
        SandboxState::Resuming,
        SandboxState::Stopping,
    ] {
        assert_eq!(word(state), StatusWord::Running);
    }
    assert_eq!(word(SandboxState::Failed), StatusWord::Failed);
    assert_eq!(word(SandboxState::Terminated), StatusWord::Failed);
}

#[test]
fn an_end_is_judged_by_the_last_result_and_then_by_its_reason() {
    let word = |last_result, end| {
        status(&Sandbox { state: SandboxState::Terminated, last_result, end, ..sandbox() })
    };
    let exited = |code| Some(EndReason::Exited { code });
    assert_eq!(word(None, exited(0)), StatusWord::Completed);
    assert_eq!(word(None, exited(1)), StatusWord::Failed);
    assert_eq!(word(None, Some(EndReason::LeaseEnded)), StatusWord::Failed);
    assert_eq!(word(Some(result(Some(ExitStatus::Exited(0)))), None), StatusWord::Completed);
    assert_eq!(word(Some(result(Some(ExitStatus::Exited(3)))), exited(0)), StatusWord::Failed);
    let timed_out =
        ProgramResult { limits_hit: vec![LimitHit::Timeout], ..result(Some(ExitStatus::Exited(0))) };
    assert_eq!(word(Some(timed_out), exited(0)), StatusWord::Failed);
}

#[test]
fn a_run_has_the_documents_fields_and_more() {
    let body = run_body(result(Some(ExitStatus::Exited(0))), None, &base());
    let expected = json!({
        "success": true, "stdout": "out", "stderr": "err", "exit_code": 0, "execution_time_ms": 12,
        "is_running": false, "dev_server_url": null, "limits_hit": [],
    });
    assert_eq!(serde_json::to_value(body).unwrap(), expected);
}

#[test]
fn exit_codes_are_the_shells() {
    let code = |status| {
        let body = run_body(result(Some(status)), None, &base());
        (body.success, body.exit_code)
    };
    assert_eq!(code(ExitStatus::Exited(0)), (true, 0));
    assert_eq!(code(ExitStatus::Exited(7)), (false, 7));
    assert_eq!(code(ExitStatus::Signaled(9)), (false, 137));
}

#[test]
fn a_time_out_is_124_and_says_so_once() {
    let run = |status, stderr: &str| {
        let result = ProgramResult {
            stderr: stderr.as_bytes().to_vec(),
            limits_hit: vec![LimitHit::Output, LimitHit::Timeout],
            ..result(Some(status))
        };
        run_body(result, None, &base())
    };
    for status in [ExitStatus::Signaled(9), ExitStatus::Exited(0)] {
        let body = run(status, "half a line");
        assert!(!body.success && !body.is_running);
        assert_eq!(body.exit_code, 124);
        assert_eq!(body.stderr, "half a line\nExecution timed out\n");
        assert_eq!(body.limits_hit, [LimitWord::Output, LimitWord::Timeout]);
    }
    assert_eq!(run(ExitStatus::Signaled(9), "").stderr, "Execution timed out\n");
    let said = "Execution timed out after 30 s\n";
    assert_eq!(run(ExitStatus::Signaled(9), said).stderr, said);
}

#[test]
fn other_limits_do_not_change_what_the_exit_status_says() {
    let limited = |hit| ProgramResult { limits_hit: vec![hit], ..result(Some(ExitStatus::Exited(0))) };
    for (hit, word) in [
        (LimitHit::Memory, "memory"),
        (LimitHit::Output, "output"),
        (LimitHit::Processes, "processes"),
        (LimitHit::Disk, "disk"),
    ] {
        let body = run_body(limited(hit), None, &base());
        assert!(body.success && body.stderr == "err");
        assert_eq!(serde_json::to_value(&body.limits_hit).unwrap(), json!([word]));
    }
}

#[test]
fn a_program_that_runs_on_says_what_was_set_up() {
    let run = |dev_server| {
        let kept = (program(Mode::Persistent, dev_server), sandbox().id);
        run_body(result(None), Some(kept), &base())
    };
    let plain = run(false);
    assert_eq!(plain.stdout, "Persistent container setup completed");
    assert_eq!((plain.success, plain.exit_code, plain.is_running), (true, 0, true));
    assert_eq!(plain.dev_server_url, None);
    let serving = run(true);
    assert_eq!(serving.stdout, "Persistent container with dev server setup completed");
    assert!(serving.dev_server_url.unwrap().ends_with("/proxy/fab81d7c-f665-432b-85c4-f9d380019709/"));
}

#[test]
fn output_that_is_not_utf8_is_shown_with_replacements() {
    let result = ProgramResult { stdout: b"a\xffb\xf0\x9f".to_vec(), ..result(Some(ExitStatus::Exited(0))) };
    assert_eq!(run_body(result, None, &base()).stdout, "a\u{fffd}b\u{fffd}");
}

#[test]
fn log_lines_have_the_level_of_their_stream() {
    let id = sandbox().id;
    let json = |stream| {
        let line = LogLine { at: "2024-12-09T19:30:00Z".parse().unwrap(), stream, text: "hello".to_owned() };
        serde_json::to_value(log_line_body(line, id)).unwrap()
    };
    let expected = |level| {
        json!({
            "timestamp": "2024-12-09T19:30:00.000Z", "level": level, "message": "hello",
            "sandbox_id": "fab81d7c-f665-432b-85c4-f9d380019709",
        })
    };
    assert_eq!(json(LogStream::Stdout), expected("INFO"));
    assert_eq!(json(LogStream::Stderr), expected("ERROR"));
}
