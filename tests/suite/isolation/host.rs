//! What of the host, and of other sandboxes, could be seen.

use std::{fs, process::Command};

use blackbox::{Server, status_field};
use serde_json::json;

use crate::attack::{all_denied, attempts};

#[test]
fn host_processes_are_not_visible() {
    let server = Server::start();
    let mut marked = Command::new("sleep").arg("98765").spawn().unwrap();
    let code =
        "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done; kill -0 $HOST && echo reached";
    let run = server.execute(&json!({
        "runtime": "bash", "code": code, "env_vars": {"HOST": marked.id().to_string()},
    }));
    marked.kill().unwrap();
    marked.wait().unwrap();
    let lines: Vec<&str> = run.stdout.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert!(lines.iter().any(|line| line.starts_with("bash ")), "it sees itself: {lines:?}");
    assert!(
        !run.stdout.contains("98765") && !run.stdout.contains("serve") && !run.stdout.contains("reached"),
        "{run:?}"
    );
    assert!(lines.len() <= 4, "{lines:?}");
    assert!(run.stderr.contains("No such process"), "{run:?}");
}

#[test]
fn host_files_are_not_visible() {
    let server = Server::start();
    let secret = "/var/tmp/atoll-secret-of-the-host";
    fs::write(secret, "secret").unwrap();
    let data = server.data().display().to_string();
    let code = format!(
        r#"
control()
attempt("control an own file", lambda: read("/sandbox/calls.py"))
for path in ["{secret}", "/var/lib/atoll", "{data}", "{data}/server/atoll.db", "/root/.bashrc", "/root/.profile",
             "/root/.ssh", "/boot", "/etc/ssh", "/etc/sudoers", "/etc/crontab", "/run/atoll", "/run/dbus", "/lost+found",
             "/var/log/dpkg.log", "/.dockerenv", "/proc/1/root/root", "/proc/self/root/boot", "/var/run/docker.sock"]:
    attempt(path, lambda: os.stat(path) and None)
for path in ["/root", "/home", "/mnt", "/media", "/srv", "/run", "/var/tmp"]:
    if os.path.isdir(path) and os.listdir(path):
        report(path, "ok " + str(os.listdir(path)))
"#
    );
    let outcomes = attempts(&server, &code);
    fs::remove_file(secret).unwrap();
    all_denied(&outcomes, &["ENOENT", "EACCES", "ENOTDIR"]);
    // Its /etc/shadow is made for it: no line of the host's has a password in it here.
    let shadow = server
        .execute_code("bash", "cut -d: -f2 /etc/shadow | sort -u; id -u; touch /usr/here && echo wrote");
    assert_eq!(shadow.output(), "*\n0\nwrote\n");
    assert!(!std::path::Path::new("/usr/here").exists(), "what it writes below /usr is its own");
}

#[test]
fn files_of_other_sandboxes_are_not_visible() {
    let server = Server::start();
    let secret = json!({
        "runtime": "bash", "mode": "persistent",
        "code": "for d in /sandbox /tmp /dev/shm /usr /etc /var /root; do echo mine > $d/secret-of-another; done; echo ready; sleep 1000",
    });
    let other = server.create(&secret);
    assert!(server.run(&other).is_running);
    blackbox::deadline::wait_until("the files are written", || {
        server.get(&format!("/admin/api/sandboxes/{other}/logs")).text.contains("ready")
    });
    let code = format!(
        "find / -xdev -name 'secret-of-another' 2>/dev/null; find /tmp /dev /proc/*/root/sandbox -name 'secret-of-another' 2>/dev/null; \
         find / -name '{other}' 2>/dev/null; echo searched; touch /sandbox/secret-of-another; find /sandbox -name 'secret-of-another'"
    );
    // The last search shows that a file of this name would be found.
    assert_eq!(server.execute_code("bash", &code).output(), "searched\n/sandbox/secret-of-another\n");
}

#[test]
fn shared_memory_and_semaphores_are_each_sandboxs_own() {
    let server = Server::start();
    let shared = json!({
        "runtime": "bash", "mode": "persistent", "code": "ipcmk -M 4096 && ipcmk -Q && ipcs -mq | grep -c 0x; sleep 1000",
    });
    let other = server.create(&shared);
    assert!(server.run(&other).is_running);
    blackbox::deadline::wait_until("they are made", || {
        server.get(&format!("/admin/api/sandboxes/{other}/logs")).text.contains("\"2\"")
    });
    assert_eq!(server.execute_code("bash", "ipcs -mqs | grep -c 0x; true").output(), "0\n");
    let host = Command::new("ipcs").args(["-mq"]).output().unwrap();
    let host_before = String::from_utf8(host.stdout).unwrap();
    let seen = server.execute_code("bash", "ipcs -mq | grep 0x; true");
    assert!(seen.output().is_empty(), "{host_before}");
}

#[test]
fn control_groups_and_host_paths_of_the_limits_are_not_visible() {
    let server = Server::start();
    let run =
        server.execute_code("bash", "cut -d: -f3 /proc/self/cgroup | sort -u; ls -A /sys/fs/cgroup | wc -l");
    assert_eq!(run.output(), "/\n0\n");
}

#[test]
fn the_environment_holds_nothing_of_the_servers() {
    let server = Server::start();
    let environment = fs::read(format!("/proc/{}/environ", server.pid())).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let names: Vec<&str> =
        environment.split('\0').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.iter().any(|name| name.starts_with("CARGO") || name.starts_with("NEXTEST")), "{names:?}");
    let run = server.execute_code("bash", "env | cut -d= -f1 | sort");
    let allowed = [
        "ATOLL_EXEC",
        "HOME",
        "LANG",
        "LC_ALL",
        "LOGNAME",
        "NODE_EXTRA_CA_CERTS",
        "OLDPWD",
        "PATH",
        "PWD",
        "SHELL",
        "SHLVL",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        "_",
    ];
    let settings =
        ["SSL_", "PIP_", "NPM_", "npm_", "BUN_", "NODE_", "REQUESTS_", "CURL_", "GIT_SSL", "PYTHON"];
    let further: Vec<&str> = run
        .output()
        .lines()
        .filter(|name| !allowed.contains(name) && !settings.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    assert_eq!(further, [""; 0], "variables of unknown origin");
    assert!(status_field(server.pid(), "Uid").is_some());
}
