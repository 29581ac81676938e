//! The policy as data: which system calls a sandbox may make, in groups, each with its reason.
//!
//! The set is that of Docker's default profile (moby, `profiles/seccomp/default.json`) for a container
//! without added capabilities. What is missing from it here or there is said beside the group. Names and
//! numbers are those of the kernel's `asm/unistd.h`.

use linux_raw_sys::general::*;

use super::Condition;

/// System calls that are allowed for one reason.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Why, or what for.
    pub purpose: &'static str,
    /// Name (`__NR_` in front) and number of each.
    pub calls: &'static [(&'static str, u32)],
}

macro_rules! group {
    ($purpose:literal: $($call:ident)*) => {
        Group { purpose: $purpose, calls: &[$((stringify!($call), $call)),*] }
    };
}

/// Everything that is allowed whatever its arguments.
pub fn allowed_groups() -> impl Iterator<Item = &'static Group> {
    GROUPS.iter().chain(OLD)
}

const GROUPS: &[Group] = &[
    group!["Files: open, read, write, metadata, links, folders":
        __NR_read __NR_write __NR_close __NR_close_range __NR_openat __NR_openat2 __NR_lseek __NR_pread64
        __NR_pwrite64 __NR_readv __NR_writev __NR_preadv __NR_pwritev __NR_preadv2 __NR_pwritev2
        __NR_copy_file_range __NR_sendfile __NR_splice __NR_tee __NR_vmsplice __NR_fallocate
        __NR_ftruncate __NR_truncate __NR_fsync __NR_fdatasync __NR_sync __NR_syncfs __NR_sync_file_range
        __NR_fadvise64 __NR_readahead __NR_dup __NR_dup3 __NR_fcntl __NR_flock __NR_statx
        __NR_newfstatat __NR_fstat __NR_statfs __NR_fstatfs __NR_faccessat __NR_faccessat2 __NR_readlinkat
        __NR_getcwd __NR_chdir __NR_fchdir __NR_fchmod __NR_fchmodat __NR_fchmodat2 __NR_fchown
        __NR_fchownat __NR_umask __NR_utimensat __NR_linkat __NR_symlinkat __NR_unlinkat __NR_renameat
        __NR_renameat2 __NR_mkdirat __NR_mknodat __NR_getdents64 __NR_chroot __NR_name_to_handle_at
        __NR_cachestat],
    group!["Extended attributes":
        __NR_getxattr __NR_lgetxattr __NR_fgetxattr __NR_setxattr __NR_lsetxattr __NR_fsetxattr
        __NR_listxattr __NR_llistxattr __NR_flistxattr __NR_removexattr __NR_lremovexattr
        __NR_fremovexattr __NR_setxattrat __NR_getxattrat __NR_listxattrat __NR_removexattrat],
    group!["Memory":
        __NR_brk __NR_mmap __NR_munmap __NR_mremap __NR_mprotect __NR_madvise __NR_mincore __NR_msync
        __NR_mlock __NR_mlock2 __NR_mlockall __NR_munlock __NR_munlockall __NR_remap_file_pages
        __NR_membarrier __NR_memfd_create __NR_memfd_secret __NR_pkey_alloc __NR_pkey_free
        __NR_pkey_mprotect __NR_map_shadow_stack __NR_mseal __NR_process_mrelease],
    group!["Processes and threads":
        __NR_execve __NR_execveat __NR_exit __NR_exit_group __NR_wait4 __NR_waitid __NR_getpid
        __NR_getppid __NR_gettid __NR_getpgid __NR_setpgid __NR_getsid __NR_setsid __NR_set_tid_address
        __NR_set_robust_list __NR_get_robust_list __NR_rseq __NR_prctl __NR_restart_syscall
        __NR_pidfd_open __NR_pidfd_send_signal __NR_ptrace __NR_process_vm_readv __NR_process_vm_writev
        __NR_getrlimit __NR_setrlimit __NR_prlimit64 __NR_getrusage __NR_times __NR_sysinfo __NR_uname
        __NR_getcpu __NR_getrandom],
    group!["Users and groups, within what the user namespace maps":
        __NR_getuid __NR_geteuid __NR_getgid __NR_getegid __NR_getresuid __NR_getresgid __NR_getgroups
        __NR_setuid __NR_setgid __NR_setreuid __NR_setregid __NR_setresuid __NR_setresgid __NR_setgroups
        __NR_setfsuid __NR_setfsgid __NR_capget __NR_capset],
    group!["Signals":
        __NR_kill __NR_tkill __NR_tgkill __NR_rt_sigaction __NR_rt_sigprocmask __NR_rt_sigpending
        __NR_rt_sigqueueinfo __NR_rt_sigreturn __NR_rt_sigsuspend __NR_rt_sigtimedwait
        __NR_rt_tgsigqueueinfo __NR_sigaltstack __NR_signalfd4],
    group!["Scheduling":
        __NR_sched_yield __NR_sched_getaffinity __NR_sched_setaffinity __NR_sched_getparam
        __NR_sched_setparam __NR_sched_getscheduler __NR_sched_setscheduler __NR_sched_getattr
        __NR_sched_setattr __NR_sched_get_priority_max __NR_sched_get_priority_min
        __NR_sched_rr_get_interval __NR_getpriority __NR_setpriority __NR_ioprio_get __NR_ioprio_set],
    group!["Time, the clock itself only for reading: setting it needs a capability that is gone":
        __NR_gettimeofday __NR_clock_gettime __NR_clock_getres __NR_clock_nanosleep __NR_nanosleep
        __NR_getitimer __NR_setitimer __NR_timer_create __NR_timer_delete __NR_timer_getoverrun
        __NR_timer_gettime __NR_timer_settime __NR_timerfd_create __NR_timerfd_gettime
        __NR_timerfd_settime __NR_adjtimex __NR_clock_adjtime],
    group!["Waiting":
        __NR_ppoll __NR_pselect6 __NR_epoll_create1 __NR_epoll_ctl __NR_epoll_pwait __NR_epoll_pwait2
        __NR_eventfd2 __NR_futex __NR_futex_waitv __NR_futex_wake __NR_futex_wait __NR_futex_requeue
        __NR_inotify_init1 __NR_inotify_add_watch __NR_inotify_rm_watch],
    group!["Pipes, sockets, System V and POSIX message passing":
        __NR_pipe2 __NR_socketpair __NR_bind __NR_listen __NR_accept __NR_accept4 __NR_connect
        __NR_getsockname __NR_getpeername __NR_getsockopt __NR_setsockopt __NR_sendto __NR_sendmsg
        __NR_sendmmsg __NR_recvfrom __NR_recvmsg __NR_recvmmsg __NR_shutdown __NR_shmget __NR_shmat
        __NR_shmctl __NR_shmdt __NR_semget __NR_semop __NR_semctl __NR_semtimedop __NR_msgget __NR_msgsnd
        __NR_msgrcv __NR_msgctl __NR_mq_open __NR_mq_unlink __NR_mq_timedsend __NR_mq_timedreceive
        __NR_mq_notify __NR_mq_getsetattr],
    group!["A program's own further walls":
        __NR_seccomp __NR_landlock_create_ruleset __NR_landlock_add_rule __NR_landlock_restrict_self],
];

