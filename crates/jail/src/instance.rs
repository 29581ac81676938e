//! Which of the host's instances a server is: a number that no other running server has.
//!
//! Numbers are files in `/run/atoll`, locked for as long as the server or its launcher lives. Each file names
//! the data directory that used the number last, which gets it again: its sandboxes carry the number in the
//! names of their control groups.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::{Duration, Instant},
};

use protocol::HostPath;

use crate::{host::CgroupHost, plan::Instance};

/// Where the numbers are.
const FOLDER: &str = "/run/atoll";

/// A number, held.
#[derive(Debug)]
pub struct InstanceLease {
    /// The number.
    pub instance: Instance,
    _lock: File,
}

/// Why a server gets no number.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// All numbers are held.
    #[error(
        "all {} numbers for servers of this host are taken, by servers or by sandboxes that they left; stop one",
        Instance::COUNT
    )]
    AllInUse,
    /// A file can't be used.
    #[error("can't use {path}")]
    Io {
        /// Which.
        path: HostPath,
        /// Why.
        source: io::Error,
    },
}

/// Which numbers are looked at in a round.
#[derive(Clone, Copy)]
enum Choice {
    Own,
    Unused,
    Any,
}

/// Takes a number for the server of a data directory: the one it had, else one that nobody had, else one
/// whose server is gone. Sandboxes may outlive their server, and use ids and addresses of its number: it is kept
/// for that server until they have ended, unless its data directory is no more.
///
/// # Errors
/// [`InstanceError`].
pub fn instance_claim(data: &Path, cgroups: &CgroupHost) -> Result<InstanceLease, InstanceError> {
    let folder = HostPath::new(FOLDER);
    let failed = |path: &HostPath| {
        let path = path.clone();
        move |source| InstanceError::Io { path, source }
    };
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let owner = data.as_os_str().as_encoded_bytes();
    for choice in [Choice::Own, Choice::Unused, Choice::Any] {
        for instance in (0..Instance::COUNT).filter_map(Instance::new) {
            let path = folder.join(format!("{}.lock", instance.number()));
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(failed(&path))?;
            let mut had = Vec::new();
            file.read_to_end(&mut had).map_err(failed(&path))?;
            let wanted = match choice {
                Choice::Own => had == owner,
                Choice::Unused => had.is_empty(),
                Choice::Any => !is_awaited(instance, &had, cgroups),
            };
            if !wanted {
                continue;
            }
            let is_own = matches!(choice, Choice::Own);
            if !lock_take(&file, is_own).map_err(failed(&path))? {
                continue;
            }
            let note = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(owner));
            note.map_err(failed(&path))?;
            return Ok(InstanceLease { instance, _lock: file });
        }
    }
    Err(InstanceError::AllInUse)
}

/// How long the rest of a server that has ended may take to let go of its number.
const OWN_PATIENCE: Duration = Duration::from_secs(10);
const OWN_POLL: Duration = Duration::from_millis(10);

/// Takes a number's lock. Returns whether it was free. A server's own number is waited for: what is left of the
/// server before holds it, and its sandboxes are found under that number only.
fn lock_take(file: &File, is_own: bool) -> io::Result<bool> {
    let give_up = Instant::now() + OWN_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if is_own && Instant::now() < give_up => {
                std::thread::sleep(OWN_POLL);
            }
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether sandboxes of this number run whose server may come back for them.
fn is_awaited(instance: Instance, data: &[u8], cgroups: &CgroupHost) -> bool {
    let data_exists = Path::new(OsStr::from_bytes(data)).exists();
    data_exists
        && cgroups.hierarchies.first().is_some_and(|hierarchy| groups_exist(&hierarchy.mount, instance))
}

fn groups_exist(mount: &HostPath, instance: Instance) -> bool {
    let Ok(entries) = fs::read_dir(mount.join(instance.name())) else { return false };
    entries.filter_map(Result::ok).any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}
