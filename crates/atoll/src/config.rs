//! The server's configuration: command line before environment before file before default.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use api::{ApiSettings, SessionsSettings, VmsSettings};
use clap::{Args, builder::FalseyValueParser};
use engine::Settings;
use protocol::HostPath;
use serde::Deserialize;
use storage::pool::POOL_BYTES_MIN;

use crate::{
    allowed,
    failure::{During, Failure, Outcome},
};

/// Every option of `atoll serve`. In the file, names are written with underscores: `data_dir = "/srv/atoll"`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServeOptions {
    /// Address and port to listen on; may be given several times [default: 127.0.0.1:8080]
    #[arg(long, env = "ATOLL_LISTEN", value_delimiter = ',', value_name = "ADDRESS:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Where everything is kept [default: /var/lib/atoll]
    #[arg(long, env = "ATOLL_DATA_DIR", value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// A file with these options, in TOML
    #[arg(long, env = "ATOLL_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Listen beyond loopback without keys, although everybody who reaches the address can run code
    #[arg(long, env = "ATOLL_INSECURE_NO_AUTH", value_parser = FalseyValueParser::new())]
    pub(crate) insecure_no_auth: bool,
    /// Names that clients call this server by, besides its addresses
    #[arg(long, env = "ATOLL_HOSTS_ALLOWED", value_delimiter = ',', value_name = "NAME")]
    pub(crate) hosts_allowed: Vec<String>,
    /// The user id that the server drops to [default: 61000]
    #[arg(long, env = "ATOLL_USER_ID", value_name = "ID")]
    pub(crate) user_id: Option<u32>,
    /// Where the toolchains are [default: below the data directory]
    #[arg(long, env = "ATOLL_TOOLCHAINS", value_name = "FOLDER")]
    pub(crate) toolchains: Option<PathBuf>,
    /// Do not install missing toolchains at start
    #[arg(long, env = "ATOLL_NO_TOOLCHAIN_INSTALL", value_parser = FalseyValueParser::new())]
    pub(crate) no_toolchain_install: bool,
    /// Size of a new storage file: 20G [default: half of the free space, at most 100G]
    #[arg(long, env = "ATOLL_STORAGE_SIZE", value_name = "SIZE")]
    pub(crate) storage_size: Option<String>,
    /// Networks (10.0.0.0/8) that sandboxes with a network reach although they are private
    #[arg(long, env = "ATOLL_NETWORK_ALLOW", value_delimiter = ',', value_name = "NETWORK")]
    pub(crate) network_allow: Vec<String>,
    /// Name servers of sandboxes [default: the host's]
    #[arg(long, env = "ATOLL_DNS", value_delimiter = ',', value_name = "ADDRESS")]
    pub(crate) dns: Vec<IpAddr>,
    /// Memory of a sandbox that asks for none [default: 256M]
    #[arg(long, env = "ATOLL_MEMORY_DEFAULT", value_name = "SIZE")]
    pub(crate) memory_default: Option<String>,
    /// The most memory that a sandbox may ask for [default: 16G]
    #[arg(long, env = "ATOLL_MEMORY_MAX", value_name = "SIZE")]
    pub(crate) memory_max: Option<String>,
    /// What a sandbox may write [default: 2G]
    #[arg(long, env = "ATOLL_DISK_DEFAULT", value_name = "SIZE")]
    pub(crate) disk_default: Option<String>,
    /// What a named volume may hold of which nothing is said [default: 10G]
    #[arg(long, env = "ATOLL_VOLUME_DISK_DEFAULT", value_name = "SIZE")]
    pub(crate) volume_disk_default: Option<String>,
    /// A folder below which sandboxes may have the host's folders as volumes; may be given several times
    #[arg(long, env = "ATOLL_VOLUME_PREFIX", value_delimiter = ',', value_name = "FOLDER")]
    pub(crate) volume_prefix: Vec<PathBuf>,
    /// How many times that a sandbox and its snapshots may hold together [default: 4]
    #[arg(long, env = "ATOLL_SNAPSHOT_DISK_FACTOR", value_name = "NUMBER")]
    pub(crate) snapshot_disk_factor: Option<u32>,
    /// Processes and threads of a sandbox [default: 256]
    #[arg(long, env = "ATOLL_PIDS_DEFAULT", value_name = "NUMBER")]
    pub(crate) pids_default: Option<u32>,
    /// Thousandths of a core that a sandbox may use [default: half of the cores, at least 1000]
    #[arg(long, env = "ATOLL_CPU_DEFAULT", value_name = "MILLIS")]
    pub(crate) cpu_default: Option<u32>,
    /// The longest time limit that a program may ask for [default: 1h]
    #[arg(long, env = "ATOLL_TIMEOUT_MAX", value_name = "TIME")]
    pub(crate) timeout_max: Option<String>,
    /// How long a one-shot sandbox stays listed [default: 1h]
    #[arg(long, env = "ATOLL_LEASE_ONESHOT", value_name = "TIME")]
    pub(crate) lease_oneshot: Option<String>,
    /// How long a persistent sandbox lives [default: 24h]
    #[arg(long, env = "ATOLL_LEASE_PERSISTENT", value_name = "TIME")]
    pub(crate) lease_persistent: Option<String>,
    /// Sandboxes on record at once [default: 10000]
    #[arg(long, env = "ATOLL_SANDBOXES_MAX", value_name = "NUMBER")]
    pub(crate) sandboxes_max: Option<usize>,
    /// Sandboxes that run at once [default: 500]
    #[arg(long, env = "ATOLL_RUNNING_MAX", value_name = "NUMBER")]
    pub(crate) running_max: Option<usize>,
    /// The largest request body [default: 64M]
    #[arg(long, env = "ATOLL_BODY_MAX", value_name = "SIZE")]
    pub(crate) body_max: Option<String>,
    /// What request bodies may hold in memory together, and answers as well [default: 512M]
    #[arg(long, env = "ATOLL_BODY_MEMORY", value_name = "SIZE")]
    pub(crate) body_memory: Option<String>,
    /// Connections at once from one address that is not loopback [default: 1024]
    #[arg(long, env = "ATOLL_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER")]
    pub(crate) connections_per_address: Option<usize>,
    /// How much of each output stream a run returns [default: 8M]
    #[arg(long, env = "ATOLL_OUTPUT_MAX", value_name = "SIZE")]
    pub(crate) output_max: Option<String>,
    /// What machines of the vms dialect are made from: host, or dev-1, which is the same [default: dev-1]
    #[arg(long, env = "ATOLL_BASE_VM", value_name = "IMAGE")]
    pub(crate) base_vm: Option<String>,
    /// The user that commands in such machines run as, a name or a number of theirs [default: root]
    #[arg(long, env = "ATOLL_VM_USER", value_name = "USER")]
    pub(crate) vm_user: Option<String>,
    /// Origins of web pages that may use the sessions API, as `https://ide.example` [default: *, all of them]
    #[arg(long, env = "ATOLL_SESSION_ORIGINS", value_delimiter = ',', value_name = "ORIGIN")]
    pub(crate) session_origins: Vec<String>,
    /// A session that was not used for so long is paused; its next use resumes it [default: 15m]
    #[arg(long, env = "ATOLL_SESSION_IDLE_PAUSE", value_name = "TIME")]
    pub(crate) session_idle_pause: Option<String>,
    /// A session that was not used for so long is ended [default: 24h]
    #[arg(long, env = "ATOLL_SESSION_LEASE", value_name = "TIME")]
    pub(crate) session_lease: Option<String>,
    /// The time that a command of the sessions API may take [default: 5m]
    #[arg(long, env = "ATOLL_SESSION_COMMAND_TIMEOUT", value_name = "TIME")]
    pub(crate) session_command_timeout: Option<String>,
    /// How long a session's terminals are kept for a page that is loaded again; 0 ends them with their connection
    /// [default: 1m]
    #[arg(long, env = "ATOLL_SESSION_TERMINAL_KEEP", value_name = "TIME")]
    pub(crate) session_terminal_keep: Option<String>,
    /// Write the log as JSON
    #[arg(long, env = "ATOLL_LOG_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) log_json: bool,
}

