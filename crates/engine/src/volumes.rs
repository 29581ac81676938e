//! Volumes: folders that outlive sandboxes, each its owner's, and folders of the host that the operator allowed.

use std::sync::Arc;

use jiff::Timestamp;
use protocol::{
    GuestPath, VolumeId,
    volume::{
        RelativePath, VOLUME_PATHS_BYTES_MAX, VOLUMES_MAX, VolumeFault, VolumeFaultKind, VolumeMount,
        VolumeSource, is_target,
    },
};
use store::{Batch, SandboxRecord, SandboxVolume, SandboxVolumeSource, StoreError, VolumeRecord};

use crate::{
    Caller, Engine, Error, ErrorKind, Result, Settings, engine::Inner, runtime::RuntimeError,
    sandbox::launch_failed,
};

/// A volume that a sandbox is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSpec {
    /// What.
    pub source: VolumeSourceSpec,
    /// The folder of it that is meant; itself if that is empty.
    pub sub_path: RelativePath,
    /// Where in the sandbox.
    pub target: GuestPath,
    /// Nothing can be written through it.
    pub read_only: bool,
}

/// See [`VolumeSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSourceSpec {
    /// A volume of the caller's.
    Named {
        /// Its name.
        name: String,
        /// It is made if there is none.
        create: bool,
        /// If it is made, it goes with the sandbox and its forks, unless another has it then.
        ends_with_it: bool,
        /// What it may hold, if it is made; as configured if nothing is said.
        bytes: Option<u64>,
    },
    /// A folder of the host.
    Host {
        /// Its whole path.
        path: String,
    },
}

/// A volume, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its identifier.
    pub id: VolumeId,
    /// Whose it is.
    pub owner: String,
    /// Its name, unique among its owner's.
    pub name: String,
    /// What it may hold.
    pub bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What is wrong with a volume that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeProblem {
    /// The host's folder lies below none that is allowed.
    HostPathNotAllowed,
    /// There is no such folder on the host.
    HostPathNotFound,
    /// The host's folder can't be mounted as it is asked for.
    HostPathUnfit,
    /// There is no volume of that name.
    NotFound,
    /// There is no such folder in it.
    SubPath,
    /// It can't be mounted there.
    Target,
}

impl Engine {
    /// The volumes of the caller, or everybody's for an administrator, by name.
    ///
    /// # Errors
    /// None at present.
    pub async fn volume_list(&self, caller: &Caller) -> Result<Vec<Volume>> {
        let owner = (!caller.administrator).then(|| caller.owner.clone());
        let records = self.inner.store.volume_list(owner).await.map_err(Error::internal)?;
        Ok(records.into_iter().map(Volume::of).collect())
    }

    /// Removes a volume with all it holds, by its identifier or by the name that the caller gave it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] while a sandbox has it.
    pub async fn volume_remove(&self, caller: &Caller, called: &str) -> Result<()> {
        let store = &self.inner.store;
        let found = match store.volume_by_name(caller.owner.clone(), called.to_owned()).await {
            Err(StoreError::NotFound { noun, id }) => match called.parse() {
                Ok(known) => store.volume_get(known).await,
                Err(_) => Err(StoreError::NotFound { noun, id }),
            },
            found => found,
        };
        let found = match found {
            Ok(found) if caller.administrator || found.owner == caller.owner => found,
            Ok(_) | Err(StoreError::NotFound { .. }) => {
                return Err(Error::new(ErrorKind::NotFound, format!("Volume {called} not found")));
            }
            Err(error) => return Err(Error::internal(error)),
        };
        let inner = Arc::clone(&self.inner);
        // Also if the caller goes away: a folder without a record would stay until the next start.
        let removed = tokio::spawn(async move { inner.volume_end(found.id).await });
        if removed.await.map_err(Error::internal)?? {
            return Ok(());
        }
        let text = format!("Volume {called} is in use: a sandbox has it; delete that first");
        Err(Error::new(ErrorKind::Conflict, text))
    }

