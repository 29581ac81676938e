//! The commands a developer runs: set-up, build, serve, test and the tidy rules of the house.
//!
//! This crate must not know any crate of Atoll: it starts the built program and reads the source as text.

mod bench;
mod command;
mod release;
mod serve;
mod setup;
mod source;
mod test;
mod tidy;
mod vm;
mod workspace;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use setup::Purpose;
use workspace::Workspace;

/// Set up, build, run and test Atoll from its source.
///
/// On a fresh Debian 12 machine with Rust, as root, `cargo xtask serve` is all that is needed to try the
/// server, and `cargo xtask test` all that is needed before a change goes in.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check this host and install the Debian packages that are missing.
    ///
    /// Needs root. Prints what the host offers (kernel, user namespaces, overlay, cgroups, btrfs, loop
    /// devices) and what to do about what it lacks. Installs only what is missing; run it as often as you like.
    Setup(setup::SetupArgs),
    /// Build the release binary, `target/release/atoll`.
    ///
    /// The static agent that runs inside every sandbox is built first and put into the binary.
    Build,
    /// Set up, build and start the server, run one program per runtime, and stay up until Ctrl-C.
    ///
    /// Settings of the server are taken from its `ATOLL_…` variables, for example `ATOLL_DATA_DIR=/srv/atoll`.
    /// See `target/release/atoll serve --help` for all of them.
    Serve(serve::ServeArgs),
    /// Set up, build, then check formatting, lints, documentation and tidy rules, and run all tests.
    ///
    /// Stops at the first step that fails. A skipped or ignored test is a failure.
    Test(test::TestArgs),
    /// Set up, build, and measure Atoll beside bubblewrap and runc: medians, p99, and launches by step.
    ///
    /// Starts a server of its own and removes it afterwards. Exits with 0 whatever the numbers are; keep the
    /// machine quiet meanwhile.
    Bench(bench::BenchArgs),
    /// Build, and check the binary in a virtual machine with Debian 12's own kernel and control groups of version 2 only.
    ///
    /// Needs root and installs QEMU if it is missing; KVM is not needed. Takes some minutes.
    Vm,
    /// Check the rules of the house: file openings and sizes, crate edges, `unsafe`, names, words, links.
    ///
    /// Prints every violation with what to do about it. Each rule is one file in `xtask/src/tidy/`.
    Tidy,
}

fn main() -> ExitCode {
    match command_run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn command_run(command: Command) -> Result<(), Box<dyn Error>> {
    let workspace = Workspace::read()?;
    match command {
        Command::Setup(args) => {
            setup::setup(args.purpose())?;
            if args.purpose() == Purpose::Tests {
                setup::clients_install(&workspace)?;
            }
        }
        Command::Build => {
            let binary = release::build(&workspace)?;
            eprintln!("built {}", binary.display());
        }
        Command::Serve(args) => {
            setup::setup(Purpose::Server)?;
            let binary = release::build(&workspace)?;
            release::toolchains_install(&workspace, &binary)?;
            serve::serve(&binary, args)?;
        }
        Command::Test(args) => test::test(&workspace, &args)?,
        Command::Bench(args) => {
            setup::setup(Purpose::Tests)?;
            bench::bench(&workspace, &args)?;
        }
        Command::Vm => vm::vm(&workspace, &release::build(&workspace)?)?,
        Command::Tidy => tidy::tidy(&workspace)?,
    }
    Ok(())
}
