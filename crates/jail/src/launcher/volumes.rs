//! Volumes of the storage: subvolumes with a quota, or plain folders. And who owns the host's folders that are mounted.
//!
//! It must not know who has a volume, or what it is called.

use std::os::fd::AsFd;

use protocol::{
    VolumeId,
    launcher::{INVENTORY_PAGE, LaunchSpec},
    volume::{VOLUMES_MAX, VolumeSource, is_target},
};
use rustix::{
    fs::{Access, AtFlags, Dir, Mode, accessat, mkdirat, renameat},
    io::Errno,
};

use super::{layer::Layers, serve::Launcher};
use crate::{
    apply::{HostOwner, owner_of, source_open},
    failure::{Step, StepError},
    plan::{LaunchPlan, MountStep},
    sys,
    user_namespace::owner_namespace_create,
};

/// What a volume's name ends with while it is being made.
const DRAFT: &str = ".new";

impl Layers {
    /// Makes an empty volume unless it is there. Whatever has the name of one is whole, and limited.
    pub(super) fn volume_create(&self, volume: VolumeId, bytes: u64) -> Result<(), StepError> {
        let name = volume.to_string();
        if accessat(&self.volumes, &name, Access::EXISTS, AtFlags::empty()).is_ok() {
            return Ok(());
        }
        let draft = format!("{name}{DRAFT}");
        let step = || "make the volume".to_owned();
        self.tree_remove(&self.volumes, &draft).step(step)?;
        if self.subvolumes {
            sys::subvolume_create(self.volumes.as_fd(), &draft).step(step)?;
        } else {
            mkdirat(&self.volumes, &draft, Mode::from_raw_mode(0o755)).step(step)?;
        }
        let made = Self::open_below(&self.volumes, &draft)
            .and_then(|made| if self.subvolumes { self.limit(&made, bytes) } else { Ok(()) })
            .and_then(|()| renameat(&self.volumes, &draft, &self.volumes, &name).step(step));
        if made.is_err() {
            self.tree_remove(&self.volumes, &draft).step(step)?;
        }
        made
    }

    /// Removes a volume, if there is one.
    pub(super) fn volume_remove(&self, volume: VolumeId) -> Result<(), StepError> {
        self.tree_remove(&self.volumes, &volume.to_string()).step(|| "remove the volume".to_owned())
    }

    /// Removes what an earlier launcher had begun to make.
    pub(super) fn volume_drafts_remove(&self) -> Result<(), StepError> {
        for name in self.volume_names()?.into_iter().filter(|name| name.ends_with(DRAFT)) {
            self.tree_remove(&self.volumes, &name).step(|| "remove half of a volume".to_owned())?;
        }
        Ok(())
    }

    fn volume_names(&self) -> Result<Vec<String>, StepError> {
        let entries = Dir::read_from(&self.volumes).step(|| "list volumes".to_owned())?;
        let names = entries.filter_map(Result::ok);
        Ok(names.filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_owned())).collect())
    }
}

impl Launcher {
    /// One page of the volumes, in the order of their ids.
    pub(super) fn volume_page(&self, after: Option<VolumeId>) -> Result<Vec<VolumeId>, StepError> {
        let names = self.layers.volume_names()?.into_iter();
        let mut all: Vec<VolumeId> = names.filter_map(|name| name.parse().ok()).collect();
        all.retain(|volume| after.is_none_or(|after| *volume > after));
        all.sort_unstable();
        all.truncate(INVENTORY_PAGE);
        Ok(all)
    }

    /// Whether the volumes of a request are ones that a sandbox may have.
    pub(super) fn volumes_check(&self, spec: &LaunchSpec) -> Result<(), StepError> {
        let refuse = |step: &str, errno| Err(StepError::new(format!("check the request: {step}"), errno));
        if spec.volumes.len() > VOLUMES_MAX {
            return refuse("too many volumes", Errno::INVAL);
        }
        let mut targets: Vec<&str> = spec.volumes.iter().map(|volume| volume.target.as_str()).collect();
        targets.sort_unstable();
        targets.dedup();
        if targets.len() < spec.volumes.len() || !spec.volumes.iter().all(|volume| is_target(&volume.target))
        {
            return refuse("a volume can't be mounted there", Errno::INVAL);
        }
        let unknown = |source: &VolumeSource| match source {
            VolumeSource::Named(_) => false,
            VolumeSource::Host { prefix, .. } => usize::from(*prefix) >= self.config.volume_prefixes.len(),
        };
        if spec.volumes.iter().any(|volume| unknown(&volume.source)) {
            return refuse("no such folder of the host is allowed", Errno::PERM);
        }
        Ok(())
    }

    /// For each volume of a plan that is a folder of the host its owner, mapped to the sandbox's root.
    pub(super) fn volume_owners(&self, plan: &LaunchPlan) -> Result<Vec<Option<HostOwner>>, StepError> {
        let mut owners: Vec<Option<HostOwner>> = Vec::new();
        owners.resize_with(VOLUMES_MAX, || None);
        for step in &plan.mounts {
            if let MountStep::Volume { index, mount } = step
                && let VolumeSource::Host { .. } = mount.source
                && let Some(place) = owners.get_mut(usize::from(*index))
            {
                let volumes = self.config.data.volumes();
                let folder = source_open(*index, mount, &volumes, &self.config.volume_prefixes)?;
                let owner = owner_of(*index, mount, &folder)?;
                *place =
                    Some(HostOwner { owner, idmap: owner_namespace_create(plan.slot.first_id(), owner)? });
            }
        }
        Ok(owners)
    }
}
