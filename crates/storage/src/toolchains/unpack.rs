//! Unpacks the tarball of an npm package: files and folders, and nothing that could reach out of its folder.
//!
//! The hash of the tarball was compared before; this is the second wall. It must not know what is inside.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Component, Path, PathBuf},
};

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

/// The most that one package may unpack to. The largest has 190 MB.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// Why a tarball was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It has an entry that is neither a file nor a folder: a link, a device.
    #[error("{path} is of the kind {kind:?}, only files and folders are taken")]
    Kind {
        /// The entry.
        path: PathBuf,
        /// What it is.
        kind: EntryType,
    },
    /// The name of an entry is absolute, has `..` or is not inside of one top folder.
    #[error("{path} is outside of the package")]
    Outside {
        /// The entry.
        path: PathBuf,
    },
    /// It unpacks to more than any package should.
    #[error("it unpacks to more than {UNPACKED_BYTES_MAX} bytes")]
    TooLarge,
    /// It is damaged.
    #[error("the tarball is damaged")]
    Damaged(#[source] io::Error),
    /// A file or folder could not be made.
    #[error("cannot create {path}")]
    Create {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Unpacks `tarball` below the folder `into`, without the top folder that every entry of an npm package is in.
/// Files may be executed by everybody or by nobody, and are written by their owner only.
pub(super) fn tarball_unpack(tarball: impl Read, into: &Path) -> Result<(), UnpackError> {
    let mut archive = Archive::new(GzDecoder::new(tarball));
    let mut left = UNPACKED_BYTES_MAX;
    for entry in archive.entries().map_err(UnpackError::Damaged)? {
        let mut entry = entry.map_err(UnpackError::Damaged)?;
        let kind = entry.header().entry_type();
        let name = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let inside = inside_of_top(&name)?;
        let path = into.join(&inside);
        left = left.checked_sub(entry.size()).ok_or(UnpackError::TooLarge)?;
        match kind {
            EntryType::Directory => folder_create(&path)?,
            EntryType::Regular if inside.as_os_str().is_empty() => {
                return Err(UnpackError::Outside { path: name });
            }
            EntryType::Regular => {
                if let Some(folder) = path.parent() {
                    folder_create(folder)?;
                }
                let is_program = entry.header().mode().map_err(UnpackError::Damaged)? & 0o100 != 0;
                file_create(&path, if is_program { 0o755 } else { 0o644 }, &mut entry)?;
            }
            kind => return Err(UnpackError::Kind { path: name, kind }),
        }
    }
    Ok(())
}

/// The name without its first part. Only plain names are taken.
fn inside_of_top(name: &Path) -> Result<PathBuf, UnpackError> {
    let mut parts = name.components();
    let is_plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_plain || parts.next().is_none() {
        return Err(UnpackError::Outside { path: name.to_owned() });
    }
    Ok(parts.as_path().to_owned())
}

/// No link is ever made below the folder, so none can be followed.
fn folder_create(path: &Path) -> Result<(), UnpackError> {
    fs::create_dir_all(path).map_err(|source| UnpackError::Create { path: path.to_owned(), source })
}

fn file_create(path: &Path, mode: u32, content: &mut impl Read) -> Result<(), UnpackError> {
    let failed = |source| UnpackError::Create { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    io::copy(content, &mut file).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};

    use super::*;

    /// A tarball of entries whose names are taken as they are, however hostile.
    fn tarball(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(if content.starts_with("#!") { 0o4775 } else { 0o666 });
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name(content).unwrap();
                header.set_size(0);
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                builder.append(&header, content.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    /// The folder that is unpacked into is one below, so that an escape shows.
    fn unpack(bytes: &[u8]) -> (tempfile::TempDir, Result<(), UnpackError>) {
        let temp = tempfile::tempdir().unwrap();
        let into = temp.path().join("into");
        fs::create_dir(&into).unwrap();
        let result = tarball_unpack(bytes, &into);
        (temp, result)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_package_is_unpacked_without_its_top_folder() {
        let (temp, result) = unpack(&tarball(&[
            ("package/", EntryType::Directory, ""),
            ("package/bin/tool", EntryType::Regular, "#!/bin/sh\n"),
            ("package/package.json", EntryType::Regular, "{}"),
        ]));
        result.unwrap();
        let tool = temp.path().join("into/bin/tool");
        assert_eq!(fs::read_to_string(&tool).unwrap(), "#!/bin/sh\n");
        assert_eq!(mode(&tool), 0o755);
        assert_eq!(mode(&temp.path().join("into/package.json")), 0o644);
    }

    #[test]
    fn hostile_entries_are_refused() {
        for (name, kind, content) in [
            ("/etc/cron.d/x", EntryType::Regular, "x"),
            ("package/../../x", EntryType::Regular, "x"),
            ("../x", EntryType::Regular, "x"),
            ("package/a/../../../x", EntryType::Directory, ""),
            ("./package/x", EntryType::Regular, "x"),
            ("package", EntryType::Regular, "x"),
            ("package/link", EntryType::Symlink, "/etc"),
            ("package/link", EntryType::Link, "../../x"),
            ("package/null", EntryType::Char, ""),
            ("package/disk", EntryType::Block, ""),
            ("package/pipe", EntryType::Fifo, ""),
        ] {
            let (temp, result) = unpack(&tarball(&[(name, kind, content)]));
            assert!(
                matches!(result, Err(UnpackError::Kind { .. } | UnpackError::Outside { .. })),
                "{name}: {result:?}"
            );
            let names = fs::read_dir(temp.path()).unwrap().count();
            assert_eq!(names, 1, "{name} left something outside");
        }
    }

    #[test]
    fn an_entry_never_replaces_another() {
        let entries = [("p/a", EntryType::Regular, "1"), ("p/a", EntryType::Regular, "2")];
        let (temp, result) = unpack(&tarball(&entries));
        assert!(matches!(result, Err(UnpackError::Create { .. })), "{result:?}");
        assert_eq!(fs::read_to_string(temp.path().join("into/a")).unwrap(), "1");
    }

    #[test]
    fn sizes_are_bounded() {
        let mut header = Header::new_gnu();
        header.set_path("package/huge").unwrap();
        header.set_size(UNPACKED_BYTES_MAX + 1);
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_cksum();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(header.as_bytes()).unwrap();
        let (_temp, result) = unpack(&encoder.finish().unwrap());
        assert!(matches!(result, Err(UnpackError::TooLarge)), "{result:?}");
    }

    #[test]
    fn damage_is_an_error() {
        let whole = tarball(&[("package/a", EntryType::Regular, &"x".repeat(4096))]);
        let (_temp, result) = unpack(&whole[..whole.len() / 2]);
        assert!(result.is_err());
        let (_temp, result) = unpack(b"no gzip at all");
        assert!(matches!(result, Err(UnpackError::Damaged(_))), "{result:?}");
    }
}
