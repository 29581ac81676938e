//! Power that a program could gain inside its sandbox.

use blackbox::Server;

use crate::attack::{all_denied, attempts};

#[test]
fn a_sandbox_cannot_make_device_nodes() {
    let code = r#"
control()
call("mknodat", -100, b"/tmp/pipe", 0o10666, 0, label="control named pipe")
for folder in ["/tmp", "/sandbox", "/dev", "/dev/shm"]:
    for kind, mode, numbers in [("disk", 0o60666, (254 << 8)), ("loop", 0o60666, (7 << 8)),
                                ("memory", 0o20666, (1 << 8) | 1), ("null", 0o20666, (1 << 8) | 3),
                                ("fuse", 0o20666, (10 << 8) | 229)]:
        call("mknodat", -100, (folder + "/new-" + kind).encode(), mode, numbers, label=kind + " in " + folder)
for path in ["/dev/mem", "/dev/kmsg", "/dev/port", "/dev/fuse", "/dev/net/tun", "/dev/kvm", "/dev/loop-control", "/dev/vda", "/dev/sda"]:
    attempt(path, lambda: os.open(path, os.O_RDONLY))
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM", "EACCES", "EROFS", "ENOENT"]);
}

#[test]
fn a_set_uid_program_gives_no_power() {
    let server = Server::start();
    let code = r#"
import shutil, stat
for path in ["/sandbox/set", "/usr/local/bin/set", "/tmp/set", "/dev/shm/set"]:
    shutil.copy("/usr/bin/id", path)
    os.chmod(path, 0o6755)
    assert os.stat(path).st_mode & stat.S_ISUID, path
    for user in (1000, 65534):
        ids = subprocess.run([path], user=user, group=user, extra_groups=[], capture_output=True, text=True, check=True)
        report("%s as %d" % (path, user), ids.stdout.split()[0].split("(")[0] + " " + ("euid" in ids.stdout and "EUID" or "plain"))
"#;
    let outcomes = attempts(&server, code);
    assert_eq!(outcomes.len(), 8);
    for (name, outcome) in &outcomes {
        let user = name.rsplit(' ').next().unwrap();
        assert_eq!(outcome, &format!("uid={user} plain"), "{name}");
    }
    let su = "setpriv --reuid 1000 --regid 1000 --clear-groups su root -c id </dev/null; echo $?";
    assert_ne!(server.execute_code("bash", su).stdout, "0\n");
}

#[test]
fn file_capabilities_give_no_power() {
    let code = r#"
import shutil
control()
shutil.copy("/usr/bin/python3.11", "/sandbox/powerful")
# vfcap of linux/capability.h, version 2, effective: every capability.
capabilities = bytes.fromhex("01000002" "ffffffff" "00000000" "ff010000" "00000000")
try:
    os.setxattr("/sandbox/powerful", "security.capability", capabilities)
except OSError:
    pass
held = subprocess.run(["/sandbox/powerful", "-c", "print(open('/proc/self/status').read())"], user=1000, group=1000,
                      extra_groups=[], capture_output=True, text=True).stdout
lines = [line for line in held.splitlines() if line.startswith(("CapEff", "CapPrm"))]
report("effective", "ok" if any(int(line.split()[1], 16) for line in lines) else "EPERM")
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM"]);
}

#[test]
fn a_sandboxs_root_holds_few_capabilities_and_is_nobody_on_the_host() {
    let server = Server::start();
    let status = server.execute_code("bash", "cat /proc/self/status /proc/self/uid_map /proc/self/gid_map");
    let output = status.output();
    let field = |name: &str| {
        let line = output.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    // chown, dac_override, fowner, fsetid, kill, setgid, setuid, net_bind_service, sys_chroot, setfcap
    for kind in ["CapBnd:", "CapPrm:", "CapEff:"] {
        assert_eq!(
            u64::from_str_radix(&field(kind), 16).unwrap() & !0x8004_04fb,
            0,
            "{kind} {}",
            field(kind)
        );
    }
    assert_eq!((field("CapInh:"), field("CapAmb:")), ("0".repeat(16), "0".repeat(16)));
    assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
    for map in output.lines().rev().take(2) {
        let numbers: Vec<u32> = map.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!((numbers[0], numbers[2]), (0, 65_536), "{map}");
        assert!(numbers[1] >= 0x7000_0000, "{map}");
    }
}

#[test]
fn two_sandboxes_never_share_user_ids() {
    let server = Server::start();
    let program = serde_json::json!({"runtime": "bash", "code": "cat /proc/self/uid_map; sleep 1000", "mode": "persistent"});
    let ids: Vec<String> = (0..4).map(|_| server.create(&program)).collect();
    for id in &ids {
        assert!(server.run(id).is_running);
    }
    let users: std::collections::BTreeSet<String> = blackbox::pids_below(server.launcher_pid())
        .into_iter()
        .filter(|pid| blackbox::status_field(*pid, "Name").as_deref() == Some("sleep"))
        .filter_map(|pid| blackbox::status_field(pid, "Uid"))
        .map(|users| users.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert_eq!(users.len(), 4, "{users:?}");
}
