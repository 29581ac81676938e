//! `atoll doctor`: what this host offers, what is missing, what to do about it. Changes nothing.

mod pool;

use std::{fs, path::Path, process::ExitCode};

use jail::{
    host::{CgroupVersion, HostFacts},
    launcher::{NetworkConfig, network_check},
    plan::Instance,
};
use protocol::HostPath;
use storage::{
    layout::DataDir,
    resolver::resolver_find,
    toolchains::{ToolchainState, toolchain_list, toolchain_probe},
};

use crate::{
    cli::DoctorOptions,
    failure::{During, Outcome},
    host::program_exists,
    terminal::print,
};

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    /// Works, with something missing.
    Limited,
    /// Sandboxes can't be made.
    Bad,
}

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Limited => "limited",
            Self::Bad => "missing",
        }
    }
}

struct Finding {
    subject: &'static str,
    grade: Grade,
    detail: String,
    hint: Option<String>,
}

impl Finding {
    fn good(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { subject, grade: Grade::Good, detail: detail.into(), hint: None }
    }

    fn grade(
        subject: &'static str,
        grade: Grade,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { subject, grade, detail: detail.into(), hint: Some(hint.into()) }
    }

    fn lines(&self) -> String {
        let finding = format!("{:8} {:18} {}\n", self.grade.word(), self.subject, self.detail);
        let hint = self.hint.as_ref().map(|hint| format!("{:27} → {hint}\n", ""));
        finding + &hint.unwrap_or_default()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "subject": self.subject,
            "grade": self.grade.word(),
            "detail": self.detail,
            "hint": self.hint,
        })
    }
}

pub(crate) fn doctor(options: &DoctorOptions) -> Outcome<ExitCode> {
    let data = DataDir::new(HostPath::new(&options.data_dir)).during("use the data directory")?;
    let findings: Vec<Finding> = [
        user(),
        kernel(),
        cgroups(),
        file_system("overlay", Grade::Bad, "modprobe overlay"),
        user_namespaces(),
        seccomp(),
        landlock(),
        network(),
        names(),
    ]
    .into_iter()
    .chain(pool::findings(&data))
    .chain(toolchains(&data))
    .collect();
    let worst_is_bad = findings.iter().any(|finding| finding.grade == Grade::Bad);
    if options.output.json {
        let list: Vec<_> = findings.iter().map(Finding::json).collect();
        print(&format!("{}\n", serde_json::Value::from(list)))?;
    } else {
        print(&findings.iter().map(Finding::lines).collect::<String>())?;
    }
    Ok(if worst_is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn user() -> Finding {
    if rustix::process::geteuid().is_root() {
        Finding::good("user", "root; the server drops to an unprivileged user once it has started")
    } else {
        Finding::grade("user", Grade::Bad, "not root", "start Atoll with sudo")
    }
}

fn kernel() -> Finding {
    let (release, version) = kernel_version();
    // 5.19: overlayfs on idmapped layers.
    if version >= (5, 19) {
        Finding::good("kernel", release)
    } else {
        Finding::grade("kernel", Grade::Bad, release, "Linux 5.19 or later is needed (Debian 12 has 6.1)")
    }
}

/// The kernel's release, and its first two numbers.
fn kernel_version() -> (String, (u32, u32)) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (release, version)
}

fn cgroups() -> Finding {
    let facts = match HostFacts::detect() {
        Ok(facts) => facts,
        Err(error) => {
            return Finding::grade(
                "control groups",
                Grade::Bad,
                error.to_string(),
                "mount /proc and /sys/fs/cgroup",
            );
        }
    };
    let missing = facts.cgroups.missing();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|controller| controller.name()).collect();
        let detail = format!("no controllers for: {}", names.join(", "));
        return Finding::grade("control groups", Grade::Bad, detail, "mount -t cgroup2 none /sys/fs/cgroup");
    }
    let versions: Vec<_> = facts.cgroups.hierarchies.iter().map(|hierarchy| hierarchy.version).collect();
    let detail = match (versions.contains(&CgroupVersion::V1), versions.contains(&CgroupVersion::V2)) {
        (true, true) => "version 1 for limits, version 2 for killing and freezing",
        (true, false) => "version 1",
        _ => "version 2",
    };
    if facts.cgroups.swap_limit {
        Finding::good("control groups", detail)
    } else {
        let detail = format!("{detail}; swap can't be limited");
        Finding::grade("control groups", Grade::Limited, detail, "boot with swapaccount=1")
    }
}

