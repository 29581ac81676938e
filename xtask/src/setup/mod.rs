//! Makes this host ready: says what its kernel offers and installs the Debian packages that are missing.
//!
//! It must not know the server: `atoll doctor` tells in depth what the server makes of the host.

mod clients;
mod host;
mod packages;

use clap::Args;

pub(crate) use clients::clients_install;
use host::{Finding, HostFacts, Verdict};
use packages::PackageError;
pub(crate) use packages::Purpose;

/// Options of `cargo xtask setup`.
#[derive(Args)]
pub(crate) struct SetupArgs {
    /// Also install what only the tests and the benchmark need (bubblewrap, runc, curl, jq, a registry, the vendors'
    /// published clients).
    #[arg(long)]
    tests: bool,
}

impl SetupArgs {
    /// What the packages are wanted for.
    pub(crate) fn purpose(&self) -> Purpose {
        if self.tests { Purpose::Tests } else { Purpose::Server }
    }
}

/// Why the host is not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The kernel or its set-up lacks something that nothing can stand in for.
    #[error("this host cannot run sandboxes yet: {} (see the lines marked `missing` above)", .lacking.join(", "))]
    Host {
        /// The names of what is missing.
        lacking: Vec<&'static str>,
    },
    /// A Debian package could not be installed.
    #[error("cannot install the packages that are missing")]
    Packages(#[from] PackageError),
}

/// Checks the host and installs the packages that `purpose` needs.
pub(crate) fn setup(purpose: Purpose) -> Result<(), SetupError> {
    let findings = HostFacts::read().findings();
    for Finding { subject, verdict, detail } in &findings {
        eprintln!("{:>8}  {subject}: {detail}", verdict.word());
    }
    let lacking: Vec<_> =
        findings.iter().filter(|finding| finding.verdict == Verdict::Missing).map(|it| it.subject).collect();
    if !lacking.is_empty() {
        return Err(SetupError::Host { lacking });
    }
    packages::packages_install(purpose)?;
    Ok(())
}
