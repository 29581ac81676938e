//! The data directory: which folder holds what, who owns it, and the lock that keeps a second server out.
//!
//! Paths and folders only. It must not know what is inside of an image, a layer or the database.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use protocol::{HostPath, SandboxId, launcher::ImageName};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

/// The longest root that still leaves room for `run/<uuid>/agent.sock` in a socket address: `sun_path` holds
/// 108 bytes with the closing NUL (unix(7)).
const ROOT_BYTES_MAX: usize = 107 - "/run/00000000-0000-0000-0000-000000000000/agent.sock".len();

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Only an absolute path means the same to the server and to the launcher.
    #[error("the data directory {path} is not an absolute path; give one that starts with `/`")]
    NotAbsolute {
        /// What was given.
        path: PathBuf,
    },
    /// The agents' sockets below it would have addresses that Linux does not take.
    #[error("the data directory {path} is too long; give one of at most {ROOT_BYTES_MAX} bytes")]
    TooLong {
        /// What was given.
        path: PathBuf,
    },
    /// The folder holds something else. Its owner and mode would be changed, so it is not touched.
    #[error("{path} is not empty and is no data directory of Atoll; give an empty or a new folder")]
    NotAtoll {
        /// What was given.
        path: PathBuf,
    },
    /// Another server holds the lock.
    #[error("the data directory {path} is in use by another server{}", .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process that wrote its number into the lock file last.
        pid: Option<u32>,
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

/// The data directory. A value of this type is only names: nothing needs to exist.
///
/// ```text
/// <root>/               root 0711
///   lock                held by the server for its whole life
///   server/             server 0700: the only folder that the unprivileged server writes
///     atoll.db  logs/
///   storage/            root 0700: the pool; images/ sandboxes/ snapshots/ volumes/, in an image file
///                       reserve metadata
///   storage.btrfs       the pool's image file, where the folder itself is not on btrfs
///   toolchains/         root 0755
///   run/                root 0711: one folder per sandbox, with its agent.sock
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: HostPath,
    toolchains: HostPath,
}

