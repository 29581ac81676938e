//! Volumes of a create request as the engine is asked for them, or as a reason why not.

use axum::http::StatusCode;
use engine::{Volume, VolumeProblem, VolumeSourceSpec, VolumeSpec};
use protocol::{
    GuestPath,
    volume::{RelativePath, VOLUMES_MAX},
};

use super::{
    super::{
        error::{LifecycleError, volume_code},
        types::{HostVolume, ListVolumesResponse, NamedVolume, VolumeBody, VolumeRequest},
    },
    labels::shown,
    quantity::whole,
};
use crate::timestamps::WireTimestamp;

/// The longest name of a volume within a sandbox, and of one that outlives sandboxes.
const NAME_MAX: usize = 63;
const CLAIM_NAME_MAX: usize = 253;
/// What Linux takes as a path, with the byte at its end.
const PATH_MAX: usize = 4096;

/// Takes the volumes of a request apart.
pub(super) fn volumes(given: Vec<VolumeRequest>) -> Result<Vec<VolumeSpec>, LifecycleError> {
    if given.len() > VOLUMES_MAX {
        return Err(LifecycleError::invalid("volumes", format!("at most {VOLUMES_MAX} of one sandbox")));
    }
    let mut names: Vec<String> = Vec::with_capacity(given.len());
    let mut specs = Vec::with_capacity(given.len());
    for volume in given {
        let name = volume.name.clone();
        if !is_label(&name, NAME_MAX) {
            let problem =
                format!("{} is no name: small letters, digits and hyphens, at most {NAME_MAX}", shown(&name));
            return Err(refused("VOLUME::INVALID_NAME", &problem));
        }
        if names.contains(&name) {
            return Err(refused("VOLUME::DUPLICATE_NAME", &format!("two volumes are called {name:?}")));
        }
        names.push(name);
        specs.push(spec(volume)?);
    }
    Ok(specs)
}

fn spec(volume: VolumeRequest) -> Result<VolumeSpec, LifecycleError> {
    let VolumeRequest { name, host, pvc, ossfs, mount_path, read_only, sub_path } = volume;
    let source = match (host, pvc, ossfs) {
        (Some(host), None, None) => host_source(&name, host)?,
        (None, Some(named), None) => named_source(&name, named)?,
        (None, None, Some(_)) => {
            let problem = format!("{name}: this server has no ossfs; use `pvc` for a volume of its own");
            return Err(refused("VOLUME::UNSUPPORTED_BACKEND", &problem));
        }
        _ => {
            let problem = format!("{name}: give exactly one of `host` and `pvc`");
            return Err(refused("VOLUME::INVALID_BACKEND", &problem));
        }
    };
    let target = Some(mount_path.as_str())
        .filter(|path| path.split('/').all(|name| name != ".."))
        .and_then(|path| GuestPath::absolute(path).ok());
    let target = target.ok_or_else(|| {
        let problem =
            format!("{name}: mountPath {} must be an absolute path without `..`", shown(&mount_path));
        refused(volume_code(VolumeProblem::Target), &problem)
    })?;
    let sub_path = RelativePath::new(sub_path.as_deref().unwrap_or_default())
        .map_err(|error| refused(volume_code(VolumeProblem::SubPath), &format!("{name}: subPath {error}")))?;
    Ok(VolumeSpec { source, sub_path, target, read_only: read_only.unwrap_or(false) })
}

fn host_source(name: &str, host: HostVolume) -> Result<VolumeSourceSpec, LifecycleError> {
    let path = host.path;
    let rest = path.strip_prefix('/').filter(|rest| rest.len() < PATH_MAX);
    let is_plain =
        |rest: &str| !rest.contains('\0') && rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if rest.is_some_and(|rest| rest.is_empty() || is_plain(rest)) {
        return Ok(VolumeSourceSpec::Host { path });
    }
    let problem = format!(
        "{name}: host.path {} must be an absolute path of less than {PATH_MAX} bytes, without `.`, `..`, double slashes \
         and one at its end",
        shown(&path)
    );
    Err(refused("VOLUME::INVALID_HOST_PATH", &problem))
}

fn named_source(name: &str, named: NamedVolume) -> Result<VolumeSourceSpec, LifecycleError> {
    let claim = named.claim_name;
    if !is_label(&claim, CLAIM_NAME_MAX) {
        let problem = format!(
            "{name}: pvc.claimName {} is no name: small letters, digits and hyphens, at most {CLAIM_NAME_MAX}",
            shown(&claim)
        );
        return Err(refused("VOLUME::INVALID_PVC_NAME", &problem));
    }
    let bytes = named.storage.as_deref().map(|text| {
        whole(text).ok_or_else(|| {
            LifecycleError::invalid(
                "volumes.pvc.storage",
                format!("{} is no amount; write `10Gi`", shown(text)),
            )
        })
    });
    Ok(VolumeSourceSpec::Named {
        name: claim,
        create: named.create_if_not_exists.unwrap_or(true),
        ends_with_it: named.delete_on_sandbox_termination.unwrap_or(false),
        bytes: bytes.transpose()?,
    })
}

/// A label by the rules of DNS.
fn is_label(text: &str, most: usize) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= most
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn refused(code: &'static str, problem: &str) -> LifecycleError {
    LifecycleError::new(StatusCode::BAD_REQUEST, code, format!("volumes: {problem}"))
}

/// Volumes as they are listed.
pub(in super::super) fn volume_bodies(volumes: Vec<Volume>) -> ListVolumesResponse {
    let body = |volume: Volume| VolumeBody {
        id: volume.id.to_string(),
        name: volume.name,
        owner: volume.owner,
        bytes: volume.bytes,
        created_at: WireTimestamp(volume.created_at),
    };
    ListVolumesResponse { items: volumes.into_iter().map(body).collect() }
}
