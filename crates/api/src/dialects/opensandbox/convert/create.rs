//! A create request as the sandbox that the engine is asked for, or as a reason why not.

use std::{collections::BTreeMap, time::Duration};

use engine::{Lease, LimitsSpec, OnAccess, SandboxSpec, Settings};
use protocol::{SnapshotId, launcher::NetworkMode};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        DIALECT,
        error::LifecycleError,
        types::{CreateSandboxRequest, ImageBody, ImageSpec, PlatformSpec},
    },
    labels, network_policy,
    quantity::{thousandths, whole},
    volumes,
};

/// What the engine is asked for.
#[derive(Debug)]
pub(in super::super) struct Creation {
    pub(in super::super) spec: SandboxSpec,
    /// The snapshot that it begins with.
    pub(in super::super) origin: Option<SnapshotId>,
}

/// What the record keeps for this dialect alone.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Details {
    pub(super) image: Option<ImageBody>,
    pub(super) snapshot: Option<String>,
    pub(super) platform: Option<PlatformSpec>,
    #[serde(default)]
    pub(super) extensions: BTreeMap<String, String>,
}

/// The shortest time-out.
const TIMEOUT_MIN_S: i64 = 60;
/// What runs in a sandbox that says nothing else.
const ENTRYPOINT_DEFAULT: [&str; 3] = ["tail", "-f", "/dev/null"];
/// The image that needs no registry.
const HOST_IMAGE: &str = "host";
/// How much each use may add to the time-out, in seconds.
const RENEW_S: std::ops::RangeInclusive<u32> = 300..=86_400;
/// How long nobody may have used it before it is paused, in seconds.
const IDLE_S: std::ops::RangeInclusive<u32> = 1..=604_800;

/// Takes a request apart.
pub(in super::super) fn creation(
    request: CreateSandboxRequest,
    settings: &Settings,
) -> Result<Creation, LifecycleError> {
    let extensions = request.extensions.unwrap_or_default();
    let is_named = [
        ("templateId", request.template_id.is_some()),
        ("extensions.poolRef", extensions.contains_key("poolRef")),
    ];
    if let Some((field, _)) = is_named.into_iter().find(|(_, is_named)| *is_named) {
        let text = "this server has no templates and no pools; a sandbox is made in milliseconds without";
        return Err(LifecycleError::invalid(field, text));
    }
    if request.lifecycle.is_some_and(|hooks| hooks.as_object().is_none_or(|hooks| !hooks.is_empty())) {
        return Err(LifecycleError::invalid("lifecycle", "this server has no hooks; use the entrypoint"));
    }
    if request.credential_proxy.is_some_and(|proxy| proxy.enabled == Some(true)) {
        return Err(LifecycleError::invalid("credentialProxy", "this server has none"));
    }
    let origin = source(request.image.as_ref(), request.snapshot_id.as_deref())?;
    platform_check(request.platform.as_ref())?;
    let given =
        request.resource_limits.ok_or_else(|| LifecycleError::invalid("resourceLimits", "is missing"))?;
    let limits = limits(&given)?;
    if let Some(requests) = &request.resource_requests {
        self::limits(requests)?;
    }
    let entrypoint = entrypoint(request.entrypoint, origin.is_some())?;
    let network_policy = request.network_policy.map(network_policy::policy).transpose()?.flatten();
    let network = if settings.network_available { NetworkMode::Nat } else { NetworkMode::None };
    let volumes = volumes::volumes(request.volumes.unwrap_or_default())?;
    let details = Details {
        image: request.image.map(|image| ImageBody { uri: image.uri }),
        snapshot: request.snapshot_id,
        platform: request.platform,
        extensions: extensions.clone(),
    };
    let spec = SandboxSpec {
        // Where there is none it is refused: nothing runs less guarded than it was asked for.
        network: if network_policy.is_some() { None } else { Some(network) },
        network_policy,
        limits,
        env: env(request.env.unwrap_or_default())?,
        metadata: labels::metadata(request.metadata.unwrap_or_default())?,
        lease: lease(request.timeout)?,
        entrypoint,
        on_access: on_access(&extensions)?,
        details: Some(serde_json::to_value(&details).unwrap_or_default()),
        volumes,
        ..SandboxSpec::new(DIALECT)
    };
    Ok(Creation { spec, origin })
}