/// The lock on a data directory. It ends when this and every copy that a fork inherited is closed.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDir {
    /// Where it is unless the operator says otherwise.
    pub const DEFAULT: &str = "/var/lib/atoll";

    /// Names the data directory at `root`.
    ///
    /// # Errors
    /// [`LayoutError::NotAbsolute`] and [`LayoutError::TooLong`].
    pub fn new(root: HostPath) -> Result<Self, LayoutError> {
        let path = root.as_path();
        if !path.is_absolute() {
            return Err(LayoutError::NotAbsolute { path: path.to_owned() });
        }
        if path.as_os_str().len() > ROOT_BYTES_MAX {
            return Err(LayoutError::TooLong { path: path.to_owned() });
        }
        Ok(Self { toolchains: root.join("toolchains"), root })
    }

    /// The same with toolchains in another folder, shared with other data directories.
    #[must_use]
    pub fn with_toolchains(self, toolchains: HostPath) -> Self {
        Self { toolchains, ..self }
    }

    /// The data directory itself.
    #[must_use]
    pub fn root(&self) -> &HostPath {
        &self.root
    }

    /// The folder of the unprivileged server.
    #[must_use]
    pub fn server_folder(&self) -> HostPath {
        self.root.join("server")
    }

    /// The server's database. Open it after privileges are dropped: the folder belongs to the server.
    #[must_use]
    pub fn database(&self) -> HostPath {
        self.server_folder().join("atoll.db")
    }

    /// The folder of the logs of sandboxes.
    #[must_use]
    pub fn log_folder(&self) -> HostPath {
        self.server_folder().join("logs")
    }

    /// The pool: where images, layers and snapshots are.
    #[must_use]
    pub fn storage(&self) -> HostPath {
        self.root.join("storage")
    }

    /// A file that takes room in the pool until a start needs it.
    #[must_use]
    pub fn storage_reserve(&self) -> HostPath {
        self.storage().join("reserve")
    }

    /// A file that keeps room for the metadata of a btrfs in an image file.
    #[must_use]
    pub fn storage_ballast(&self) -> HostPath {
        self.storage().join("metadata")
    }

    /// The file that holds the pool's file system where one had to be made.
    #[must_use]
    pub fn storage_image(&self) -> HostPath {
        self.root.join("storage.btrfs")
    }

    /// The folder of the images.
    #[must_use]
    pub fn images(&self) -> HostPath {
        self.storage().join("images")
    }

    /// The folder of one image, with its `rootfs` inside.
    #[must_use]
    pub fn image_folder(&self, image: &ImageName) -> HostPath {
        match image {
            ImageName::Host => self.images().join("host"),
        }
    }

    /// The read-only root of an image.
    #[must_use]
    pub fn image_rootfs(&self, image: &ImageName) -> HostPath {
        self.image_folder(image).join("rootfs")
    }

    /// The folder of the writable layers.
    #[must_use]
    pub fn sandboxes(&self) -> HostPath {
        self.storage().join("sandboxes")
    }

    /// The writable layer of a sandbox: a subvolume, or a plain folder in a plain pool.
    #[must_use]
    pub fn layer(&self, sandbox: SandboxId) -> HostPath {
        self.sandboxes().join(sandbox.to_string())
    }

    /// What the sandbox wrote, within its layer (`upperdir` of overlayfs).
    #[must_use]
    pub fn layer_upper(&self, sandbox: SandboxId) -> HostPath {
        self.layer(sandbox).join("upper")
    }

    /// The work folder of overlayfs, within the layer.
    #[must_use]
    pub fn layer_work(&self, sandbox: SandboxId) -> HostPath {
        self.layer(sandbox).join("work")
    }

    /// The folder of the snapshots.
    #[must_use]
    pub fn snapshots(&self) -> HostPath {
        self.storage().join("snapshots")
    }

    /// The folder of the volumes.
    #[must_use]
    pub fn volumes(&self) -> HostPath {
        self.storage().join("volumes")
    }

    /// The folder of the toolchains.
    #[must_use]
    pub fn toolchains(&self) -> HostPath {
        self.toolchains.clone()
    }

    /// The folder of what lives as long as its sandbox runs.
    #[must_use]
    pub fn run(&self) -> HostPath {
        self.root.join("run")
    }

    /// What lives as long as this sandbox runs.
    #[must_use]
    pub fn run_folder(&self, sandbox: SandboxId) -> HostPath {
        self.run().join(sandbox.to_string())
    }

    /// The socket that the sandbox's agent listens on.
    #[must_use]
    pub fn agent_socket(&self, sandbox: SandboxId) -> HostPath {
        self.run_folder(sandbox).join("agent.sock")
    }

    /// The file that names the control groups of a running sandbox.
    #[must_use]
    pub fn group_file(&self, sandbox: SandboxId) -> HostPath {
        self.run_folder(sandbox).join("group")
    }

    /// The file that has the network policy of a running sandbox, if it has one.
    #[must_use]
    pub fn policy_file(&self, sandbox: SandboxId) -> HostPath {
        self.run_folder(sandbox).join("policy")
    }

    /// The lock file. Its presence also says that the folder is Atoll's.
    #[must_use]
    pub fn lock_file(&self) -> HostPath {
        self.root.join("lock")
    }

    /// Makes every folder that is missing and gives all of them their owner and mode. Needs root.
    ///
    /// No folder is reached through a symbolic link: the server owns `server/` and could have planted one.
    ///
    /// # Errors
    /// [`LayoutError::NotAtoll`] when the folder holds something else, [`LayoutError::Io`] otherwise.
    pub fn create(&self, server_uid: u32, server_gid: u32) -> Result<(), LayoutError> {
        let path = self.root.as_path();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed("create", parent))?;
        }
        let root = folder_open(CWD, path, path)?;
        if self.holds_something_else(&root)? {
            return Err(LayoutError::NotAtoll { path: path.to_owned() });
        }
        folder_own(&root, path, 0, 0, 0o711)?;
        self.lock_file_open()?;
        for (name, uid, gid, mode) in [
            ("storage", 0, 0, 0o700),
            ("toolchains", 0, 0, 0o755),
            ("run", 0, 0, 0o711),
            ("server", server_uid, server_gid, 0o700),
        ] {
            let path = path.join(name);
            folder_own(&folder_open(&root, Path::new(name), &path)?, &path, uid, gid, mode)?;
        }
        // An external one may be filled later; what it holds is its owner's affair.
        let toolchains = self.toolchains.as_path();
        fs::create_dir_all(toolchains).map_err(failed("create", toolchains))?;
        let (server, logs) = (self.server_folder(), self.log_folder());
        let server = folder_open(&root, Path::new("server"), server.as_path())?;
        let folder = folder_open(&server, Path::new("logs"), logs.as_path())?;
        folder_own(&folder, logs.as_path(), server_uid, server_gid, 0o700)
    }

    /// The user that the server drops to here; `None` where no data directory has been made yet.
    ///
    /// The folder is its own, but its name is in a folder of root's: nobody can have put another in its place.
    ///
    /// # Errors
    /// [`LayoutError::Io`].
    pub fn server_owner(&self) -> Result<Option<u32>, LayoutError> {
        let (folder, lock) = (self.server_folder(), self.lock_file());
        let found = fs::symlink_metadata(lock.as_path()).and_then(|_| fs::symlink_metadata(folder.as_path()));
        match found {
            Ok(found) => Ok(Some(found.uid())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("examine", folder.as_path())(error)),
        }
    }

    /// Takes the lock, or says who has it. The folder must have been made by [`DataDir::create`].
    ///
    /// It is a flock(2): a forked process shares it, and the kernel drops it with the last of them.
    ///
    /// # Errors
    /// [`LayoutError::Locked`], or [`LayoutError::Io`].
    pub fn lock(&self) -> Result<DataDirLock, LayoutError> {
        let path = self.lock_file();
        let path = path.as_path();
        let mut file = self.lock_file_open()?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(LayoutError::Locked { path: self.root.as_path().to_owned(), pid });
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed("lock", path)(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed("write", path))?;
        writeln!(file, "{}", std::process::id()).map_err(failed("write", path))?;
        Ok(DataDirLock { _file: file })
    }

    fn lock_file_open(&self) -> Result<File, LayoutError> {
        let path = self.lock_file();
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path.as_path())
            .map_err(failed("open", path.as_path()))
    }

    /// Whether the folder was in use before Atoll: not empty (a new file system's `lost+found` aside), and
    /// without a lock file that root made.
    fn holds_something_else(&self, root: &File) -> Result<bool, LayoutError> {
        let path = self.root.as_path();
        let owner = root.metadata().map_err(failed("examine", path))?.uid();
        let mut names = fs::read_dir(path).map_err(failed("list", path))?.filter_map(Result::ok);
        // The toolchains of another data directory may have been put here first: `atoll run` does that.
        let in_use =
            names.any(|entry| entry.file_name() != "lost+found" && entry.file_name() != "toolchains");
        Ok(in_use && (owner != 0 || fs::symlink_metadata(self.lock_file().as_path()).is_err()))
    }
}

