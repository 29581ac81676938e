//! Installs a toolchain: fetch, compare the hash, unpack beside, make it last, rename into place.
//!
//! It must not know which packages there are: it does what a pin says.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, BufReader, Read, Seek as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use protocol::HostPath;
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use sha2::{Digest as _, Sha512};

use super::{
    ToolchainError, ToolchainName, failed,
    fetch::Npm,
    pin_here,
    pins::{Package, Pin},
    stamp::{is_installed, stamp_write},
    unpack::tarball_unpack,
};
use crate::{
    layout::DataDir,
    progress::{Progress, ProgressEvent},
};

/// Installs the toolchain `name`, if it is not there, and says where it is. Needs root, npm and, mostly, the
/// network. Two that install the same one wait for each other; whatever fails leaves nothing behind.
///
/// # Errors
/// [`ToolchainError`].
pub fn toolchain_install(
    data: &DataDir,
    name: ToolchainName,
    progress: &mut dyn Progress,
) -> Result<HostPath, ToolchainError> {
    let pin =
        pin_here(name).ok_or(ToolchainError::Unsupported { name, architecture: std::env::consts::ARCH })?;
    pin_install(data, pin, "npm".into(), progress)
}

fn pin_install(
    data: &DataDir,
    pin: &Pin,
    npm: OsString,
    progress: &mut dyn Progress,
) -> Result<HostPath, ToolchainError> {
    let folder = pin.folder(data);
    if is_installed(pin, &folder) && name_leads_to(data, pin) {
        return Ok(folder);
    }
    let _lock = lock(data, pin, progress)?;
    if is_installed(pin, &folder) {
        name_place(data, pin)?;
        return Ok(folder);
    }
    let npm = Npm::find(npm)?;
    let site = Site::new(data, pin)?;
    for package in pin.packages {
        package_install(&npm, package, &site, progress)?;
    }
    for (link, target) in pin.links {
        let path = site.new.join(link);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed("create", folder))?;
        }
        symlink(target, &path).map_err(failed("create", &path))?;
    }
    stamp_write(pin, &site.new).map_err(failed("write", &site.new))?;
    site.finish(folder.as_path(), data.toolchains().as_path())?;
    name_place(data, pin)?;
    progress.report(ProgressEvent::Installed { toolchain: &format!("{} {}", pin.name, pin.version) });
    Ok(folder)
}

/// The name that sandboxes find a toolchain by is a link to the version in use.
fn name_leads_to(data: &DataDir, pin: &Pin) -> bool {
    let link = data.toolchains().join(pin.name.as_str());
    fs::read_link(&link).is_ok_and(|target| target.as_os_str() == pin.folder_name().as_str())
}

/// Makes the name lead to this version. Others never see it missing.
fn name_place(data: &DataDir, pin: &Pin) -> Result<(), ToolchainError> {
    let link = data.toolchains().join(pin.name.as_str());
    let new = data.toolchains().join(format!(".{}.link", pin.name));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", new.as_path())(error));
        }
        _ => {}
    }
    symlink(pin.folder_name(), &new).map_err(failed("create", new.as_path()))?;
    fs::rename(&new, &link).map_err(failed("rename", new.as_path()))
}

/// Held until the file is closed; by flock(2), so that a killed installer leaves none.
fn lock(data: &DataDir, pin: &Pin, progress: &mut dyn Progress) -> Result<File, ToolchainError> {
    let path = data.toolchains().join(format!(".{}.lock", pin.name));
    let path = path.as_path();
    // Whoever can open a file can lock it, so only root can.
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(failed("open", path))?;
    if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
        progress.report(ProgressEvent::Waiting { toolchain: pin.name.as_str() });
    }
    file.lock().map_err(failed("lock", path))?;
    Ok(file)
}

