//! Plans as snapshots: what a launch does on a mixed and on a unified host, without root.

use protocol::{
    GuestPath, HostPath,
    launcher::{ImageName, LaunchSpec},
    limits::Limits,
    volume::{RelativePath, VolumeMount, VolumeSource},
};

use super::*;
use crate::host::{CgroupHost, CgroupVersion, Controller, Hierarchy};

fn hierarchy(version: CgroupVersion, mount: &str, controllers: &[Controller]) -> Hierarchy {
    Hierarchy { version, mount: HostPath::new(mount), controllers: controllers.to_vec() }
}

fn host(hierarchies: Vec<Hierarchy>) -> HostFacts {
    HostFacts {
        cgroups: CgroupHost { tcp_limit: hierarchies.len() > 1, hierarchies, swap_limit: true },
        proc_masked: vec!["/proc/kcore", "/proc/scsi"],
        proc_read_only: vec!["/proc/sys"],
    }
}

fn mixed_host() -> HostFacts {
    host(vec![
        hierarchy(CgroupVersion::V2, "/sys/fs/cgroup/unified", &[]),
        hierarchy(CgroupVersion::V1, "/sys/fs/cgroup/memory", &[Controller::Memory]),
        hierarchy(CgroupVersion::V1, "/sys/fs/cgroup/cpu", &[Controller::Cpu]),
        hierarchy(CgroupVersion::V1, "/sys/fs/cgroup/pids", &[Controller::Pids]),
    ])
}

fn unified_host() -> HostFacts {
    let all = [Controller::Cpu, Controller::Memory, Controller::Pids];
    host(vec![hierarchy(CgroupVersion::V2, "/sys/fs/cgroup", &all)])
}

fn spec(network: NetworkMode, ephemeral: bool) -> LaunchSpec {
    LaunchSpec {
        sandbox: "6f1b1a3e-6d0a-4a53-9a8c-0f7f5d1c2b3a".parse().unwrap(),
        image: ImageName::Host,
        limits: Limits::default(),
        network,
        ephemeral,
        origin: None,
        total_bytes: 0,
        network_policy: None,
        volumes: Vec::new(),
    }
}

fn slot() -> Slot {
    Slot { instance: Instance::new(2).unwrap(), number: 7 }
}

#[test]
fn plan_on_a_mixed_host_without_network() {
    insta::assert_debug_snapshot!(launch_plan(&spec(NetworkMode::None, true), slot(), &mixed_host()));
}

#[test]
fn plan_on_a_unified_host_with_nat() {
    insta::assert_debug_snapshot!(launch_plan(&spec(NetworkMode::Nat, false), slot(), &unified_host()));
}

#[test]
fn volumes_come_last_and_outer_ones_before_inner_ones() {
    let volume = |target: &str| VolumeMount {
        source: VolumeSource::Host { prefix: 0, path: RelativePath::default() },
        sub_path: RelativePath::default(),
        target: GuestPath::absolute(target).unwrap(),
        read_only: true,
    };
    let volumes = ["/a/b/c", "/data", "/a", "/a/b"].map(volume).to_vec();
    let without = spec(NetworkMode::None, true);
    let with = LaunchSpec { volumes, ..without.clone() };
    let (plain, steps) =
        (mount_steps(&without, slot(), &unified_host()), mount_steps(&with, slot(), &unified_host()));
    assert_eq!(steps[..plain.len()], plain);
    let found: Vec<(u8, &str)> = steps[plain.len()..]
        .iter()
        .filter_map(|step| match step {
            MountStep::Volume { index, mount } => Some((*index, mount.target.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(found, [(2, "/a"), (3, "/a/b"), (0, "/a/b/c"), (1, "/data")]);
}

#[test]
fn mounts_of_an_oci_image() {
    let digest = format!("sha256:{}", "5".repeat(64)).parse().unwrap();
    let spec = LaunchSpec { image: ImageName::Oci(digest), ..spec(NetworkMode::None, false) };
    insta::assert_debug_snapshot!(launch_plan(&spec, slot(), &unified_host()).mounts);
}

#[test]
fn lower_folders_have_names_that_fit_and_differ() {
    let names: std::collections::BTreeSet<u8> = (0..LOWERS_MAX).map(lower_name).collect();
    assert_eq!(names.len(), LOWERS_MAX);
    assert!(names.iter().all(|name| !b":,\\/.".contains(name)));
    const { assert!(LOWERS_MAX * 2 - 1 <= 255) };
}

#[test]
fn seccomp_table() {
    let lines: Vec<String> = seccomp::allowed_groups()
        .map(|group| {
            let names = group.calls.iter().map(|(name, _)| name.trim_start_matches("__NR_"));
            format!("{}:\n  {}", group.purpose, names.collect::<Vec<_>>().join(" "))
        })
        .chain(seccomp::CONDITIONAL.iter().map(|(name, _, condition)| format!("{name}: {condition:?}")))
        .chain([format!(
            "absent: {:?}",
            seccomp::NOT_THERE.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        )])
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn no_call_is_listed_twice() {
    let mut names: Vec<&str> = seccomp::allowed_groups()
        .flat_map(|group| group.calls.iter().map(|(name, _)| *name))
        .chain(seccomp::CONDITIONAL.iter().map(|(name, ..)| *name))
        .chain(seccomp::NOT_THERE.iter().map(|(name, _)| *name))
        .collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
