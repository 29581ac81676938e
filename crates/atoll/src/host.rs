//! Getting the host ready, as root, before anything serves: folders, storage, image, launcher.

use std::net::{IpAddr, Ipv4Addr};

use jail::{
    host::{Controller, HostFacts},
    instance::{InstanceLease, instance_claim},
    launcher::{LauncherConfig, LauncherProcess, NetworkConfig},
};
use storage::{
    host_image::{HostImageOptions, host_image_build},
    layout::{DataDir, DataDirLock},
    pool::{Pool, PoolOptions, Quota, pool_open},
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

/// Prepares the host and starts the launcher. The process must be root and have one thread.
pub(crate) fn prepare(options: HostOptions) -> Outcome<Host> {
    if !rustix::process::geteuid().is_root() {
        return Err(
            Failure::new("only root can make sandboxes").hint("start it with sudo; `atoll doctor` says more")
        );
    }
    let HostOptions { data, server_uid, .. } = options;
    let folder = data.root().to_string();
    data.create(server_uid, server_uid).during(&format!("prepare the data directory {folder}"))?;
    let lock = data.lock().during(&format!("lock the data directory {folder}"))?;
    run_folder_mount(&data).during("prepare the folder of what runs")?;
    let facts = HostFacts::detect().during("look at the host")?;
    controllers_check(&facts)?;
    let pool_options =
        PoolOptions { size_bytes: options.storage_bytes, quota_enable: &jail::btrfs_quota_enable };
    let pool = pool_open(&data, pool_options).during("open the storage")?;
    let mut notes = Vec::new();
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
        agent: AGENT,
    };
    if !program_exists("nft") {
        notes.push(
            "no network for sandboxes: `nft` is not installed; run `apt-get install nftables`".to_owned(),
        );
        config.network = None;
    }
    let network = config.network.is_some();
    let launcher = jail::launcher::start(config).during("start the launcher")?;
    Ok(Host { launcher, pool, network, notes, held: (lock, instance) })
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
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|folder| std::path::Path::new(folder).join(name).exists())
}
