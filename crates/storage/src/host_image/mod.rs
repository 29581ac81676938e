//! The `host` image: a root folder around the host's `/usr`, with an `/etc` of its own and nothing else of the
//! host. The launcher mounts the host's `/usr` into it; here is the rest.
//!
//! The image is planned first (pure data, `skeleton.rs`) and written only when the plan has changed. It must
//! not know mounts, namespaces or sandboxes.

mod accounts;
mod allow_list;
mod collect;
mod credentials;
mod etc_files;
mod plan;
mod skeleton;
mod write;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use protocol::{GuestPath, HostPath};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use self::{
    plan::{Node, Plan},
    skeleton::skeleton_plan,
    write::plan_write,
};
use crate::{layout::DataDir, resolver::Resolver};

/// The host name inside of a sandbox, as `/etc/hostname` and `/etc/hosts` of the image have it.
pub const HOST_NAME: &str = "sandbox";

/// Links in the root that lead into `/usr` (merged `/usr`, file-hierarchy(7)).
pub(crate) const USR_LINKS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What goes into the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostImageOptions {
    /// The name servers of sandboxes.
    pub resolver: Resolver,
    /// Whether the image has the host's database of installed packages, for `apt-get install`. It is most of
    /// the image.
    pub package_database: bool,
}

/// The image that is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostImage {
    /// Its root.
    pub rootfs: HostPath,
    /// Whether it was written now. If not, the one of an earlier start was still right.
    pub rebuilt: bool,
    /// How many files it has, folders and links not counted.
    pub files: u64,
    /// What the files hold together.
    pub size_bytes: u64,
    /// Whether it is out of date: there was no room for a new one.
    pub is_outdated: bool,
    /// What was left out, and why. For the log.
    pub notes: Vec<String>,
}

/// Why there is no `host` image.
#[derive(Debug, thiserror::Error)]
pub enum HostImageError {
    /// The host keeps programs outside of `/usr`.
    #[error(
        "{path} is no link into /usr; the `host` image needs a host with merged /usr (Debian 12 and later)"
    )]
    NotMerged {
        /// Which folder.
        path: PathBuf,
    },
    /// A path of the image is none.
    #[error("{path:?} is no path of an image")]
    Path {
        /// The text.
        path: String,
    },
    /// A system call failed.
    #[error("cannot {step} {path}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl HostImageError {
    fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// Brings the image of `data` up to date. Needs root, an open pool and the data directory's lock.
///
/// A new image takes the place of the old one in one step. Sandboxes that run keep the old one: it is set
/// aside, not removed (see [`host_image_retired_remove`]). Where there is no room for a new one, the old one stays if
/// it was written since the machine started.
///
/// # Errors
/// [`HostImageError`]; the image that was in place stays then.
pub fn host_image_build(data: &DataDir, options: &HostImageOptions) -> Result<HostImage, HostImageError> {
    let (plan, notes) = skeleton_plan(Path::new("/"), options)?;
    let rootfs = data.host_image_rootfs();
    let folder = data.host_image_folder();
    let (rebuilt, is_outdated) = match place(&plan, &folder, &rootfs) {
        // Sandboxes that run may have filled the pool. Without a server nobody can delete them.
        Err(error) if error.is_full() && is_whole(&folder, &rootfs)? => {
            remove_all(folder.join(NEW).as_path())?;
            (false, true)
        }
        placed => (placed?, false),
    };
    match place(&cover_plan(&plan), &data.cover_folder(), &data.cover_folder().join("rootfs")) {
        Err(error) if error.is_full() && data.cover_folder().join("rootfs").as_path().exists() => {}
        placed => drop(placed?),
    }
    let (files, size_bytes) = size(&plan);
    Ok(HostImage { rootfs, rebuilt, files, size_bytes, is_outdated, notes })
}

/// What lies over the layers of OCI images, of the same making: where sandboxes have mounts, and who they and their
/// name servers are. A folder here also hides whatever else an image has at its path, a link say.
fn cover_plan(plan: &Plan) -> Plan {
    let covers = |path: &GuestPath| COVERED.contains(&path.as_str());
    let mut cover = Plan::default();
    plan.entries()
        .filter(|(path, _)| covers(path))
        .for_each(|(path, node)| cover.add(path.clone(), node.clone()));
    cover
}

