//! What values of options make sense. A refusal names the option, its value, and what is allowed.
//!
//! It must not know which options there are.

use std::{
    net::IpAddr,
    ops::{Bound, RangeBounds},
    path::Path,
    time::Duration,
};

use protocol::HostPath;

use crate::{
    cli,
    failure::{During, Failure, Outcome},
};

/// Ids that a sandbox has: 0 up to this one.
const USER_ID_MAX: u32 = 65_535;

/// A number of bytes in this range.
pub(crate) fn size(option: &str, text: &str, range: impl RangeBounds<u64>) -> Outcome<u64> {
    let bytes = cli::bytes(text).map_err(|why| Failure::new(format!("{option}: {why}")))?;
    if range.contains(&bytes) {
        return Ok(bytes);
    }
    let end = |bound: Bound<&u64>| match bound {
        Bound::Included(bytes) | Bound::Excluded(bytes) => Some(size_text(*bytes)),
        Bound::Unbounded => None,
    };
    let allowed = match (end(range.start_bound()), end(range.end_bound())) {
        (Some(least), Some(most)) => format!("between {least} and {most}"),
        (least, most) => format!("at least {}", least.or(most).unwrap_or_default()),
    };
    Err(refused(option, text, allowed))
}

/// A time that is not shorter than this.
pub(crate) fn time(option: &str, text: &str, least: Duration) -> Outcome<Duration> {
    let time = cli::duration(text).map_err(|why| Failure::new(format!("{option}: {why}")))?;
    if time >= least { Ok(time) } else { Err(refused(option, text, format!("at least {least:?}"))) }
}

/// A number of things of which there must be one.
pub(crate) fn count(option: &str, number: usize) -> Outcome<usize> {
    match number {
        0 => Err(Failure::new(format!("{option}: must be at least 1, not 0"))),
        number => Ok(number),
    }
}

/// A folder of the host.
pub(crate) fn folder(option: &str, path: &Path) -> Outcome<HostPath> {
    if path.is_absolute() {
        return Ok(HostPath::new(path));
    }
    Err(refused(option, &path.to_string_lossy(), "an absolute path"))
}

/// A folder below which sandboxes may have the host's folders: its path without a slash at the end, and where it is.
/// Nothing of Atoll's own lies in it, nor it in that.
pub(crate) fn volume_prefix(path: &Path, data: &HostPath) -> Outcome<(String, HostPath)> {
    let given = folder("volume_prefix", path)?;
    let what = format!("volume_prefix: look at {given}");
    let found = std::fs::canonicalize(given.as_path()).during(&what)?;
    let data = std::fs::canonicalize(data.as_path()).unwrap_or_else(|_| data.as_path().to_owned());
    let text = path.to_str().map(|text| text.trim_end_matches('/')).unwrap_or_default();
    let is_plain = text.split('/').skip(1).all(|name| !matches!(name, "" | "." | ".."));
    let is_apart = !data.starts_with(&found) && !found.starts_with(&data);
    let is_systems = SYSTEM_FOLDERS.iter().any(|system| found.starts_with(system));
    if !text.is_empty() && is_plain && is_apart && !is_systems && found.is_dir() {
        return Ok((text.to_owned(), HostPath::new(found)));
    }
    let allowed = format!(
        "a folder that is there, by its plain path, apart from {} and the kernel's own folders",
        data.display()
    );
    Err(refused("volume_prefix", &path.to_string_lossy(), allowed))
}

/// The kernel's own folders: what is written there is no file.
const SYSTEM_FOLDERS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// A name that clients call the server by.
pub(crate) fn host(text: &str) -> Outcome<String> {
    if api::is_host_name(text) {
        return Ok(text.to_owned());
    }
    Err(refused("hosts_allowed", text, "a name, as atoll.example.org, or one with a port, as 10.0.0.5:8080"))
}

/// The origin of a web page (RFC 6454, section 6.2), or `*` for all pages.
pub(crate) fn origin(text: &str) -> Outcome<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if text == "*" || rest.is_some_and(api::is_host_name) {
        return Ok(text.to_owned());
    }
    Err(refused("session_origins", text, "*, or an origin as https://ide.example or http://localhost:3000"))
}

/// A name server that a sandbox can reach: it has IPv4 alone, and a loopback of its own.
pub(crate) fn nameserver(address: IpAddr) -> Outcome<IpAddr> {
    match address {
        IpAddr::V4(reached)
            if !reached.is_loopback()
                && !reached.is_unspecified()
                && !reached.is_multicast()
                && !reached.is_broadcast() =>
        {
            Ok(address)
        }
        _ => Err(Failure::new(format!(
            "dns: must be an IPv4 address beyond loopback, which sandboxes can reach, not {address}"
        ))),
    }
}

/// A user of a machine, by name or number.
pub(crate) fn user(text: &str) -> Outcome<String> {
    let is_name = || {
        let is_odd = |letter: char| letter == ':' || letter.is_whitespace() || letter.is_control();
        !text.is_empty() && !text.contains(is_odd)
    };
    let fits = match text.parse::<u64>() {
        Ok(number) => number <= USER_ID_MAX.into(),
        Err(_) => is_name(),
    };
    if fits {
        return Ok(text.to_owned());
    }
    Err(refused("vm_user", text, format!("a name or a number of at most {USER_ID_MAX}")))
}

fn refused(option: &str, value: &str, allowed: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{option}: must be {allowed}, not {value:?}"))
}

/// As [`cli::bytes`] reads it.
fn size_text(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let unit = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| bytes.to_string(), |(shift, name)| format!("{}{name}", bytes >> shift))
}
