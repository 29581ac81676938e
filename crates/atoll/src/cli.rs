//! The command line.

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::program::Language;
use protocol::{SandboxId, limits::MEMORY_BYTES_MIN, policy::Target};
use storage::images::{Reference, ReferenceError};

use crate::{config::ServeOptions, failure::Outcome, terminal};

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
  atoll image pull debian:12                     an image of a registry
  atoll doctor                                   what this host offers, what is missing
  atoll ps                                       the sandboxes of the server on 127.0.0.1:8080";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server
    Serve(Box<ServeOptions>),
    /// Run one command or program in a fresh sandbox; no server is needed
    Run(RunOptions),
    /// Say what this host offers, what is missing, and what to do about it
    Doctor(DoctorOptions),
    /// List the sandboxes of a server
    Ps(ServerOptions),
    /// Show what a sandbox's program wrote
    Logs(LogsOptions),
    /// End sandboxes and remove everything of them
    Rm(RmOptions),
    /// Volumes that a server keeps: list and remove them
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Keys of the API: make, list and revoke them (needs root)
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The pinned language tools that sandboxes use
    #[command(subcommand)]
    Toolchain(ToolchainCommand),
    /// Images of registries and archives: pull, import, list and remove them (needs root)
    #[command(subcommand)]
    Image(ImageCommand),
    /// Unpacks a layer into the folder it is started in; the other commands start it
    #[command(hide = true)]
    ImageUnpack {
        /// The most that the layer may unpack to
        bytes_max: u64,
    },
}

const RUN_EXAMPLES: &str = "\
Standard input goes to the program, and what it writes comes out as it is written.
The exit status is the program's; 128 and the signal if one ended it; 124 at the time limit.
However the run ends, by Ctrl-C too, nothing of its sandbox is left.

Examples:
  atoll run -- sh -c 'id; ls -la /'
  sort words.txt | atoll run -- uniq -c           standard input
  atoll run --runtime python prog.py a b          a program with arguments
  echo 'print(6 * 7)' | atoll run --runtime python -
  atoll run -e LANG=C --memory 64M --timeout 10s -- make";

#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
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
    /// With `--net nat`, let it reach this name, names below one (*.example.com), address or network, and nothing
    /// else; may be given several times
    #[arg(long = "allow-net", value_name = "NAME|NETWORK")]
    pub(crate) allow_net: Vec<Target>,
    /// With `--net nat`, keep it from this; comes before what is allowed; may be given several times
    #[arg(long = "deny-net", value_name = "NAME|NETWORK")]
    pub(crate) deny_net: Vec<Target>,
    /// End it after this time, with status 124: 500ms, 30s, 5m, 1h; at most 24h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = run_timeout)]
    pub(crate) timeout: Duration,
    /// Memory of all its processes together, files in /tmp included: 64M, 1G; at least 16M
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = run_memory)]
    pub(crate) memory: u64,
    /// A variable of its environment, NAME=VALUE; may be given several times
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Where the pinned toolchains are, and where they are installed at first use
    #[arg(
        long,
        env = "ATOLL_TOOLCHAINS",
        value_name = "FOLDER",
        default_value = "/var/lib/atoll/toolchains"
    )]
    pub(crate) toolchains: PathBuf,
    /// Where the sandbox's files are meanwhile
    #[arg(long, env = "ATOLL_RUN_DIR", value_name = "FOLDER", default_value = "/var/lib/atoll-run")]
    pub(crate) run_dir: PathBuf,
    /// Networks (10.0.0.0/8) that are reachable with `--net nat` although they are private
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network_allow: Vec<String>,
    /// The command, or with --runtime the source file (- reads it from standard input), and arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND|FILE")]
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
pub(crate) struct DoctorOptions {
    /// The data directory
    #[arg(long, env = "ATOLL_DATA_DIR", default_value = storage::layout::DataDir::DEFAULT)]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) output: JsonOption,
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
    #[arg(
        long = "server",
        env = "ATOLL_SERVER",
        value_name = "ADDRESS",
        default_value = "http://127.0.0.1:8080",
        value_parser = server_address
    )]
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
    /// The sandbox's id, as `atoll ps` shows it
    #[arg(value_parser = sandbox_id)]
    pub(crate) id: SandboxId,
}

