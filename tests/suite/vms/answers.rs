//! What answers hold when all goes well, field by field, and that nothing is left in the end.

use blackbox::{Server, deadline::wait_until};
use serde_json::{Value, json};

use super::{keyed, restore, snapshot_names, snapshots, snapshots_on_disk, vm_create, vm_output, vm_run};

fn fields(value: &Value) -> Vec<&str> {
    let mut fields: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == "2024-12-09T19:30:00".len() && text.as_bytes()[10] == b'T'
}

#[test]
fn a_machine_has_the_documented_fields() {
    let server = Server::start();
    let client = keyed(&server);
    let made = vm_create(&client, "my-sandbox");
    let documented =
        ["agent_port", "base_vm", "created_at", "id", "name", "ssh_port", "status", "updated_at"];
    assert_eq!(fields(&made), documented);
    assert_eq!(
        (&made["id"], &made["name"], &made["base_vm"]),
        (&json!(1), &json!("my-sandbox"), &json!("dev-1"))
    );
    assert!(is_time(&made["created_at"]) && is_time(&made["updated_at"]), "{made}");
    assert_eq!(client.get("/vms").ok(), json!({"vms": [made]}));
    let mut info = client.get("/vms/my-sandbox").ok();
    assert_eq!(info.as_object_mut().unwrap().remove("agentHealthy"), Some(json!(true)));
    assert_eq!(info, made);
    let first = snapshots(&client, "my-sandbox").remove(0);
    let documented = ["command", "created_at", "id", "s3_key", "snapshot_name", "vm_id", "vm_name"];
    assert_eq!(fields(&first), documented);
    assert_eq!(
        (&first["snapshot_name"], &first["command"], &first["s3_key"]),
        (&json!("initial"), &Value::Null, &Value::Null)
    );
    assert_eq!((&first["vm_id"], &first["vm_name"]), (&made["id"], &made["name"]));
    assert!(is_time(&first["created_at"]), "{first}");
    let health = client.get("/health").ok();
    assert_eq!(health["status"], "ok");
    assert!(health["timestamp"].as_str().unwrap().ends_with('Z'), "{health}");
}

#[test]
fn ports_are_the_lowest_free_ones_however_many_come_at_once() {
    let server = Server::start();
    let (one, other) = (keyed(&server), keyed(&server));
    std::thread::scope(|scope| {
        for number in 0..6 {
            let client = if number % 2 == 0 { &one } else { &other };
            scope.spawn(move || vm_create(client, &format!("vm{number}")));
        }
    });
    let ports = || {
        let mut ports = Vec::new();
        for client in [&one, &other] {
            for vm in client.get("/vms").ok()["vms"].as_array().unwrap() {
                let (agent, ssh) = (vm["agent_port"].as_u64().unwrap(), vm["ssh_port"].as_u64().unwrap());
                assert_eq!(agent - 3333, ssh - 2222, "{vm}");
                ports.push(agent);
            }
        }
        ports.sort_unstable();
        ports
    };
    assert_eq!(ports(), (3333..3339).collect::<Vec<_>>());
    let freed = one.get("/vms/vm2").ok()["agent_port"].as_u64().unwrap();
    assert_eq!(one.delete("/vms/vm2").status, 200);
    assert_eq!(vm_create(&other, "vm2")["agent_port"], freed);
    assert_eq!(ports(), (3333..3339).collect::<Vec<_>>());
}

#[test]
fn every_command_is_a_fresh_shell_in_the_workspace_and_leaves_a_snapshot() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let first =
        vm_run(&client, "a", "cd /; X=1; echo \"é\" >&2; printf 'a\\377b'; pwd > /sandbox/at; exit 7");
    assert_eq!((&first["stdout"], &first["stderr"]), (&json!("a\u{fffd}b"), &json!("é\n")), "{first}");
    assert_eq!(first["exitCode"], 7);
    assert_eq!(vm_output(&client, "a", "pwd; echo x$X; cat at"), "/sandbox\nx\n/\n");
    assert_eq!(vm_run(&client, "a", "kill -TERM $$")["exitCode"], 143);
    assert_eq!(vm_run(&client, "a", "no-such-program")["exitCode"], 127);
    assert_eq!(vm_run(&client, "a", "exec cat")["exitCode"], 0, "there is nothing to read");
    let list = snapshots(&client, "a");
    let commands: Vec<&str> = list[1..].iter().map(|it| it["command"].as_str().unwrap()).collect();
    assert_eq!((list.len(), commands[1], commands[3]), (6, "pwd; echo x$X; cat at", "no-such-program"));
    let ids: Vec<u64> = list.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

