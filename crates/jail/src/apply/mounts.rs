//! The file system, step by step, with the mount calls of Linux 5.2 (fsopen(2), open_tree(2), move_mount(2)).
//!
//! The root is put together first and pivoted into; every later target is looked up inside it, so that a
//! link in an image can only lead to the image. What comes from the host is opened before.

use std::os::fd::{AsFd, OwnedFd};

use protocol::HostPath;
use rustix::{
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
        unmount,
    },
};

use super::{
    Parts, identity,
    volumes::{volume_attach, volume_mount},
};
use crate::{
    failure::{Step, StepError},
    plan::{LaunchPlan, Lower, MountStep, Template},
    sys::{self, MountAttributes, mount_attribute},
};

/// A folder of the `/sys` template that holds nothing, read-only.
const EMPTY_FOLDER: &str = "/sys/fs/cgroup";

/// A mount that is made but not yet attached, or a step that needs nothing from the host.
enum Prepared<'a> {
    Mount(OwnedFd, &'a MountStep),
    Later(&'a MountStep),
}

/// Makes the whole tree and leaves the host's.
pub(super) fn build(plan: &LaunchPlan, parts: &Parts<'_>) -> Result<(), StepError> {
    layer_attach(parts)?;
    let mut prepared = Vec::with_capacity(plan.mounts.len());
    for step in &plan.mounts {
        prepared.push(match step {
            MountStep::Volume { index, mount } => Prepared::Mount(volume_mount(*index, mount, parts)?, step),
            step => {
                prepare(step, plan.slot.first_id(), parts).step(|| format!("prepare {}", describe(step)))?
            }
        });
    }
    let mut prepared = prepared.into_iter();
    match prepared.next() {
        Some(Prepared::Mount(root, step)) if step.target() == "/" => root_enter(&root, parts)?,
        _ => return Err(StepError::new("plan: the first mount is not the root", rustix::io::Errno::INVAL)),
    }
    for item in prepared {
        let (mount, step) = match item {
            Prepared::Mount(tree, MountStep::Volume { index, mount }) => {
                volume_attach(*index, mount, &tree, plan.slot.first_id())?;
                continue;
            }
            Prepared::Mount(mount, step) => (mount, step),
            Prepared::Later(step) => (late(step).step(|| describe(step))?, step),
        };
        attach(&mount, step.target()).step(|| describe(step))?;
    }
    Ok(())
}

fn describe(step: &MountStep) -> String {
    let what = match step {
        MountStep::Overlay { .. } => "mount overlay",
        MountStep::Template { .. } => "attach the template",
        MountStep::Toolchains { .. } => "attach the toolchains",
        MountStep::Proc { .. } => "mount proc",
        MountStep::DevPts { .. } => "mount devpts",
        MountStep::Tmpfs { .. } => "mount tmpfs",
        MountStep::Mask { .. } => "mask",
        MountStep::ReadOnly { .. } => "make read-only:",
        MountStep::Volume { .. } => "mount the volume",
    };
    format!("{what} on {}", step.target())
}

/// Attaches the writable layer with the sandbox's ids: overlayfs takes its folders by path.
fn layer_attach(parts: &Parts<'_>) -> Result<(), StepError> {
    let attach = || {
        let layer = copy_of(parts.layer)?;
        let attributes = MountAttributes { idmap: Some(parts.user_namespace), ..MountAttributes::default() };
        sys::mount_set_attributes(layer.as_fd(), attributes)?;
        attach_at(&layer, &parts.trees.layer())
    };
    attach().step(|| "attach the writable layer".to_owned())
}

/// Makes what a step mounts, as far as it comes from the host.
fn prepare<'a>(step: &'a MountStep, owner: u32, parts: &Parts<'_>) -> rustix::io::Result<Prepared<'a>> {
    let mount = match step {
        MountStep::Overlay { lower, layer_folder, volatile, .. } => {
            overlay(*lower, layer_folder, *volatile, owner, parts)?
        }
        MountStep::Template { tree: Template::Dev, .. } => copy_of(&parts.trees.dev())?,
        MountStep::Template { tree: Template::Sys, .. } => copy_of(&parts.trees.sys())?,
        MountStep::Toolchains { .. } => {
            let tree = copy_of(&parts.trees.toolchains)?;
            let attributes = MountAttributes {
                set: mount_attribute::RDONLY | mount_attribute::NOSUID | mount_attribute::NODEV,
                idmap: Some(parts.user_namespace),
                recursive: false,
            };
            sys::mount_set_attributes(tree.as_fd(), attributes)?;
            tree
        }
        MountStep::Proc { .. } => {
            let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            file_system("proc", &[], flags)?
        }
        MountStep::DevPts { tty_gid, terminals_max, .. } => {
            let (gid, max) = (tty_gid.to_string(), terminals_max.to_string());
            let options =
                [("gid", gid.as_str()), ("mode", "620"), ("ptmxmode", "666"), ("max", max.as_str())];
            let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            file_system("devpts", &options, flags)?
        }
        MountStep::Tmpfs { size_bytes, owner, .. } => {
            let (size, owner) = (size_bytes.to_string(), owner.to_string());
            let options =
                [("size", size.as_str()), ("mode", "1777"), ("uid", owner.as_str()), ("gid", owner.as_str())];
            file_system(
                "tmpfs",
                &options,
                MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
            )?
        }
        MountStep::Mask { .. } | MountStep::ReadOnly { .. } | MountStep::Volume { .. } => {
            return Ok(Prepared::Later(step));
        }
    };
    Ok(Prepared::Mount(mount, step))
}

/// An overlay of a read-only tree and a folder of the layer, both with the sandbox's ids.
///
/// It keeps the identity of whoever makes it and works on the layer with that, so that must be the sandbox's
/// root: the host's has no id there.
fn overlay(
    lower: Lower,
    folder: &str,
    volatile: bool,
    owner: u32,
    parts: &Parts<'_>,
) -> rustix::io::Result<OwnedFd> {
    let source = match lower {
        Lower::HostSkeleton => parts.trees.host_skeleton.clone(),
        Lower::HostUsr => HostPath::new("/usr"),
    };
    let tree = copy_of(&source)?;
    let attributes =
        MountAttributes { set: mount_attribute::RDONLY, idmap: Some(parts.user_namespace), recursive: false };
    sys::mount_set_attributes(tree.as_fd(), attributes)?;
    let (lower, layer) = (parts.trees.lower().join(folder), parts.trees.layer().join(folder));
    attach_at(&tree, &lower)?;

    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", "overlay")?;
    fsconfig_set_string(context.as_fd(), "lowerdir", lower.as_path())?;
    fsconfig_set_string(context.as_fd(), "upperdir", layer.join("upper").as_path())?;
    fsconfig_set_string(context.as_fd(), "workdir", layer.join("work").as_path())?;
    // Renaming a folder of the image works. Its mark is an attribute that only the host's root can set.
    fsconfig_set_string(context.as_fd(), "redirect_dir", "on")?;
    if volatile {
        fsconfig_set_flag(context.as_fd(), "volatile")?;
    }
    identity::as_user(owner, || fsconfig_create(context.as_fd()))?;
    fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

/// A new file system of a kind that needs no device.
fn file_system(kind: &str, options: &[(&str, &str)], flags: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

/// A copy, not attached anywhere, of the mount that `path` lies in, with that path as its root.
fn copy_of(path: &HostPath) -> rustix::io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path.as_path(), flags)
}

fn attach_at(mount: &OwnedFd, path: &HostPath) -> rustix::io::Result<()> {
    move_mount(mount.as_fd(), "", CWD, path.as_path(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Attaches a mount inside; a link as the last name of `target` is not followed.
fn attach(mount: &OwnedFd, target: &str) -> rustix::io::Result<()> {
    move_mount(mount.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Makes the mount this process's root and lets go of the host's tree (pivot_root(2), "pivot_root(".", ".")").
fn root_enter(root: &OwnedFd, parts: &Parts<'_>) -> Result<(), StepError> {
    let path = parts.trees.root();
    let enter = || {
        attach_at(root, &path)?;
        rustix::process::chdir(path.as_path())?;
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    };
    enter().step(|| "pivot into the new root".to_owned())
}

/// Makes the mount of a step whose source lies inside the new root.
fn late(step: &MountStep) -> rustix::io::Result<OwnedFd> {
    match step {
        MountStep::Mask { path } => {
            let folder = rustix::fs::stat(*path)
                .map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())?;
            copy_of(&HostPath::new(if folder { EMPTY_FOLDER } else { "/dev/null" }))
        }
        _ => {
            let tree = copy_of(&HostPath::new(step.target()))?;
            let attributes = MountAttributes { set: mount_attribute::RDONLY, idmap: None, recursive: true };
            sys::mount_set_attributes(tree.as_fd(), attributes)?;
            Ok(tree)
        }
    }
}