#[derive(Debug, Args)]
pub(crate) struct RmOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// The sandboxes' ids, as `atoll ps` shows them
    #[arg(required = true, value_parser = sandbox_id)]
    pub(crate) ids: Vec<SandboxId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// List the key's volumes; with an administrator's key everybody's
    List(ServerOptions),
    /// Remove volumes with all they hold
    Rm(VolumeRmOptions),
}

#[derive(Debug, Args)]
pub(crate) struct VolumeRmOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// The volumes' names, or ids, as `atoll volume list` shows them
    #[arg(required = true, value_parser = volume_name)]
    pub(crate) volumes: Vec<String>,
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

const PULL_EXAMPLES: &str = "\
Everything is compared with its digest, and unpacked by a process without power over this machine.
Registries are spoken to with encryption only, but for those on this machine itself.

Examples:
  atoll image pull debian:12
  atoll image pull localhost:5000/team/tool@sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865
  atoll image pull ghcr.io/team/tool:1.2 --username me --password-stdin < token";

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Pull an image from a registry
    Pull(ImagePullOptions),
    /// Make an image of an archive of a root file system
    Import(ImageImportOptions),
    /// List the images that are here
    List(ImageListOptions),
    /// Remove images, and what no other image needs of them
    Rm(ImageRmOptions),
    /// Remove what no image needs, and old downloads
    Prune(ImagePruneOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ImageFolder {
    /// The data directory; made if there is none
    #[arg(long, env = "ATOLL_DATA_DIR", default_value = storage::layout::DataDir::DEFAULT)]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = PULL_EXAMPLES)]
pub(crate) struct ImagePullOptions {
    #[command(flatten)]
    pub(crate) folder: ImageFolder,
    /// The user's name at the registry
    #[arg(long, requires = "password_stdin")]
    pub(crate) username: Option<String>,
    /// Read the password, or the token that stands for it, from standard input
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,
    /// The most that a layer may unpack to: 512M, 8G [default: 32G, or seven eighths of what is free]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_size: Option<u64>,
    #[command(flatten)]
    pub(crate) output: JsonOption,
    /// The image: NAME, NAME:TAG, HOST:PORT/NAME:TAG, NAME@sha256:DIGEST
    #[arg(value_parser = image_reference)]
    pub(crate) reference: Reference,
}

#[derive(Debug, Args)]
pub(crate) struct ImageImportOptions {
    #[command(flatten)]
    pub(crate) folder: ImageFolder,
    /// What to call it
    #[arg(long, value_parser = image_name)]
    pub(crate) name: Reference,
    /// The most that it may unpack to: 512M, 8G [default: 32G, or seven eighths of what is free]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_size: Option<u64>,
    #[command(flatten)]
    pub(crate) output: JsonOption,
    /// A tar of a root file system, also packed with gzip or zstd; - reads it from standard input
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImageListOptions {
    #[command(flatten)]
    pub(crate) folder: ImageFolder,
    #[command(flatten)]
    pub(crate) output: JsonOption,
}

#[derive(Debug, Args)]
pub(crate) struct ImageRmOptions {
    #[command(flatten)]
    pub(crate) folder: ImageFolder,
    /// The images' names, as `atoll image list` shows them
    #[arg(required = true, value_parser = image_reference)]
    pub(crate) names: Vec<Reference>,
}

#[derive(Debug, Args)]
pub(crate) struct ImagePruneOptions {
    #[command(flatten)]
    pub(crate) folder: ImageFolder,
    /// Also remove all downloads that were broken off, and the images that have been here longest until the rest takes no
    /// more than this: 0, 20G
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) keep: Option<u64>,
}

fn image_reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|error: ReferenceError| error.to_string())
}