#[test]
fn a_command_that_takes_too_long_keeps_what_it_wrote() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let body = json!({"command": "echo out; echo err >&2; touch made; sleep 1000", "timeout": 0.5});
    let ran = client.post("/vms/a/run", &body).ok();
    assert_eq!((&ran["stdout"], &ran["exitCode"]), (&json!("out\n"), &json!(124)), "{ran}");
    assert_eq!(ran["stderr"], "err\nCommand timed out");
    assert_eq!(snapshot_names(&client, "a")[1], ran["snapshot"].as_str().unwrap());
    assert_eq!(vm_output(&client, "a", "ls; pgrep -x sleep || echo none"), "made\nnone\n");
}

#[test]
fn what_a_command_starts_in_the_background_goes_on() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let pid = vm_output(&client, "a", "sleep 1000 > /dev/null 2>&1 & echo $!");
    assert_eq!(vm_output(&client, "a", "pgrep -x sleep"), pid);
}

#[test]
fn a_command_that_wants_too_much_memory_ends_and_the_machine_does_not() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let pid = vm_output(&client, "a", "sleep 1000 > /dev/null 2>&1 & echo $!");
    assert_eq!(vm_run(&client, "a", "exec python3 -c 'bytearray(10**9)'")["exitCode"], 137);
    assert_eq!(vm_output(&client, "a", "pgrep -x sleep"), pid);
    assert_eq!(snapshot_names(&client, "a").len(), 4);
}

#[test]
fn a_command_goes_on_when_its_client_goes_away() {
    use std::io::Write;

    let server = Server::start();
    let key = server.key_create(&[]);
    let client = server.with_key(&key);
    vm_create(&client, "a");
    let body = json!({"command": "sleep 2; echo done > f"}).to_string();
    let mut connection = std::net::TcpStream::connect(server.address()).unwrap();
    let head = format!("POST /vms/a/run HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\n", key.text);
    write!(connection, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    wait_until("it runs", || !server.traces().programs().is_empty());
    drop(connection);
    assert_eq!(vm_output(&client, "a", "cat f"), "done\n");
    assert_eq!(snapshots(&client, "a")[1]["command"], "sleep 2; echo done > f");
}

#[test]
fn all_snapshots_of_a_key_are_listed_the_newest_first() {
    let server = Server::start();
    let client = keyed(&server);
    for name in ["a", "b"] {
        vm_create(&client, name);
    }
    vm_run(&client, "a", "true");
    let all = client.get("/snapshots").ok();
    let shown: Vec<(&str, &str)> = all["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["vm_name"].as_str().unwrap(), it["command"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(shown, [("a", "true"), ("b", "-"), ("a", "-")]);
}

#[test]
fn a_wipe_takes_everything_from_the_workspace_and_nothing_else() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let made = "mkdir -p .git/deep d/..x; touch -- .env ..hidden -rf 'a b' \"$(printf 'a\\nb')\" .git/deep/.x d/..x/y; \
                ln -s / root; ln -s nowhere gone; chmod 0 d; echo keep > /root/keep; \
                find . -mindepth 1 -maxdepth 1 -printf x | wc -c";
    assert_eq!(vm_output(&client, "a", made), "9\n");
    let before = snapshot_names(&client, "a");
    assert_eq!(client.post_empty("/vms/a/wipe").ok(), json!({"message": "Workspace wiped"}));
    assert_eq!(snapshot_names(&client, "a"), before, "it takes none and keeps the old ones");
    assert_eq!(vm_output(&client, "a", "ls -A; cat /root/keep; test -d /usr && echo usr"), "keep\nusr\n");
    assert_eq!(restore(&client, "a", &before[1]).status, 200);
    assert_eq!(vm_output(&client, "a", "find . -mindepth 1 -maxdepth 1 -printf x | wc -c"), "9\n");
}

#[test]
fn a_wipe_asks_no_program_of_the_machine_and_needs_no_workspace() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_output(&client, "a", "rm /usr/bin/find; ln -s /bin/true /usr/bin/find; touch f");
    let _ = client.post_empty("/vms/a/wipe").ok();
    assert_eq!(vm_output(&client, "a", "ls -A"), "");
    vm_output(&client, "a", "rm -r /sandbox");
    let _ = client.post_empty("/vms/a/wipe").ok();
    assert_eq!(vm_output(&client, "a", "pwd; ls -A"), "/sandbox\n");
    vm_output(&client, "a", "rm -r /usr/bin");
    let _ = client.post_empty("/vms/a/wipe").ok();
}

