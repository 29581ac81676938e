//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::program::Language;

use crate::config::ServeOptions;

/// Runs code in isolated Linux sandboxes, started in milliseconds.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  atoll serve                                    a server on 127.0.0.1:8080 (needs root)
  atoll run -- uname -a                          one command in a fresh sandbox, without a server
  atoll run --runtime typescript hello.ts        one program
  atoll run --net nat -- curl -sI https://example.org
  atoll keys create --admin                      a key, needed beyond 127.0.0.1
  atoll doctor                                   what this host offers, what is missing
  atoll ps                                       the sandboxes of the server on 127.0.0.1:8080";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server
    Serve(Box<ServeOptions>),
    /// Run one command or program in a fresh sandbox; no server is needed
    Run(RunOptions),
    /// Say what this host offers, what is missing, and what to do about it
    Doctor(JsonOption),
    /// List the sandboxes of a server
    Ps(ServerOptions),
    /// Show what a sandbox's program wrote
    Logs(LogsOptions),
    /// End sandboxes and remove everything of them
    Rm(RmOptions),
    /// Keys of the API: make, list and revoke them (needs root)
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The pinned language tools that sandboxes use
    #[command(subcommand)]
    Toolchain(ToolchainCommand),
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Run a source file in this language instead of a command
    #[arg(long, value_enum)]
    pub(crate) runtime: Option<RuntimeName>,
    /// The root file system
    #[arg(long, value_enum, default_value = "host")]
    pub(crate) image: ImageOption,
    /// The network: none (loopback only) or nat (outwards; private networks are out of reach)
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) net: NetOption,
    /// End it after this time: 500ms, 30s, 5m, 1h
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub(crate) timeout: std::time::Duration,
    /// Memory: 64M, 1G
    #[arg(long, default_value = "512M", value_parser = bytes)]
    pub(crate) memory: u64,
    /// A variable of its environment, NAME=VALUE; may be given several times
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Where the pinned toolchains are, and where they are installed at first use
    #[arg(long, env = "ATOLL_TOOLCHAINS", default_value = "/var/lib/atoll/toolchains")]
    pub(crate) toolchains: PathBuf,
    /// Where the sandbox's files are meanwhile
    #[arg(long, env = "ATOLL_RUN_DIR", default_value = "/var/lib/atoll-run")]
    pub(crate) run_dir: PathBuf,
    /// Networks (10.0.0.0/8) that are reachable with `--net nat` although they are private
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network_allow: Vec<String>,
    /// The command and its arguments, or the source file
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RuntimeName {
    Node,
    Bun,
    #[value(alias = "ts")]
    Typescript,
    Python,
    Bash,
}

impl From<RuntimeName> for Language {
    fn from(name: RuntimeName) -> Self {
        match name {
            RuntimeName::Node => Self::Node,
            RuntimeName::Bun => Self::Bun,
            RuntimeName::Typescript => Self::Typescript,
            RuntimeName::Python => Self::Python,
            RuntimeName::Bash => Self::Bash,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ImageOption {
    /// This host's own /usr, read-only
    Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetOption {
    None,
    Nat,
}

#[derive(Debug, Args)]
pub(crate) struct JsonOption {
    /// Print JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    #[command(flatten)]
    pub(crate) server: ServerAccess,
    #[command(flatten)]
    pub(crate) output: JsonOption,
}

#[derive(Debug, Args)]
pub(crate) struct ServerAccess {
    /// The server's address
    #[arg(long = "server", env = "ATOLL_SERVER", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// A key of it. Others on this machine see a command line: better set the variable
    #[arg(long, env = "ATOLL_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// How many lines, the latest
    #[arg(long, short = 'n', default_value_t = 100)]
    pub(crate) lines: usize,
    /// The sandbox's id
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct RmOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// The sandboxes' ids
    #[arg(required = true)]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print it, once
    Create(KeysCreateOptions),
    /// List the keys, masked
    List(KeysListOptions),
    /// Revoke keys, at once and for good
    Revoke(KeysRevokeOptions),
}

#[derive(Debug, Args)]
pub(crate) struct KeysCreateOptions {
    /// The data directory; made if there is none
    #[arg(long, env = "ATOLL_DATA_DIR", default_value = storage::layout::DataDir::DEFAULT)]
    pub(crate) data_dir: PathBuf,
    /// Who or what it is for
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A key that sees and changes everything, not only what it made, and makes keys
    #[arg(long)]
    pub(crate) admin: bool,
    /// For a new data directory: the user id that the server will drop to [default: 61000]
    #[arg(long, env = "ATOLL_USER_ID", value_name = "ID")]
    pub(crate) user_id: Option<u32>,
    #[command(flatten)]
    pub(crate) output: JsonOption,
}

#[derive(Debug, Args)]
pub(crate) struct KeysListOptions {
    /// The data directory
    #[arg(long, env = "ATOLL_DATA_DIR", default_value = storage::layout::DataDir::DEFAULT)]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) output: JsonOption,
}

#[derive(Debug, Args)]
pub(crate) struct KeysRevokeOptions {
    /// The data directory
    #[arg(long, env = "ATOLL_DATA_DIR", default_value = storage::layout::DataDir::DEFAULT)]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) output: JsonOption,
    /// Their numbers, as `atoll keys list` shows them
    #[arg(required = true)]
    pub(crate) ids: Vec<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolchainCommand {
    /// Say which are installed
    List(ToolchainListOptions),
    /// Install some, or all
    Install(ToolchainInstallOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ToolchainListOptions {
    /// The data directory
    #[arg(long, env = "ATOLL_DATA_DIR", default_value = storage::layout::DataDir::DEFAULT)]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) output: JsonOption,
}

#[derive(Debug, Args)]
pub(crate) struct ToolchainInstallOptions {
    /// The data directory
    #[arg(long, env = "ATOLL_DATA_DIR", default_value = storage::layout::DataDir::DEFAULT)]
    pub(crate) data_dir: PathBuf,
    /// All of them
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// Their names: node, bun, typescript
    #[arg(required_unless_present = "all")]
    pub(crate) names: Vec<String>,
}

/// `500ms`, `30s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} is no time; write 500ms, 30s, 5m or 1h"))?;
    let millis = match unit {
        "ms" => Some(number),
        "s" | "" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(format!("unknown unit {unit:?}; known are ms, s, m and h")),
    };
    millis.map(std::time::Duration::from_millis).ok_or_else(|| format!("{text:?} is too long"))
}

/// `64M`, `1G`, `1048576`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no size; write 64M or 1G"))?;
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KB" | "KiB" => 10,
        "M" | "MB" | "MiB" => 20,
        "G" | "GB" | "GiB" => 30,
        "T" | "TB" | "TiB" => 40,
        _ => return Err(format!("unknown unit {unit:?}; known are K, M, G and T")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_sizes() {
        assert_eq!(duration("500ms").unwrap().as_millis(), 500);
        assert_eq!(duration("5m").unwrap().as_secs(), 300);
        assert!(duration("5 parsecs").is_err());
        assert!(duration("99999999999999999999h").is_err());
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert!(bytes("-1").is_err());
        assert!(bytes("99999999T").is_err());
    }
}
