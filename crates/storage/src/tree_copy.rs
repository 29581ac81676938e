//! Copying a layer where the file system has no snapshots: by `cp`, which shares blocks where it can
//! (`--reflink=auto`) and else copies them.
//!
//! The tree is hostile, its folders' names are not: `cp` runs in the one, follows no link in the tree, and nothing
//! writes to the tree meanwhile.

use std::{ffi::OsStr, io, os::fd::AsRawFd, os::fd::BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::host_command::host_command_run;

/// Copies the folder `from` of one folder as `to` into another: owners, modes, times, extended attributes, links,
/// holes and device nodes included. It is on the disk when this returns; when it fails, a part may be there.
///
/// # Errors
/// What cp(1) said, or the file system.
pub fn tree_copy(
    from_folder: BorrowedFd<'_>,
    from: &str,
    to_folder: BorrowedFd<'_>,
    to: &str,
) -> io::Result<()> {
    let path = |folder: BorrowedFd<'_>, name: &str| {
        format!("/proc/{}/fd/{}/{name}", std::process::id(), folder.as_raw_fd())
    };
    let (from, to) = (path(from_folder, from), path(to_folder, to));
    let args = ["--archive", "--reflink=auto", "--no-target-directory", "--", from.as_str(), to.as_str()];
    host_command_run("cp", &args.map(OsStr::new)).map_err(io::Error::other)?;
    let copy =
        openat(CWD, to.as_str(), OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    Ok(rustix::fs::syncfs(&copy)?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::{fd::AsFd, unix::fs::MetadataExt},
    };

    use super::*;

    #[test]
    fn a_copy_is_the_same_in_everything() {
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/file"), "content").unwrap();
        fs::hard_link(tree.join("a/file"), tree.join("a/b/same")).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", tree.join("link")).unwrap();
        std::os::unix::fs::chown(tree.join("a/file"), Some(1234), Some(77)).unwrap();
        let folder = fs::File::open(temp.path()).unwrap();
        tree_copy(folder.as_fd(), "tree", folder.as_fd(), "copy").unwrap();
        let copy = temp.path().join("copy");
        let (old, new) =
            (fs::metadata(tree.join("a/file")).unwrap(), fs::metadata(copy.join("a/file")).unwrap());
        assert_eq!((new.uid(), new.gid(), new.mode(), new.nlink()), (1234, 77, old.mode(), 2));
        assert_eq!((new.mtime(), new.mtime_nsec()), (old.mtime(), old.mtime_nsec()));
        assert_eq!(fs::read_link(copy.join("link")).unwrap(), std::path::Path::new("/etc/shadow"));
        assert_eq!(fs::read(copy.join("a/b/same")).unwrap(), b"content");
    }

    #[test]
    fn what_is_not_there_is_not_copied() {
        let temp = tempfile::tempdir().unwrap();
        let folder = fs::File::open(temp.path()).unwrap();
        tree_copy(folder.as_fd(), "tree", folder.as_fd(), "copy").unwrap_err();
    }
}