/// The user that the server becomes unless told otherwise: in a range that neither Debian nor systemd gives
/// to anybody (systemd's UIDS-GIDS, 60578 to 61183).
pub(crate) const SERVER_UID: u32 = 61_000;

/// The user of the server, as it was asked for.
pub(crate) fn server_uid(user_id: Option<u32>) -> Outcome<u32> {
    let uid = user_id.unwrap_or(SERVER_UID);
    if jail::privileges::may_serve(uid) {
        return Ok(uid);
    }
    Err(Failure::new(format!("user_id: the server must not run as {uid}, which is root or a sandbox's user"))
        .hint("give the id of a user that nothing else runs as, or leave it out"))
}

/// Request bodies, one or all together: what a host has memory for.
const BODY_RANGE: RangeInclusive<u64> = 1 << 10..=1 << 40;
/// Each of a run's two output streams, which the server and the sandbox's agent hold in memory.
const OUTPUT_RANGE: RangeInclusive<u64> = 1 << 10..=1 << 30;
/// What a volume can do with.
const VOLUME_BYTES_MIN: u64 = 1 << 20;
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const LEASE_MIN: Duration = Duration::from_secs(1);

/// Names of the `host` image for the vms dialect: its own, and the one in that dialect's document.
const BASE_VMS: [&str; 2] = ["host", "dev-1"];

