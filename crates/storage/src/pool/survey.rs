//! What pool a data directory has or would get, found out without leaving a trace.
//!
//! It must not know how that is told to the operator.

use std::path::Path;

use rustix::fs::{Mode, OFlags, ioctl_ficlone, open};

use super::{Found, PoolKind, PoolSpace, Quota, kind_found, quota, space};
use crate::layout::DataDir;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSurvey {
    /// What the pool is or will be.
    pub plan: PoolPlan,
    /// The room of the pool; where it is not mounted, that of the disk below.
    pub space: Option<PoolSpace>,
    /// Whether copies of files share their blocks there (`FICLONE`); none where that could not be tried.
    pub reflinks: Option<bool>,
}

/// What the pool is or will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolPlan {
    /// This, with these quotas.
    Is(PoolKind, Quota),
    /// The image file that is there is mounted by the next start.
    ImageMount,
    /// The next start makes an image file, or a plain folder where btrfs can't be had.
    ImageMake,
}

/// Looks. Whoever may not enter the data directory sees less: it needs root.
#[must_use]
pub fn pool_survey(data: &DataDir) -> PoolSurvey {
    let storage = data.storage();
    let place = storage.as_path().ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    let will_make = || match data.storage_image().as_path().exists() {
        true => PoolPlan::ImageMount,
        false => PoolPlan::ImageMake,
    };
    let plan = if place == storage.as_path() {
        match kind_found(data, &storage) {
            Ok(Found::Open(kind @ PoolKind::Plain(_))) => PoolPlan::Is(kind, quota::plain()),
            Ok(Found::Open(kind)) => PoolPlan::Is(kind, quota::state(place)),
            Ok(Found::Image) | Err(_) => will_make(),
        }
    } else {
        match quota::state(place) {
            quota if quota.holds() => PoolPlan::Is(PoolKind::BtrfsNative, quota),
            _ => will_make(),
        }
    };
    PoolSurvey { plan, space: space(place).ok(), reflinks: reflinks_work(place) }
}

/// Tries it with two files that have no name, and so are gone when they are closed.
fn reflinks_work(folder: &Path) -> Option<bool> {
    let nameless = || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        open(folder, flags, Mode::RUSR | Mode::WUSR)
    };
    let (from, to) = (nameless().ok()?, nameless().ok()?);
    rustix::io::write(&from, &[1; 4096]).ok()?;
    Some(ioctl_ficlone(&to, &from).is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::mounted;

    #[test]
    fn a_look_leaves_no_trace() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("new");
        let data = DataDir::new(protocol::HostPath::new(&root)).unwrap();
        let survey = pool_survey(&data);
        assert!(survey.space.is_some());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        if !mounted::is_btrfs(temp.path()).unwrap() {
            assert_eq!(survey.plan, PoolPlan::ImageMake);
        }
    }
}
