//! What `atoll doctor` says of the storage: what it is or will be, what that costs, and how full it is.

use std::{fs, path::Path};

use engine::Settings;
use storage::{
    layout::DataDir,
    pool::{POOL_BYTES_MIN, PoolKind, PoolPlan, PoolSpace, Quota, pool_survey},
};

use super::{Finding, Grade, kernel_version};
use crate::host::program_exists;

const NO_LIMIT: &str = "a sandbox can fill it";
const CONSTANT: &str = "snapshots in constant time";

pub(super) fn findings(data: &DataDir) -> Vec<Finding> {
    let survey = pool_survey(data);
    let root = data.root().as_path();
    let image = data.storage_image();
    let kind = match &survey.plan {
        PoolPlan::Is(kind, quota) => of_pool(kind, quota, survey.reflinks),
        PoolPlan::ImageMount => with_simple_quotas(
            &format!("btrfs in {image}, not mounted now; the next start mounts it"),
            survey.reflinks,
        ),
        PoolPlan::ImageMake => {
            with_simple_quotas(&format!("a start will make a btrfs in {image}"), survey.reflinks)
        }
    };
    let is_pool = matches!(survey.plan, PoolPlan::Is(..));
    let room = survey.space.map(|space| of_space(space, is_pool, root));
    [kind].into_iter().chain(room).collect()
}

fn of_pool(kind: &PoolKind, quota: &Quota, reflinks: Option<bool>) -> Finding {
    let what = match kind {
        PoolKind::BtrfsNative => "a btrfs of the host",
        PoolKind::BtrfsImage => "btrfs in an image file",
        PoolKind::Plain(why) => {
            return limited(format!("a plain folder: {}", plain_costs(reflinks)), why.to_string());
        }
    };
    match quota {
        Quota::Simple => {
            Finding::good("storage", format!("{what}: disk limits by simple quotas, {CONSTANT}"))
        }
        Quota::Full => limited(
            format!("{what}: disk limits by full quotas, which get slow with many snapshots; {CONSTANT}"),
            "btrfs quota disable PATH, then btrfs quota enable --simple PATH (Linux 6.7, btrfs-progs 6.7)",
        ),
        Quota::Off { reason } => limited(
            format!("{what}: no disk limits ({reason}), {NO_LIMIT}; {CONSTANT}"),
            "Linux 6.7 and `btrfs quota enable --simple PATH`",
        ),
    }
}

/// An image file as the next start mounts it, or what stands in its way.
fn with_simple_quotas(what: &str, reflinks: Option<bool>) -> Finding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let plain = |lack: &str, hint: &str| {
        limited(format!("{lack}: the storage will be a plain folder: {}", plain_costs(reflinks)), hint)
    };
    if !known.lines().any(|line| line.split_whitespace().last() == Some("btrfs")) {
        return plain("the kernel lists no btrfs", "modprobe btrfs");
    }
    if !program_exists("mkfs.btrfs") {
        return plain("mkfs.btrfs is not installed", "apt-get install btrfs-progs");
    }
    if !Path::new("/dev/loop-control").exists() {
        return plain("there are no loop devices", "modprobe loop");
    }
    // Simple quotas came then.
    if kernel_version().1 < (6, 7) {
        return limited(
            format!("{what}: this kernel has no simple quotas, so no disk limits, {NO_LIMIT}; {CONSTANT}"),
            "Linux 6.7 or later (Debian 12 has one in backports)",
        );
    }
    Finding::good("storage", format!("{what}: disk limits by simple quotas, {CONSTANT}"))
}

fn plain_costs(reflinks: Option<bool>) -> String {
    let copies = match reflinks {
        Some(true) => "snapshots share blocks (reflinks), but take time for each file",
        Some(false) => "snapshots are copies of every byte",
        None => "snapshots are copies",
    };
    format!("no disk limits, {NO_LIMIT} and the disk below; {copies}")
}

fn of_space(space: PoolSpace, is_pool: bool, root: &Path) -> Finding {
    let (free, total) = (space.free_bytes >> 20, space.total_bytes >> 20);
    if !is_pool {
        let detail = format!("{free} MiB of {total} MiB free on the disk of {}", root.display());
        return if space.free_bytes >= POOL_BYTES_MIN {
            Finding::good("free space", detail)
        } else {
            limited_space(detail, "make room, or choose another folder (`--data-dir`)")
        };
    }
    let floor = space.floor_bytes(Settings::default().limits_default.disk_bytes);
    if space.free_bytes >= floor {
        return Finding::good("free space", format!("{free} MiB of {total} MiB"));
    }
    let detail =
        format!("{free} MiB of {total} MiB; launches wait for {} MiB and are refused then", floor >> 20);
    limited_space(detail, "delete sandboxes (`atoll rm`), or start with a larger `--storage-size`")
}

fn limited(detail: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding::grade("storage", Grade::Limited, detail, hint)
}

fn limited_space(detail: String, hint: &str) -> Finding {
    Finding::grade("free space", Grade::Limited, detail, hint)
}

#[cfg(test)]
mod tests {
    use storage::pool::PlainReason;

    use super::*;

    #[test]
    fn a_plain_folder_says_what_it_costs() {
        let kind = PoolKind::Plain(PlainReason::MkfsMissing);
        let quota = Quota::Off { reason: "none".to_owned() };
        let with = of_pool(&kind, &quota, Some(true)).detail;
        let without = of_pool(&kind, &quota, Some(false)).detail;
        assert!(with.contains("no disk limits") && with.contains("reflinks"), "{with}");
        assert!(without.contains("no disk limits") && without.contains("copies of every byte"), "{without}");
    }

    #[test]
    fn below_the_floor_there_is_a_hint() {
        let space = |free_bytes| PoolSpace { total_bytes: 8 << 30, free_bytes };
        assert!(of_space(space(1 << 30), true, Path::new("/x")).hint.is_none());
        assert!(of_space(space(1 << 20), true, Path::new("/x")).hint.is_some());
        assert!(of_space(space(1 << 20), false, Path::new("/x")).hint.is_some());
    }
}
