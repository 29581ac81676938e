//! The only `unsafe` code of the agent: system calls that no safe interface offers, each behind a safe
//! function. The longest of them, starting a process, is in two halves: [`process_spawn`] runs in the agent,
//! `child_*` runs in the child.
//!
//! It must not know execs or frames.

use std::{
    convert::Infallible,
    ffi::{CStr, CString, c_char, c_int, c_void},
    io, mem,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    ptr,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, fchown, fcntl_setfl, open},
    io::Errno,
    process::{
        Gid, Resource, Rlimit, Signal, Uid, chdir, ioctl_tiocsctty, set_parent_process_death_signal,
        setrlimit, setsid, umask,
    },
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// Numbers of errors and signals that the rest of the agent compares with.
pub(crate) mod number {
    pub(crate) use libc::{
        EBADF, ENOSYS, EPERM, ESRCH, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM,
    };
}
use tokio::io::unix::AsyncFd;

/// The child's stack until `exec`. It calls system calls and little else, several frames deep.
const CHILD_STACK_BYTES: usize = 16 << 10;
/// The highest signal number of Linux (signal(7)).
const SIGNAL_MAX: c_int = 64;
/// The number under which a child finds the descriptor that is for it alone.
const PRIVATE_FD: c_int = 3;

/// Sets close-on-exec on every descriptor from 3 up: close_range(2).
///
/// # Errors
/// Those of close_range(2).
pub(crate) fn descriptors_close_on_exec() -> io::Result<()> {
    // SAFETY: with this flag the call closes nothing, so no owner loses its descriptor.
    zero_or_errno(unsafe {
        libc::close_range(3, c_int::MAX.cast_unsigned(), libc::CLOSE_RANGE_CLOEXEC.cast_signed())
    })
}

/// Keeps the file thread from reserving an arena of its own: mallopt(3).
pub(crate) fn malloc_single_arena() {
    // SAFETY: no other thread exists yet. Where the option is not known, nothing changes.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Takes over a descriptor that was inherited as a listening socket.
///
/// # Errors
/// When it is not open, or not a listening socket.
pub(crate) fn socket_inherited(fd: c_int) -> io::Result<UnixListener> {
    // SAFETY: a number that is not open is only passed to fcntl(2) here, which reports it.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and this process has no other owner for what it inherited.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if rustix::net::sockopt::socket_acceptconn(&socket)? {
        Ok(UnixListener::from(socket))
    } else {
        Err(Errno::INVAL.into())
    }
}

/// Blocks the signals that the agent handles and returns a non-blocking signalfd(2) for them.
///
/// # Errors
/// Those of sigprocmask(2) and signalfd(2).
pub(crate) fn signals_block() -> io::Result<OwnedFd> {
    // SAFETY: `sigset_t` is plain data; `sigemptyset` initialises it, and all pointers are to it.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
            libc::sigaddset(&raw mut set, signal);
        }
        zero_or_errno(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()))?;
        match libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Registers a descriptor with the runtime.
///
/// # Errors
/// Those of epoll_ctl(2).
pub(crate) fn descriptor_watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and stays the same descriptor for as long as it lives, and the `AsyncFd`
    // owns it.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// The number of the next signal in a signalfd.
///
/// # Errors
/// Those of read(2), `WouldBlock` among them.
pub(crate) fn signal_read(signals: &OwnedFd) -> io::Result<c_int> {
    let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
    rustix::io::read(signals, &mut info)?;
    // `ssi_signo` is the first field (signalfd(2)).
    let [a, b, c, d, ..] = info;
    Ok(u32::from_ne_bytes([a, b, c, d]).cast_signed())
}