    /// Finds the volumes that a sandbox is to have, and makes those that are missing and may be. Returns also which
    /// were made.
    pub(crate) async fn volumes_have(
        &self,
        caller: &Caller,
        specs: Vec<VolumeSpec>,
    ) -> Result<(Vec<SandboxVolume>, Vec<VolumeId>)> {
        let (mut volumes, mut made) = (Vec::with_capacity(specs.len()), Vec::new());
        for spec in specs {
            match self.volume_have(caller, spec).await {
                Ok((volume, is_new)) => {
                    made.extend(volume.named().filter(|_| is_new));
                    volumes.push(volume);
                }
                Err(error) => {
                    self.inner.volumes_end(&made).await;
                    return Err(error);
                }
            }
        }
        Ok((volumes, made))
    }

    async fn volume_have(&self, caller: &Caller, spec: VolumeSpec) -> Result<(SandboxVolume, bool)> {
        let VolumeSpec { source, sub_path, target, read_only } = spec;
        let (source, is_new) = match source {
            VolumeSourceSpec::Host { path } => (SandboxVolumeSource::Host { path }, false),
            VolumeSourceSpec::Named { name, create, ends_with_it, bytes } => {
                let (record, is_new) = self.named_have(caller, name, create, bytes).await?;
                // Of one that was found it may have been made a moment ago, by somebody who is not done yet.
                if let Err(error) = self.inner.runtime.volume_create(record.id, record.bytes).await {
                    if is_new {
                        self.inner.volumes_end(&[record.id]).await;
                    }
                    return Err(not_made(error));
                }
                let ends_with_it = ends_with_it && is_new;
                (SandboxVolumeSource::Named { id: record.id, ends_with_it }, is_new)
            }
        };
        Ok((SandboxVolume { source, sub_path, target, read_only }, is_new))
    }

    async fn named_have(
        &self,
        caller: &Caller,
        name: String,
        create: bool,
        bytes: Option<u64>,
    ) -> Result<(VolumeRecord, bool)> {
        let store = &self.inner.store;
        let settings = &self.inner.settings;
        let record = VolumeRecord {
            id: VolumeId::random(),
            owner: caller.owner.clone(),
            name: name.clone(),
            bytes: bytes.unwrap_or(settings.volume_bytes_default),
            created_at: Timestamp::now(),
        };
        loop {
            match store.volume_by_name(caller.owner.clone(), name.clone()).await {
                Ok(found) => return Ok((found, false)),
                Err(StoreError::NotFound { .. }) if create => {}
                Err(StoreError::NotFound { .. }) => {
                    let text = format!("There is no volume {name:?}, and it is not to be made");
                    return Err(Error::volume(VolumeProblem::NotFound, text));
                }
                Err(error) => return Err(Error::internal(error)),
            }
            // On the disk before the folder is: one without a record is removed by a start.
            let batch = Batch::new().volume_insert(record.clone(), settings.volumes_max).durable();
            match store.apply(batch).await {
                Ok(()) => return Ok((record, true)),
                // Somebody else was faster.
                Err(StoreError::Exists { .. }) => {}
                Err(StoreError::Full { most, .. }) => {
                    let text = format!("Too many volumes (at most {most}); remove some");
                    return Err(Error::new(ErrorKind::Busy { retry_after_s: 60 }, text));
                }
                Err(error) => return Err(Error::internal(error)),
            }
        }
    }
}

impl Inner {
    /// Removes a volume unless a sandbox has it. Returns whether it is gone.
    async fn volume_end(&self, id: VolumeId) -> Result<bool> {
        let batch = Batch::new().volume_delete_unused(id).durable();
        self.store.apply(batch).await.map_err(Error::internal)?;
        self.volume_clear(id).await
    }