#[test]
fn no_folder_of_the_workspace_looks_like_the_workspace() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    // More than the image has files, whose numbers theirs must not be.
    let made =
        "for i in $(seq 6000); do echo d$i; done | xargs mkdir; find . | wc -l; find . -inum $(stat -c %i .)";
    assert_eq!(vm_output(&client, "a", made), "6001\n.\n");
    assert_eq!(vm_output(&client, "a", "rm -r d*; ls -A; cd /root; find . -inum $(stat -c %i .)"), ".\n");
}

#[test]
fn forks_of_a_machine_are_no_machines() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let id = client.get("/sandboxes").ok()[0]["id"].as_str().unwrap().to_owned();
    let forked = client.post(&format!("/admin/api/sandboxes/{id}/fork"), &json!({"count": 2}));
    assert_eq!(forked.status, 201, "{}", forked.text);
    let fork = forked.json()[0]["id"].as_str().unwrap().to_owned();
    let taken = client.post(&format!("/admin/api/sandboxes/{fork}/snapshots"), &json!({"name": "own"}));
    assert_eq!(taken.status, 201, "{}", taken.text);
    let machines = client.get("/vms").ok();
    assert_eq!((machines["vms"].as_array().unwrap().len(), &machines["vms"][0]["name"]), (1, &json!("a")));
    let snapshots = client.get("/snapshots").ok();
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), 1, "{snapshots}");
    assert_eq!(client.get("/sandboxes").ok().as_array().unwrap().len(), 3);
}

#[test]
fn the_trail_names_what_was_restored_dropped_and_wiped() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_run(&client, "a", "true");
    let _ = client.post_empty("/vms/a/wipe").ok();
    assert_eq!(restore(&client, "a", "initial").status, 200);
    let id = client.get("/sandboxes").ok()[0]["id"].as_str().unwrap().to_owned();
    let of = format!("/admin/api/sandboxes/{id}/snapshots");
    let taken = client.post(&of, &json!({"name": "own"})).json()["id"].clone();
    assert_eq!(client.delete(&format!("{of}/{}", taken.as_str().unwrap())).status, 204);
    let events = client.get(&format!("/admin/api/events?sandbox={id}")).ok();
    let events = events.as_array().unwrap();
    let of_kind = |kind: &str| events.iter().filter(|it| it["kind"] == kind).collect::<Vec<_>>();
    let by_name = |name: &str| {
        let all = of_kind("sandbox.snapshot_taken").into_iter();
        all.map(|it| &it["detail"]).find(|it| it["name"].as_str().unwrap().starts_with(name)).unwrap()["snapshot"].clone()
    };
    let restored = &of_kind("sandbox.restored")[0]["detail"];
    assert_eq!(restored, &json!({"snapshot": by_name("initial"), "dropped": [by_name("cmd_")]}));
    let deleted = &of_kind("sandbox.snapshot_deleted")[0]["detail"];
    assert_eq!(deleted, &json!({"snapshot": taken, "name": "own"}));
    assert_eq!(of_kind("sandbox.wiped").len(), 1);
}

#[test]
fn nothing_is_left_of_a_machine_that_was_deleted() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    for name in ["a", "b"] {
        vm_create(&client, name);
        vm_run(&client, name, "echo x > f; sleep 1000 > /dev/null 2>&1 &");
        vm_run(&client, name, "echo y > f");
    }
    assert_eq!(restore(&client, "a", "initial").status, 200);
    assert_eq!(snapshots_on_disk(&server), 4);
    for name in ["a", "b"] {
        let deleted = client.delete(&format!("/vms/{name}")).ok();
        assert_eq!(deleted, json!({"message": format!("VM \"{name}\" destroyed")}));
    }
    assert_eq!(snapshots_on_disk(&server), 0);
    assert_eq!(client.get("/snapshots").ok(), json!({"snapshots": []}));
    server.nothing_left(&before);
}