/// Kills every process but this one that it may signal: in a pid namespace, as its first process, all of it.
pub(crate) fn processes_kill_all() {
    // SAFETY: kill(2) takes numbers only.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Signals the process that a `/proc/<pid>` folder stands for, which can be no other that got its number
/// later: pidfd_send_signal(2).
///
/// # Errors
/// Those of pidfd_send_signal(2).
pub(crate) fn folder_signal(proc_folder: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    // SAFETY: the call takes numbers and a null pointer, which stands for the default information.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, proc_folder.as_raw_fd(), signal, ptr::null::<c_void>(), 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Signals a process by its number: kill(2). Only for a process that can't have been reaped, or where
/// [`folder_signal`] is not to be had.
///
/// # Errors
/// Those of kill(2).
pub(crate) fn pid_signal(pid: i32, signal: c_int) -> io::Result<()> {
    // SAFETY: kill(2) takes numbers only.
    zero_or_errno(unsafe { libc::kill(pid, signal) })
}

/// Signals all processes of the group at once.
///
/// # Errors
/// Those of killpg(3).
pub(crate) fn group_signal(group: i32, signal: c_int) -> io::Result<()> {
    // SAFETY: killpg(3) takes numbers only.
    zero_or_errno(unsafe { libc::killpg(group, signal) })
}

/// Makes a terminal and returns the end of whoever sits before it, which does not block, and the program's end:
/// pty(7). It belongs to `owner`, who may open it again by its name.
///
/// # Errors
/// When there are too many of them, or the file system has none.
pub(crate) fn terminal_open(rows: u16, cols: u16, owner: Option<Uid>) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let front = match openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC) {
        // A container's `/dev` may lack the link.
        Err(Errno::NOENT) => open("/dev/pts/ptmx", flags, Mode::empty())?,
        opened => opened?,
    };
    unlockpt(&front)?;
    let back = match ioctl_tiocgptpeer(&front, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
    {
        // A kernel without the call.
        Err(Errno::NOTTY | Errno::INVAL | Errno::NOSYS) => {
            open(ptsname(&front, Vec::new())?, flags, Mode::empty())?
        }
        opened => opened?,
    };
    if let Some(owner) = owner {
        // A program that doesn't open it again works as before.
        let _ = fchown(&back, Some(owner), None);
    }
    let mut modes = tcgetattr(&back)?;
    // Erasing takes a whole character then.
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(&back, OptionalActions::Now, &modes)?;
    terminal_resize(&front, rows, cols)?;
    fcntl_setfl(&front, OFlags::NONBLOCK)?;
    Ok((front, back))
}

/// Gives a terminal another size; its foreground processes are told.
///
/// # Errors
/// Those of ioctl_tty(2), TIOCSWINSZ.
pub(crate) fn terminal_resize(front: &OwnedFd, rows: u16, cols: u16) -> io::Result<()> {
    Ok(tcsetwinsize(front, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 })?)
}

/// Signals the processes in a terminal's foreground, as its keys would: SIGINT, SIGQUIT and SIGTSTP only.
///
/// # Errors
/// Those of the ioctl.
pub(crate) fn terminal_signal(front: &OwnedFd, signal: c_int) -> io::Result<()> {
    /// `_IOW('T', 0x36, int)` in the kernel's `asm-generic/ioctls.h`.
    const TIOCSIG: libc::Ioctl = 0x4004_5436;
    // SAFETY: the call takes a number, and the descriptor is open.
    zero_or_errno(unsafe { libc::ioctl(front.as_raw_fd(), TIOCSIG, signal) })
}

/// A child that has ended and was reaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedChild {
    /// Its number, free for a new process by now.
    pub(crate) pid: i32,
    /// As in wait(2).
    pub(crate) wait_status: c_int,
    /// User and system time of it and the children it waited for.
    pub(crate) cpu: Duration,
    /// Its largest resident set.
    pub(crate) rss_bytes_max: u64,
}

/// Reaps one child that has ended, if there is any: wait4(2).
pub(crate) fn child_reap() -> Option<EndedChild> {
    // SAFETY: `rusage` is plain data, and both pointers are to locals of the right type.
    let (pid, wait_status, usage) = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        let mut status = 0;
        (libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage), status, usage)
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.cast_unsigned()) + Duration::from_micros(time.tv_usec.cast_unsigned())
    };
    (pid > 0).then(|| EndedChild {
        pid,
        wait_status,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        // In units of 1024 bytes: getrusage(2).
        rss_bytes_max: usage.ru_maxrss.cast_unsigned() * 1024,
    })
}

