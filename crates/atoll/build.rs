//! Builds the static agent, so that `src/embedded.rs` can put it into this binary.
//!
//! The agent has its own profile, flags and target folder. None of the caller's may reach it: it is the same
//! program whether cargo checks, lints, tests or builds this crate, and is built once for all of them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, io};

/// What the agent is built from, relative to this package: so cargo finds them also after the checkout has moved.
const SOURCES: [&str; 4] = ["../../Cargo.lock", "../../Cargo.toml", "../agent", "../protocol"];

/// Variables by which the calling cargo hands its own way of building to build scripts.
const CALLERS_VARIABLES: [&str; 9] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];

/// Why there is no agent.
#[derive(Debug)]
enum BuildError {
    Variable(&'static str),
    TargetDir(PathBuf),
    Start(PathBuf, io::Error),
    Cargo(String),
    NoBinary(PathBuf),
}

fn main() -> ExitCode {
    match agent_build() {
        Ok(binary) => {
            println!("cargo::rustc-env=ATOLL_AGENT_BINARY={}", binary.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cargo::error={}", error.text());
            ExitCode::FAILURE
        }
    }
}

fn agent_build() -> Result<PathBuf, BuildError> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let triple = variable("TARGET")?;
    let target_dir = target_dir(Path::new(&variable("OUT_DIR")?), &triple)?.join("agent");

    let mut cargo = Command::new(variable("CARGO")?);
    cargo.args(["build", "--locked", "--package", "agent", "--profile", "agent", "--target", &triple]);
    cargo.arg("--target-dir").arg(&target_dir).current_dir("../..");
    for name in CALLERS_VARIABLES {
        cargo.env_remove(name);
    }
    // The agent must run in any rootfs, also in one without a C library. At a fixed address, it has nothing to
    // relocate: that would touch, and so copy, many of its pages at each start.
    let flags = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let output = cargo.output().map_err(|error| BuildError::Start(cargo.get_program().into(), error))?;
    if !output.status.success() {
        return Err(BuildError::Cargo(String::from_utf8_lossy(&output.stderr).into_owned()));
    }

    let binary = target_dir.join(triple).join("agent/atoll-agent");
    if binary.is_file() { Ok(binary) } else { Err(BuildError::NoBinary(binary)) }
}

/// The target folder of the calling cargo: `OUT_DIR` is `<target dir>[/<triple>]/<profile>/build/<package>/out`.
fn target_dir<'a>(out_dir: &'a Path, triple: &str) -> Result<&'a Path, BuildError> {
    let build = out_dir.ancestors().find(|folder| folder.ends_with("build"));
    let parent = build.and_then(Path::parent).and_then(Path::parent);
    let target_dir = if parent.is_some_and(|folder| folder.ends_with(triple)) {
        parent.and_then(Path::parent)
    } else {
        parent
    };
    target_dir.ok_or_else(|| BuildError::TargetDir(out_dir.to_owned()))
}

fn variable(name: &'static str) -> Result<String, BuildError> {
    env::var(name).map_err(|_| BuildError::Variable(name))
}

impl BuildError {
    /// What failed and what to do. A line break would end cargo's message.
    fn text(&self) -> String {
        match self {
            Self::Variable(name) => format!("cargo did not set {name}; build this crate with cargo"),
            Self::TargetDir(out_dir) => {
                format!("cannot tell the target folder from OUT_DIR {}", out_dir.display())
            }
            Self::Start(program, error) => {
                format!("cannot start {} for the agent: {error}", program.display())
            }
            Self::Cargo(stderr) => {
                eprintln!("{stderr}");
                let errors: Vec<_> =
                    stderr.lines().filter(|line| line.starts_with("error")).take(3).collect();
                format!("the agent does not build ({}); see `cargo build --package agent`", errors.join("; "))
            }
            Self::NoBinary(path) => format!("the agent was built, but not to {}", path.display()),
        }
    }
}
