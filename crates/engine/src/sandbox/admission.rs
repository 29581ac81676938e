//! From what a client asks for to a record, or to a reason why not.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use protocol::{
    SandboxId,
    launcher::NetworkMode,
    limits::{Limits, MEMORY_BYTES_MIN},
    policy::NetworkPolicy,
};
use store::{SandboxRecord, SandboxState};

use crate::{
    Caller, Error, ErrorKind, Lease, LimitsSpec, ProgramSummary, Result, SandboxSpec, Settings, VolumeSpec,
    program::{Mode, Program, program_plan},
    volumes::volumes_check,
};

/// The most that environment and arguments of a process may hold together: a quarter of what execve(2)
/// takes with the usual stack.
const ENV_BYTES_MAX: usize = 512 << 10;

/// A sandbox that may be made.
pub(crate) struct Admitted {
    /// Its volumes are still to be found.
    pub(crate) record: SandboxRecord,
    pub(crate) program: Option<Program>,
    pub(crate) volumes: Vec<VolumeSpec>,
}

/// Checks a request against the settings.
pub(crate) fn admit(caller: &Caller, spec: SandboxSpec, settings: &Settings) -> Result<Admitted> {
    let limits = limits(&spec.limits, settings)?;
    env_check(&spec.env)?;
    volumes_check(&spec.volumes, settings)?;
    let program = spec.program;
    if let Some(program) = &program {
        program_check(program, settings)?;
    }
    let now = Timestamp::now();
    let lease = match (spec.lease, program.as_ref().map(|program| program.mode)) {
        (Lease::Never, _) => None,
        (Lease::After(time), _) => Some(time),
        (Lease::Configured, Some(Mode::Oneshot)) => Some(settings.lease_oneshot),
        (Lease::Configured, _) => Some(settings.lease_persistent),
    };
    let network = match (spec.network, &spec.network_policy) {
        (Some(network), _) => network,
        (None, Some(_)) => NetworkMode::Nat,
        (None, None) => network_of(program.as_ref()),
    };
    policy_check(spec.network_policy.as_ref(), network, settings)?;
    let summary = program.as_ref().map(ProgramSummary::of);
    let record = SandboxRecord {
        id: SandboxId::random(),
        number: None,
        ordinal: None,
        owner: caller.owner.clone(),
        dialect: spec.dialect.to_owned(),
        name: spec.name,
        state: SandboxState::Pending,
        created_at: now,
        started_at: None,
        ended_at: None,
        lease_until: lease.map(|lease| later(now, lease)),
        end: None,
        image: "host".to_owned(),
        network,
        network_policy: spec.network_policy,
        limits,
        env: spec.env,
        metadata: spec.metadata,
        program: summary.map(serde_json::to_value).transpose().map_err(Error::internal)?,
        last_result: None,
        ephemeral: false,
        pending: None,
        entrypoint: spec.entrypoint,
        details: spec.details,
        on_access: spec.on_access,
        volumes: Vec::new(),
        used_at: None,
        variables: Vec::new(),
    };
    Ok(Admitted { record, program, volumes: spec.volumes })
}

/// A moment after another; the end of time if that is nearer.
pub(crate) fn later(from: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// A policy is for a network.
fn policy_check(policy: Option<&NetworkPolicy>, network: NetworkMode, settings: &Settings) -> Result<()> {
    match policy {
        Some(_) if network == NetworkMode::None => {
            Err(Error::invalid("network_policy", "is for a sandbox with a network (nat)"))
        }
        Some(_) if !settings.network_available => {
            let text =
                "This host has no networks for sandboxes, and so no network policies; see `atoll doctor`";
            Err(Error::new(ErrorKind::Unavailable, text))
        }
        _ => Ok(()),
    }
}

/// A program that installs something or serves needs a network; one that only computes gets none.
fn network_of(program: Option<&Program>) -> NetworkMode {
    match program {
        Some(program) if program.install_dependencies || program.mode == Mode::Persistent => NetworkMode::Nat,
        _ => NetworkMode::None,
    }
}

/// The limits of a sandbox that asks for these.
pub(crate) fn limits(asked: &LimitsSpec, settings: &Settings) -> Result<Limits> {
    let (default, max) = (&settings.limits_default, &settings.limits_max);
    Ok(Limits {
        memory_bytes: within(
            "memory",
            asked.memory_bytes.unwrap_or(default.memory_bytes),
            MEMORY_BYTES_MIN,
            max.memory_bytes,
            " bytes",
        )?,
        cpu_millis: within(
            "cpu",
            asked.cpu_millis.unwrap_or(default.cpu_millis),
            10,
            max.cpu_millis,
            " millicores",
        )?,
        pids: within("pids", asked.pids.unwrap_or(default.pids), 8, max.pids, "")?,
        disk_bytes: within(
            "disk",
            asked.disk_bytes.unwrap_or(default.disk_bytes),
            1 << 20,
            max.disk_bytes,
            " bytes",
        )?,
        open_files: default.open_files,
    })
}

fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    least: T,
    most: T,
    unit: &str,
) -> Result<T> {
    if value >= least && value <= most {
        Ok(value)
    } else {
        Err(Error::invalid(field, format!("must be between {least} and {most}{unit}, not {value}")))
    }
}

/// Whether Linux passes such an environment to a process.
pub(super) fn env_check(env: &[(String, String)]) -> Result<()> {
    let bad = |name: &str| name.is_empty() || name.contains(['=', '\0']);
    if let Some((name, _)) = env.iter().find(|(name, value)| bad(name) || value.contains('\0')) {
        return Err(Error::invalid(
            "env",
            format!("{name:?} is no name of a variable, or its value has a NUL"),
        ));
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if bytes > ENV_BYTES_MAX || env.iter().any(|(_, value)| value.len() > 128 << 10) {
        return Err(Error::invalid("env", "is larger than Linux passes to a process"));
    }
    Ok(())
}

fn program_check(program: &Program, settings: &Settings) -> Result<()> {
    if program.code.is_empty() {
        return Err(Error::invalid("code", "must not be empty"));
    }
    let millis = |duration: Duration| duration.as_millis();
    if program.timeout.is_zero() || program.timeout > settings.timeout_max {
        return Err(Error::invalid(
            "timeout",
            format!(
                "must be between 1 and {} ms, not {}",
                millis(settings.timeout_max),
                millis(program.timeout)
            ),
        ));
    }
    program_plan(program).map(|_| ())
}

impl ProgramSummary {
    fn of(program: &Program) -> Self {
        Self {
            language: program.language,
            mode: program.mode,
            timeout: program.timeout,
            dev_server: program.dev_server,
        }
    }
}