/// All that [`cover_plan`] takes.
const COVERED: [&str; 9] =
    ["/", "/proc", "/dev", "/sys", "/tmp", "/etc", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname"];

/// Removes the images that [`host_image_build`] set aside, and says how many. Only for when no sandbox runs
/// that was started before.
///
/// # Errors
/// [`HostImageError::Io`].
pub fn host_image_retired_remove(data: &DataDir) -> Result<usize, HostImageError> {
    Ok(retired_remove(&data.host_image_folder())? + retired_remove(&data.cover_folder())?)
}

fn retired_remove(folder: &HostPath) -> Result<usize, HostImageError> {
    let folder = folder.as_path();
    let mut removed = 0;
    if !folder.exists() {
        return Ok(0);
    }
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        if entry.file_name().to_string_lossy().starts_with(RETIRED) {
            fs::remove_dir_all(entry.path()).map_err(failed("remove", &entry.path()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Says which image is in place, and since which boot.
const STAMP: &str = "fingerprint";
/// The name of an image that is being written.
const NEW: &str = "rootfs.new";
/// How the names of images begin that were set aside.
const RETIRED: &str = "retired-";

/// Writes the plan and swaps it in, unless it is there already.
fn place(plan: &Plan, folder: &HostPath, rootfs: &HostPath) -> Result<bool, HostImageError> {
    let rootfs = rootfs.as_path();
    let stamp_file = folder.join(STAMP);
    let stamp_file = stamp_file.as_path();
    let boot = boot_id()?;
    let fingerprint = format!("{} {boot}", plan.fingerprint(&boot));
    let is_there = fs::symlink_metadata(rootfs).is_ok();
    if is_there && fs::read_to_string(stamp_file).is_ok_and(|stamp| stamp == fingerprint) {
        return Ok(false);
    }
    fs::create_dir_all(folder.as_path()).map_err(failed("create", folder.as_path()))?;
    let new = folder.join(NEW);
    let new = new.as_path();
    remove_all(new)?;
    plan_write(plan, new)?;
    remove_file(stamp_file)?;
    if is_there {
        renameat_with(CWD, new, CWD, rootfs, RenameFlags::EXCHANGE)
            .map_err(|errno| failed("replace", rootfs)(errno.into()))?;
        let retired = (0..).map(|number: u64| folder.join(format!("{RETIRED}{number}")));
        let retired = retired.into_iter().find(|path| fs::symlink_metadata(path.as_path()).is_err());
        if let Some(retired) = retired {
            fs::rename(new, retired.as_path()).map_err(failed("rename", new))?;
        }
    } else {
        fs::rename(new, rootfs).map_err(failed("rename", new))?;
    }
    fs::write(stamp_file, fingerprint).map_err(failed("write", stamp_file))?;
    Ok(true)
}

/// Whether there is an image that no power cut may have left half written.
fn is_whole(folder: &HostPath, rootfs: &HostPath) -> Result<bool, HostImageError> {
    let stamp = fs::read_to_string(folder.join(STAMP)).unwrap_or_default();
    Ok(fs::symlink_metadata(rootfs).is_ok() && stamp.ends_with(&boot_id()?))
}

/// Names this boot of the machine. It is part of the fingerprint, so that an image is never trusted that a
/// power cut may have left half written; nothing needs to wait for the disk then.
fn boot_id() -> Result<String, HostImageError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(path).map_err(failed("read", path))
}

fn size(plan: &Plan) -> (u64, u64) {
    let sizes = plan.entries().filter_map(|(_, node)| match node {
        Node::Text { bytes, .. } => Some(bytes.len() as u64),
        Node::Copy { stamp, .. } => Some(stamp.size_bytes),
        Node::Folder { .. } | Node::Link { .. } => None,
    });
    sizes.fold((0, 0), |(files, total), size| (files + 1, total + size))
}

fn remove_all(path: &Path) -> Result<(), HostImageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), HostImageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HostImageError {
    let path = path.to_owned();
    move |source| HostImageError::Io { step, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        let mut plan = Plan::default();
        plan.add(GuestPath::root(), Node::Folder { mode: 0o755 });
        let node = Node::Text { mode: 0o644, bytes: text.as_bytes().to_vec() };
        plan.add(GuestPath::absolute("/etc/issue").unwrap(), node);
        plan
    }

    #[test]
    fn an_image_is_swapped_in_and_the_old_one_set_aside() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::new(HostPath::new(temp.path())).unwrap();
        let (folder, rootfs) = (data.host_image_folder(), data.host_image_rootfs());
        let issue = rootfs.join("etc/issue");
        assert!(place(&plan("one"), &folder, &rootfs).unwrap());
        assert!(!place(&plan("one"), &folder, &rootfs).unwrap());
        let open = fs::File::open(rootfs.as_path()).unwrap();

        // What an interrupted start left is no obstacle.
        fs::create_dir_all(folder.join("rootfs.new/etc").as_path()).unwrap();
        assert!(place(&plan("two"), &folder, &rootfs).unwrap());
        assert_eq!(fs::read_to_string(issue.as_path()).unwrap(), "two");
        let old =
            rustix::fs::openat(&open, "etc/issue", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
        assert_eq!(io::read_to_string(fs::File::from(old.unwrap())).unwrap(), "one");
        assert!(place(&plan("three"), &folder, &rootfs).unwrap());

        assert_eq!(host_image_retired_remove(&data).unwrap(), 2);
        assert_eq!(host_image_retired_remove(&data).unwrap(), 0);
        assert_eq!(fs::read_to_string(issue.as_path()).unwrap(), "three");
    }
}