fn package_install(
    npm: &Npm,
    package: &Package,
    site: &Site,
    progress: &mut dyn Progress,
) -> Result<(), ToolchainError> {
    folder_empty(&site.download)?;
    let tarball = npm.fetch(package, &site.download, progress)?;
    let mut file = File::open(&tarball).map_err(failed("open", &tarball))?;
    let found = sha512(&mut file).map_err(failed("read", &tarball))?;
    if found != package.sha512 {
        return Err(ToolchainError::Integrity {
            package: package.to_string(),
            expected: package.sha512,
            found,
        });
    }
    file.rewind().map_err(failed("read", &tarball))?;
    let name = package.to_string();
    let mut done_bytes = 0;
    let counted = Counted {
        inner: BufReader::with_capacity(1 << 20, file),
        on_read: |bytes| {
            done_bytes += bytes;
            let total_bytes = package.tarball_bytes;
            progress.report(ProgressEvent::Unpacking { package: &name, done_bytes, total_bytes });
        },
    };
    tarball_unpack(counted, &site.new.join(package.folder))
        .map_err(|source| ToolchainError::Unpack { package: package.to_string(), source })
}

fn sha512(reader: &mut impl Read) -> io::Result<String> {
    let mut digest = Sha512::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(BASE64_STANDARD.encode(digest.finalize())),
            bytes => digest.update(&buffer[..bytes]),
        }
    }
}

/// Where a toolchain is made. What is left in it goes when this value does.
struct Site {
    new: PathBuf,
    download: PathBuf,
}

impl Site {
    fn new(data: &DataDir, pin: &Pin) -> Result<Self, ToolchainError> {
        let path = |part| data.toolchains().join(format!(".{}.{part}", pin.name)).as_path().to_owned();
        let site = Self { new: path("new"), download: path("download") };
        folder_empty(&site.new)?;
        Ok(site)
    }

    /// Makes it last and puts it in place, also of one of the same version whose pins were others.
    fn finish(&self, folder: &Path, parent: &Path) -> Result<(), ToolchainError> {
        let mode = Permissions::from_mode(0o755);
        fs::set_permissions(&self.new, mode).map_err(failed("change the mode of", &self.new))?;
        // One call for thousands of files; fsync(2) of each takes longer than the download.
        let new = File::open(&self.new).map_err(failed("open", &self.new))?;
        syncfs(&new).map_err(|errno| failed("write", &self.new)(errno.into()))?;
        let renamed = match renameat_with(CWD, &self.new, CWD, folder, RenameFlags::EXCHANGE) {
            Err(rustix::io::Errno::NOENT) => fs::rename(&self.new, folder),
            result => result.map_err(io::Error::from),
        };
        renamed.map_err(failed("create", folder))?;
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed("write", parent))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for path in [&self.new, &self.download] {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove what an installation left");
                }
                _ => {}
            }
        }
    }
}

/// An empty folder, for root alone.
fn folder_empty(path: &Path) -> Result<(), ToolchainError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path)(error)),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(path).map_err(failed("create", path))
}

/// Tells how much was read.
struct Counted<R, F> {
    inner: R,
    on_read: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        (self.on_read)(bytes as u64);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::{
        progress::Silent,
        toolchains::{ToolchainName, pins::Machine},
    };

    /// A registry in a folder: an `npm` that packs a tarball that lies there.
    struct Registry {
        temp: tempfile::TempDir,
        data: DataDir,
    }

    impl Registry {
        fn new(tarball: &[u8]) -> Self {
            let temp = tempfile::tempdir().unwrap();
            let data = DataDir::new(HostPath::new(temp.path().join("data"))).unwrap();
            data.create(0, 0).unwrap();
            fs::write(temp.path().join("tarball"), tarball).unwrap();
            let here = temp.path().display();
            let script = format!(
                "#!/bin/sh\ncase \"$1\" in\n\
                 config) echo {here}/cache;;\n\
                 pack) echo \"$2\" >> {here}/asked; cp {here}/tarball ./package.tgz;;\nesac\n"
            );
            fs::write(temp.path().join("npm"), script).unwrap();
            fs::set_permissions(temp.path().join("npm"), Permissions::from_mode(0o755)).unwrap();
            Self { temp, data }
        }