fn file_system(name: &'static str, grade: Grade, hint: &str) -> Finding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some(name)) {
        Finding::good(name, "the kernel has it")
    } else {
        Finding::grade(name, grade, "the kernel does not list it", hint)
    }
}

fn user_namespaces() -> Finding {
    let number = |path| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match number("/proc/sys/user/max_user_namespaces") {
        Some(0) => {
            let hint = "sysctl user.max_user_namespaces=65536";
            Finding::grade("user namespaces", Grade::Bad, "none allowed", hint)
        }
        Some(count) => Finding::good("user namespaces", format!("at most {count}")),
        None => Finding::grade(
            "user namespaces",
            Grade::Bad,
            "the kernel has none",
            "use a kernel with CONFIG_USER_NS",
        ),
    }
}

fn seccomp() -> Finding {
    if Path::new("/proc/sys/kernel/seccomp").exists() {
        Finding::good("seccomp", "the kernel filters system calls")
    } else {
        Finding::grade(
            "seccomp",
            Grade::Bad,
            "the kernel has none",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        )
    }
}

fn landlock() -> Finding {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    // Without securityfs the list can't be read; the launcher tries anyway.
    if modules.is_empty() || modules.split(',').any(|module| module.trim() == "landlock") {
        Finding::good("landlock", "used where the kernel has it")
    } else {
        Finding::grade(
            "landlock",
            Grade::Limited,
            "switched off",
            "boot with lsm=landlock,… for a second wall",
        )
    }
}

fn network() -> Finding {
    if !program_exists("nft") {
        let detail = "nft is not installed: sandboxes have no network";
        return Finding::grade("network", Grade::Limited, detail, "apt-get install nftables");
    }
    let usual = NetworkConfig { nameservers: Vec::new(), allowed: Vec::new() };
    match Instance::new(0).map_or(Ok(()), |instance| network_check(instance, &usual)) {
        Ok(()) => Finding::good("network", "nftables: sandboxes can have a network (nat)"),
        Err(problem) => {
            let detail = format!("the kernel does not take the rules, sandboxes have no network: {problem}");
            let hint = "load the modules nf_tables, nft_masq, nft_ct, nft_connlimit and nft_reject";
            Finding::grade("network", Grade::Limited, detail, hint)
        }
    }
}

fn names() -> Finding {
    match resolver_find(&[]) {
        Ok(resolver) => match resolver.note() {
            None => {
                let servers: Vec<_> = resolver.nameservers.iter().map(ToString::to_string).collect();
                Finding::good("name servers", servers.join(", "))
            }
            Some(note) => Finding::grade("name servers", Grade::Limited, note, "atoll serve --dns ADDRESS"),
        },
        Err(error) => {
            Finding::grade("name servers", Grade::Limited, error.to_string(), "atoll serve --dns ADDRESS")
        }
    }
}

fn toolchains(data: &DataDir) -> Vec<Finding> {
    let pinned = toolchain_list(data).into_iter().map(|toolchain| {
        let subject = toolchain.name.as_str();
        match toolchain.state {
            ToolchainState::Installed(folder) => {
                Finding::good(subject, format!("{} in {folder}", toolchain.version))
            }
            ToolchainState::Missing { download_bytes } => Finding::grade(
                subject,
                Grade::Limited,
                format!("not installed yet ({} MB)", download_bytes >> 20),
                format!("atoll toolchain install {subject}; the server does it at start"),
            ),
        }
    });
    let host = toolchain_probe().into_iter().map(|program| match program.path {
        Some(path) => Finding::good(program.name, path.to_string()),
        None => Finding::grade(
            program.name,
            Grade::Limited,
            format!("the host has no {}", program.program),
            format!("apt-get install {}", program.program),
        ),
    });
    pinned.chain(host).collect()
}
