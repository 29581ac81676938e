//! The trees that all sandboxes share, made once in the launcher's own mount namespace.

use std::{os::fd::AsFd, path::Path};

use protocol::{HostPath, launcher::ImageName};
use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat, symlinkat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    },
    thread::UnshareFlags,
};
use storage::layout::DataDir;

use crate::{
    apply::Trees,
    failure::{Step, StepError},
    host::CgroupHost,
    sys::{self, MountAttributes, mount_attribute},
};

/// Device nodes of a sandbox, as in Docker: name, major, minor (kernel admin-guide/devices).
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links beside them.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Enters a mount namespace of the launcher's own, from which nothing reaches the host's, and makes the trees.
pub(super) fn make(
    data: &DataDir,
    cgroups: &CgroupHost,
    volume_prefixes: &[HostPath],
) -> Result<Trees, StepError> {
    sys::unshare(UnshareFlags::NEWNS).step(|| "make the launcher's mount namespace".to_owned())?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step(|| "make the launcher's mounts private".to_owned())?;
    mounts_reduce(data, cgroups, volume_prefixes)?;
    let trees = Trees {
        scratch: data.root().join("launcher"),
        host_skeleton: data.image_rootfs(&ImageName::Host),
        toolchains: data.toolchains(),
    };
    folder(&trees.scratch)?;
    memory_mount(&trees.scratch, "64k")?;
    for path in [trees.root(), trees.layer(), trees.lower(), trees.dev(), trees.sys()] {
        folder(&path)?;
    }
    for name in ["root", "usr"] {
        folder(&trees.lower().join(name))?;
    }
    dev_make(&trees.dev())?;
    sys_make(&trees.sys())?;
    Ok(trees)
}

/// Lets go of every mount that a launch does not need: each clone copies them, each pivot removes the copies.
fn mounts_reduce(
    data: &DataDir,
    cgroups: &CgroupHost,
    volume_prefixes: &[HostPath],
) -> Result<(), StepError> {
    let mountinfo =
        std::fs::read_to_string("/proc/self/mountinfo").step(|| "read /proc/self/mountinfo".to_owned())?;
    let needed = |mount: &Path| {
        let holds = |path: &Path| path.starts_with(mount);
        holds(data.storage().as_path())
            || holds(data.toolchains().as_path())
            || holds(data.run().as_path())
            || ["/proc", "/sys/class", "/usr"].iter().any(|path| holds(Path::new(path)))
            // A file system that is mounted below such a folder is a part of it.
            || volume_prefixes.iter().any(|prefix| holds(prefix.as_path()) || mount.starts_with(prefix))
            || cgroups.hierarchies.iter().any(|hierarchy| holds(hierarchy.mount.as_path()))
    };
    let mounts = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for mount in mounts.filter(|mount| !needed(mount)) {
        // A name with a space is written with escapes and not found; it then stays, at no harm.
        let _ = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH);
    }
    Ok(())
}

fn dev_make(dev: &HostPath) -> Result<(), StepError> {
    memory_mount(dev, "64k")?;
    let everybody = Mode::from_raw_mode(0o666);
    // mknod applies the umask.
    let umask = rustix::process::umask(Mode::empty());
    let make = || -> rustix::io::Result<()> {
        for (name, major, minor) in DEVICES {
            mknodat(
                CWD,
                dev.join(name).as_path(),
                FileType::CharacterDevice,
                everybody,
                makedev(major, minor),
            )?;
        }
        for (name, to) in DEVICE_LINKS {
            symlinkat(to, CWD, dev.join(name).as_path())?;
        }
        Ok(())
    };
    let made = make().step(|| "make device nodes".to_owned());
    rustix::process::umask(umask);
    made?;
    for name in ["pts", "shm"] {
        folder(&dev.join(name))?;
    }
    seal(dev, mount_attribute::NOSUID | mount_attribute::NOEXEC)
}

fn sys_make(sys: &HostPath) -> Result<(), StepError> {
    memory_mount(sys, "64k")?;
    let processors = "devices/system/cpu";
    for path in ["devices", "devices/system", processors, "fs", "fs/cgroup", "kernel", "class"] {
        folder(&sys.join(path))?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let attach = || {
        let tree = open_tree(CWD, format!("/sys/{processors}"), flags)?;
        let attributes = mount_attribute::RDONLY | mount_attribute::NOSUID | mount_attribute::NOEXEC;
        sys::mount_set_attributes(
            tree.as_fd(),
            MountAttributes { set: attributes | mount_attribute::NODEV, ..MountAttributes::default() },
        )?;
        let target = sys.join(processors);
        move_mount(tree.as_fd(), "", CWD, target.as_path(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    };
    attach().step(|| format!("show /sys/{processors}"))?;
    seal(sys, mount_attribute::NOSUID | mount_attribute::NODEV | mount_attribute::NOEXEC)
}

fn folder(path: &HostPath) -> Result<(), StepError> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.step(|| format!("make folder {path}")),
    }
}

fn memory_mount(path: &HostPath, size: &str) -> Result<(), StepError> {
    let mount = || {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), "size", size)?;
        fsconfig_set_string(context.as_fd(), "mode", "755")?;
        fsconfig_create(context.as_fd())?;
        let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        move_mount(mount.as_fd(), "", CWD, path.as_path(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    };
    mount().step(|| format!("mount tmpfs on {path}"))
}

/// Makes a finished tree read-only.
fn seal(path: &HostPath, attributes: u64) -> Result<(), StepError> {
    let seal = || {
        let mount = open_tree(CWD, path.as_path(), OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        let set = attributes | mount_attribute::RDONLY;
        sys::mount_set_attributes(mount.as_fd(), MountAttributes { set, ..MountAttributes::default() })
    };
    seal().step(|| format!("make {path} read-only"))
}