impl ServeOptions {
    /// Fills what was not given from the configuration file.
    pub(crate) fn with_file(self) -> Outcome<Self> {
        let Some(path) = &self.config else { return Ok(self) };
        let what = format!("read the configuration {}", path.display());
        let text = std::fs::read_to_string(path).during(&what)?;
        let file: Self = toml::from_str(&text).during(&what)?;
        Ok(self.or(file))
    }

    fn or(self, file: Self) -> Self {
        fn list<T>(own: Vec<T>, file: Vec<T>) -> Vec<T> {
            if own.is_empty() { file } else { own }
        }
        Self {
            listen: list(self.listen, file.listen),
            data_dir: self.data_dir.or(file.data_dir),
            config: self.config,
            insecure_no_auth: self.insecure_no_auth || file.insecure_no_auth,
            hosts_allowed: list(self.hosts_allowed, file.hosts_allowed),
            user_id: self.user_id.or(file.user_id),
            toolchains: self.toolchains.or(file.toolchains),
            no_toolchain_install: self.no_toolchain_install || file.no_toolchain_install,
            storage_size: self.storage_size.or(file.storage_size),
            network_allow: list(self.network_allow, file.network_allow),
            dns: list(self.dns, file.dns),
            memory_default: self.memory_default.or(file.memory_default),
            memory_max: self.memory_max.or(file.memory_max),
            disk_default: self.disk_default.or(file.disk_default),
            volume_disk_default: self.volume_disk_default.or(file.volume_disk_default),
            volume_prefix: list(self.volume_prefix, file.volume_prefix),
            snapshot_disk_factor: self.snapshot_disk_factor.or(file.snapshot_disk_factor),
            pids_default: self.pids_default.or(file.pids_default),
            cpu_default: self.cpu_default.or(file.cpu_default),
            timeout_max: self.timeout_max.or(file.timeout_max),
            lease_oneshot: self.lease_oneshot.or(file.lease_oneshot),
            lease_persistent: self.lease_persistent.or(file.lease_persistent),
            sandboxes_max: self.sandboxes_max.or(file.sandboxes_max),
            running_max: self.running_max.or(file.running_max),
            body_max: self.body_max.or(file.body_max),
            body_memory: self.body_memory.or(file.body_memory),
            connections_per_address: self.connections_per_address.or(file.connections_per_address),
            output_max: self.output_max.or(file.output_max),
            base_vm: self.base_vm.or(file.base_vm),
            vm_user: self.vm_user.or(file.vm_user),
            session_origins: list(self.session_origins, file.session_origins),
            session_idle_pause: self.session_idle_pause.or(file.session_idle_pause),
            session_lease: self.session_lease.or(file.session_lease),
            session_command_timeout: self.session_command_timeout.or(file.session_command_timeout),
            session_terminal_keep: self.session_terminal_keep.or(file.session_terminal_keep),
            log_json: self.log_json || file.log_json,
        }
    }