/// Calls that only x86-64 has: it is older than the rule that new architectures get the newest form alone.
#[cfg(target_arch = "x86_64")]
const OLD: &[Group] = &[group!["Older forms of the above":
    __NR_creat __NR_open __NR_dup2 __NR_stat __NR_lstat __NR_access __NR_readlink __NR_chmod __NR_chown
    __NR_lchown __NR_utime __NR_utimes __NR_futimesat __NR_link __NR_symlink __NR_unlink __NR_rename
    __NR_mkdir __NR_rmdir __NR_mknod __NR_getdents __NR_fork __NR_vfork __NR_getpgrp __NR_arch_prctl
    __NR_get_thread_area __NR_set_thread_area __NR_modify_ldt __NR_uretprobe __NR_signalfd __NR_pause
    __NR_alarm __NR_time __NR_poll __NR_select __NR_epoll_create __NR_epoll_wait __NR_epoll_ctl_old
    __NR_epoll_wait_old __NR_eventfd __NR_inotify_init __NR_pipe
]];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Group] = &[];

/// Calls that are allowed for some arguments: name, number, condition.
pub const CONDITIONAL: &[(&str, u32, Condition)] = &[
    // A new process or thread, but no new namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER,
    // NEWPID and NEWNET. User namespaces above all have opened many a kernel hole (CVE-2022-0185,
    // CVE-2023-32233).
    ("clone", __NR_clone, Condition::WithoutBits { argument: 0, bits: 0x7e02_0000 }),
    // Every kind of socket but AF_VSOCK (40), which reaches a hypervisor past every network rule, and AF_NETLINK's
    // (16) NETLINK_KOBJECT_UEVENT (15): the kernel tells of the host's devices in every network namespace that
    // the host's user namespace owns, as sandboxes' do.
    ("socket", __NR_socket, Condition::NoneOf { sets: &[&[(0, 40)], &[(0, 16), (2, 15)]] }),
    // Everything but what btrfs alone knows (its requests are of the type 0x94): whoever owns a folder may make
    // subvolumes in it, which are outside the quota of the volume that it lies in. FICLONE, FICLONERANGE and
    // FIDEDUPERANGE, which share bytes between files, have come from there and are everybody's.
    (
        "ioctl",
        __NR_ioctl,
        Condition::OutsideFamily {
            argument: 1,
            bits: 0xff00,
            family: 0x9400,
            but: &[0x4004_9409, 0x4020_940d, 0xc018_9436],
        },
    ),
    // The execution domains of Docker's list: Linux, 32-bit Linux, each with UNAME26, and the query.
    (
        "personality",
        __NR_personality,
        Condition::IsOneOf { argument: 0, values: &[0, 8, 0x0002_0000, 0x0002_0008, u32::MAX] },
    ),
];

/// Calls that a program shall believe the kernel not to have, so that it takes the older way.
pub const NOT_THERE: &[(&str, u32)] = &[
    // Its flags lie in memory, out of reach of a filter; libc then uses clone.
    ("clone3", __NR_clone3),
    // io_uring does work past seccomp, and has been the way out too often (CVE-2023-2598); libraries fall
    // back to epoll.
    ("io_uring_setup", __NR_io_uring_setup),
    ("io_uring_enter", __NR_io_uring_enter),
    ("io_uring_register", __NR_io_uring_register),
    // Asynchronous input and output of the older kind: how much of it there is at once is counted for the host
    // as a whole (`fs.aio-max-nr`), so that one sandbox could take it away from all others. Databases fall back.
    ("io_setup", __NR_io_setup),
    ("io_destroy", __NR_io_destroy),
    ("io_submit", __NR_io_submit),
    ("io_cancel", __NR_io_cancel),
    ("io_getevents", __NR_io_getevents),
    ("io_pgetevents", __NR_io_pgetevents),
    // The new mount calls: tools fall back to mount(2), which says EPERM.
    ("mount_setattr", __NR_mount_setattr),
    ("statmount", __NR_statmount),
    ("listmount", __NR_listmount),
];

/// The highest number that this table has an opinion on. A program that uses a newer call gets `ENOSYS`, and
/// with it the chance to fall back, as in runc.
pub const HIGHEST_KNOWN: u32 = __NR_removexattrat;
