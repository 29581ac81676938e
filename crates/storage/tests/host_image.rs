//! The `host` image of this very machine: what must not be in it, and what programs need of it. Needs root.

#![expect(clippy::unwrap_used, reason = "a test may panic; clippy knows only its `#[test]` functions")]

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use protocol::HostPath;
use storage::{
    environment::environment_base,
    host_image::{HOST_NAME, HostImage, HostImageOptions, host_image_build, host_image_retired_remove},
    layout::DataDir,
    pool::{KernelCalls, POOL_BYTES_MIN, Pool, PoolOptions, pool_close, pool_open},
    resolver::{Resolver, resolver_find},
};

fn options() -> HostImageOptions {
    HostImageOptions { resolver: resolver_find(&[]).unwrap(), package_database: true }
}

/// A data directory with a pool, as the server has it. Unmounted at the end, also of a test that fails.
struct Opened {
    data: DataDir,
    pool: Pool,
    _temp: tempfile::TempDir,
}

impl Opened {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::new(HostPath::new(temp.path())).unwrap();
        data.create(0, 0).unwrap();
        let calls =
            KernelCalls { quota_enable: &|_| Ok(()), loop_grow: &|_| Ok(()), btrfs_grow: &|_| Ok(()) };
        let options = PoolOptions { size_bytes: Some(POOL_BYTES_MIN), calls };
        let pool = pool_open(&data, options).unwrap();
        Self { data, pool, _temp: temp }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = pool_close(&self.pool);
    }
}

/// Everything below `root`, by its path in the image.
fn entries(root: &Path) -> BTreeMap<String, fs::Metadata> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                folders.push(path.clone());
            }
            found.insert(format!("/{}", path.strip_prefix(root).unwrap().display()), meta);
        }
    }
    found
}

fn read(image: &HostImage, path: &str) -> String {
    fs::read_to_string(image.rootfs.join(path.trim_start_matches('/')).as_path()).unwrap()
}

/// Texts of the host that no file of the image may hold, and where each is from.
fn secrets() -> Vec<(PathBuf, String)> {
    let mut files = vec![PathBuf::from("/etc/machine-id")];
    for folder in ["/etc/ssl/private", "/etc/ssh"] {
        let entries = fs::read_dir(folder).into_iter().flatten();
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| {
            path.is_file() && path.extension().is_none_or(|kind| kind == "key") && !path.ends_with("moduli")
        }));
    }
    let text_of = |path: PathBuf| Some((path.clone(), fs::read_to_string(path).ok()?.trim().to_owned()));
    let mut secrets: Vec<_> = files.into_iter().filter_map(text_of).collect();
    let shadow = fs::read_to_string("/etc/shadow").unwrap();
    let passwords = shadow.lines().filter_map(|line| line.split(':').nth(1));
    secrets.extend(passwords.map(|password| (PathBuf::from("/etc/shadow"), password.to_owned())));
    // `*` and `!` are no passwords.
    secrets.retain(|(_, secret)| secret.len() >= 8);
    secrets
}

#[test]
fn nothing_secret_of_this_host_is_in_its_image() {
    let opened = Opened::new();
    let data = &opened.data;
    let image = host_image_build(data, &options()).unwrap();
    let entries = entries(image.rootfs.as_path());
    for path in [
        "/etc/machine-id",
        "/etc/ssh",
        "/etc/ssl/private",
        "/etc/sudoers",
        "/etc/gshadow",
        "/etc/shadow-",
        "/etc/fstab",
        "/etc/environment",
        "/etc/crypttab",
        "/etc/cron.d",
        "/etc/systemd",
        "/etc/apt/auth.conf",
        "/etc/apt/auth.conf.d",
        "/etc/gitconfig",
        "/etc/subuid",
        "/etc/ssl/certs/ssl-cert-snakeoil.pem",
        "/var/lib/dpkg/lock",
        "/var/lib/systemd",
        "/var/cache/debconf/passwords.dat",
        "/root/.bashrc",
        "/root/.ssh",
    ] {
        assert!(!entries.contains_key(path), "{path}");
    }
    for folder in ["/root", "/home", "/run", "/proc", "/dev", "/usr", "/sandbox", "/tmp"] {
        let prefix = format!("{folder}/");
        assert!(!entries.keys().any(|path| path.starts_with(&prefix)), "{folder} is not empty");
    }
    let secrets = secrets();
    for (path, meta) in entries.iter().filter(|(_, meta)| meta.is_file()) {
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "{path}");
        assert_eq!(meta.mode() & 0o7022, 0, "{path} has mode {:o}", meta.mode());
        let bytes = fs::read(image.rootfs.join(&path[1..]).as_path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for (origin, secret) in &secrets {
            assert!(!text.contains(secret), "{path} has a line of {}", origin.display());
        }
    }
    assert_eq!(read(&image, "/etc/hostname"), format!("{HOST_NAME}\n"));
    let host_name = fs::read_to_string("/etc/hostname").unwrap();
    assert!(!read(&image, "/etc/hosts").split_whitespace().any(|word| word == host_name.trim()));
    assert!(read(&image, "/etc/shadow").lines().all(|line| line.contains(":*:")));
    assert_eq!(entries["/etc/shadow"].mode() & 0o7777, 0o600);
}

