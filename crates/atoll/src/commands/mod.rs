//! The commands, one file each.

mod doctor;
mod image;
mod keys;
mod logs;
mod ps;
mod rm;
mod run;
mod serve;
mod toolchain;
mod volume;

use std::process::ExitCode;

use crate::{
    cli::{Cli, Command},
    failure::Outcome,
};

/// Runs a command; the code is the program's exit status.
pub(crate) fn run(cli: Cli) -> Outcome<ExitCode> {
    match cli.command {
        Command::Serve(options) => serve::serve(*options),
        Command::Run(options) => run::run(options),
        Command::Doctor(options) => doctor::doctor(&options),
        Command::Ps(options) => ps::ps(&options),
        Command::Logs(options) => logs::logs(&options),
        Command::Rm(options) => rm::rm(&options),
        Command::Volume(command) => volume::volume(command),
        Command::Keys(command) => keys::keys(command),
        Command::Toolchain(command) => toolchain::toolchain(command),
        Command::Image(command) => image::image(command),
        Command::ImageUnpack { bytes_max } => image::unpack(bytes_max),
    }
}
