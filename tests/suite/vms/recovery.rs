//! Servers and machines that end while machines are there.

use blackbox::{Key, Server, deadline::wait_until};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::{snapshot_names, snapshots, snapshots_on_disk, vm_create, vm_output, vm_run};

fn vm(server: &Server, key: &Key) -> Value {
    server.with_key(key).get("/vms/a").ok()
}

#[test]
fn a_machine_goes_on_when_its_server_ends_and_the_next_one_has_it_at_once() {
    let mut server = Server::start();
    let key = server.key_create(&[]);
    let client = server.with_key(&key);
    for name in ["freed", "a"] {
        vm_create(&client, name);
    }
    let before = vm(&server, &key);
    let pid = vm_output(&client, "a", "echo kept > f; sleep 1000 > /dev/null 2>&1 & echo $!");
    let names = snapshot_names(&client, "a");
    for stop in [false, true] {
        if stop {
            assert!(server.stop().success());
        } else {
            server.kill();
        }
        server.start_again();
        let client = server.with_key(&key);
        let now = vm(&server, &key);
        assert_eq!((&now["agentHealthy"], &now["agent_port"]), (&json!(true), &json!(3334)), "{now}");
        assert_eq!(now, before, "it is the same");
        assert_eq!(snapshot_names(&client, "a")[..2], names[..]);
        assert_eq!(vm_output(&client, "a", "cat f; pgrep -x sleep"), format!("kept\n{pid}"));
    }
    let client = server.with_key(&key);
    assert_eq!(client.delete("/vms/freed").status, 200);
    assert_eq!(vm_create(&client, "b")["agent_port"], 3333);
    assert_eq!(vm_create(&client, "c")["agent_port"], 3335, "a number is not given twice after a restart");
}

#[test]
fn a_command_goes_on_when_its_server_is_killed_and_its_snapshot_is_taken() {
    let mut server = Server::start();
    let key = server.key_create(&[]);
    let client = server.with_key(&key);
    vm_create(&client, "a");
    let command = "echo before > f; sleep 3; echo after >> f";
    let asked = client.clone();
    let running = std::thread::spawn(move || {
        asked.send("POST", "/vms/a/run", Some(json!({"command": command}).to_string().as_bytes()))
    });
    wait_until("it runs", || server.traces().programs().iter().any(|it| it.contains(" sleep (")));
    server.kill();
    assert!(running.join().unwrap().is_err());
    server.start_again();
    let client = server.with_key(&key);
    wait_until("its snapshot is taken", || snapshots(&client, "a").len() == 2);
    let taken = snapshots(&client, "a").remove(1);
    assert_eq!(taken["command"], command);
    vm_run(&client, "a", "echo later > f");
    assert_eq!(super::restore(&client, "a", taken["snapshot_name"].as_str().unwrap()).status, 200);
    assert_eq!(vm_output(&client, "a", "cat f"), "before\nafter\n", "it holds what the whole command did");
}

#[test]
fn a_machine_that_has_ended_is_stopped_and_starts_again_with_what_is_asked_of_it_next() {
    let server = Server::start();
    let key = server.key_create(&[]);
    let client = server.with_key(&key);
    vm_create(&client, "a");
    vm_output(&client, "a", "echo kept > f");
    let operations: [(&str, &str); 3] =
        [("run", r#"{"command": "cat f"}"#), ("wipe", ""), ("snapshots/initial/restore", "")];
    for (operation, body) in operations {
        vm_output(&client, "a", "sleep 1000 > /dev/null 2>&1 &");
        kill_process(server.agent_of("sleep").expect("it runs"), Signal::KILL).unwrap();
        wait_until("it is stopped", || vm(&server, &key)["status"] == "stopped");
        assert_eq!(vm(&server, &key)["agentHealthy"], false);
        let body = (!body.is_empty()).then_some(body.as_bytes());
        let answer = client.send("POST", &format!("/vms/a/{operation}"), body).unwrap().ok();
        if operation == "run" {
            assert_eq!(answer["stdout"], "kept\n", "its files are there: {answer}");
        }
        let now = vm(&server, &key);
        assert_eq!((&now["status"], &now["agentHealthy"]), (&json!("running"), &json!(true)), "{operation}");
    }
    assert_eq!(vm_output(&client, "a", "ls -A; pgrep -x sleep || echo none"), "none\n");
}

#[test]
fn a_machine_is_there_whole_or_not_at_all_when_its_server_is_killed_over_it() {
    let mut server = Server::start();
    let key = server.key_create(&[]);
    for round in 0..4 {
        let client = server.with_key(&key);
        let making: Vec<_> = (0..3)
            .map(|number| {
                let (client, body) =
                    (client.clone(), json!({"name": format!("vm{round}-{number}")}).to_string());
                std::thread::spawn(move || client.send("POST", "/vms", Some(body.as_bytes())))
            })
            .collect();
        wait_until("they are being made", || {
            client.get("/vms").ok()["vms"].as_array().unwrap().len() > round
        });
        server.kill();
        let answers: Vec<_> = making.into_iter().map(|it| it.join().unwrap()).collect();
        server.start_again();
        let client = server.with_key(&key);
        let there = client.get("/vms").ok()["vms"].as_array().unwrap().clone();
        for (number, answer) in answers.into_iter().enumerate() {
            let told = answer.is_ok_and(|answer| answer.status == 201);
            let found = there.iter().any(|vm| vm["name"] == format!("vm{round}-{number}"));
            assert!(found || !told, "one that was answered for is gone");
        }
        for vm in &there {
            let name = vm["name"].as_str().unwrap();
            assert_eq!(
                (&vm["status"], snapshot_names(&client, name)),
                (&json!("running"), vec!["initial".to_owned()])
            );
        }
        assert_eq!(snapshots_on_disk(&server), there.len());
        // The next round waits for more than there are now.
        for vm in there.iter().skip(round + 1) {
            assert_eq!(client.delete(&format!("/vms/{}", vm["name"].as_str().unwrap())).status, 200);
        }
        for number in client.get("/vms").ok()["vms"].as_array().unwrap().len()..=round {
            vm_create(&client, &format!("more{round}-{number}"));
        }
    }
}

#[test]
fn a_restore_is_done_whole_or_not_at_all_when_its_server_is_killed_over_it() {
    let mut server = Server::start();
    let key = server.key_create(&[]);
    vm_create(&server.with_key(&key), "a");
    for millis in [0, 2, 5, 10, 20] {
        let client = server.with_key(&key);
        let write = |text: &str| {
            let command = format!("for i in $(seq 200); do echo {text} > f$i; done");
            vm_run(&client, "a", &command)["snapshot"].as_str().unwrap().to_owned()
        };
        let (older, newer) = (write("older"), write("newer"));
        let path = format!("/vms/a/snapshots/{older}/restore");
        let restoring = std::thread::spawn(move || client.send("POST", &path, None));
        std::thread::sleep(std::time::Duration::from_millis(millis));
        server.kill();
        let told = restoring.join().unwrap().is_ok_and(|answer| answer.status == 200);
        server.start_again();
        let client = server.with_key(&key);
        // Behind what is still to be done.
        let files = vm_output(&client, "a", "cat f* | sort | uniq -c | awk '{print $1, $2}'");
        assert!(files == "200 older\n" || (files == "200 newer\n" && !told), "{files}");
        let names = snapshot_names(&client, "a");
        assert!(names.contains(&older), "{names:?}");
        assert_eq!(names.contains(&newer), files == "200 newer\n", "later ones go with it: {names:?}");
        assert_eq!(snapshots_on_disk(&server), names.len());
    }
}
