//! What a program could reach of the processes that launched it.

use std::time::Duration;

use blackbox::{
    Server,
    deadline::{found, wait_until},
};
use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::attack::{all_denied, attempts, program};

#[test]
fn a_sandbox_cannot_trace_its_first_process() {
    let code = r#"
control()
child = os.fork()
if child == 0:
    libc.pause()
call("ptrace", 16, child, None, None, label="control attach to a child")
os.kill(child, 9)
buffer = ctypes.create_string_buffer(64)
vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
call("process_vm_readv", os.getpid(), vector, 1, vector, 1, 0, label="control read own memory")
call("ptrace", 16, 1, None, None, label="attach")
call("ptrace", 0x4206, 1, None, None, label="seize")
call("process_vm_readv", 1, vector, 1, vector, 1, 0)
call("process_vm_writev", 1, vector, 1, vector, 1, 0)
pidfd = libc.syscall(NUMBERS["pidfd_open"][COLUMN], 1, 0)
for number in range(10):
    call("pidfd_getfd", pidfd, number, 0, label="take file %d" % number)
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM", "EACCES"]);
}

#[test]
fn a_sandbox_cannot_reach_into_its_first_process_through_proc() {
    let code = r#"
control()
attempt("control own memory", lambda: os.close(os.open("/proc/self/mem", os.O_RDWR)))
attempt("control names of pid 1", lambda: read("/proc/1/status"))
for name in ["mem", "environ", "maps", "auxv", "io", "stack", "syscall", "pagemap", "smaps", "exe"]:
    attempt("read " + name, lambda: read("/proc/1/" + name))
    attempt("write " + name, lambda: write("/proc/1/" + name))
for name in ["root", "cwd", "fd"]:
    attempt("through " + name, lambda: os.listdir("/proc/1/%s/." % name) if name != "fd" else read("/proc/1/fd/3"))
for number in range(20):
    attempt("open file %d" % number, lambda: os.open("/proc/1/fd/%d" % number, os.O_RDONLY))
    attempt("what is file %d" % number, lambda: os.readlink("/proc/1/fd/%d" % number))
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM", "EACCES", "ENOENT", "EINVAL"]);
}

#[test]
fn a_sandbox_cannot_write_the_binaries_that_started_it() {
    // CVE-2019-5736: runc's own binary was overwritten through /proc/self/exe.
    let code = r#"
control()
attempt("control read own program", lambda: read("/proc/self/exe"))
for path in ["/proc/1/exe", "/proc/1/root/proc/self/exe"]:
    attempt("write " + path, lambda: os.open(path, os.O_WRONLY))
    attempt("truncate " + path, lambda: os.open(path, os.O_WRONLY | os.O_TRUNC))
    attempt("read " + path, lambda: os.open(path, os.O_RDONLY))
    attempt("run " + path, lambda: subprocess.run([path], check=True))
attempt("write the running program", lambda: os.open("/proc/self/exe", os.O_WRONLY))
"#;
    let server = Server::start();
    let binary = std::fs::read(blackbox::atoll()).unwrap();
    all_denied(&attempts(&server, code), &["EPERM", "EACCES", "ETXTBSY", "ENOENT"]);
    // A first program that is a script for the launcher's own binary would have been run by it.
    let script = json!({
        "runtime": "bash", "code": "./trap", "entry_point": "./trap",
        "files": [{"path": "trap", "content": "#!/proc/self/exe\n", "is_executable": true}],
    });
    assert!(!server.execute(&script).success);
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    assert!(binary == std::fs::read(blackbox::atoll()).unwrap(), "the server's binary has changed");
}

#[test]
fn a_started_program_inherits_nothing_but_its_three_streams() {
    let server = Server::start();
    let code = "import os\nfor name in sorted(os.listdir('/proc/self/fd'), key=int):\n    \
                try: print(name, os.readlink('/proc/self/fd/' + name).split(':')[0])\n    \
                except FileNotFoundError: pass\n";
    // The fourth is the open folder that the program reads the list from; it is gone when it is looked at.
    assert_eq!(server.execute_code("python", code).output(), "0 /dev/null\n1 pipe\n2 pipe\n");
    let node = "const fs = require('fs');\n\
                console.log(require('child_process').execSync('ls /proc/self/fd').toString().trim().split('\\n').length)";
    assert_eq!(server.execute_code("node", node).output(), "4\n");
    let keyring = server.execute_code("bash", "grep -c . /proc/keys; umask; ulimit -c");
    assert_eq!(keyring.stdout, "0\n0022\n0\n", "{keyring:?}");
}