    /// Where to listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        if self.listen.is_empty() {
            vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))]
        } else {
            self.listen.clone()
        }
    }

    /// The engine's settings.
    pub(crate) fn settings(&self) -> Outcome<Settings> {
        let mut settings = Settings::default();
        let set_size = |value: &mut u64, text: &Option<String>, name| -> Outcome<()> {
            if let Some(text) = text {
                *value = allowed::size(name, text, ..)?;
            }
            Ok(())
        };
        let set_time = |value: &mut Duration, text: &Option<String>, name, least| -> Outcome<()> {
            if let Some(text) = text {
                *value = allowed::time(name, text, least)?;
            }
            Ok(())
        };
        let (default, max) = (&mut settings.limits_default, &mut settings.limits_max);
        set_size(&mut default.memory_bytes, &self.memory_default, "memory_default")?;
        set_size(&mut max.memory_bytes, &self.memory_max, "memory_max")?;
        set_size(&mut default.disk_bytes, &self.disk_default, "disk_default")?;
        if let Some(text) = &self.volume_disk_default {
            let range = VOLUME_BYTES_MIN..=settings.volume_bytes_max;
            settings.volume_bytes_default = allowed::size("volume_disk_default", text, range)?;
        }
        if let Some(text) = &self.output_max {
            settings.output_bytes_max = allowed::size("output_max", text, OUTPUT_RANGE)?;
        }
        set_time(&mut settings.timeout_max, &self.timeout_max, "timeout_max", TIMEOUT_MIN)?;
        set_time(&mut settings.lease_oneshot, &self.lease_oneshot, "lease_oneshot", LEASE_MIN)?;
        set_time(&mut settings.lease_persistent, &self.lease_persistent, "lease_persistent", LEASE_MIN)?;
        settings.limits_default.pids = self.pids_default.unwrap_or(settings.limits_default.pids);
        settings.limits_default.cpu_millis = self.cpu_default.unwrap_or(settings.limits_default.cpu_millis);
        settings.snapshot_disk_factor = self.snapshot_disk_factor.unwrap_or(settings.snapshot_disk_factor);
        settings.sandboxes_max =
            allowed::count("sandboxes_max", self.sandboxes_max.unwrap_or(settings.sandboxes_max))?;
        settings.running_max =
            allowed::count("running_max", self.running_max.unwrap_or(settings.running_max))?;
        settings.check().during("use these options for sandboxes that ask for nothing")?;
        Ok(settings)
    }

    /// The settings of the HTTP side, where clients may call the server by these names.
    pub(crate) fn api_settings(&self, hosts_allowed: Vec<String>) -> Outcome<ApiSettings> {
        let default = ApiSettings::default();
        let bytes = |name, text: &Option<String>| -> Outcome<Option<usize>> {
            let bytes = text.as_deref().map(|text| allowed::size(name, text, BODY_RANGE)).transpose()?;
            Ok(bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)))
        };
        let body_bytes_max = bytes("body_max", &self.body_max)?.unwrap_or(default.body_bytes_max);
        let body_memory_bytes =
            bytes("body_memory", &self.body_memory)?.unwrap_or(default.body_memory_bytes.max(body_bytes_max));
        if body_memory_bytes < body_bytes_max {
            return Err(Failure::new("body_memory: less than one body of body_max needs")
                .hint("raise --body-memory, or lower --body-max"));
        }
        let connections_per_address = allowed::count(
            "connections_per_address",
            self.connections_per_address.unwrap_or(default.connections_per_address),
        )?;
        Ok(ApiSettings {
            body_bytes_max,
            body_memory_bytes,
            connections_per_address,
            hosts_allowed,
            insecure_no_auth: self.insecure_no_auth,
            vms: self.vms_settings()?,
            sessions: self.sessions_settings()?,
        })
    }

    fn sessions_settings(&self) -> Outcome<SessionsSettings> {
        let mut settings = SessionsSettings::default();
        if !self.session_origins.is_empty() {
            let origins = self.session_origins.iter().map(|text| allowed::origin(text));
            settings.origins = origins.collect::<Outcome<_>>()?;
        }
        for (value, text, name, least) in [
            (&mut settings.idle_pause, &self.session_idle_pause, "session_idle_pause", LEASE_MIN),
            (&mut settings.lease, &self.session_lease, "session_lease", LEASE_MIN),
            (
                &mut settings.command_timeout,
                &self.session_command_timeout,
                "session_command_timeout",
                TIMEOUT_MIN,
            ),
            (
                &mut settings.terminal_keep,
                &self.session_terminal_keep,
                "session_terminal_keep",
                Duration::ZERO,
            ),
        ] {
            if let Some(text) = text {
                *value = allowed::time(name, text, least)?;
            }
        }
        Ok(settings)
    }

    fn vms_settings(&self) -> Outcome<VmsSettings> {
        let default = VmsSettings::default();
        let base_vm = self.base_vm.clone().unwrap_or(default.base_vm);
        if !BASE_VMS.contains(&base_vm.as_str()) {
            return Err(Failure::new(format!("base_vm: there is no image {base_vm:?}")).hint(
                "write `host` or `dev-1`, which both mean the image made from this host, or leave it out",
            ));
        }
        let user = self.vm_user.as_deref().map(allowed::user).transpose()?;
        Ok(VmsSettings { base_vm, user })
    }

    /// Folders below which sandboxes may have volumes: as clients call them, and where they are.
    pub(crate) fn volume_prefixes(&self, data: &HostPath) -> Outcome<Vec<(String, HostPath)>> {
        if self.volume_prefix.len() > usize::from(u8::MAX) {
            return Err(Failure::new(format!("volume_prefix: at most {} folders", u8::MAX)));
        }
        self.volume_prefix.iter().map(|folder| allowed::volume_prefix(folder, data)).collect()
    }

    /// The folder of the toolchains, if it is another one than usual.
    pub(crate) fn toolchains(&self) -> Outcome<Option<HostPath>> {
        self.toolchains.as_deref().map(|folder| allowed::folder("toolchains", folder)).transpose()
    }

    /// Name servers that sandboxes reach.
    pub(crate) fn nameservers(&self) -> Outcome<Vec<IpAddr>> {
        self.dns.iter().map(|&address| allowed::nameserver(address)).collect()
    }

    /// Names that clients call the server by.
    pub(crate) fn names(&self) -> Outcome<Vec<String>> {
        self.hosts_allowed.iter().map(|name| allowed::host(name)).collect()
    }

    /// The size of a new storage file.
    pub(crate) fn storage_bytes(&self) -> Outcome<Option<u64>> {
        self.storage_size
            .as_deref()
            .map(|text| allowed::size("storage_size", text, POOL_BYTES_MIN..))
            .transpose()
    }
}

