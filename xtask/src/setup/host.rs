//! What the kernel of this host offers, read from `/proc` and `/sys` and judged by a pure function.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

/// The oldest kernel with idmapped mounts below an overlay (`overlayfs.rst`, "idmapped mounts" in Linux 5.19).
const OLDEST_KERNEL: (u32, u32) = (5, 19);

/// The cgroup controllers that limits are made of.
const CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "freezer"];

/// What was read from the host; nothing is judged yet.
pub(crate) struct HostFacts {
    architecture: &'static str,
    root: bool,
    /// `/proc/sys/kernel/osrelease`, such as `6.1.0-18-amd64`.
    kernel_release: String,
    /// `/proc/sys/user/max_user_namespaces`; `None` where the kernel has no user namespaces.
    max_user_namespaces: Option<u64>,
    /// `/proc/filesystems`, see `proc_filesystems(5)`.
    filesystems: String,
    /// Whether `/dev/loop-control` is there.
    loop_control: bool,
    /// `/sys/fs/cgroup/cgroup.controllers`, see `cgroups(7)`; empty where v2 is not mounted there.
    cgroup_v2_controllers: String,
    /// `/proc/self/mountinfo`, where v1 hierarchies name their controllers.
    mountinfo: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As wanted.
    Good,
    /// Works with something slower or weaker instead.
    Weak,
    /// Nothing can stand in for it.
    Missing,
}

/// One judged fact.
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) subject: &'static str,
    /// How bad it is.
    pub(crate) verdict: Verdict,
    /// What was found, and what to do when it is not good.
    pub(crate) detail: String,
}

impl Verdict {
    /// The word in front of a printed finding.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Weak => "weak",
            Self::Missing => "missing",
        }
    }
}

impl HostFacts {
    /// Reads the facts. Kernel modules that are only not loaded yet are loaded first.
    pub(crate) fn read() -> Self {
        for (module, present) in [
            ("overlay", filesystem_known(&file_text("/proc/filesystems"), "overlay")),
            ("btrfs", filesystem_known(&file_text("/proc/filesystems"), "btrfs")),
            ("loop", Path::new("/dev/loop-control").exists()),
        ] {
            if !present {
                // A failure shows in the facts read below, so that its own report would only be noise.
                let _ =
                    Command::new("modprobe").arg(module).stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        }
        Self {
            architecture: env::consts::ARCH,
            root: rustix::process::geteuid().is_root(),
            kernel_release: file_text("/proc/sys/kernel/osrelease"),
            max_user_namespaces: file_text("/proc/sys/user/max_user_namespaces").trim().parse().ok(),
            filesystems: file_text("/proc/filesystems"),
            loop_control: Path::new("/dev/loop-control").exists(),
            cgroup_v2_controllers: file_text("/sys/fs/cgroup/cgroup.controllers"),
            mountinfo: file_text("/proc/self/mountinfo"),
        }
    }

    /// Judges the facts, most basic first.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        vec![
            self.architecture_finding(),
            self.root_finding(),
            self.kernel_finding(),
            self.user_namespaces_finding(),
            self.overlay_finding(),
            self.cgroups_finding(),
            self.btrfs_finding(),
        ]
    }

    fn architecture_finding(&self) -> Finding {
        let known = self.architecture == "x86_64";
        finding("architecture", known, self.architecture, "Atoll's seccomp table is written for x86_64 only")
    }

    fn root_finding(&self) -> Finding {
        finding("root", self.root, "running as root", "run this command as root, for example with sudo")
    }

    fn kernel_finding(&self) -> Finding {
        let release = self.kernel_release.trim();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let (major, minor) = OLDEST_KERNEL;
        let advice =
            format!("{release} is too old, boot Linux {major}.{minor} or newer (idmapped overlay layers)");
        finding("kernel", version >= OLDEST_KERNEL, release, &advice)
    }

    fn user_namespaces_finding(&self) -> Finding {
        finding(
            "user namespaces",
            self.max_user_namespaces.is_some_and(|max| max > 0),
            "enabled",
            "turned off, run `sysctl -w user.max_user_namespaces=15000`, \
             or boot a kernel built with CONFIG_USER_NS",
        )
    }

    fn overlay_finding(&self) -> Finding {
        finding(
            "overlay",
            filesystem_known(&self.filesystems, "overlay"),
            "known to the kernel",
            "the kernel has no overlay file system, boot one with CONFIG_OVERLAY_FS",
        )
    }

    fn cgroups_finding(&self) -> Finding {
        let v2: Vec<_> = self.cgroup_v2_controllers.split_whitespace().collect();
        let v1 = |controller: &str| cgroup_v1_mounted(&self.mountinfo, controller);
        // The freezer of v2 is a core file, not a controller.
        let on_v2 =
            |controller: &str| v2.contains(&controller) || (controller == "freezer" && !v2.is_empty());
        let lacking: Vec<_> =
            CONTROLLERS.into_iter().filter(|controller| !on_v2(controller) && !v1(controller)).collect();
        let version = if v2.is_empty() { "v1" } else { "v2" };
        finding(
            "cgroups",
            lacking.is_empty(),
            &format!("{version} with {}", CONTROLLERS.join(", ")),
            &format!(
                "no controller for {}, mount cgroup v2 with `mount -t cgroup2 none /sys/fs/cgroup`",
                lacking.join(", ")
            ),
        )
    }

    fn btrfs_finding(&self) -> Finding {
        let (verdict, detail) = match (filesystem_known(&self.filesystems, "btrfs"), self.loop_control) {
            (true, true) => (Verdict::Good, "known to the kernel, with loop devices for an image file"),
            (true, false) => (
                Verdict::Weak,
                "no loop devices (`modprobe loop`), so the data directory itself must be on btrfs for fast snapshots",
            ),
            (false, _) => (Verdict::Weak, "unknown to the kernel, so snapshots are plain copies"),
        };
        Finding { subject: "btrfs", verdict, detail: detail.to_owned() }
    }
}

