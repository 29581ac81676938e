//! What a server's sandboxes put on the host: processes, control groups, mounts, interfaces, files, open
//! files of the launcher. Two looks at a server at rest are compared; what is more was left behind.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    processes::{pids_below, pids_of_users, status_field},
    server::Server,
};

/// User ids that one instance hands out, and the first of the first: see `SECURITY.md`.
const FIRST_ID: u32 = 0x7000_0000;
const IDS_PER_INSTANCE: u32 = 1024 * 65_536;

/// One look. Everything is in words, so that a failed comparison shows what is too much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Processes below the launcher, of the instance's users, and in its control groups.
    pub processes: BTreeSet<String>,
    /// Control groups of sandboxes, in every hierarchy.
    pub groups: BTreeSet<String>,
    /// Mounts that name the data directory, in the host's and in the launcher's mount namespace.
    pub mounts: BTreeSet<String>,
    /// Network interfaces of the instance.
    pub interfaces: BTreeSet<String>,
    /// Files and folders below `run`, `storage/sandboxes`, `storage/snapshots`, `storage/volumes`, `launcher` and
    /// `server/logs`.
    pub files: BTreeSet<String>,
    /// Open files of the launcher, without the user namespaces that it keeps: one for each sandbox that ran
    /// at the same time as others, to be used again.
    pub launcher_files: usize,
}

impl Traces {
    pub(crate) fn look(server: &Server) -> Self {
        let (instance, launcher) = (server.instance(), server.launcher_pid());
        let data = server.data();
        let mut groups = BTreeSet::new();
        let mut pids: BTreeSet<u32> = pids_below(launcher).into_iter().collect();
        for hierarchy in folders(Path::new("/sys/fs/cgroup")) {
            for group in folders(&Path::new(&hierarchy).join(format!("atoll-{instance}"))) {
                let members = fs::read_to_string(Path::new(&group).join("cgroup.procs")).unwrap_or_default();
                pids.extend(members.lines().filter_map(|pid| pid.parse::<u32>().ok()));
                groups.insert(group);
            }
        }
        let first = FIRST_ID + instance * IDS_PER_INSTANCE;
        pids.extend(pids_of_users(&(first..first + IDS_PER_INSTANCE)));
        let mut files = BTreeSet::new();
        for folder in
            ["run", "storage/sandboxes", "storage/snapshots", "storage/volumes", "launcher", "server/logs"]
        {
            files.extend(tree(&data.join(folder)));
        }
        Self {
            // Processes of the launcher's own, kept for the next work on layers.
            processes: pids
                .into_iter()
                .filter(|pid| status_field(*pid, "Name").as_deref() != Some("atoll-layers"))
                .map(process)
                .collect(),
            groups,
            mounts: [std::process::id(), launcher].into_iter().flat_map(|pid| mounts(pid, data)).collect(),
            interfaces: folders(Path::new("/sys/class/net"))
                .into_iter()
                .filter(|path| path.contains(&format!("/atl{instance:x}-")))
                .collect(),
            files,
            launcher_files: open_files(launcher),
        }
    }

    /// Processes other than the agents: programs of sandboxes.
    #[must_use]
    pub fn programs(&self) -> Vec<&str> {
        self.processes.iter().map(String::as_str).filter(|process| !process.contains("atoll-age")).collect()
    }

    /// What is more here than there was, in words; empty when nothing is left behind.
    ///
    /// Names are left out of it: sandboxes that are prepared for the next requests come and go.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        let kinds = [
            ("processes", &self.processes, &before.processes),
            ("control groups", &self.groups, &before.groups),
            ("mounts", &self.mounts, &before.mounts),
            ("interfaces", &self.interfaces, &before.interfaces),
            ("files", &self.files, &before.files),
        ];
        let mut left: Vec<String> = kinds
            .into_iter()
            .filter(|(_, now, then)| now.len() > then.len())
            .map(|(kind, now, then)| {
                format!("{kind}: {} were {}: {:#?}", now.len(), then.len(), now.difference(then))
            })
            .collect();
        if self.launcher_files > before.launcher_files {
            left.push(format!("open files: {} were {}", self.launcher_files, before.launcher_files));
        }
        left
    }
}

fn process(pid: u32) -> String {
    let field = |name| status_field(pid, name).unwrap_or_default();
    format!("{pid} {} ({})", field("Name"), field("State"))
}

fn open_files(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let kept = |target: &std::path::PathBuf| target.to_string_lossy().starts_with("user:");
    targets.filter(|target| !kept(target)).count()
}

/// Mounts without their numbers, which change: their place, kind and source.
fn mounts(pid: u32, data: &Path) -> Vec<String> {
    let name = data.display().to_string();
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let place = if pid == std::process::id() { "host" } else { "launcher" };
    let ours = text.lines().filter(|line| line.contains(&name));
    ours.map(|line| format!("{place} {}", line.split(' ').skip(4).collect::<Vec<_>>().join(" "))).collect()
}

/// Folders in a folder; none where there is no such folder.
fn folders(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.path().display().to_string()).collect()
}

/// All files and folders below a folder, without following links.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(tree(&entry.path()));
        }
    }
    found
}
