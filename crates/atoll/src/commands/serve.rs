//! `atoll serve`: from root with a command line to an unprivileged server.

use std::{
    ffi::OsString,
    io::IsTerminal,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use api::ApiSettings;
use engine::{Engine, NativeRuntime, Settings};
use jail::launcher::AtServerEnd;
use protocol::HostPath;
use storage::{
    environment::environment_base,
    layout::DataDir,
    progress::progress_on_stderr,
    toolchains::{ToolchainState, toolchain_install, toolchain_list},
};
use store::Store;
use tracing_subscriber::EnvFilter;

use crate::{
    aliases,
    config::{ServeOptions, network, server_uid},
    failure::{During, Failure, Outcome},
    host::{self, Host, HostOptions},
};

/// How long requests may go on after the server was asked to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

pub(crate) fn serve(options: ServeOptions) -> Outcome<ExitCode> {
    let variable = |name: &str| std::env::var(name).ok();
    let options = options.with_file()?.with_aliases(variable)?;
    log_start(options.log_json);
    let addresses = options.addresses();
    let server_uid = server_uid(options.user_id)?;
    let data = data_dir(&options)?;
    let exposed = exposure(&options, &addresses);
    if let Some(address) = exposed
        && std::fs::symlink_metadata(data.database().as_path()).is_err()
    {
        return Err(keyless(address));
    }
    let mut settings = options.settings()?;
    let api = options.api_settings(hosts(options.names()?, &addresses))?;
    let storage_bytes = options.storage_bytes()?;
    let dns = options.nameservers()?;
    // Bound for a moment only, to fail before anything is set up: the launcher must not hold them, too.
    addresses.iter().try_for_each(|address| listen(address).map(drop))?;
    let (volume_names, volume_prefixes) = options.volume_prefixes(data.root())?.into_iter().unzip();
    let mut host = host::prepare(HostOptions {
        data: data.clone(),
        server_uid,
        storage_bytes,
        dns,
        network_allow: options.network_allow.iter().map(|text| network(text)).collect::<Outcome<_>>()?,
        at_server_end: AtServerEnd::LeaveSandboxes,
        prepare_ahead: true,
        volume_prefixes,
    })?;
    if !options.no_toolchain_install {
        toolchains_install(&data, &mut host.notes);
    }
    host.notes.extend(aliases::notes(variable));
    settings.volume_prefixes = volume_names;
    settings.network_available = host.network;
    settings.environment = environment_base(&data);
    settings.boot = boot_name();
    let listeners = addresses.iter().map(listen).collect::<Outcome<Vec<_>>>()?;
    jail::privileges::drop_to(server_uid, server_uid).during("give up root")?;

    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().during("start the runtime")?;
    runtime.block_on(serve_unprivileged(host, data, settings, api, listeners, exposed))
}

/// This boot of the host, as the kernel names it (random(4)).
fn boot_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

async fn serve_unprivileged(
    host: Host,
    data: DataDir,
    settings: Settings,
    api: ApiSettings,
    listeners: Vec<TcpListener>,
    exposed: Option<SocketAddr>,
) -> Outcome<ExitCode> {
    let Host { launcher, pool, notes, held, .. } = host;
    for note in notes {
        tracing::warn!("{note}");
    }
    let store = Store::open(&data.database()).during("open the store")?;
    let launcher_pid = launcher.launcher.pid;
    let (runtime, exits) = NativeRuntime::connect(launcher, data).during("connect to the launcher")?;
    let engine = Engine::start(settings, store, Arc::new(runtime), exits).await.during("start the engine")?;
    let per_address = api.connections_per_address;
    keys_check(&engine, exposed, api.insecure_no_auth).await?;
    let router = api::router(engine, api);
    for listener in &listeners {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, storage = ?pool.kind, launcher = launcher_pid, "serving http://{address}");
        }
    }
    api::serve(listeners, router, per_address, stop_signal(), SHUTDOWN_GRACE).await.during("serve")?;
    tracing::info!("stopped");
    drop(held);
    Ok(ExitCode::SUCCESS)
}

/// Completes at the first SIGTERM or SIGINT.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
}

fn log_start(json: bool) {
    let filter = EnvFilter::try_from_env("ATOLL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A log that is full or closed must not end the server: it would, with a panic, in telling of that.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_coloured(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR")))
        .log_internal_errors(false);
    if json { log.json().init() } else { log.init() }
}

/// Whether the log has colours: a file and whatever reads a pipe want none, and nor do some people
/// (<https://no-color.org>).
fn is_coloured(is_terminal: bool, no_color: Option<OsString>) -> bool {
    is_terminal && no_color.is_none_or(|value| value.is_empty())
}

/// An address that others reach, for which the server needs a key.
fn exposure(options: &ServeOptions, addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let beyond = addresses.iter().copied().find(|address| !address.ip().is_loopback());
    beyond.filter(|_| !options.insecure_no_auth)
}

fn keyless(address: SocketAddr) -> Failure {
    Failure::new(format!(
        "refusing to listen on {address} without keys: everybody who reaches it could run code"
    ))
    .hint(
        "make a key with `atoll keys create --admin` (and the same --data-dir), listen on 127.0.0.1, \
             or say --insecure-no-auth",
    )
}

/// Whether there are the keys that the addresses need. Only now can the database be read: it is the server's, and
/// root opens nothing of the server's.
async fn keys_check(engine: &Engine, exposed: Option<SocketAddr>, insecure_no_auth: bool) -> Outcome<()> {
    let keys = engine.key_table().await.during("read the keys")?;
    if insecure_no_auth && keys.has_ever_had_a_key() {
        tracing::warn!("--insecure-no-auth does nothing: there are keys, and requests need one");
    }
    match exposed {
        Some(address) if !keys.has_a_key() => Err(keyless(address)),
        _ => Ok(()),
    }
}

fn listen(address: &SocketAddr) -> Outcome<TcpListener> {
    TcpListener::bind(address).during(&format!("listen on {address}"))
}

fn data_dir(options: &ServeOptions) -> Outcome<DataDir> {
    let root = options.data_dir.clone().unwrap_or_else(|| DataDir::DEFAULT.into());
    let data = DataDir::new(HostPath::new(root)).during("use the data directory")?;
    Ok(match options.toolchains()? {
        Some(folder) => data.with_toolchains(folder),
        None => data,
    })
}

/// What a client may call this server: its addresses beyond loopback, and the names it was given.
fn hosts(mut names: Vec<String>, addresses: &[SocketAddr]) -> Vec<String> {
    let beyond = addresses.iter().filter(|address| !address.ip().is_loopback());
    names.extend(beyond.map(ToString::to_string));
    names
}

/// Installs what is missing. A server without a toolchain is still a server.
fn toolchains_install(data: &DataDir, notes: &mut Vec<String>) {
    for toolchain in toolchain_list(data) {
        if let ToolchainState::Missing { .. } = toolchain.state
            && let Err(error) = toolchain_install(data, toolchain.name, &mut *progress_on_stderr())
        {
            notes.push(format!("no programs for {}: {error}", toolchain.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_has_colours_and_only_if_they_are_wanted() {
        let cases = [(None, true), (Some(""), true), (Some("1"), false), (Some("0"), false)];
        for (no_color, on_a_terminal) in cases {
            let is_coloured = |is_terminal| is_coloured(is_terminal, no_color.map(OsString::from));
            assert_eq!((is_coloured(true), is_coloured(false)), (on_a_terminal, false), "{no_color:?}");
        }
    }
}
