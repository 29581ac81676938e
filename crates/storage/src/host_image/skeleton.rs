//! Puts the `host` image together as a plan: empty folders, links into `/usr`, written and taken files.
//!
//! It must not know how a plan is written or when.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use protocol::GuestPath;

use super::{
    HostImageError, HostImageOptions, USR_LINKS,
    accounts::accounts_for,
    allow_list::{CONFIGURATION, PACKAGE_DATABASE},
    collect::Collector,
    etc_files::etc_files,
    failed,
    plan::{Node, Plan},
};
use crate::toolchains::{TOOLCHAINS_FOLDER, ToolchainName};

/// Empty folders and their modes. `/usr`, `/proc`, `/dev`, `/sys`, `/run` and `/tmp` are mount points.
const FOLDERS: [(&str, u32); 34] = [
    ("/", 0o755),
    ("/usr", 0o755),
    ("/proc", 0o555),
    ("/dev", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/run", 0o755),
    ("/root", 0o700),
    ("/home", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/srv", 0o755),
    ("/etc", 0o755),
    // The work folder of programs.
    ("/sandbox", 0o755),
    ("/opt/atoll", 0o755),
    ("/var", 0o755),
    ("/var/backups", 0o755),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/local", 0o755),
    ("/var/log", 0o755),
    ("/var/mail", 0o755),
    ("/var/opt", 0o755),
    ("/var/spool", 0o755),
    ("/var/tmp", 0o1777),
    // apt-get and dpkg do not make these themselves.
    ("/var/cache/apt/archives/partial", 0o755),
    ("/var/cache/debconf", 0o755),
    ("/var/lib/apt/lists/partial", 0o755),
    ("/var/lib/dpkg/info", 0o755),
    ("/var/lib/dpkg/updates", 0o755),
    ("/var/lib/dpkg/triggers", 0o755),
    ("/var/lib/dpkg/alternatives", 0o755),
    ("/var/log/apt", 0o755),
];

/// Links that every Debian has, and `python`, which programs call and Debian names `python3` only. It lies in a folder
/// of its own, the last of `PATH`: a `python` of the host or of a virtual environment comes first.
const LINKS: [(&str, &str); 4] = [
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
    ("/etc/mtab", "../proc/self/mounts"),
    ("/opt/atoll/bin/python", "/usr/bin/python3"),
];

/// The plan of the image for the host whose root is `host`, and what was left out of it.
pub(super) fn skeleton_plan(
    host: &Path,
    options: &HostImageOptions,
) -> Result<(Plan, Vec<String>), HostImageError> {
    let mut plan = Plan::default();
    let mut notes = Vec::new();
    let mut collector = Collector { host, plan: &mut plan, notes: &mut notes };
    for rule in &CONFIGURATION {
        collector.collect(rule)?;
    }
    if options.package_database {
        for rule in &PACKAGE_DATABASE {
            collector.collect(rule)?;
        }
    }
    plan.drop_dangling_links();

    for (path, mode) in FOLDERS {
        plan.add(guest(path)?, Node::Folder { mode });
    }
    for name in ToolchainName::ALL {
        plan.add(guest(&format!("{TOOLCHAINS_FOLDER}/{name}"))?, Node::Folder { mode: 0o755 });
    }
    for (path, target) in LINKS {
        plan.add(guest(path)?, Node::Link { target: target.to_owned() });
    }
    for name in USR_LINKS {
        if let Some(target) = usr_link(host, name)? {
            plan.add(guest(&format!("/{name}"))?, Node::Link { target });
        }
    }
    let accounts = accounts_for(&read_text(host, "etc/passwd")?, &read_text(host, "etc/group")?);
    for file in etc_files(accounts, &options.resolver) {
        let path = file.path().map_err(|_| HostImageError::Path { path: file.name.to_owned() })?;
        plan.add(path, Node::Text { mode: file.mode, bytes: file.text.into_bytes() });
    }
    Ok((plan, notes))
}

fn guest(path: &str) -> Result<GuestPath, HostImageError> {
    GuestPath::absolute(path).map_err(|_| HostImageError::Path { path: path.to_owned() })
}

/// Where the host's `/<name>` leads within `/usr`, relative to `/`; `None` where the host has none.
fn usr_link(host: &Path, name: &str) -> Result<Option<String>, HostImageError> {
    let path = host.join(name);
    match fs::read_link(&path) {
        Ok(target) => match target.to_str().map(|target| target.trim_start_matches('/')) {
            Some(target) if target.starts_with("usr/") && !target.contains("..") => {
                Ok(Some(target.to_owned()))
            }
            _ => Err(HostImageError::NotMerged { path }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(HostImageError::NotMerged { path }),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

fn read_text(host: &Path, name: &str) -> Result<String, HostImageError> {
    let path: PathBuf = host.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::resolver::Resolver;

    /// A host with a secret in every place that a careless copy would take it from.
    fn host() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode: u32| {
            let path = temp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let link = |name: &str, target: &str| {
            let path = temp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        };
        link("bin", "usr/bin");
        link("lib64", "/usr/lib64");
        for (name, mode) in [
            ("etc/shadow", 0o640),
            ("etc/machine-id", 0o444),
            ("etc/ssh/ssh_host_ed25519_key", 0o600),
            ("etc/ssl/private/server.key", 0o644),
            ("etc/apt/auth.conf", 0o644),
            ("etc/apt/auth.conf.d/corp.conf", 0o644),
            ("etc/apt/keyrings/for-root-only.gpg", 0o640),
            ("etc/environment", 0o644),
            ("etc/fstab", 0o644),
            ("etc/sudoers", 0o440),
            ("etc/maven/settings.xml", 0o644),
            ("root/.ssh/id_ed25519", 0o644),
            ("var/lib/dpkg/lock", 0o640),
            ("var/cache/debconf/passwords.dat", 0o600),
        ] {
            file(name, "SECRET", mode);
        }
        file("etc/ssl/certs/server.pem", "-----BEGIN PRIVATE KEY-----\nSECRET\n", 0o644);
        file("etc/pip.conf", "index-url = https://me:SECRET@pypi.example/\n", 0o644);
        file("etc/npmrc", "registry=https://npm.example/\n//npm.example/:_authToken=SECRET\n", 0o644);
        file("etc/apt/sources.list", "deb https://me:SECRET@deb.example/ stable main\n", 0o644);
        file("etc/apt/sources.list.d/debian.sources", "URIs: http://mirror.example.org/debian\n", 0o644);
        file("etc/passwd", "alice:SECRET:1000:1000::/home/alice:/bin/sh\n", 0o644);
        file("etc/services", "ssh 22/tcp\n", 0o6755);
        file("var/lib/dpkg/status", "Package: base-files\n", 0o644);
        file("opt/corp/ca.pem", "CORP CA\n", 0o644);
        fs::set_permissions(temp.path().join("etc/ssl/private"), fs::Permissions::from_mode(0o710)).unwrap();
        link("etc/ssl/certs/corp.pem", "/opt/corp/ca.pem");
        link("etc/ssl/certs/1a2b3c4d.0", "corp.pem");
        link("etc/ssl/certs/key.pem", "../private/server.key");
        link("etc/ssl/certs/mozilla.pem", "/usr/share/ca-certificates/mozilla.crt");
        link("etc/alternatives/awk", "/usr/bin/mawk");
        link("etc/alternatives/tool", "/opt/tool/bin/tool");
        link("etc/localtime", "../usr/share/zoneinfo/Europe/Berlin");
        link("etc/fonts/conf.d/stray.conf", "/root/.ssh/id_ed25519");
        temp
    }

    fn plan_of(host: &Path) -> (Plan, Vec<String>) {
        skeleton_plan(host, &HostImageOptions { resolver: Resolver::default(), package_database: true })
            .unwrap()
    }

    fn node<'a>(plan: &'a Plan, path: &str) -> Option<&'a Node> {
        plan.get(&GuestPath::absolute(path).unwrap())
    }

    #[test]
    fn no_secret_of_the_host_is_in_the_plan() {
        let host = host();
        let (plan, notes) = plan_of(host.path());
        for (path, node) in plan.entries() {
            let text = match node {
                Node::Text { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
                Node::Copy { from, .. } => fs::read_to_string(from).unwrap(),
                Node::Folder { .. } | Node::Link { .. } => continue,
            };
            assert!(!text.contains("SECRET"), "{path}: {text}");
        }
        for path in ["/etc/machine-id", "/etc/apt/auth.conf", "/etc/ssl/private", "/etc/ssl/certs/key.pem"] {
            assert_eq!(node(&plan, path), None, "{path}");
        }
        let told: Vec<&str> = notes.iter().filter_map(|note| note.split(' ').next()).collect();
        assert_eq!(told, ["/etc/apt/sources.list", "/etc/ssl/certs/server.pem", "/etc/pip.conf"]);
    }

    #[test]
    fn what_programs_need_is_in_the_plan() {
        let host = host();
        let (plan, _) = plan_of(host.path());
        let text = |path| match node(&plan, path) {
            Some(Node::Text { bytes, .. }) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{path}: {other:?}"),
        };
        let target = |path| match node(&plan, path) {
            Some(Node::Link { target }) => target.as_str(),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(target("/bin"), "usr/bin");
        assert_eq!(target("/lib64"), "usr/lib64");
        assert_eq!(node(&plan, "/lib32"), None);
        assert_eq!(target("/etc/alternatives/awk"), "/usr/bin/mawk");
        assert_eq!(node(&plan, "/etc/alternatives/tool"), None);
        assert_eq!(target("/etc/localtime"), "../usr/share/zoneinfo/Europe/Berlin");
        assert_eq!(text("/etc/ssl/certs/corp.pem"), "CORP CA\n");
        assert_eq!(target("/etc/ssl/certs/1a2b3c4d.0"), "corp.pem");
        assert_eq!(target("/etc/ssl/certs/mozilla.pem"), "/usr/share/ca-certificates/mozilla.crt");
        assert_eq!(text("/etc/npmrc"), "registry=https://npm.example/\n");
        assert!(node(&plan, "/etc/apt/sources.list.d/debian.sources").is_some());
        assert!(node(&plan, "/var/lib/dpkg/status").is_some());
        assert_eq!(node(&plan, "/tmp"), Some(&Node::Folder { mode: 0o1777 }));
        assert!(matches!(node(&plan, "/etc/services"), Some(Node::Copy { mode: 0o755, .. })));
        assert!(matches!(node(&plan, "/etc/shadow"), Some(Node::Text { mode: 0o600, .. })));
        assert!(text("/etc/passwd").contains("sandbox:x:1000:1000:"));
    }

    #[test]
    fn the_package_database_can_be_left_out() {
        let host = host();
        let options = HostImageOptions { resolver: Resolver::default(), package_database: false };
        let (plan, _) = skeleton_plan(host.path(), &options).unwrap();
        assert_eq!(node(&plan, "/var/lib/dpkg/status"), None);
    }

    #[test]
    fn a_host_that_keeps_programs_outside_of_usr_is_refused() {
        let host = host();
        fs::create_dir(host.path().join("sbin")).unwrap();
        let options = HostImageOptions { resolver: Resolver::default(), package_database: false };
        let error = skeleton_plan(host.path(), &options).unwrap_err();
        assert!(matches!(error, HostImageError::NotMerged { .. }), "{error}");
    }
}
