//! Writes a plan into an empty folder.
//!
//! It must not know what the entries mean.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use super::{
    HostImageError, failed,
    plan::{Node, Plan},
};

/// Writes `plan` into the new folder `root`. What it makes belongs to the caller, root.
pub(super) fn plan_write(plan: &Plan, root: &Path) -> Result<(), HostImageError> {
    for (guest, node) in plan.entries() {
        let path = root.join(guest.as_str().trim_start_matches('/'));
        match node {
            Node::Folder { mode } => {
                DirBuilder::new().mode(0o700).create(&path).map_err(failed("create", &path))?;
                mode_set(&path, *mode)?;
            }
            Node::Link { target } => symlink(target, &path).map_err(failed("create", &path))?,
            Node::Text { mode, bytes } => {
                file_new(&path).and_then(|mut file| file.write_all(bytes)).map_err(failed("write", &path))?;
                mode_set(&path, *mode)?;
            }
            Node::Copy { mode, from, .. } => {
                let mut source = File::open(from).map_err(failed("open", from))?;
                file_new(&path)
                    .and_then(|mut file| io::copy(&mut source, &mut file))
                    .map_err(failed("write", &path))?;
                mode_set(&path, *mode)?;
            }
        }
    }
    Ok(())
}

fn file_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Afterwards, because the process's umask takes bits from a mode given at creation.
fn mode_set(path: &Path, mode: u32) -> Result<(), HostImageError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("change the mode of", path))
}