/// Everything a child needs to become a program, made before it exists: it can't allocate.
pub(crate) struct ChildPlan<'a> {
    /// Paths to execute; the first that can be is.
    pub(crate) programs: &'a [CString],
    /// Arguments, the program's name among them.
    pub(crate) argv: &'a [CString],
    /// `NAME=value` each.
    pub(crate) env: &'a [CString],
    /// Where it starts.
    pub(crate) cwd: &'a CStr,
    /// Its standard input, output and error; none of them numbered below 3.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// Whether they are a terminal, which is to control its session.
    pub(crate) has_terminal: bool,
    /// What it finds as descriptor 3, if anything.
    pub(crate) private: Option<BorrowedFd<'a>>,
    /// User and group to become, where they are not the agent's own.
    pub(crate) ids: Option<(Uid, Gid)>,
    /// The value of `RLIMIT_LOCKS` that tells its descendants from others.
    pub(crate) mark: u64,
}

/// What a child was about to do when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpawnStep {
    /// `clone`.
    Clone,
    /// Its session and standard streams.
    Session,
    /// Becoming its user and group.
    Ids,
    /// Entering its folder.
    Folder,
    /// `execve`.
    Exec,
}

/// Why there is no child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpawnFailure {
    /// The step that failed.
    pub(crate) step: SpawnStep,
    /// Why.
    pub(crate) errno: Errno,
}

/// What both halves of a spawn see.
struct Child<'a> {
    plan: &'a ChildPlan<'a>,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    failure: Option<SpawnFailure>,
}

/// Starts a program in a session of its own and returns its process id when it runs: clone(2) with
/// `CLONE_VM` and `CLONE_VFORK`, which copies no page table.
///
/// The agent stands still until the child has executed its program or failed: well under a millisecond,
/// unless a program of the same sandbox stops the child in that time, which harms that sandbox only. The
/// child can't be reaped by another in between: this is the thread that reaps.
///
/// # Errors
/// [`SpawnFailure`]; then no child is left.
pub(crate) fn process_spawn(plan: &ChildPlan<'_>) -> Result<i32, SpawnFailure> {
    let pointers = |texts: &[CString]| {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<*const c_char>>()
    };
    let mut child = Child { plan, argv: pointers(plan.argv), env: pointers(plan.env), failure: None };
    // 16-byte units: the alignment that the ABI asks of a stack.
    let mut stack = Vec::<u128>::with_capacity(CHILD_STACK_BYTES / size_of::<u128>());
    // SAFETY: the stack's end is one past its last unit. The child shares this memory, but this thread, the
    // only one that knows `child` and `stack`, is suspended until the child has left it (CLONE_VFORK), so
    // nothing is accessed from two sides or freed too early. All signals are blocked meanwhile: no handler
    // of this process (the standard library has some) can run in the child. The child allocates nothing and
    // takes no lock. `sigset_t` is plain data, which `sigfillset` and `sigprocmask` fill.
    let (pid, errno) = unsafe {
        let stack_end = stack.as_mut_ptr().add(stack.capacity());
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let pid = libc::clone(
            child_main,
            stack_end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut child).cast(),
        );
        let errno = errno_last();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        (pid, errno)
    };
    if pid == -1 {
        return Err(SpawnFailure { step: SpawnStep::Clone, errno });
    }
    if plan.ids.is_some() {
        // A change of user also resets this attribute of the memory that the two still shared, to what the
        // host's `fs.suid_dumpable` says (prctl(2)).
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
    // SAFETY: `child` is a live local. The read is volatile because another process wrote it.
    match unsafe { ptr::read_volatile(&raw const child.failure) } {
        None => Ok(pid),
        Some(failure) => {
            // SAFETY: waitpid(2) takes a null pointer for a status that nobody wants.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
            Err(failure)
        }
    }
}