#[test]
fn a_program_that_signals_its_first_process_harms_only_itself() {
    let server = Server::start();
    let neighbour = server.create(&json!({"runtime": "bash", "code": "sleep 1000", "mode": "persistent"}));
    assert!(server.run(&neighbour).is_running);
    for signal in ["KILL", "STOP", "SEGV", "BUS", "ILL", "USR1", "CHLD", "PIPE"] {
        let run = server.execute_code("bash", &format!("kill -{signal} 1; echo went on"));
        assert_eq!(run.stdout, "went on\n", "{signal}: {run:?}");
    }
    let all =
        "import os\nfor signal in range(1, 65):\n    try: os.kill(1, signal)\n    except OSError: pass\n";
    let answer = server.post("/execute", &json!({"runtime": "python", "code": all}));
    assert!([200, 409].contains(&answer.status), "{} {}", answer.status, answer.text);
    assert_eq!(server.execute_code("bash", "kill -KILL -1; echo went on").exit_code, 0);
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    assert_eq!(server.status(&neighbour), "running");
}

#[test]
fn a_program_that_takes_away_its_first_processs_limits_harms_only_itself() {
    let server = Server::start();
    let code = "import resource\nfor kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_CPU):\n    \
                try: resource.prlimit(1, kind, (0, 0))\n    except OSError: pass\nprint('done')";
    let id = server.create(&program(code, &json!({})));
    let first = server.post_empty(&format!("/sandbox/{id}/execute"));
    assert!([200, 409].contains(&first.status), "{} {}", first.status, first.text);
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    server.remove(&id);
}

#[test]
fn an_upload_to_a_crippled_first_process_holds_up_neither_delete_nor_lease() {
    let server = Server::start_with(&["--lease-persistent", "5s"]);
    // Without room for another descriptor it takes no connection.
    let code = "import resource, time\nresource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))\nprint('crippled', flush=True)\ntime.sleep(1000)";
    let crippled = || {
        let id = server.create(&program(code, &json!({"mode": "persistent"})));
        assert!(server.run(&id).is_running);
        wait_until("its first process is crippled", || {
            server.get(&format!("/admin/api/sandboxes/{id}/logs")).text.contains("crippled")
        });
        let client = (*server).clone();
        let path = format!("/sandbox/{id}/files");
        let upload = std::thread::spawn(move || client.post(&path, &json!([{"path": "a", "content": "b"}])));
        (id, upload)
    };
    let (id, upload) = crippled();
    server.remove(&id);
    assert_ne!(upload.join().unwrap().status, 200, "nobody took the file");
    let (id, upload) = crippled();
    wait_until("its lease ends it", || {
        server.get(&format!("/sandbox/{id}")).ok()["ended"]["reason"] == "lease_ended"
    });
    let _ = upload.join().unwrap();
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
}

#[test]
fn a_first_process_that_stops_during_a_set_up_holds_no_request_and_no_place() {
    let server = Server::start_with(&["--running-max", "1"]);
    let package = json!({"path": "package.json", "content": r#"{"scripts": {"preinstall": "sleep 1000"}}"#});
    let id = server.create(&json!({
        "runtime": "node", "code": "1", "mode": "persistent", "install_deps": true, "timeout_ms": 10_000,
        "files": [package],
    }));
    let answer = std::thread::scope(|scope| {
        let run = scope.spawn(|| server.post_empty(&format!("/sandbox/{id}/execute")));
        let agent = found(Duration::from_secs(10), || server.agent_of("npm install"));
        kill_process(agent.expect("it is being set up"), Signal::STOP).unwrap();
        run.join().unwrap()
    });
    assert!(answer.error(504).contains("The sandbox does not answer"), "{}", answer.text);
    let ended = server.get(&format!("/sandbox/{id}")).ok();
    assert_eq!((&ended["status"], &ended["ended"]["reason"]), (&json!("failed"), &json!("lost")), "{ended}");
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n", "its place is free");
    wait_until("nothing of it runs", || server.traces().programs().is_empty());
}