fn finding(subject: &'static str, good: bool, found: &str, advice: &str) -> Finding {
    let (verdict, detail) = if good { (Verdict::Good, found) } else { (Verdict::Missing, advice) };
    Finding { subject, verdict, detail: detail.to_owned() }
}

/// The text of a file of `/proc` or `/sys`; one that is not there is as good as empty.
fn file_text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn filesystem_known(filesystems: &str, name: &str) -> bool {
    filesystems.lines().any(|line| line.split_whitespace().next_back() == Some(name))
}

/// Whether a v1 hierarchy with `controller` is mounted: `… - cgroup cgroup rw,cpu,cpuacct`, see
/// `proc_pid_mountinfo(5)`.
fn cgroup_v1_mounted(mountinfo: &str, controller: &str) -> bool {
    mountinfo
        .lines()
        .filter_map(|line| line.split_once(" - cgroup "))
        .any(|(_, tail)| tail.split([' ', ',']).any(|option| option == controller))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian_12() -> HostFacts {
        HostFacts {
            architecture: "x86_64",
            root: true,
            kernel_release: "6.1.0-18-amd64\n".into(),
            max_user_namespaces: Some(63000),
            filesystems: "nodev\tproc\nnodev\toverlay\n\text4\n\tbtrfs\n".into(),
            loop_control: true,
            cgroup_v2_controllers: "cpuset cpu io memory hugetlb pids\n".into(),
            mountinfo: String::new(),
        }
    }

    fn verdicts(facts: &HostFacts, wanted: Verdict) -> Vec<&'static str> {
        facts.findings().iter().filter(|finding| finding.verdict == wanted).map(|it| it.subject).collect()
    }

    #[test]
    fn a_debian_12_host_is_good_throughout() {
        assert_eq!(verdicts(&debian_12(), Verdict::Good).len(), 7);
    }

    #[test]
    fn cgroup_v1_hierarchies_serve_as_well() {
        let mountinfo = ["cpu,cpuacct", "memory", "pids", "freezer"]
            .map(|controllers| format!("32 31 0:29 / /sys/fs/cgroup/x rw - cgroup cgroup rw,{controllers}\n"))
            .concat();
        let facts = HostFacts { cgroup_v2_controllers: String::new(), mountinfo, ..debian_12() };
        assert_eq!(verdicts(&facts, Verdict::Missing), [""; 0]);
    }

    #[test]
    fn a_missing_controller_is_named() {
        let facts = HostFacts { cgroup_v2_controllers: "cpu memory".into(), ..debian_12() };
        let findings = facts.findings();
        let cgroups = findings.iter().find(|finding| finding.subject == "cgroups").unwrap();
        assert_eq!(cgroups.verdict, Verdict::Missing);
        assert!(cgroups.detail.contains("no controller for pids,"), "{}", cgroups.detail);
    }

    #[test]
    fn an_old_kernel_a_plain_user_and_closed_user_namespaces_are_missing_things() {
        let facts = HostFacts {
            kernel_release: "5.10.0-28-amd64".into(),
            root: false,
            max_user_namespaces: Some(0),
            ..debian_12()
        };
        assert_eq!(verdicts(&facts, Verdict::Missing), ["root", "kernel", "user namespaces"]);
    }

    #[test]
    fn a_host_without_btrfs_is_weak_but_works() {
        let facts = HostFacts { filesystems: "nodev\toverlay\n".into(), ..debian_12() };
        assert_eq!(verdicts(&facts, Verdict::Weak), ["btrfs"]);
        assert_eq!(verdicts(&facts, Verdict::Missing), [""; 0]);
    }
}
