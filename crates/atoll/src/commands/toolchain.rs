//! `atoll toolchain`: the pinned language tools, listed and installed.

use std::{path::Path, process::ExitCode};

use protocol::HostPath;
use storage::{
    layout::DataDir,
    progress::progress_on_stderr,
    toolchains::{ToolchainName, ToolchainState, toolchain_install, toolchain_list},
};

use crate::{
    cli::{ToolchainCommand, ToolchainInstallOptions, ToolchainListOptions},
    config::SERVER_UID,
    failure::{During, Outcome},
    terminal::print,
};

pub(crate) fn toolchain(command: ToolchainCommand) -> Outcome<ExitCode> {
    match command {
        ToolchainCommand::List(options) => list(&options),
        ToolchainCommand::Install(options) => install(&options),
    }
}

fn data_dir(root: &Path) -> Outcome<DataDir> {
    DataDir::new(HostPath::new(root)).during("use the data directory")
}

fn list(options: &ToolchainListOptions) -> Outcome<ExitCode> {
    let toolchains = toolchain_list(&data_dir(&options.data_dir)?);
    let installed = |state: &ToolchainState| matches!(state, ToolchainState::Installed(_));
    if options.output.json {
        let rows: Vec<_> = toolchains
            .iter()
            .map(|toolchain| {
                serde_json::json!({
                    "name": toolchain.name.to_string(),
                    "version": toolchain.version,
                    "installed": installed(&toolchain.state),
                })
            })
            .collect();
        print(&format!("{}\n", serde_json::Value::from(rows)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = toolchains.into_iter().map(|toolchain| {
        let state = match toolchain.state {
            ToolchainState::Installed(folder) => format!("installed in {folder}"),
            ToolchainState::Missing { download_bytes } => {
                format!("missing; {} MB to download", download_bytes >> 20)
            }
        };
        format!("{:12}{:12}{state}\n", toolchain.name.to_string(), toolchain.version)
    });
    print(&lines.collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn install(options: &ToolchainInstallOptions) -> Outcome<ExitCode> {
    let data = data_dir(&options.data_dir)?;
    let names: Vec<ToolchainName> = if options.all {
        ToolchainName::ALL.to_vec()
    } else {
        let parsed = options.names.iter().map(|name| name.parse());
        parsed.collect::<Result<_, _>>().during("choose toolchains")?
    };
    data.create(SERVER_UID, SERVER_UID).during("prepare the data directory")?;
    for name in names {
        let mut progress = progress_on_stderr();
        let folder = toolchain_install(&data, name, &mut *progress)
            .during(&format!("install the toolchain {name}"))?;
        print(&format!("{name} is in {folder}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
