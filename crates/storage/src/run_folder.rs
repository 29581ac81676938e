//! The folder `run/` as a file system in memory: what is in it is made and removed with each sandbox, and means
//! nothing after a reboot.
//!
//! On a disk it would cost: ext4, for one, does not reuse an inode's number for seconds after it was freed, and
//! looks at each of them again for every new file (`recently_deleted` in `fs/ext4/ialloc.c`). That was 2 to 4 ms
//! for a sandbox where a hundred ended in a second.

use std::io;

use rustix::{
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string,
        fsmount, fsopen, move_mount,
    },
};

use crate::{layout::DataDir, mounted::is_mount};

/// Room for a socket and a line of text for each of more sandboxes than a host can run.
const SIZE: &str = "64m";

/// Why the folder could not be mounted.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount a tmpfs on {path}")]
pub struct RunFolderError {
    path: protocol::HostPath,
    source: io::Error,
}

/// Mounts a tmpfs on the data directory's `run/`, unless an earlier server did: what runs then is found in it.
/// Needs root and the data directory's lock.
///
/// # Errors
/// [`RunFolderError`].
pub fn run_folder_mount(data: &DataDir) -> Result<(), RunFolderError> {
    let path = data.run();
    let mount = || -> io::Result<()> {
        if is_mount(path.as_path(), data.root().as_path())? {
            return Ok(());
        }
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", "atoll")?;
        fsconfig_set_string(&context, "size", SIZE)?;
        fsconfig_set_string(&context, "mode", "711")?;
        fsconfig_create(&context)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
        move_mount(&mount, "", CWD, path.as_path(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(())
    };
    mount().map_err(|source| RunFolderError { path: path.clone(), source })
}
