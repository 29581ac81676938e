//! What images are made of: a small root file system from this host's own files, and archives entry by entry.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Folder, good, with_input};

/// Programs of the root file system; their libraries come with them.
const PROGRAMS: [&str; 13] =
    ["bash", "cat", "id", "ls", "stat", "sort", "env", "true", "tail", "find", "rm", "apt", "dpkg"];
/// What apt needs besides, and what says which system it is.
const FILES: [&str; 5] =
    ["usr/lib/os-release", "usr/lib/apt", "etc/apt", "var/lib/dpkg/status", "usr/share/dpkg"];

/// A tar of a root file system that programs run in: bash, some of coreutils, apt and what it knows of packages, their
/// libraries, `/etc`. Its `/etc/resolv.conf` is a link to nowhere, as images have it.
pub(super) fn root_file_system() -> Vec<u8> {
    let folder = Folder::new("root");
    let root = folder.path();
    let mut files = BTreeSet::new();
    for program in PROGRAMS {
        let path = PathBuf::from("/usr/bin").join(program);
        let libraries = good(&Command::new("ldd").arg(&path).output().unwrap());
        let words = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        files.extend(words.map(PathBuf::from));
        files.insert(path);
    }
    for file in files {
        let real = file.strip_prefix("/").unwrap();
        // Where Debian has links now, the root file system has them too.
        let place = if real.starts_with("usr") { real.to_owned() } else { Path::new("usr").join(real) };
        fs::create_dir_all(root.join(&place).parent().unwrap()).unwrap();
        fs::copy(&file, root.join(&place)).unwrap();
    }
    let copy = "tar -C / -cf - -- \"$@\" | tar -xf -";
    let copied = Command::new("sh").args(["-ec", copy, "sh"]).args(FILES).current_dir(root).status();
    assert!(copied.unwrap().success());
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    for name in ["etc", "tmp", "var/cache", "var/lib/apt/lists/partial", "proc"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/bash\nuser:x:1000:1000::/:/bin/bash\n")
        .unwrap();
    std::os::unix::fs::symlink("/run/nowhere/resolv.conf", root.join("etc/resolv.conf")).unwrap();
    std::os::unix::fs::symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
    fs::write(root.join("etc/old"), "old").unwrap();
    fs::write(root.join("var/cache/stale"), "stale").unwrap();
    fs::copy("/usr/bin/true", root.join("usr/bin/suid")).unwrap();
    let script = "chmod 1777 tmp && chown 1000:50 etc/old && chmod 4755 usr/bin/suid && \
        tar --numeric-owner -cf - .";
    let packed = Command::new("sh").args(["-c", script]).current_dir(root).output().unwrap();
    assert!(packed.status.success(), "{:?}", packed.stderr);
    packed.stdout
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    filtered("gzip", &["-1", "-c", "-n"], bytes)
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    filtered("zstd", &["-q", "-1", "-c"], bytes)
}

fn filtered(program: &str, arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
    let output = with_input(Command::new(program).args(arguments), bytes);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// An archive of entries that are taken as they are.
#[derive(Clone, Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    /// An entry: its kind is the type flag of ustar.
    pub(super) fn entry(self, kind: u8, name: &str, target: &str, content: &[u8]) -> Self {
        self.sized(kind, name, target, content.len(), content)
    }

    /// An entry that claims a size.
    pub(super) fn sized(mut self, kind: u8, name: &str, target: &str, size: usize, content: &[u8]) -> Self {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, b"0000644\x000000000\x000000000\0");
        put(124, format!("{size:011o}\0{:011o}\0        ", 1).as_bytes());
        put(156, &[kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000001\x000000003\0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name, "", content.as_bytes())
    }

    /// All of it, with its end.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}