#[test]
fn the_programs_of_this_host_work_with_it() {
    let opened = Opened::new();
    let data = &opened.data;
    let image = host_image_build(data, &options()).unwrap();
    let root = image.rootfs.as_path();
    // Mounts only in a namespace of its own, which ends with the command.
    let run = |command: &str| {
        let script = format!("mount --rbind /usr {0}/usr && exec chroot {0} {command}", root.display());
        let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        text
    };
    assert_eq!(run("/bin/sh -c 'echo $0'"), "/bin/sh\n");
    assert_eq!(run("/usr/bin/id -un"), "root\n");
    assert_eq!(run("/usr/bin/id -u sandbox"), "1000\n");
    assert!(run("/usr/bin/dpkg-query -W -f '${Status}\\n' base-files").contains("install ok installed"));
    assert!(run("/usr/bin/apt-get --simulate --no-download check").contains("Reading state information"));
    assert_eq!(run("/usr/bin/awk 'BEGIN { print 6 * 7 }'"), "42\n");
    assert_eq!(
        run("/usr/bin/python3 -c 'import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)'"),
        "True\n"
    );
    assert!(run("/usr/bin/getent services ssh").contains("22/tcp"));
    assert_eq!(run("/bin/bash -lc 'echo $PATH'").matches("/usr/bin").count(), 1);
    assert_eq!(run("/usr/bin/su sandbox -c id").split_whitespace().next(), Some("uid=1000(sandbox)"));
    let tls = environment_base(data).into_iter().find(|(name, _)| name == "SSL_CERT_FILE").unwrap();
    assert!(read(&image, &tls.1).contains("BEGIN CERTIFICATE"));
}

#[test]
fn an_image_is_written_again_only_when_something_changed() {
    let opened = Opened::new();
    let data = &opened.data;
    let first = host_image_build(data, &options()).unwrap();
    assert!(first.rebuilt && first.files > 100 && first.size_bytes > 1 << 20);
    let second = host_image_build(data, &options()).unwrap();
    assert!(!second.rebuilt);
    assert_eq!((first.files, first.size_bytes), (second.files, second.size_bytes));

    let resolver = Resolver { nameservers: vec!["192.0.2.1".parse().unwrap()], ..Resolver::default() };
    let changed = HostImageOptions { resolver, ..options() };
    let third = host_image_build(data, &changed).unwrap();
    assert!(third.rebuilt);
    assert_eq!(read(&third, "/etc/resolv.conf"), "nameserver 192.0.2.1\n");
    assert_eq!(host_image_retired_remove(data).unwrap(), 2, "the image, and what covers other images");
    assert!(host_image_build(data, &options()).unwrap().rebuilt);
}

#[test]
fn folders_have_the_modes_that_programs_expect() -> io::Result<()> {
    let opened = Opened::new();
    let data = &opened.data;
    let image = host_image_build(data, &HostImageOptions { package_database: false, ..options() }).unwrap();
    for (path, mode) in [("", 0o755), ("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700), ("etc", 0o755)] {
        let meta = fs::metadata(image.rootfs.join(path).as_path())?;
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "/{path}");
    }
    assert!(image.size_bytes < 8 << 20, "{}", image.size_bytes);
    for path in ["bin", "lib", "sbin"] {
        assert!(fs::read_link(image.rootfs.join(path).as_path())?.starts_with("usr"), "/{path}");
    }
    Ok(())
}