/// `10.0.0.0/8`, or a single address.
pub(crate) fn network(text: &str) -> Outcome<(Ipv4Addr, u8)> {
    let bad = || Failure::new(format!("network_allow: {text:?} is no network; write 10.0.0.0/8 or 10.1.2.3"));
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    let (address, length): (Ipv4Addr, u8) =
        (address.parse().map_err(|_| bad())?, length.parse().map_err(|_| bad())?);
    if length > 32 { Err(bad()) } else { Ok((address, length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_file() {
        let own = ServeOptions { pids_default: Some(7), ..ServeOptions::default() };
        let file = toml::from_str("pids_default = 9\nrunning_max = 3\nlisten = ['127.0.0.1:1']").unwrap();
        let both = own.or(file);
        assert_eq!((both.pids_default, both.running_max), (Some(7), Some(3)));
        assert_eq!(both.addresses(), ["127.0.0.1:1".parse().unwrap()]);
    }

    #[test]
    fn unknown_names_in_the_file_are_refused() {
        assert!(toml::from_str::<ServeOptions>("pid_default = 9").is_err());
    }

    #[test]
    fn memory_for_bodies_is_enough_for_the_largest() {
        let settings = |body_max: &str, body_memory: Option<&str>| {
            let body_memory = body_memory.map(str::to_owned);
            let body_max = Some(body_max.to_owned());
            ServeOptions { body_max, body_memory, ..ServeOptions::default() }.api_settings(Vec::new())
        };
        assert_eq!(settings("1G", None).unwrap().body_memory_bytes, 1 << 30);
        assert_eq!(settings("1M", None).unwrap().body_memory_bytes, 512 << 20);
        assert_eq!(settings("1M", Some("1M")).unwrap().body_memory_bytes, 1 << 20);
        assert!(settings("2M", Some("1M")).is_err());
    }

    #[test]
    fn values_that_make_no_sense_are_refused_with_what_is_allowed() {
        let refusal = |line: &str| {
            let options: ServeOptions = toml::from_str(line).unwrap();
            let checked = options.settings().and_then(|_| options.names()).and_then(|names| {
                options.api_settings(names)?;
                options.toolchains()?;
                options.nameservers()?;
                options.storage_bytes()
            });
            checked.err().map(|failure| failure.to_string())
        };
        for (line, value, allowed) in [
            ("hosts_allowed = ['a b']", "\"a b\"", "atoll.example.org"),
            ("hosts_allowed = ['https://a.example']", "\"https://a.example\"", "atoll.example.org"),
            ("hosts_allowed = ['a.example', '']", "\"\"", "atoll.example.org"),
            ("volume_disk_default = '1K'", "\"1K\"", "between 1M and 1T"),
            ("vm_user = ''", "\"\"", "a name or a number"),
            ("vm_user = 'a:b'", "\"a:b\"", "a name or a number"),
            ("vm_user = '70000'", "\"70000\"", "65535"),
            ("toolchains = 'rel'", "\"rel\"", "absolute"),
            ("toolchains = ''", "\"\"", "absolute"),
            ("body_max = '0'", "\"0\"", "between 1K and 1T"),
            ("body_max = '99T'", "\"99T\"", "between 1K and 1T"),
            ("body_memory = '99T'", "\"99T\"", "between 1K and 1T"),
            ("output_max = '0'", "\"0\"", "between 1K and 1G"),
            ("output_max = '99T'", "\"99T\"", "between 1K and 1G"),
            ("memory_max = '1 kilo'", "\"1 kilo\"", "64M"),
            ("timeout_max = '0'", "\"0\"", "at least 1ms"),
            ("lease_oneshot = '0s'", "\"0s\"", "at least 1s"),
            ("lease_persistent = '999ms'", "\"999ms\"", "at least 1s"),
            ("storage_size = '0'", "\"0\"", "at least 1G"),
            ("storage_size = '1023M'", "\"1023M\"", "at least 1G"),
            ("dns = ['9.9.9.9', '::1']", "::1", "IPv4"),
            ("dns = ['127.0.0.53']", "127.0.0.53", "IPv4"),
            ("dns = ['0.0.0.0']", "0.0.0.0", "IPv4"),
            ("running_max = 0", "0", "at least 1"),
            ("sandboxes_max = 0", "0", "at least 1"),
            ("connections_per_address = 0", "0", "at least 1"),
        ] {
            let text = refusal(line).unwrap_or_else(|| panic!("{line} is accepted"));
            let (option, _) = line.split_once(' ').unwrap();
            assert!(
                text.contains(option) && text.contains(value) && text.contains(allowed),
                "{line}: {text}"
            );
        }
        for line in [
            "hosts_allowed = ['atoll.example.org', '10.0.0.5:8080', '[fd00::5]']",
            "vm_user = '65535'",
            "vm_user = 'daemon'",
            "toolchains = '/srv/toolchains'",
            "body_max = '1K'",
            "output_max = '1G'",
            "timeout_max = '1ms'",
            "lease_oneshot = '1'",
            "storage_size = '1G'",
            "dns = ['9.9.9.9']",
        ] {
            assert_eq!(refusal(line), None, "{line}");
        }
    }

    #[test]
    fn the_server_is_never_root_nor_a_sandboxs_user() {
        assert_eq!(server_uid(None).unwrap(), SERVER_UID);
        assert_eq!(server_uid(Some(1000)).unwrap(), 1000);
        for refused in [0, u32::MAX, 0x7000_0000, 0x7000_ffff] {
            assert!(server_uid(Some(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(network("10.0.0.0/8").unwrap(), (Ipv4Addr::new(10, 0, 0, 0), 8));
        assert_eq!(network("10.1.2.3").unwrap().1, 32);
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("example.org").is_err());
    }
}