/// The snapshot, if it is one that the sandbox begins with. An image or a snapshot has to be given.
fn source(image: Option<&ImageSpec>, snapshot: Option<&str>) -> Result<Option<SnapshotId>, LifecycleError> {
    match (image, snapshot) {
        (Some(_), Some(_)) | (None, None) => {
            Err(LifecycleError::invalid("image", "give either `image` or `snapshotId`"))
        }
        (None, Some(snapshot)) => {
            let known = snapshot
                .parse()
                .map_err(|_| LifecycleError::of_creation(engine::Error::snapshot_not_found()));
            Ok(Some(known?))
        }
        (Some(image), None) if image.uri == HOST_IMAGE => Ok(None),
        (Some(image), None) if image.uri.trim().is_empty() => {
            Err(LifecycleError::invalid("image.uri", "is empty; `host` is the image that is always there"))
        }
        (Some(_), None) => Err(LifecycleError::invalid(
            "image.uri",
            "sandboxes are made from the image `host` only; others are not there yet",
        )),
    }
}

/// Only this machine's platform is there.
fn platform_check(platform: Option<&PlatformSpec>) -> Result<(), LifecycleError> {
    let Some(platform) = platform else { return Ok(()) };
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    if platform.os == "linux" && platform.arch == here {
        return Ok(());
    }
    let problem = format!("{}/{} is not here: this server is linux/{here}", platform.os, platform.arch);
    Err(LifecycleError::invalid("platform", problem))
}

fn limits(given: &BTreeMap<String, String>) -> Result<LimitsSpec, LifecycleError> {
    let mut limits = LimitsSpec::default();
    for (name, value) in given {
        let field = format!("resourceLimits.{name}");
        let unreadable = || {
            let problem = format!("{value:?} is no amount; write `500m` or `2` for cpu, `512Mi` for memory");
            LifecycleError::invalid(&field, problem)
        };
        match name.as_str() {
            "cpu" => limits.cpu_millis = Some(thousandths(value).ok_or_else(unreadable)?),
            "memory" => limits.memory_bytes = Some(whole(value).ok_or_else(unreadable)?),
            "disk" | "ephemeral-storage" => limits.disk_bytes = Some(whole(value).ok_or_else(unreadable)?),
            "pids" => {
                let pids = whole(value).and_then(|pids| u32::try_from(pids).ok());
                limits.pids = Some(pids.ok_or_else(unreadable)?);
            }
            "gpu" if whole(value) == Some(0) => {}
            "gpu" => {
                return Err(LifecycleError::invalid(&field, "this server has no graphics processor to give"));
            }
            _ => {
                let problem = "is no limit of this server; it has cpu, memory, disk and pids";
                return Err(LifecycleError::invalid(&field, problem));
            }
        }
    }
    Ok(limits)
}

fn entrypoint(
    given: Option<Vec<String>>,
    is_from_snapshot: bool,
) -> Result<Option<Vec<String>>, LifecycleError> {
    let invalid = |problem: &str| Err(LifecycleError::invalid("entrypoint", problem));
    match given {
        None if is_from_snapshot => Ok(Some(ENTRYPOINT_DEFAULT.map(str::to_owned).to_vec())),
        None => invalid("is required with an image"),
        Some(argv) if argv.first().is_none_or(String::is_empty) => invalid("names no program"),
        Some(argv) if argv.iter().any(|word| word.contains('\0')) => invalid("contains NUL"),
        Some(argv) => Ok(Some(argv)),
    }
}

/// A variable without a value is one that is empty.
fn env(given: BTreeMap<String, Option<String>>) -> Result<Vec<(String, String)>, LifecycleError> {
    let bad = given.iter().find(|(name, value)| {
        name.is_empty() || name.contains(['=', '\0']) || value.as_ref().is_some_and(|it| it.contains('\0'))
    });
    if let Some((name, _)) = bad {
        let problem = format!("{name:?} is no name of a variable, or its value has a NUL");
        return Err(LifecycleError::invalid("env", problem));
    }
    Ok(given.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

fn lease(timeout: Option<i64>) -> Result<Lease, LifecycleError> {
    match timeout {
        None => Ok(Lease::Never),
        Some(seconds) if seconds >= TIMEOUT_MIN_S => {
            Ok(Lease::After(Duration::from_secs(seconds.unsigned_abs())))
        }
        Some(seconds) => {
            let problem = format!("must be at least {TIMEOUT_MIN_S} seconds, not {seconds}");
            Err(LifecycleError::invalid("timeout", problem))
        }
    }
}

fn on_access(extensions: &BTreeMap<String, String>) -> Result<OnAccess, LifecycleError> {
    let seconds = |name: &str, range: std::ops::RangeInclusive<u32>| {
        let Some(text) = extensions.get(name) else { return Ok(None) };
        let given = text.parse::<u32>().ok().filter(|seconds| range.contains(seconds));
        given.map(Some).ok_or_else(|| {
            let problem = format!("must be seconds from {} to {}, not {text:?}", range.start(), range.end());
            LifecycleError::invalid(&format!("extensions.{name}"), problem)
        })
    };
    Ok(OnAccess {
        renew_s: seconds("access.renew.extend.seconds", RENEW_S)?,
        pause_idle_s: seconds("idle.pause.seconds", IDLE_S)?,
    })
}