    /// Removes the folder of a volume that is on record no more.
    async fn volume_clear(&self, id: VolumeId) -> Result<bool> {
        match self.store.volume_get(id).await {
            Ok(_) => return Ok(false),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(Error::internal(error)),
        }
        self.runtime.volume_remove(id).await.map_err(Error::internal)?;
        Ok(true)
    }

    /// Removes volumes that no sandbox has. What stays of them is found at the next start.
    pub(crate) async fn volumes_end(&self, volumes: &[VolumeId]) {
        for id in volumes {
            if let Err(error) = self.volume_end(*id).await {
                tracing::error!(volume = %id, ?error, "a volume that nobody has any more stays");
            }
        }
    }

    /// The same after their records have gone with those of sandboxes.
    pub(crate) async fn volumes_clear(&self, volumes: &[VolumeId]) {
        for id in volumes {
            if let Err(error) = self.volume_clear(*id).await {
                tracing::error!(volume = %id, ?error, "a volume that nobody has any more stays until the next start");
            }
        }
    }
}

impl Volume {
    fn of(record: VolumeRecord) -> Self {
        let VolumeRecord { id, owner, name, bytes, created_at } = record;
        Self { id, owner, name, bytes, created_at }
    }
}

/// Checks what can be known without looking for the volumes.
pub(crate) fn volumes_check(specs: &[VolumeSpec], settings: &Settings) -> Result<()> {
    if specs.len() > VOLUMES_MAX {
        return Err(Error::invalid("volumes", format!("at most {VOLUMES_MAX} of one sandbox")));
    }
    let path_bytes = |spec: &VolumeSpec| {
        let of_source = match &spec.source {
            VolumeSourceSpec::Host { path } => path.len(),
            VolumeSourceSpec::Named { .. } => 0,
        };
        of_source + spec.sub_path.as_str().len() + spec.target.as_str().len()
    };
    if specs.iter().map(path_bytes).sum::<usize>() > VOLUME_PATHS_BYTES_MAX {
        let text = format!("their paths may have {VOLUME_PATHS_BYTES_MAX} bytes together");
        return Err(Error::invalid("volumes", text));
    }
    for (index, spec) in specs.iter().enumerate() {
        if !is_target(&spec.target) {
            let text =
                format!("No volume can be mounted at {}: the system's own files are there", spec.target);
            return Err(Error::volume(VolumeProblem::Target, text));
        }
        if specs[..index].iter().any(|other| other.target == spec.target) {
            let text = format!("Two volumes can't be mounted at the same place, {}", spec.target);
            return Err(Error::volume(VolumeProblem::Target, text));
        }
        match &spec.source {
            VolumeSourceSpec::Host { path } => drop(host_source(path, settings)?),
            VolumeSourceSpec::Named { bytes: Some(bytes), .. } => {
                let most = settings.volume_bytes_max;
                if !(VOLUME_BYTES_MIN..=most).contains(bytes) {
                    let text = format!("must be between {VOLUME_BYTES_MIN} and {most} bytes, not {bytes}");
                    return Err(Error::invalid("volumes.storage", text));
                }
            }
            VolumeSourceSpec::Named { bytes: None, .. } => {}
        }
    }
    Ok(())
}

/// Why the folder of a volume could not be made.
fn not_made(error: RuntimeError) -> Error {
    match error {
        RuntimeError::StorageFull { .. } => launch_failed(error).1,
        error => Error::internal(error),
    }
}

/// The least that a volume may hold: less has no room for a file.
pub(crate) const VOLUME_BYTES_MIN: u64 = 1 << 20;

