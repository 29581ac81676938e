//! The user that commands run as, and the image that machines say they are made from.

use std::process::Command;

use blackbox::{Server, atoll};
use serde_json::json;

use super::{keyed, restore, snapshot_names, vm_create, vm_output, vm_run};

#[test]
fn commands_run_as_the_user_that_was_set_and_the_workspace_is_that_users() {
    for (user, expected) in [("daemon", "1:1 daemon /usr/sbin\n"), ("1234", "1234:1234 root /sandbox\n")] {
        let server = Server::start_with(&["--vm-user", user]);
        let client = keyed(&server);
        vm_create(&client, "a");
        let who = "echo $(id -u):$(id -g) ${USER:-root} $HOME";
        assert_eq!(vm_output(&client, "a", who), expected);
        vm_output(
            &client,
            "a",
            "mkdir -m 700 d; echo mine > d/f; test -O d/f && ! touch /etc/x 2> /dev/null",
        );
        assert_eq!(client.post_empty("/vms/a/wipe").status, 200);
        assert_eq!(vm_output(&client, "a", "ls -A; test -w ."), "");
        assert_eq!(restore(&client, "a", "initial").status, 200);
        assert_eq!(vm_output(&client, "a", "touch g; test -O g; ls"), "g\n");
    }
}

#[test]
fn a_user_that_is_not_in_the_machine_is_told_and_no_machine_stays() {
    let server = Server::start_with(&["--vm-user", "nosuch"]);
    let client = keyed(&server);
    let refused = client.post("/vms", &json!({"name": "a"})).error(503);
    assert!(refused.contains("\"nosuch\""), "{refused}");
    assert_eq!(client.get("/vms").ok(), json!({"vms": []}));
    assert_eq!(super::snapshots_on_disk(&server), 0);
}

#[test]
fn a_users_table_that_a_machine_has_made_up_counts_inside_only() {
    let server = Server::start_with(&["--vm-user", "daemon"]);
    let client = keyed(&server);
    vm_create(&client, "a");
    let mapped = vm_output(&client, "a", "cat /proc/self/uid_map");
    let first: u64 = mapped.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(first >= 0x7000_0000, "the host knows its users by other numbers: {mapped}");
    assert_eq!(vm_run(&client, "a", "echo 'daemon:x:0:0::/:/bin/sh' >> /etc/passwd")["exitCode"], 2);
    assert_eq!(snapshot_names(&client, "a").len(), 3);
}

#[test]
fn variables_of_the_server_before_count_as_they_are_documented() {
    let serve = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(atoll());
        command.arg("serve").args(arguments).args(["--data-dir", "/proc/no-such-place"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let listen = ["--listen", "127.0.0.1:0"];
    let refused = serve(&[("BASE_VM", "ubuntu")], &listen);
    assert!(refused.contains("\"ubuntu\"") && refused.contains("dev-1"), "{refused}");
    let refused = serve(&[("BASE_VM", "ubuntu"), ("ATOLL_BASE_VM", "host")], &listen);
    assert!(!refused.contains("ubuntu"), "{refused}");
    assert!(serve(&[("PORT", "http")], &[]).contains("PORT"), "there is no port of this name");
    assert!(!serve(&[("PORT", "http")], &listen).contains("PORT"), "nobody asked for it");
}
