//! Getting the host ready, as root, before anything serves: folders, storage, image, launcher.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::{Duration, Instant},
};

use jail::{
    host::{Controller, HostFacts},
    instance::{InstanceLease, instance_claim},
    launcher::{AtServerEnd, LauncherConfig, LauncherProcess, NetworkConfig, network_check},
};
use protocol::HostPath;
use storage::{
    host_image::{HostImageOptions, host_image_build},
    layout::{DataDir, DataDirLock, LayoutError},
    pool::{KernelCalls, Pool, PoolOptions, Quota, pool_open, pool_reserve},
    resolver::resolver_find,
    run_folder::run_folder_mount,
};

use crate::{
    embedded::AGENT,
    failure::{During, Failure, Outcome},
};

/// What a server, or a single run, is prepared with.
pub(crate) struct HostOptions {
    pub(crate) data: DataDir,
    pub(crate) server_uid: u32,
    pub(crate) storage_bytes: Option<u64>,
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) network_allow: Vec<(Ipv4Addr, u8)>,
    pub(crate) at_server_end: AtServerEnd,
    pub(crate) prepare_ahead: bool,
    pub(crate) volume_prefixes: Vec<HostPath>,
}

/// A host that is ready.
pub(crate) struct Host {
    pub(crate) launcher: LauncherProcess,
    pub(crate) pool: Pool,
    /// Whether sandboxes can have a network.
    pub(crate) network: bool,
    /// Things that work less well than they could, each with what to do.
    pub(crate) notes: Vec<String>,
    /// What keeps other servers out, as long as it is not dropped.
    pub(crate) held: (DataDirLock, InstanceLease),
}

/// Refuses to go on without root, before anything is touched.
pub(crate) fn root_check() -> Outcome<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("only root can make sandboxes").hint("start it with sudo; `atoll doctor` says more"))
}

/// How the storage asks the kernel for what btrfs and loop devices do.
pub(crate) fn kernel_calls() -> KernelCalls<'static> {
    KernelCalls {
        quota_enable: &jail::btrfs_quota_enable,
        loop_grow: &jail::loop_grow,
        btrfs_grow: &jail::btrfs_grow,
    }
}

/// Prepares the host and starts the launcher. The process must be root and have one thread.
pub(crate) fn prepare(options: HostOptions) -> Outcome<Host> {
    root_check()?;
    let HostOptions { data, server_uid, .. } = options;
    let folder = data.root().to_string();
    data.create(server_uid, server_uid).during(&format!("prepare the data directory {folder}"))?;
    let lock = lock_await(&data).during(&format!("lock the data directory {folder}"))?;
    run_folder_mount(&data).during("prepare the folder of what runs")?;
    let facts = HostFacts::detect().during("look at the host")?;
    controllers_check(&facts)?;
    let pool_options = PoolOptions { size_bytes: options.storage_bytes, calls: kernel_calls() };
    let pool = pool_open(&data, pool_options).during("open the storage")?;
    let mut notes = pool.notes.clone();
    if let Quota::Off { reason } = &pool.quota {
        notes.push(format!("sandboxes' disks are not limited: {reason}"));
    }
    if let storage::pool::PoolKind::Plain(why) = &pool.kind {
        notes.push(format!("no disk quotas, no snapshots in constant time: {why}"));
    }
    let resolver = resolver_find(&options.dns).during("find name servers")?;
    notes.extend(resolver.note().map(str::to_owned));
    let nameservers = resolver
        .nameservers
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
        .collect();
    let image = HostImageOptions { resolver, package_database: true };
    let image = host_image_build(&data, &image).during("make the `host` image")?;
    for note in &image.notes {
        tracing::debug!(note, "host image");
    }
    if image.is_outdated {
        notes.push(
            "the storage is too full to bring the `host` image up to date; delete sandboxes and start again"
                .to_owned(),
        );
    }
    pool_reserve(&data, &pool);
    let instance =
        instance_claim(data.root().as_path(), &facts.cgroups).during("find a free instance number")?;
    let mut config = LauncherConfig {
        data,
        instance: instance.instance,
        host: facts,
        server_uid,
        server_gid: server_uid,
        subvolumes: pool.is_btrfs(),
        network: Some(NetworkConfig { nameservers, allowed: options.network_allow }),
        resolver: None,
        agent: AGENT,
        at_server_end: options.at_server_end,
        prepare_ahead: options.prepare_ahead,
        volume_prefixes: options.volume_prefixes,
    };
    if !program_exists("nft") {
        notes.push(
            "no network for sandboxes: `nft` is not installed; run `apt-get install nftables`".to_owned(),
        );
        config.network = None;
    } else if let Some(wanted) = &config.network
        && let Err(problem) = network_check(config.instance, wanted)
    {
        notes.push(format!("no network for sandboxes: {problem}; see `atoll doctor`"));
        config.network = None;
    }
    let network = config.network.is_some();
    let launcher = jail::launcher::start(config).during("start the launcher")?;
    Ok(Host { launcher, pool, network, notes, held: (lock, instance) })
}

/// How long the rest of a server that has ended may take to let go of its data.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Takes the lock. A server that has just ended may have left a launcher that is about to end, too.
fn lock_await(data: &DataDir) -> Result<DataDirLock, LayoutError> {
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match data.lock() {
            Err(LayoutError::Locked { pid: Some(pid), .. })
                if !Path::new(&format!("/proc/{pid}")).exists() && Instant::now() < give_up =>
            {
                std::thread::sleep(LOCK_POLL);
            }
            taken => return taken,
        }
    }
}

fn controllers_check(facts: &HostFacts) -> Outcome<()> {
    let missing: Vec<&str> = facts.cgroups.missing().into_iter().map(Controller::name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("the host has no control groups for: {}", missing.join(", ")))
        .hint("mount cgroup2 on /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1"))
}

/// Whether a program of the host's administrator is installed.
pub(crate) fn program_exists(name: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(name).exists())
}