/// The allowed folder that a folder of the host lies below, the innermost if there are several.
fn host_source(path: &str, settings: &Settings) -> Result<VolumeSource> {
    let below = |prefix: &String| {
        let rest = path.strip_prefix(prefix.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    };
    let prefixes = (0..).zip(&settings.volume_prefixes);
    let found = prefixes.filter_map(|(index, prefix)| Some((prefix.len(), index, below(prefix)?))).max();
    let not_allowed = || {
        let text = format!(
            "The host's folder {path:?} is not below one that this server allows; its operator does with \
             --volume-prefix"
        );
        Error::volume(VolumeProblem::HostPathNotAllowed, text)
    };
    let (_, prefix, rest) = found.ok_or_else(not_allowed)?;
    let path = RelativePath::new(rest).map_err(|_| not_allowed())?;
    Ok(VolumeSource::Host { prefix, path })
}

/// The volumes of a sandbox as its launch asks for them. What is allowed may have changed since it was made.
pub(crate) fn volume_mounts(record: &SandboxRecord, settings: &Settings) -> Result<Vec<VolumeMount>> {
    let mount = |volume: &SandboxVolume| {
        let source = match &volume.source {
            SandboxVolumeSource::Named { id, .. } => VolumeSource::Named(*id),
            SandboxVolumeSource::Host { path } => host_source(path, settings)?,
        };
        let (sub_path, target) = (volume.sub_path.clone(), volume.target.clone());
        Ok(VolumeMount { source, sub_path, target, read_only: volume.read_only })
    };
    record.volumes.iter().map(mount).collect()
}

/// Why a launch failed for a volume, for the client.
pub(crate) fn volume_failed(fault: VolumeFault, record: &SandboxRecord) -> Error {
    let Some(volume) = record.volumes.get(usize::from(fault.index)) else {
        return Error::new(ErrorKind::LaunchFailed, "The sandbox could not be launched");
    };
    let (target, sub_path) = (&volume.target, &volume.sub_path);
    let what = match &volume.source {
        SandboxVolumeSource::Named { .. } => format!("the volume for {target}"),
        SandboxVolumeSource::Host { path } => format!("the host's folder {path:?}"),
    };
    let is_named = volume.named().is_some();
    let (problem, text) = match fault.kind {
        VolumeFaultKind::Source if is_named => {
            (VolumeProblem::NotFound, format!("{what} is not there any more"))
        }
        VolumeFaultKind::Source => (
            VolumeProblem::HostPathNotFound,
            format!("{what} is not there, or is no folder, or a symbolic link lies on the way to it"),
        ),
        VolumeFaultKind::SubPath => (
            VolumeProblem::SubPath,
            format!(
                "The sub-path {sub_path} of {what} is not there, or is no folder, or a symbolic link lies on the way"
            ),
        ),
        VolumeFaultKind::Target => (
            VolumeProblem::Target,
            format!("{what} can't be mounted at {target}: a file or a symbolic link lies on the way there"),
        ),
        VolumeFaultKind::OwnedByRoot => (
            VolumeProblem::HostPathUnfit,
            format!(
                "{what} belongs to root or its group, so that sandboxes may only read it: mount it with readOnly, \
                 or give it another owner"
            ),
        ),
        VolumeFaultKind::Unmappable => (
            VolumeProblem::HostPathUnfit,
            format!("{what} lies in a file system that does not map owners, and can't be mounted"),
        ),
    };
    let mut text = text;
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Error::volume(problem, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_folder_lies_below_an_allowed_one_by_whole_names() {
        let allowed = ["/srv/data", "/srv/data/inner"].map(str::to_owned).to_vec();
        let settings = Settings { volume_prefixes: allowed, ..Settings::default() };
        let found = |path: &str| match host_source(path, &settings) {
            Ok(VolumeSource::Host { prefix, path }) => Some((prefix, path.as_str().to_owned())),
            _ => None,
        };
        assert_eq!(found("/srv/data"), Some((0, String::new())));
        assert_eq!(found("/srv/data/x/y"), Some((0, "x/y".to_owned())));
        assert_eq!(found("/srv/data/inner/x"), Some((1, "x".to_owned())));
        for path in ["/srv", "/srv/database", "/srv/data/../x", "/srv/data//etc/../../x", "srv/data", "/", ""]
        {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
