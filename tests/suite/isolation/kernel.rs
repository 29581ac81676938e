//! System calls that reach the kernel or the host as a whole.

use blackbox::Server;

use crate::attack::{all_denied, attempts};

#[test]
fn a_sandbox_cannot_mount_or_unmount() {
    let code = r#"
control()
os.makedirs("/tmp/m", exist_ok=True)
call("mount", b"none", b"/tmp/m", b"tmpfs", 0, None, label="mount tmpfs")
call("mount", b"none", b"/tmp/m", b"proc", 0, None, label="mount proc")
call("mount", b"/usr", b"/tmp/m", None, 4096, None, label="bind mount")
call("mount", None, b"/", None, 32 | 4096, None, label="remount the root")
call("mount", None, b"/proc/sys", None, 32 | 4096, None, label="make /proc/sys writable")
call("umount2", b"/proc/sys", 2, label="uncover /proc/sys")
call("umount2", b"/proc/keys", 2, label="uncover a masked file")
call("umount2", b"/", 2, label="umount the root")
call("pivot_root", b"/tmp/m", b"/tmp/m")
call("fsopen", b"tmpfs", 0)
call("fsmount", 0, 0, 0)
call("open_tree", -100, b"/", 1)
call("move_mount", -100, b"/usr", -100, b"/tmp/m", 0)
"#;
    let server = Server::start();
    all_denied(&attempts(&server, code), &["EPERM"]);
    let newer =
        "control()\ncall('mount_setattr', -100, b'/proc/sys', 0, ctypes.create_string_buffer(32), 32)\n";
    all_denied(&attempts(&server, newer), &["EPERM", "ENOSYS"]);
}

#[test]
fn a_sandbox_cannot_make_or_enter_namespaces() {
    let code = r#"
control()
kinds = {"user": 0x10000000, "mnt": 0x20000, "net": 0x40000000, "pid": 0x20000000, "uts": 0x04000000,
         "ipc": 0x08000000, "cgroup": 0x02000000, "time": 0x80}
for kind, flag in kinds.items():
    call("unshare", flag, label="unshare " + kind)
    descriptor = os.open("/proc/self/ns/" + kind, os.O_RDONLY)
    call("setns", descriptor, 0, label="setns " + kind)
call("clone", 0x10000000 | 17, None, None, None, None, label="clone into a user namespace")
call("clone", 0x20000 | 17, None, None, None, None, label="clone into a mount namespace")
for kind in kinds:
    attempt("open pid 1's " + kind, lambda: os.open("/proc/1/ns/" + kind, os.O_RDONLY))
"#;
    let server = Server::start();
    all_denied(&attempts(&server, code), &["EPERM", "EACCES"]);
    // clone3 hides its flags behind a pointer, where no filter sees them: programs are told to use clone.
    let hidden = "control()\ncall('clone3', ctypes.create_string_buffer(88), 88)\n";
    all_denied(&attempts(&server, hidden), &["ENOSYS"]);
}

#[test]
fn a_sandbox_cannot_load_kernel_modules_or_another_kernel() {
    let code = r#"
control()
call("init_module", b"x", 1, b"")
call("finit_module", os.open("/usr/bin/true", os.O_RDONLY), b"", 0)
call("delete_module", b"loop", 0)
call("kexec_load", 0, 0, None, 0)
call("reboot", 0xfee1dead, 672274793, 0x1234567, None)
call("swapon", b"/sandbox/calls.py", 0)
call("swapoff", b"/sandbox/calls.py")
call("acct", b"/sandbox/calls.py")
call("quotactl", 0, None, 0, None)
call("syslog", 10, None, 0)
call("vhangup")
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM"]);
}

#[test]
fn a_sandbox_cannot_change_the_clock() {
    let code = r#"
control()
two_words = (ctypes.c_long * 2)
now = two_words()
call("clock_gettime", 0, now, label="control read the clock")
before = now[0]
call("settimeofday", two_words(1, 0), None)
call("clock_settime", 0, two_words(1, 0))
offset = ctypes.create_string_buffer(208)
ctypes.cast(offset, ctypes.POINTER(ctypes.c_uint))[0] = 1
call("adjtimex", offset)
call("clock_gettime", 0, now, label="control read it again")
assert now[0] >= before
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM"]);
}

#[test]
fn a_sandbox_cannot_change_the_host_name() {
    let before = rustix::system::uname().nodename().to_owned();
    let code = "control()\ncall('sethostname', b'taken', 5)\ncall('setdomainname', b'taken', 5)\n\
                attempt('write', lambda: write('/proc/sys/kernel/hostname', b'taken'))\n";
    let server = Server::start();
    all_denied(&attempts(&server, code), &["EPERM", "EACCES", "EROFS"]);
    assert_eq!(rustix::system::uname().nodename(), before.as_c_str());
    assert_eq!(server.execute_code("bash", "hostname").output(), "sandbox\n");
}

