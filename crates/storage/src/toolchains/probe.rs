//! Whether the host has the programs that sandboxes take from its `/usr`.
//!
//! It looks and runs nothing. It must not know toolchains that Atoll installs.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use protocol::HostPath;

/// Where a program of `host`-image sandboxes can be: they see the host's `/usr` and nothing else.
const FOLDERS: [&str; 2] = ["usr/local/bin", "usr/bin"];

/// A language's program on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostProgram {
    /// The language: `python` or `bash`.
    pub name: &'static str,
    /// The file's name: `python3`, `bash`.
    pub program: &'static str,
    /// Where it is; `None` if sandboxes have none.
    pub path: Option<HostPath>,
}

/// Whether `python` and `bash` are there for sandboxes.
#[must_use]
pub fn toolchain_probe() -> Vec<HostProgram> {
    probe(Path::new("/"))
}

fn probe(host: &Path) -> Vec<HostProgram> {
    [("python", "python3"), ("bash", "bash")]
        .into_iter()
        .map(|(name, program)| HostProgram { name, program, path: program_find(host, program) })
        .collect()
}

/// A link that leads out of `/usr`, as version managers make them, is of no use in a sandbox.
fn program_find(host: &Path, program: &str) -> Option<HostPath> {
    let candidates = FOLDERS.iter().map(|folder| host.join(folder).join(program));
    let usable = |path: &std::path::PathBuf| {
        fs::canonicalize(path).is_ok_and(|real| real.starts_with(host.join("usr")))
            && fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o001 != 0)
    };
    candidates.into_iter().find(usable).map(HostPath::new)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_programs_within_usr_count() {
        let temp = tempfile::tempdir().unwrap();
        let host = temp.path();
        for folder in ["usr/bin", "usr/local/bin", "root"] {
            fs::create_dir_all(host.join(folder)).unwrap();
        }
        for (file, mode) in [("root/python3", 0o755), ("usr/bin/python3.11", 0o755), ("usr/bin/bash", 0o700)]
        {
            fs::write(host.join(file), "").unwrap();
            fs::set_permissions(host.join(file), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("../../../root/python3", host.join("usr/local/bin/python3")).unwrap();
        symlink("python3.11", host.join("usr/bin/python3")).unwrap();
        let found = probe(host);
        assert_eq!(found[0].path, Some(HostPath::new(host.join("usr/bin/python3"))));
        assert_eq!(found[1].path, None, "not everybody may run it");
    }
}
