//! Both directions, without a server.

use engine::EndReason;
use jiff::Timestamp;
use protocol::{SandboxId, SnapshotId, agent::ExitStatus, limits::Limits};
use serde_json::json;

use super::*;

#[test]
fn lists_are_masked_and_leave_out_revoked_keys() {
    let key = |id, revoked_at| Key {
        id,
        prefix: "ws_a1b2c3".to_owned(),
        name: None,
        admin: false,
        created_at: Timestamp::UNIX_EPOCH,
        revoked_at,
    };
    let body = keys_body(vec![key(2, None), key(1, Some(Timestamp::UNIX_EPOCH))]);
    let expected = json!({"api_keys": [
        {"id": 2, "key": "ws_a1b2c3...", "name": null, "created_at": "1970-01-01T00:00:00"}
    ]});
    assert_eq!(serde_json::to_value(body).unwrap(), expected);
}

fn vm() -> Sandbox {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    Sandbox {
        image: "host".to_owned(),
        id: SandboxId::random(),
        owner: "key:1".to_owned(),
        dialect: DIALECT.to_owned(),
        name: Some("my-sandbox".to_owned()),
        number: Some(7),
        ordinal: Some(2),
        state: SandboxState::Running,
        end: None,
        created_at: at("2024-12-09T19:30:00.5Z"),
        started_at: Some(at("2024-12-09T19:30:15.9Z")),
        ended_at: None,
        lease_until: None,
        limits: Limits::default(),
        network: NetworkMode::Nat,
        network_policy: None,
        metadata: std::collections::BTreeMap::new(),
        entrypoint: None,
        on_access: engine::OnAccess::default(),
        details: None,
        used_at: None,
        variables: std::sync::Arc::default(),
        env: std::sync::Arc::default(),
        program: None,
        last_result: None,
    }
}

fn settings() -> VmsSettings {
    VmsSettings::default()
}

#[test]
fn a_machine_has_the_documented_fields() {
    let expected = json!({
        "id": 7, "name": "my-sandbox", "base_vm": "dev-1", "status": "running", "agent_port": 3335,
        "ssh_port": 2224, "created_at": "2024-12-09T19:30:00", "updated_at": "2024-12-09T19:30:15"
    });
    assert_eq!(serde_json::to_value(vm_body(&vm(), &settings())).unwrap(), expected);
    let info = serde_json::to_value(vm_info_body(&vm(), true, &settings())).unwrap();
    assert_eq!((&info["agentHealthy"], info.as_object().unwrap().len()), (&json!(true), 9));
}

#[test]
fn states_have_their_words() {
    let word = |state, end| vm_body(&Sandbox { state, end, ..vm() }, &settings()).status;
    assert_eq!(word(SandboxState::Pending, None), VmStatusWord::Creating);
    assert_eq!(word(SandboxState::Running, None), VmStatusWord::Running);
    let lost = EndReason::Lost { detail: "the host was restarted".to_owned() };
    assert_eq!(word(SandboxState::Terminated, Some(lost)), VmStatusWord::Stopped);
    assert_eq!(word(SandboxState::Failed, None), VmStatusWord::Error);
}

#[test]
fn only_this_dialects_sandboxes_are_machines() {
    let other = Sandbox { dialect: "cli".to_owned(), ..vm() };
    assert_eq!(vms_body(&[other, vm()], &settings()).vms.len(), 1);
}

#[test]
fn a_snapshot_has_the_documented_fields_and_those_of_the_server_before() {
    let snapshot = Snapshot {
        outlives: false,
        id: SnapshotId::random(),
        number: 9,
        sandbox: vm().id,
        name: "initial".to_owned(),
        note: None,
        created_at: Timestamp::UNIX_EPOCH,
    };
    let expected = json!({"snapshots": [{
        "id": 9, "vm_id": 7, "vm_name": "my-sandbox", "snapshot_name": "initial", "command": null,
        "s3_key": null, "created_at": "1970-01-01T00:00:00"
    }]});
    assert_eq!(serde_json::to_value(snapshots_body(&vm(), vec![snapshot])).unwrap(), expected);
}

fn named(name: Option<&str>) -> Result<SandboxSpec, String> {
    let request = VmRequest { name: name.map(str::to_owned) };
    vm_spec(request, &Settings::default()).map_err(|refused| refused.to_string())
}

