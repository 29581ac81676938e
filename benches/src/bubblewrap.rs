//! The yardstick: bubblewrap with all of its namespaces over the host's `/usr`. It makes no cgroup, no writable
//! layer, no seccomp filter and keeps no record.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::failure::{During, Failure, Outcome};

const ARGUMENTS: &str = "--unshare-all --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
                         --symlink usr/bin /bin --proc /proc --dev /dev --tmpfs /tmp --die-with-parent \
                         --new-session /bin/true";

/// Runs `/bin/true` and returns how long it took from spawn to reaped.
pub(crate) fn time() -> Outcome<Duration> {
    let mut command = Command::new("bwrap");
    command.args(ARGUMENTS.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status().during("start bwrap (Debian package bubblewrap)")?;
    let took = start.elapsed();
    if status.success() { Ok(took) } else { Err(Failure::new("run bwrap", status.to_string())) }
}
