//! What the kernel has one supply of for the whole host: a sandbox that takes all it can get leaves enough for
//! its neighbours and the host.

use std::process::Command;

use blackbox::{Server, deadline::wait_until};
use serde_json::json;

use crate::attack::{all_denied, attempts};

/// Takes of everything until there is no more, and says how much that was.
const GREEDY: &str = r#"
import ctypes, os, resource, time
libc = ctypes.CDLL(None, use_errno=True)
kept = []
def all_of(name, take):
    count = 0
    try:
        while count < 200000:
            kept.append(take())
            count += 1
    except OSError as error:
        print(name, count, error.errno, flush=True)
        return
    print(name, count, "without end", flush=True)
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result
timer = ctypes.c_void_p()
all_of("inotify", lambda: checked(libc.inotify_init1(0)))
all_of("timers", lambda: checked(libc.syscall(222, 1, None, ctypes.byref(timer))))
all_of("terminals", lambda: os.open("/dev/ptmx", os.O_RDWR))
all_of("files", lambda: os.open("/dev/null", os.O_RDONLY))
print("holding", flush=True)
time.sleep(1000)
"#;

/// Takes one of each.
const MODEST: &str = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
timer = ctypes.c_void_p()
print("inotify", libc.inotify_init1(0) >= 0)
print("timers", libc.syscall(222, 1, None, ctypes.byref(timer)) == 0)
print("terminals", os.open("/dev/ptmx", os.O_RDWR) >= 0)
print("files", os.open("/dev/null", os.O_RDONLY) >= 0)
"#;

const MODEST_OUTPUT: &str = "inotify True\ntimers True\nterminals True\nfiles True\n";

#[test]
fn a_sandbox_leaves_enough_of_what_the_kernel_counts_for_all() {
    let server = Server::start();
    let greedy = server
        .create(&json!({"runtime": "python", "code": GREEDY, "mode": "persistent", "memory_limit_mb": 512}));
    assert!(server.run(&greedy).is_running);
    let said = || {
        let log = server.get(&format!("/admin/api/sandboxes/{greedy}/logs?lines=1000")).ok();
        log.as_array()
            .unwrap()
            .iter()
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    wait_until("it has taken all it gets", || said().contains(&"holding".to_owned()));
    let said = said().join("\n");
    assert!(!said.contains("without end"), "{said}");
    for name in ["inotify", "timers", "terminals", "files"] {
        let count = said
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().split(' ').next()?.parse::<u32>().ok());
        assert!(count.is_some_and(|count| count > 20), "{name}: {said}");
    }
    assert_eq!(server.execute_code("python", MODEST).output(), MODEST_OUTPUT);
    let host = Command::new("python3").args(["-c", MODEST]).output().expect("python3 runs");
    assert_eq!(String::from_utf8_lossy(&host.stdout), MODEST_OUTPUT);
}

#[test]
fn what_is_counted_for_the_whole_host_alone_is_not_there() {
    let server = Server::start();
    let code = r#"
control()
call("io_setup", 8, ctypes.create_string_buffer(8))
attempt("watch the host's load", lambda: os.open("/proc/pressure/cpu", os.O_RDWR))
"#;
    all_denied(&attempts(&server, code), &["ENOSYS", "ENOENT"]);
}
