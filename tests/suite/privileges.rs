//! What the server and its launcher may do on the host.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use blackbox::{
    Server, atoll,
    deadline::{found, wait_until},
    has_ended, status_field, toolchains,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open};

#[test]
fn the_server_has_no_privileges() {
    let server = Server::start();
    assert_eq!(server.execute_code("bash", "echo ran").output(), "ran\n");
    for task in std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
        let task = task.unwrap().file_name().into_string().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/task/{task}/status", server.pid())).unwrap();
        let field = |name: &str| {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        for capabilities in ["CapEff:", "CapPrm:", "CapBnd:", "CapInh:", "CapAmb:"] {
            assert_eq!(field(capabilities), ["0".repeat(16)], "{capabilities} of task {task}");
        }
        for ids in ["Uid:", "Gid:"] {
            assert!(field(ids).iter().all(|id| id == "61000"), "{ids} {:?}", field(ids));
        }
        assert!(!field("Groups:").contains(&"0".to_owned()));
        assert_eq!(field("NoNewPrivs:"), ["1"]);
    }
    // The launcher is the one that keeps them; otherwise this test would prove nothing.
    assert_ne!(status_field(server.launcher_pid(), "CapEff").unwrap(), "0".repeat(16));
}

#[test]
fn a_server_is_never_root_nor_a_sandboxs_user() {
    let folder = format!("/var/tmp/atoll-user-{}", std::process::id());
    // Root; what setresuid(2) takes for "leave it as it is"; the root of the first sandbox.
    for user in ["0", "4294967295", "1879048192"] {
        for command in [["serve", "--no-toolchain-install"].as_slice(), &["keys", "create"]] {
            let mut process = Command::new(atoll())
                .args(command)
                .args(["--data-dir", &folder, "--user-id", user])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // One that starts after all must not stay.
            let refused = found(Duration::from_secs(10), || process.try_wait().unwrap());
            let _ = process.kill();
            let output = process.wait_with_output().unwrap();
            assert!(refused.is_ok(), "{command:?} goes on as user {user}");
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && text.contains("user_id") && text.contains(user), "{text}");
        }
    }
    assert!(!std::fs::exists(&folder).unwrap(), "nothing is set up for a refused start");
}

#[test]
fn the_launcher_is_one_thread_and_ends_with_the_server() {
    let mut server = Server::start();
    let launcher = server.launcher_pid();
    assert_eq!(status_field(launcher, "Threads").as_deref(), Some("1"));
    server.kill();
    wait_until("the launcher has ended", || has_ended(launcher));
}

#[test]
fn a_launcher_that_is_not_ready_does_not_outlive_its_server() {
    let mut server = Server::start();
    let (keeper, launcher) = (server.keeper_pid(), server.launcher_pid());
    // The lock on all layers, shared with the launcher that has it: whoever follows waits for its end.
    let process = pidfd_open(pid_of(launcher), PidfdFlags::empty()).unwrap();
    let lock = std::fs::read_dir(format!("/proc/{launcher}/fd")).unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let number: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let is_lock = std::fs::read_link(entry.path()).is_ok_and(|target| target.ends_with("sandboxes"));
        is_lock.then(|| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).unwrap())
    });
    kill_process(pid_of(launcher), Signal::KILL).unwrap();
    wait_until("another launcher is there", || server.launcher_pid() != launcher);
    let stuck = server.launcher_pid();
    server.kill();
    wait_until("neither is there any more", || has_ended(keeper) && has_ended(stuck));
    drop(lock.expect("the launcher holds a lock"));
    server.start_again();
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
}

fn pid_of(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

#[test]
fn the_server_refuses_to_listen_beyond_loopback_without_keys() {
    let folder = format!("/var/tmp/atoll-refused-{}", std::process::id());
    let serve = |arguments: &[&str]| {
        let mut command = Command::new(atoll());
        command.args(["serve", "--data-dir", &folder, "--storage-size", "8G", "--no-toolchain-install"]);
        command.arg("--toolchains").arg(toolchains()).args(arguments).stdin(Stdio::null()).output().unwrap()
    };
    for address in ["0.0.0.0:18070", "[::]:18070"] {
        let output = serve(&["--listen", address]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{address}");
        assert!(text.contains("--insecure-no-auth") && text.contains("atoll keys create"), "{text}");
    }
    // Even where another address is fine.
    assert!(!serve(&["--listen", "127.0.0.1:0", "--listen", "0.0.0.0:18070"]).status.success());
    assert!(
        !std::fs::exists(format!("{folder}/storage.btrfs")).unwrap(),
        "nothing is set up for a refused start"
    );
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn files_of_the_server_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    let mode = |path: &str| std::fs::metadata(server.data().join(path)).unwrap().permissions().mode() & 0o007;
    assert_eq!(mode("server"), 0);
    assert_eq!(mode("storage.btrfs"), 0);
    assert_eq!(mode("run") & 0o006, 0);
    assert_eq!(mode("storage/sandboxes") & 0o006, 0);
}

#[test]
fn other_sites_and_names_are_refused() {
    // A web page must not run code on its visitor's server: DNS rebinding, and forms from elsewhere.
    let server = Server::start();
    let port = server.address().port();
    let ask = |headers: &str| {
        use std::io::{Read, Write};
        let mut connection = std::net::TcpStream::connect(server.address()).unwrap();
        let body = r#"{"runtime":"bash","code":"echo ran"}"#;
        let request = format!(
            "POST /execute HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let json = "Content-Type: application/json\r\n";
    assert_eq!(ask(&format!("Host: 127.0.0.1:{port}\r\n{json}")), "200");
    assert_eq!(ask(&format!("Host: localhost:{port}\r\n{json}")), "200");
    assert_eq!(ask(&format!("Host: rebound.example:{port}\r\n{json}")), "403");
    assert_eq!(ask(&format!("Host: localhost:{port}\r\nOrigin: https://elsewhere.example\r\n{json}")), "403");
    assert_eq!(ask(&format!("Host: localhost:{port}\r\nContent-Type: text/plain\r\n")), "400");
}