#[test]
fn names_are_checked() {
    for good in ["a", "A.b_c-9", "-", "..a", &"x".repeat(63)] {
        assert_eq!(named(Some(good)).unwrap().name.as_deref(), Some(good));
    }
    for none in [None, Some("")] {
        assert_eq!(named(none).unwrap_err(), "name is required");
    }
    for bad in [&"x".repeat(64), "a b", "a/b", "\u{e9}", "a\n", ".", ".."] {
        assert!(named(Some(bad)).unwrap_err().starts_with("name: must "), "{bad}");
    }
}

#[test]
fn a_machine_stays_and_has_a_network_where_there_is_one() {
    let spec = |network_available| {
        let settings = Settings { network_available, ..Settings::default() };
        vm_spec(VmRequest { name: Some("a".to_owned()) }, &settings).unwrap()
    };
    assert_eq!((spec(true).network, spec(true).lease), (Some(NetworkMode::Nat), Lease::Never));
    assert_eq!(spec(false).network, Some(NetworkMode::None));
}

fn command(command: Option<&str>, timeout: Option<f64>) -> Result<CommandSpec, String> {
    let request = CommandRequest { command: command.map(str::to_owned), timeout };
    let spec = command_spec(request, &Settings::default());
    spec.map(|(spec, _)| spec).map_err(|refused| refused.to_string())
}

#[test]
fn commands_and_their_time_are_checked() {
    let millis = |timeout| command(Some("true"), timeout).unwrap().timeout.as_millis();
    assert_eq!((millis(None), millis(Some(0.25)), millis(Some(3600.0))), (30_000, 250, 3_600_000));
    assert_eq!(command(Some("a b"), None).unwrap().argv, ["sh", "-c", "a b"]);
    for none in [None, Some("")] {
        assert_eq!(command(none, None).unwrap_err(), "command is required");
    }
    for seconds in [0.0, -1.0, 0.0001, 3600.1, 1e300, f64::INFINITY, f64::NAN] {
        let refused = command(Some("true"), Some(seconds)).unwrap_err();
        assert!(refused.starts_with("timeout: must be between 0.001 and 3600 seconds"), "{refused}");
    }
    assert!(command(Some("a\0b"), None).unwrap_err().starts_with("command: "));
    assert!(command(Some(&"x".repeat(131_072)), None).unwrap_err().starts_with("command: "));
}

fn outcome(status: ExitStatus, stderr: &str, notes: &str) -> CommandBody {
    let snapshot = Snapshot {
        outlives: false,
        id: SnapshotId::random(),
        number: 0,
        sandbox: SandboxId::random(),
        name: "cmd_1".to_owned(),
        note: None,
        created_at: Timestamp::UNIX_EPOCH,
    };
    let result = ProgramResult {
        status: Some(status),
        stdout: b"out\xff".to_vec(),
        stderr: format!("{stderr}{notes}").into_bytes(),
        noted_bytes: notes.len(),
        wall: Duration::ZERO,
        limits_hit: if notes.contains("timed out") { vec![LimitHit::Timeout] } else { Vec::new() },
    };
    command_body(CommandOutcome { result, snapshot: Some(snapshot) })
}

#[test]
fn a_command_that_ends_shows_its_status() {
    let body = outcome(ExitStatus::Exited(3), "why\n", "");
    let expected = json!({"stdout": "out\u{fffd}", "stderr": "why\n", "exitCode": 3, "snapshot": "cmd_1"});
    assert_eq!(serde_json::to_value(&body).unwrap(), expected);
    assert_eq!(outcome(ExitStatus::Signaled(9), "", "").exit_code, 137);
}

#[test]
fn a_command_that_takes_too_long_ends_with_the_documented_words() {
    let stderr = |written, notes| {
        let body = outcome(ExitStatus::Signaled(9), written, notes);
        assert_eq!(body.exit_code, 124);
        body.stderr
    };
    assert_eq!(stderr("", "Execution timed out (limit 1 ms)\n"), "Command timed out");
    assert_eq!(stderr("part", "\nExecution timed out (limit 1 ms)\n"), "part\nCommand timed out");
    assert_eq!(
        stderr("part\n", "Execution timed out (limit 1 ms)\nOutput limit reached\n"),
        "part\nOutput limit reached\nCommand timed out"
    );
}