/// Opens the folder `name` of `parent`, made if it is missing; never through a link.
fn folder_open(parent: impl rustix::fd::AsFd, name: &Path, path: &Path) -> Result<File, LayoutError> {
    match mkdirat(&parent, name, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(failed("create", path)(errno.into())),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(&parent, name, flags, Mode::empty()) {
        Ok(fd) => Ok(File::from(fd)),
        Err(errno) => Err(failed("open", path)(errno.into())),
    }
}

fn folder_own(folder: &File, path: &Path, uid: u32, gid: u32, mode: u32) -> Result<(), LayoutError> {
    fchown(folder, Some(uid), Some(gid)).map_err(failed("change the owner of", path))?;
    folder.set_permissions(Permissions::from_mode(mode)).map_err(failed("change the mode of", path))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LayoutError {
    let path = path.to_owned();
    move |source| LayoutError::Io { step, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(path: impl Into<PathBuf>) -> DataDir {
        DataDir::new(HostPath::new(path)).unwrap()
    }

    fn owner_and_mode(path: &HostPath) -> (u32, u32, u32) {
        let meta = fs::symlink_metadata(path.as_path()).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    }

    #[test]
    fn paths_lie_where_the_documentation_says() {
        let data = dir("/var/lib/atoll");
        let id: SandboxId = "6b4bdac1-7a5c-4c1b-8e7a-1f6f1f4a2c11".parse().unwrap();
        assert_eq!(data.layer(id).to_string(), format!("/var/lib/atoll/storage/sandboxes/{id}"));
        assert_eq!(data.agent_socket(id).to_string(), format!("/var/lib/atoll/run/{id}/agent.sock"));
        assert_eq!(
            data.image_rootfs(&ImageName::Host).to_string(),
            "/var/lib/atoll/storage/images/host/rootfs"
        );
    }

    #[test]
    fn roots_that_cannot_work_are_refused() {
        assert!(matches!(DataDir::new(HostPath::new("atoll")), Err(LayoutError::NotAbsolute { .. })));
        let longest = format!("/{}", "x".repeat(ROOT_BYTES_MAX - 1));
        let id = SandboxId::random();
        assert_eq!(dir(&longest).agent_socket(id).as_path().as_os_str().len(), 107);
        let over = HostPath::new(format!("{longest}x"));
        assert!(matches!(DataDir::new(over), Err(LayoutError::TooLong { .. })));
    }

    #[test]
    fn toolchains_that_came_first_do_not_stand_in_the_way() {
        let temp = tempfile::tempdir().unwrap();
        let data = dir(temp.path().join("a"));
        let other = dir(temp.path().join("b")).with_toolchains(data.toolchains());
        other.create(0, 0).unwrap();
        data.create(0, 0).unwrap();
        assert_eq!(owner_and_mode(&data.toolchains()), (0, 0, 0o755));
    }

    #[test]
    fn folders_get_their_owners_and_modes_again_and_again() {
        let temp = tempfile::tempdir().unwrap();
        let data = dir(temp.path().join("a/b"));
        assert_eq!(data.server_owner().unwrap(), None);
        for _ in 0..2 {
            data.create(1234, 1235).unwrap();
            assert_eq!(owner_and_mode(data.root()), (0, 0, 0o711));
            assert_eq!(owner_and_mode(&data.storage()), (0, 0, 0o700));
            assert_eq!(owner_and_mode(&data.toolchains()), (0, 0, 0o755));
            assert_eq!(owner_and_mode(&data.run()), (0, 0, 0o711));
            assert_eq!(owner_and_mode(&data.server_folder()), (1234, 1235, 0o700));
            assert_eq!(data.server_owner().unwrap(), Some(1234));
            assert_eq!(owner_and_mode(&data.log_folder()), (1234, 1235, 0o700));
            assert_eq!(owner_and_mode(&data.lock_file()), (0, 0, 0o600));
            fs::set_permissions(data.storage().as_path(), Permissions::from_mode(0o777)).unwrap();
        }
    }

    #[test]
    fn a_folder_in_use_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.tex"), "").unwrap();
        fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
        let data = dir(temp.path());
        assert!(matches!(data.create(1234, 1234), Err(LayoutError::NotAtoll { .. })));
        assert_eq!(owner_and_mode(data.root()).2, 0o755);
        assert!(!data.storage().as_path().exists());
    }

    #[test]
    fn a_link_planted_by_the_server_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let target = tempfile::tempdir().unwrap();
        let data = dir(temp.path());
        data.create(1234, 1234).unwrap();
        fs::remove_dir(data.log_folder().as_path()).unwrap();
        std::os::unix::fs::symlink(target.path(), data.log_folder().as_path()).unwrap();
        let error = data.create(1234, 1234).unwrap_err();
        assert!(matches!(error, LayoutError::Io { step: "open", .. }), "{error}");
        assert_eq!(fs::metadata(target.path()).unwrap().uid(), 0);
    }

    #[test]
    fn only_one_holds_the_lock() {
        let temp = tempfile::tempdir().unwrap();
        let data = dir(temp.path());
        data.create(0, 0).unwrap();
        let first = data.lock().unwrap();
        match data.lock() {
            Err(LayoutError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        data.lock().unwrap();
    }
}