        fn install(&self, pin: &Pin) -> Result<HostPath, ToolchainError> {
            pin_install(&self.data, pin, self.temp.path().join("npm").into(), &mut Silent)
        }

        fn times_asked(&self) -> usize {
            fs::read_to_string(self.temp.path().join("asked")).unwrap_or_default().lines().count()
        }

        /// What is in `toolchains/`, the lock file aside.
        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.data.toolchains().as_path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
            names.sort();
            names
        }
    }

    fn tarball() -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o755);
        builder.append_data(&mut header, "package/bin/bun", &b"tool"[..]).unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn pin(version: &'static str, sha512: String) -> Pin {
        let package = Package {
            name: "bun",
            version,
            sha512: Box::leak(sha512.into_boxed_str()),
            tarball_bytes: 100,
            folder: "",
        };
        Pin {
            name: ToolchainName::Bun,
            version,
            machine: Machine::X86_64,
            packages: Box::leak(Box::new([package])),
            links: &[("bin/bunx", "bun")],
        }
    }

    fn hash(bytes: &[u8]) -> String {
        sha512(&mut &*bytes).unwrap()
    }

    #[test]
    fn a_toolchain_is_installed_once() {
        let registry = Registry::new(&tarball());
        let pin = pin("1.0.0", hash(&tarball()));
        for _ in 0..2 {
            let folder = registry.install(&pin).unwrap();
            assert_eq!(fs::read_to_string(folder.join("bin/bunx").as_path()).unwrap(), "tool");
            let mode = fs::metadata(folder.as_path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o755);
        }
        assert_eq!(registry.times_asked(), 1);
        assert_eq!(registry.names(), ["bun", "bun-1.0.0"]);
    }

    #[test]
    fn what_is_not_as_pinned_is_refused_and_leaves_nothing() {
        let registry = Registry::new(&tarball());
        let error = registry.install(&pin("1.0.0", hash(b"something else"))).unwrap_err();
        assert!(matches!(error, ToolchainError::Integrity { .. }), "{error}");
        assert_eq!(registry.names(), [] as [&str; 0]);
    }

    #[test]
    fn a_tarball_that_cannot_be_unpacked_leaves_nothing() {
        let whole = tarball();
        let half = &whole[..whole.len() / 2];
        let registry = Registry::new(half);
        let error = registry.install(&pin("1.0.0", hash(half))).unwrap_err();
        assert!(matches!(error, ToolchainError::Unpack { .. }), "{error}");
        assert_eq!(registry.names(), [] as [&str; 0]);
    }

    #[test]
    fn other_pins_of_the_same_version_replace_it() {
        let registry = Registry::new(&tarball());
        let pin = pin("1.0.0", hash(&tarball()));
        let folder = registry.install(&pin).unwrap();
        let stamp = folder.join("toolchain.json");
        let text = fs::read_to_string(stamp.as_path()).unwrap();
        fs::write(stamp.as_path(), text.replace("\"bun\"", "\"bun-other\"")).unwrap();
        registry.install(&pin).unwrap();
        assert_eq!(registry.times_asked(), 2);
        assert_eq!(fs::read_to_string(stamp.as_path()).unwrap(), text);
        assert_eq!(registry.names(), ["bun", "bun-1.0.0"]);
    }

    #[test]
    fn two_installers_do_not_meet() {
        let registry = Registry::new(&tarball());
        let pin = pin("1.0.0", hash(&tarball()));
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| registry.install(&pin).unwrap())).collect();
            for thread in threads {
                thread.join().unwrap();
            }
        });
        assert_eq!(registry.times_asked(), 1);
        assert_eq!(registry.names(), ["bun", "bun-1.0.0"]);
    }
}