fn image_name(text: &str) -> Result<Reference, String> {
    let name = image_reference(text)?;
    match name.digest() {
        Some(_) => Err("a name that is given has no digest".to_owned()),
        None if text == "host" => Err("`host` is this machine's own image; take another name".to_owned()),
        None => Ok(name),
    }
}

/// Gives the answer that clap has: what `--help` and `--version` print, or what is wrong with the arguments.
pub(crate) fn answer(answer: &clap::Error) -> Outcome<ExitCode> {
    let printed = answer.print().and_then(|()| std::io::stdout().flush());
    if answer.use_stderr() {
        return Ok(ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2)));
    }
    terminal::written(printed).map(|()| ExitCode::SUCCESS)
}

/// `500ms`, `30s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
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
    millis.map(Duration::from_millis).ok_or_else(|| format!("{text:?} is too long"))
}

/// The most that `atoll run --timeout` takes.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_hours(24);

/// The most that `atoll run --memory` takes.
pub(crate) const MEMORY_MAX: u64 = 1 << 40;

fn run_timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if timeout.is_zero() || timeout > TIMEOUT_MAX {
        return Err("must be between 1ms and 24h".to_owned());
    }
    Ok(timeout)
}

fn run_memory(text: &str) -> Result<u64, String> {
    let memory = bytes(text)?;
    if !(MEMORY_BYTES_MIN..=MEMORY_MAX).contains(&memory) {
        return Err(format!("must be between {}M and {}T", MEMORY_BYTES_MIN >> 20, MEMORY_MAX >> 40));
    }
    Ok(memory)
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

/// `http://127.0.0.1:8080`, `127.0.0.1:8080`; without a slash at the end.
fn server_address(text: &str) -> Result<String, String> {
    let known = "write http://127.0.0.1:8080 or 127.0.0.1:8080";
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(format!("{scheme}:// is not spoken; {known}")),
        None => text,
    };
    let address = format!("http://{}", rest.trim_end_matches('/'));
    let parsed = address.parse::<ureq::http::Uri>().ok();
    let is_address = parsed.as_ref().and_then(|uri| uri.authority()).is_some_and(|place| {
        !place.host().is_empty() && (place.port_u16().is_some() || place.as_str() == place.host())
    });
    let is_all = parsed.and_then(|uri| uri.into_parts().path_and_query).is_none_or(|rest| rest == "/");
    match (is_address, is_all) {
        (true, true) => Ok(address),
        (true, false) => {
            Err(format!("an address has no path, as a server's own paths begin with /; {known}"))
        }
        (false, _) => Err(format!("this is no address; {known}")),
    }
}

fn sandbox_id(text: &str) -> Result<SandboxId, String> {
    text.parse().map_err(|_| "this is no id of a sandbox; `atoll ps` lists them".to_owned())
}

fn volume_name(text: &str) -> Result<String, String> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match !text.is_empty() && text.bytes().all(is_known) {
        true => Ok(text.to_owned()),
        false => Err("this is no name of a volume; `atoll volume list` shows them".to_owned()),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write NAME=VALUE")?;
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

    #[test]
    fn what_a_run_may_take() {
        assert_eq!(run_timeout("1ms").unwrap().as_millis(), 1);
        assert_eq!(run_timeout("24h"), Ok(TIMEOUT_MAX));
        assert!(run_timeout("0").is_err() && run_timeout("1441m").is_err());
        assert_eq!(run_memory("16M"), Ok(MEMORY_BYTES_MIN));
        assert!(run_memory("16383K").is_err() && run_memory("2T").is_err());
    }

    #[test]
    fn addresses_of_servers() {
        for text in ["http://h:1", "http://h:1/", "h:1"] {
            assert_eq!(server_address(text).as_deref(), Ok("http://h:1"), "{text}");
        }
        for text in ["", "http://", "https://h", "h h", "h:port", ":1"] {
            assert!(server_address(text).is_err(), "{text}");
        }
        for text in ["http://h/x", "h:1/x/", "h:1?x", "h:1/?x"] {
            assert!(server_address(text).unwrap_err().contains("no path"), "{text}");
        }
    }
}
