//! The system calls that rustix does not offer safely, each behind a safe function.
//!
//! It must not know what a sandbox is: no plan, no policy, no paths of Atoll's. Numbers and layouts are
//! those of the kernel's user API headers; each function names its source.

use std::{
    ffi::CString,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::io::{Errno, Result};

/// Which namespaces a process is cloned into; the `CLONE_NEW*` bits of clone(2).
pub(crate) mod namespace {
    pub(crate) const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    pub(crate) const PID: u64 = libc::CLONE_NEWPID as u64;
    pub(crate) const NETWORK: u64 = libc::CLONE_NEWNET as u64;
    pub(crate) const IPC: u64 = libc::CLONE_NEWIPC as u64;
    pub(crate) const UTS: u64 = libc::CLONE_NEWUTS as u64;
    pub(crate) const USER: u64 = libc::CLONE_NEWUSER as u64;
}

/// Which side of a clone this is.
pub(crate) enum Cloned {
    /// The caller, with the child's pid and a pidfd of it.
    Parent { pid: i32, pidfd: OwnedFd },
    /// The new process.
    Child,
}

/// Clones this process into new namespaces, and into a v2 control group if one is given (clone3(2),
/// Linux 5.7). The child is a copy, as after fork(2).
///
/// The calling process must have one thread: another thread's locks would stay locked in the child.
pub(crate) fn clone_into(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: RawFd = -1;
    let args = libc::clone_args {
        flags: namespaces | libc::CLONE_PIDFD as u64 | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: `args` is a whole clone_args and lives across the call; without CLONE_VM and with stack 0 the
    // child runs on its own copy of this stack. `pidfd` is written by the kernel in the parent only.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel returned success and CLONE_PIDFD was set, so this is a new descriptor nobody owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent { pid: pid as i32, pidfd })
}

/// Moves this process into new namespaces of its own (unshare(2)).
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> Result<()> {
    // SAFETY: rustix marks it unsafe for CLONE_FILES and CLONE_VM; the callers pass CLONE_NEW* only.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Ends this process at once, without destructors or buffers of the copied parent (_exit(2)).
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Does nothing until the process is killed (pause(2)).
pub(crate) fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: pause has no preconditions; it returns after a signal was handled.
        unsafe { libc::pause() };
    }
}

/// Executes the program behind `program` (execveat(2) with AT_EMPTY_PATH). Returns only on failure.
pub(crate) fn exec_fd(program: BorrowedFd<'_>, argv: &[CString], envp: &[CString]) -> Errno {
    let pointers = |words: &[CString]| {
        words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    last_error()
}

/// Attributes to set on a mount (mount_setattr(2), Linux 5.12).
#[derive(Clone, Copy, Default)]
pub(crate) struct MountAttributes<'a> {
    /// `MOUNT_ATTR_*` bits to set.
    pub(crate) set: u64,
    /// Map ids as this user namespace does.
    pub(crate) idmap: Option<BorrowedFd<'a>>,
    /// For the mounts below it as well.
    pub(crate) recursive: bool,
}

/// `MOUNT_ATTR_*` of linux/mount.h.
pub(crate) mod mount_attribute {
    pub(crate) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
    pub(crate) const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
    pub(crate) const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
    pub(crate) const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
}

/// Changes the attributes of the mount behind `mount`.
pub(crate) fn mount_set_attributes(mount: BorrowedFd<'_>, attributes: MountAttributes<'_>) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes.set | if attributes.idmap.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: 0,
        propagation: 0,
        userns_fd: attributes.idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if attributes.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` is a whole mount_attr of the size given and lives across the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Sets a network interface of this network namespace up (netdevice(7), SIOCSIFFLAGS).
pub(crate) fn interface_up(name: &str) -> Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is plain data; all zeroes is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::NAMETOOLONG);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives across the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())?;
    Ok(())
}

/// Layouts and numbers of linux/btrfs.h.
mod btrfs {
    pub(super) const SUBVOL_CREATE: libc::Ioctl = 0x5000_940e;
    pub(super) const SNAP_DESTROY: libc::Ioctl = 0x5000_940f;
    pub(super) const RESIZE: libc::Ioctl = 0x5000_9403;
    pub(super) const SNAP_CREATE_V2: libc::Ioctl = 0x5000_9417;
    pub(super) const SUBVOL_RDONLY: u64 = 2;
    pub(super) const SUBVOL_QGROUP_INHERIT: u64 = 4;
    pub(super) const QGROUP_INHERIT_SET_LIMITS: u64 = 1;
    pub(super) const TREE_SEARCH: libc::Ioctl = 0xd000_9411_u32 as libc::Ioctl;
    pub(super) const QUOTA_TREE: u64 = 8;
    pub(super) const QGROUP_RELATION: u32 = 246;
    pub(super) const QGROUP_ASSIGN: libc::Ioctl = 0x4018_9429;
    pub(super) const QGROUP_CREATE: libc::Ioctl = 0x4010_942a;
    pub(super) const QGROUP_LIMIT: libc::Ioctl = 0x8030_942b;
    pub(super) const QGROUP_LIMIT_MAX_RFER: u64 = 1;
    pub(super) const QGROUP_LIMIT_MAX_EXCL: u64 = 2;
    pub(super) const INO_LOOKUP: libc::Ioctl = 0xd000_9412_u32 as libc::Ioctl;
    pub(super) const FS_INFO: libc::Ioctl = 0x8400_941f;
    pub(super) const QUOTA_CTL: libc::Ioctl = 0xc010_9428_u32 as libc::Ioctl;
    pub(super) const QUOTA_CTL_ENABLE_SIMPLE_QUOTA: u64 = 4;
    pub(super) const FIRST_FREE_OBJECTID: u64 = 256;

    /// `struct btrfs_ioctl_quota_ctl_args`.
    #[repr(C)]
    pub(super) struct QuotaControlArgs {
        pub(super) cmd: u64,
        pub(super) status: u64,
    }

    /// `struct btrfs_ioctl_ino_lookup_args`.
    #[repr(C)]
    pub(super) struct InodeLookupArgs {
        pub(super) treeid: u64,
        pub(super) objectid: u64,
        pub(super) name: [u8; 4080],
    }

    /// `struct btrfs_ioctl_fs_info_args`, as far as it is read.
    #[repr(C)]
    pub(super) struct FsInfoArgs {
        pub(super) max_id: u64,
        pub(super) num_devices: u64,
        pub(super) fsid: [u8; 16],
        pub(super) rest: [u8; 992],
    }

    /// `struct btrfs_ioctl_vol_args`.
    #[repr(C)]
    pub(super) struct VolumeArgs {
        pub(super) fd: i64,
        pub(super) name: [u8; 4088],
    }

    /// `struct btrfs_ioctl_vol_args_v2`.
    #[repr(C)]
    pub(super) struct VolumeArgs2 {
        pub(super) fd: i64,
        pub(super) transid: u64,
        pub(super) flags: u64,
        pub(super) inherit_bytes: u64,
        pub(super) inherit: *const QgroupInherit,
        pub(super) unused: [u64; 2],
        pub(super) name: [u8; 4040],
    }

    /// `struct btrfs_qgroup_inherit`, with room for one group.
    #[repr(C)]
    pub(super) struct QgroupInherit {
        pub(super) flags: u64,
        pub(super) groups: u64,
        pub(super) copies: [u64; 2],
        pub(super) limit_flags: u64,
        pub(super) max_referenced: u64,
        pub(super) limits_rest: [u64; 3],
        pub(super) group: u64,
    }

    /// `struct btrfs_ioctl_qgroup_create_args`.
    #[repr(C)]
    pub(super) struct QgroupCreateArgs {
        pub(super) create: u64,
        pub(super) group: u64,
    }

    /// `struct btrfs_ioctl_qgroup_assign_args`.
    #[repr(C)]
    pub(super) struct QgroupAssignArgs {
        pub(super) assign: u64,
        pub(super) member: u64,
        pub(super) group: u64,
    }

    /// `struct btrfs_ioctl_search_args`.
    #[repr(C)]
    pub(super) struct SearchArgs {
        pub(super) tree: u64,
        pub(super) objects: [u64; 2],
        pub(super) offsets: [u64; 2],
        pub(super) transactions: [u64; 2],
        pub(super) kinds: [u32; 2],
        pub(super) items: u32,
        pub(super) unused: u32,
        pub(super) unused_rest: [u64; 4],
        pub(super) found: [u64; 499],
    }

    /// `struct btrfs_ioctl_qgroup_limit_args`.
    #[repr(C)]
    pub(super) struct QgroupLimitArgs {
        pub(super) qgroupid: u64,
        pub(super) flags: u64,
        pub(super) max_referenced: u64,
        pub(super) max_exclusive: u64,
        pub(super) rsv_referenced: u64,
        pub(super) rsv_exclusive: u64,
    }
}

/// Makes an empty btrfs subvolume `name` in the folder behind `folder` (btrfs-ioctl(2)).
pub(crate) fn subvolume_create(folder: BorrowedFd<'_>, name: &str) -> Result<()> {
    subvolume_call(folder, name, btrfs::SUBVOL_CREATE)
}

/// Removes the btrfs subvolume `name` of the folder behind `folder`, with all it holds.
pub(crate) fn subvolume_destroy(folder: BorrowedFd<'_>, name: &str) -> Result<()> {
    subvolume_call(folder, name, btrfs::SNAP_DESTROY)
}

fn subvolume_call(folder: BorrowedFd<'_>, name: &str, request: libc::Ioctl) -> Result<()> {
    let mut args = btrfs::VolumeArgs { fd: 0, name: [0; 4088] };
    if name.is_empty() || name.len() >= args.name.len() || name.contains(['/', '\0']) {
        return Err(Errno::INVAL);
    }
    args.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: these requests read one btrfs_ioctl_vol_args, NUL-terminated, which lives across the call.
    check(unsafe { libc::ioctl(folder.as_raw_fd(), request, &raw const args) }.into())?;
    Ok(())
}

/// What a new snapshot is given with it, so that it is never there without.
#[derive(Clone, Copy, Default)]
pub(crate) struct SnapshotQuota {
    /// The group that it belongs to. Must exist.
    pub(crate) group: Option<u64>,
    /// What it may hold.
    pub(crate) bytes: Option<u64>,
}

/// Makes a snapshot of the btrfs subvolume behind `subvolume`, as `name` in the folder behind `folder`
/// (BTRFS_IOC_SNAP_CREATE_V2). What was written before is part of it, and it is on the disk when this returns: the
/// kernel commits its transaction (`btrfs_mksubvol`, `create_snapshot` in `fs/btrfs/ioctl.c`).
pub(crate) fn subvolume_snapshot(
    subvolume: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &str,
    read_only: bool,
    quota: SnapshotQuota,
) -> Result<()> {
    let inherit = btrfs::QgroupInherit {
        flags: quota.bytes.map_or(0, |_| btrfs::QGROUP_INHERIT_SET_LIMITS),
        groups: quota.group.map_or(0, |_| 1),
        copies: [0; 2],
        limit_flags: quota.bytes.map_or(0, |_| btrfs::QGROUP_LIMIT_MAX_RFER),
        max_referenced: quota.bytes.unwrap_or(0),
        limits_rest: [0; 3],
        group: quota.group.unwrap_or(0),
    };
    let without_group = size_of_val(&inherit) - size_of_val(&inherit.group);
    let inherits = quota.group.is_some() || quota.bytes.is_some();
    let mut args = btrfs::VolumeArgs2 {
        fd: i64::from(subvolume.as_raw_fd()),
        transid: 0,
        flags: if read_only { btrfs::SUBVOL_RDONLY } else { 0 },
        inherit_bytes: 0,
        inherit: std::ptr::null(),
        unused: [0; 2],
        name: [0; 4040],
    };
    if inherits {
        args.flags |= btrfs::SUBVOL_QGROUP_INHERIT;
        args.inherit_bytes = quota.group.map_or(without_group, |_| size_of_val(&inherit)) as u64;
        args.inherit = &raw const inherit;
    }
    if name.is_empty() || name.len() >= args.name.len() || name.contains(['/', '\0']) {
        return Err(Errno::INVAL);
    }
    args.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the request reads one btrfs_ioctl_vol_args_v2, NUL-terminated, and the btrfs_qgroup_inherit that it
    // points to, `inherit_bytes` long; both live across the call, and the descriptor in it is open across the call.
    check(unsafe { libc::ioctl(folder.as_raw_fd(), btrfs::SNAP_CREATE_V2, &raw const args) }.into())?;
    Ok(())
}

/// Limits what the btrfs subvolume behind `subvolume` may hold (BTRFS_IOC_QGROUP_LIMIT; quotas are on).
pub(crate) fn subvolume_limit(subvolume: BorrowedFd<'_>, bytes: u64) -> Result<()> {
    // Zero means the subvolume that the descriptor lies in.
    qgroup_limit(subvolume, 0, btrfs::QGROUP_LIMIT_MAX_RFER, bytes, 0)
}

/// Limits a group of quotas in both ways that there are. Of simple quotas the lower one counts.
pub(crate) fn quota_group_limit(
    folder: BorrowedFd<'_>,
    group: u64,
    referenced: u64,
    exclusive: u64,
) -> Result<()> {
    let both = btrfs::QGROUP_LIMIT_MAX_RFER | btrfs::QGROUP_LIMIT_MAX_EXCL;
    qgroup_limit(folder, group, both, referenced, exclusive)
}

fn qgroup_limit(
    folder: BorrowedFd<'_>,
    qgroupid: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
) -> Result<()> {
    let args = btrfs::QgroupLimitArgs {
        qgroupid,
        flags,
        max_referenced,
        max_exclusive,
        rsv_referenced: 0,
        rsv_exclusive: 0,
    };
    // SAFETY: the request reads one btrfs_ioctl_qgroup_limit_args, which lives across the call.
    check(unsafe { libc::ioctl(folder.as_raw_fd(), btrfs::QGROUP_LIMIT, &raw const args) }.into())?;
    Ok(())
}

/// Makes a group of quotas in the btrfs that `folder` lies in (BTRFS_IOC_QGROUP_CREATE).
pub(crate) fn quota_group_create(folder: BorrowedFd<'_>, group: u64) -> Result<()> {
    quota_group_call(folder, group, 1)
}

/// Removes a group of quotas, or the quota of a subvolume that is no more. One that counts something, has members or
/// a subvolume is busy.
pub(crate) fn quota_group_remove(folder: BorrowedFd<'_>, group: u64) -> Result<()> {
    quota_group_call(folder, group, 0)
}

fn quota_group_call(folder: BorrowedFd<'_>, group: u64, create: u64) -> Result<()> {
    let args = btrfs::QgroupCreateArgs { create, group };
    // SAFETY: the request reads one btrfs_ioctl_qgroup_create_args, which lives across the call.
    check(unsafe { libc::ioctl(folder.as_raw_fd(), btrfs::QGROUP_CREATE, &raw const args) }.into())?;
    Ok(())
}

/// Has a group of quotas count what a member counts, from what it holds already on (BTRFS_IOC_QGROUP_ASSIGN).
pub(crate) fn quota_group_add(folder: BorrowedFd<'_>, member: u64, group: u64) -> Result<()> {
    let args = btrfs::QgroupAssignArgs { assign: 1, member, group };
    // SAFETY: the request reads one btrfs_ioctl_qgroup_assign_args, which lives across the call.
    check(unsafe { libc::ioctl(folder.as_raw_fd(), btrfs::QGROUP_ASSIGN, &raw const args) }.into())?;
    Ok(())
}

/// The members of a group of quotas, or the groups of a member: the tree has each pair both ways
/// (BTRFS_IOC_TREE_SEARCH).
pub(crate) fn quota_group_pairs(folder: BorrowedFd<'_>, group: u64) -> Result<Vec<u64>> {
    /// `struct btrfs_ioctl_search_header` in words; a pair has nothing behind it.
    const HEADER_WORDS: usize = 4;
    let mut pairs = Vec::new();
    let mut from = 0;
    loop {
        let mut args = btrfs::SearchArgs {
            tree: btrfs::QUOTA_TREE,
            objects: [group; 2],
            offsets: [from, u64::MAX],
            transactions: [0, u64::MAX],
            kinds: [btrfs::QGROUP_RELATION; 2],
            items: u32::MAX,
            unused: 0,
            unused_rest: [0; 4],
            found: [0; 499],
        };
        // SAFETY: the request reads and writes one btrfs_ioctl_search_args of 4096 bytes, which lives across the call.
        check(unsafe { libc::ioctl(folder.as_raw_fd(), btrfs::TREE_SEARCH, &raw mut args) }.into())?;
        let items = args.found.chunks_exact(HEADER_WORDS).take(args.items as usize);
        pairs.extend(items.map(|header| header[2]));
        match pairs.last() {
            Some(last) if args.items > 0 && *last < u64::MAX => from = last + 1,
            _ => return Ok(pairs),
        }
    }
}

/// Turns simple quotas on for the btrfs that `folder` lies in (BTRFS_IOC_QUOTA_CTL, Linux 6.7).
pub(crate) fn quota_enable(folder: BorrowedFd<'_>) -> Result<()> {
    let mut args = btrfs::QuotaControlArgs { cmd: btrfs::QUOTA_CTL_ENABLE_SIMPLE_QUOTA, status: 0 };
    // SAFETY: the request reads and writes one btrfs_ioctl_quota_ctl_args, which lives across the call.
    check(unsafe { libc::ioctl(folder.as_raw_fd(), btrfs::QUOTA_CTL, &raw mut args) }.into())?;
    Ok(())
}

/// Lets the btrfs that `folder` lies in have all of its device (BTRFS_IOC_RESIZE with "max").
pub(crate) fn btrfs_grow(folder: BorrowedFd<'_>) -> Result<()> {
    subvolume_call(folder, "max", btrfs::RESIZE)
}

/// Lets a loop device have all of its file (loop(4), LOOP_SET_CAPACITY).
pub(crate) fn loop_grow(device: BorrowedFd<'_>) -> Result<()> {
    const LOOP_SET_CAPACITY: libc::Ioctl = 0x4c07;
    // SAFETY: the request takes no argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_CAPACITY, 0) }.into())?;
    Ok(())
}

/// The number of the btrfs subvolume that `folder` lies in (BTRFS_IOC_INO_LOOKUP).
pub(crate) fn subvolume_number(folder: BorrowedFd<'_>) -> Result<u64> {
    let mut args =
        btrfs::InodeLookupArgs { treeid: 0, objectid: btrfs::FIRST_FREE_OBJECTID, name: [0; 4080] };
    // SAFETY: the request reads and writes one btrfs_ioctl_ino_lookup_args, which lives across the call.
    check(unsafe { libc::ioctl(folder.as_raw_fd(), btrfs::INO_LOOKUP, &raw mut args) }.into())?;
    Ok(args.treeid)
}

/// The id of the btrfs file system that `folder` lies in (BTRFS_IOC_FS_INFO).
pub(crate) fn btrfs_id(folder: BorrowedFd<'_>) -> Result<[u8; 16]> {
    let mut args = btrfs::FsInfoArgs { max_id: 0, num_devices: 0, fsid: [0; 16], rest: [0; 992] };
    // SAFETY: the request writes one btrfs_ioctl_fs_info_args of 1024 bytes, which lives across the call.
    check(unsafe { libc::ioctl(folder.as_raw_fd(), btrfs::FS_INFO, &raw mut args) }.into())?;
    Ok(args.fsid)
}

/// Makes `fd` the descriptor number `number`, open across exec. Closes what was there.
pub(crate) fn fd_place(fd: BorrowedFd<'_>, number: RawFd) -> Result<()> {
    // SAFETY: plain descriptor numbers. The callers place descriptors just before exec, in a process that
    // holds no owner of the numbers they replace.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into())?;
    if fd.as_raw_fd() == number {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
    }
    Ok(())
}

/// Marks every descriptor from `first` on to be closed at exec (close_range(2), Linux 5.11).
pub(crate) fn fds_close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: CLOSE_RANGE_CLOEXEC sets a flag only; no descriptor is closed behind an owner's back.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Sets a limit of this process (setrlimit(2)), by the kernel's number of the resource.
pub(crate) fn resource_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is a whole rlimit64 and lives across the call; the old value is not asked for.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, std::ptr::null::<libc::rlimit64>())
    })?;
    Ok(())
}

/// A program of the classic BPF machine, as seccomp(2) takes it: one `struct sock_filter` a value.
pub(crate) type FilterInstruction = libc::sock_filter;

/// Puts this process and all that come from it under a seccomp filter (seccomp(2)).
pub(crate) fn seccomp_install(program: &[FilterInstruction]) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `program` points to `len` instructions that outlive the call; the kernel only reads them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })?;
    Ok(())
}

/// The calling process, for a descriptor that will be inherited: `fd` as an owned copy above `least`.
pub(crate) fn fd_copy_above(fd: impl AsFd, least: RawFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, least)
}

fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