/// The child's first function, on its own stack in the agent's memory.
extern "C" fn child_main(child: *mut c_void) -> c_int {
    // SAFETY: `process_spawn` passed a pointer to its `Child` and is suspended.
    let child = unsafe { &mut *child.cast::<Child<'_>>() };
    let Err(failure) = child_run(child);
    child.failure = Some(failure);
    // SAFETY: it ends this process at once, without running what the agent registered for its own exit.
    unsafe { libc::_exit(127) }
}

fn child_run(child: &Child<'_>) -> Result<Infallible, SpawnFailure> {
    let at = |step| move |errno| SpawnFailure { step, errno };
    let plan = child.plan;
    setsid().map_err(at(SpawnStep::Session))?;
    let [stdin, stdout, stderr] = plan.stdio;
    dup2_stdin(stdin).map_err(at(SpawnStep::Session))?;
    dup2_stdout(stdout).map_err(at(SpawnStep::Session))?;
    dup2_stderr(stderr).map_err(at(SpawnStep::Session))?;
    if plan.has_terminal {
        ioctl_tiocsctty(stdin).map_err(at(SpawnStep::Session))?;
    }
    child_oom_first();
    // A lower hard limit that an agent inside another sandbox inherited makes this fail; then the mark in
    // the environment must do.
    let _ = setrlimit(Resource::Locks, Rlimit { current: Some(plan.mark), maximum: Some(plan.mark) });
    umask(Mode::WGRP | Mode::WOTH);
    if let Some((uid, gid)) = plan.ids {
        set_thread_groups(&[]).map_err(at(SpawnStep::Ids))?;
        set_thread_res_gid(gid, gid, gid).map_err(at(SpawnStep::Ids))?;
        set_thread_res_uid(uid, uid, uid).map_err(at(SpawnStep::Ids))?;
    }
    // As the program's own user: it must not start where it could not go.
    chdir(plan.cwd).map_err(at(SpawnStep::Folder))?;
    child_signals_reset();
    let first_to_close = match plan.private {
        Some(fd) => {
            // After the change of user, which takes it back. It fails for no signal that there is (prctl(2)).
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            child_private_keep(fd).map_err(at(SpawnStep::Session))?
        }
        None => PRIVATE_FD,
    };
    // SAFETY: the table of descriptors is the child's own copy; nothing in it is used after this. Should the
    // call be refused, all of them are close-on-exec.
    unsafe { libc::close_range(first_to_close.cast_unsigned(), c_int::MAX.cast_unsigned(), 0) };
    Err(SpawnFailure { step: SpawnStep::Exec, errno: child_exec(child) })
}

/// Puts a descriptor in its place, where the program inherits it. Returns the first number beyond it.
fn child_private_keep(fd: BorrowedFd<'_>) -> Result<c_int, Errno> {
    // SAFETY: whatever the number stood for in the child's own table is not used after this. Between a number and
    // itself dup2(2) changes nothing, so the flag is taken off by itself.
    let kept = unsafe {
        libc::dup2(fd.as_raw_fd(), PRIVATE_FD) != -1 && libc::fcntl(PRIVATE_FD, libc::F_SETFD, 0) != -1
    };
    if kept { Ok(PRIVATE_FD + 1) } else { Err(errno_last()) }
}

/// Makes the kernel choose this process and its descendants before the agent when memory is short: proc(5),
/// `oom_score_adj`. Where that can't be written, the kernel chooses by size.
fn child_oom_first() {
    if let Ok(file) = open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::io::write(&file, b"1000");
    }
}

/// Unblocks all signals and gives each its default effect. What the agent ignores (SIGPIPE, and what it
/// inherited so) would stay ignored in the program otherwise.
fn child_signals_reset() {
    // The kernel's `struct sigaction`, which is not the C library's; all zeros is SIG_DFL without flags.
    // The C library refuses to change the two signals it uses itself, which posix_spawn(3) leaves ignored.
    let default = [0_u64; 4];
    let none = 0_u64;
    // SAFETY: dispositions and mask are the child's own. The structures are as large as the kernel takes
    // them to be: the size of a signal set is 8 bytes. SIGKILL and SIGSTOP are refused, which is right.
    unsafe {
        for signal in 1..=SIGNAL_MAX {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null::<c_void>(), 8);
        }
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, ptr::null::<c_void>(), 8);
    }
}

/// Executes the first program that can be; returns only with the reason why none could. As in execvp(3), a
/// file that may not be executed is passed over, and reported if nothing else is found.
fn child_exec(child: &Child<'_>) -> Errno {
    let mut reason = Errno::NOENT;
    for program in child.plan.programs {
        // SAFETY: the path and both arrays end in NUL, and the texts they point to live in `plan`.
        unsafe { libc::execve(program.as_ptr(), child.argv.as_ptr(), child.env.as_ptr()) };
        match errno_last() {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => reason = Errno::ACCESS,
            errno => return errno,
        }
    }
    reason
}

fn errno_last() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn zero_or_errno(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