#[test]
fn a_sandbox_cannot_write_kernel_settings() {
    let code = r#"
control()
attempt("control read a setting", lambda: read("/proc/sys/kernel/core_pattern"))
for path in ["kernel/core_pattern", "kernel/modprobe", "vm/overcommit_memory", "vm/drop_caches",
             "net/ipv4/ip_forward", "fs/file-max", "kernel/pid_max", "kernel/printk", "kernel/shmmax"]:
    if os.path.exists("/proc/sys/" + path):
        attempt(path, lambda: write("/proc/sys/" + path))
        attempt("mode of " + path, lambda: os.chmod("/proc/sys/" + path, 0o666))
for path in ["/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/mtrr"]:
    attempt(path, lambda: write(path))
attempt("oom_score_adj", lambda: write("/proc/self/oom_score_adj", b"-1000"))
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM", "EACCES", "EROFS", "ENOENT"]);
}

#[test]
fn rare_kernel_interfaces_are_closed() {
    let code = r#"
control()
call("keyctl", 0, -3, 1)
call("add_key", b"user", b"name", b"secret", 6, -3)
call("request_key", b"user", b"name", None, 0)
call("bpf", 0, ctypes.create_string_buffer(128), 128)
call("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0)
call("userfaultfd", 0)
call("io_uring_setup", 1, ctypes.create_string_buffer(120))
call("open_by_handle_at", -100, ctypes.create_string_buffer(64), 0)
call("kcmp", os.getpid(), os.getpid(), 0, 0, 0)
call("fanotify_init", 0, 0)
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM", "ENOSYS"]);
}

#[test]
fn sockets_below_or_beside_ip_are_closed() {
    let code = r#"
control()
for name, arguments in {"tcp": (2, 1, 0), "udp": (2, 2, 0), "unix": (1, 1, 0)}.items():
    attempt("control " + name, lambda: socket.socket(*arguments).close())
for name, arguments in {"raw": (2, 3, 1), "packet": (17, 3, 0x300), "vsock": (40, 1, 0), "vsock datagrams": (40, 2, 0),
                        "kernel crypto": (38, 5, 0), "xdp": (44, 3, 0), "bluetooth": (31, 3, 1)}.items():
    attempt(name, lambda: socket.socket(*arguments).close())
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM", "EACCES", "EAFNOSUPPORT", "ESOCKTNOSUPPORT"]);
}

#[test]
fn events_of_the_hosts_devices_are_not_heard() {
    // NETLINK_KOBJECT_UEVENT, by every way to say it: the kernel looks at 32 bits of each argument.
    let code = r#"
control()
attempt("control routes", lambda: socket.socket(16, 3, 0).close())
for name, kind in {"datagrams": 2, "raw": 3, "closed at exec": 2 | 0x80000}.items():
    call("socket", 16, kind, 15, label=name)
    call("socket", 16 | 1 << 32, kind, 15 | 1 << 32, label=name + ", with more bits")
call("socket", 40 | 1 << 32, 1, 0, label="vsock, with more bits")
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM"]);
}

#[test]
fn masked_files_of_proc_are_empty() {
    let server = Server::start();
    let code = r#"
for path in ["keys", "timer_list", "kallsyms", "interrupts", "kcore", "sched_debug", "latency_stats"]:
    path = "/proc/" + path
    print(path, len(open(path, "rb").read(100)) if os.path.exists(path) else 0)
for path in ["acpi", "scsi", "asound"]:
    path = "/proc/" + path
    print(path, len(os.listdir(path)) if os.path.exists(path) else 0)
"#;
    let run = server.execute(&crate::attack::program(code, &serde_json::json!({})));
    let lines: Vec<&str> = run.output().lines().collect();
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().all(|line| line.ends_with(" 0")), "{lines:?}");
    // The same files say something on this host, or there would be nothing to hide.
    assert!(!std::fs::read("/proc/timer_list").unwrap_or_default().is_empty());
}

#[test]
fn sys_is_read_only_and_almost_empty() {
    let code = r#"
control()
attempt("control processors", lambda: read("/sys/devices/system/cpu/online"))
for name in os.listdir("/sys/devices/system/cpu/cpu0"):
    path = "/sys/devices/system/cpu/cpu0/" + name
    if os.path.isfile(path) and os.stat(path).st_mode & 0o200:
        attempt(path, lambda: write(path))
attempt("a new file", lambda: write("/sys/x", flags=os.O_WRONLY | os.O_CREAT))
attempt("a new folder", lambda: os.mkdir("/sys/fs/cgroup/x"))
for path in ["/sys/kernel/debug", "/sys/kernel/security", "/sys/firmware", "/sys/block", "/sys/class/net/eth0"]:
    attempt(path, lambda: os.listdir(path))
attempt("cgroup.procs", lambda: write("/sys/fs/cgroup/cgroup.procs"))
"#;
    all_denied(&attempts(&Server::start(), code), &["EPERM", "EACCES", "EROFS", "ENOENT"]);
}
