//! The host's side of sandboxes with a network: Atoll's own nftables table, the interface pairs.
//!
//! Nothing of the host's own rules is touched. Forwarding is switched on for the uplink and for the pairs
//! only, not for the host as a whole.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use rustix::io::Errno;

use super::{LauncherConfig, NetworkConfig};
use crate::{
    failure::{Step, StepError},
    netlink::{Netlink, interface_index},
    plan::{Instance, NatPlan},
};

/// The uplink, and what is needed to connect sandboxes to it.
pub(super) struct Uplink {
    netlink: Option<Netlink>,
    mtu: u32,
    serial: u32,
}

/// Ethernet's, where the uplink's is not known.
const MTU_DEFAULT: u32 = 1500;

/// Names tried for one pair.
const NAME_TRIES: u32 = 1024;

impl Uplink {
    /// Sets the table up, if there is to be address translation at all.
    pub(super) fn open(config: &LauncherConfig) -> Result<Self, StepError> {
        let Some(network) = &config.network else {
            return Ok(Self { netlink: None, mtu: MTU_DEFAULT, serial: 0 });
        };
        table_load(&table(config.instance, network))?;
        let interface = default_interface();
        let mtu = interface
            .as_deref()
            .and_then(|name| std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok())
            .and_then(|mtu| mtu.trim().parse().ok())
            .unwrap_or(MTU_DEFAULT);
        if let Some(name) = &interface {
            forwarding_enable(name)?;
        }
        let netlink = Netlink::open().step(|| "open a netlink socket".to_owned())?;
        Ok(Self { netlink: Some(netlink), mtu, serial: 0 })
    }

    /// Makes a pair between the host and the network namespace of a sandbox's first process. It goes with
    /// that namespace.
    pub(super) fn interface_create(&mut self, nat: &NatPlan, pid: i32) -> Result<(), StepError> {
        let Some(netlink) = &mut self.netlink else {
            return Err(StepError::new("make the network interface", Errno::OPNOTSUPP));
        };
        // A name that another pair still has, on its way out with its namespace, is passed over.
        let mut created = Err(Errno::EXIST);
        let mut name = String::new();
        for _ in 0..NAME_TRIES {
            self.serial = (self.serial + 1) % 0xff_ffff;
            name = format!("{}{:x}", nat.interface_prefix, self.serial);
            created = netlink.pair_create(&name, pid.unsigned_abs(), self.mtu);
            if created != Err(Errno::EXIST) {
                break;
            }
        }
        let mut configure = || {
            created?;
            let index = interface_index(&name)?;
            netlink.address_add(index, nat.gateway)?;
            netlink.route_add_direct(index, nat.address)
        };
        configure().step(|| format!("make the network interface {name}"))?;
        forwarding_enable(&name)
    }
}

fn forwarding_enable(interface: &str) -> Result<(), StepError> {
    let file = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
    std::fs::write(&file, "1").step(|| format!("write {file}"))
}

/// The interface of the default route, from `/proc/net/route`.
fn default_interface() -> Option<String> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    routes.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (name, destination) = (words.next()?, words.next()?);
        (destination == "00000000").then(|| name.to_owned())
    })
}

/// Networks that a sandbox may not reach unless allowed: this host's and its neighbours', not the
/// Internet's (RFC 1122, 1918, 3927 with the clouds' metadata service, 6598, 5771, 1112; RFC 6890 has the
/// whole list).
const PRIVATE: [&str; 9] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// The rules of one instance, as nft(8) reads them.
fn table(instance: Instance, network: &NetworkConfig) -> String {
    let name = instance.name();
    let ours = format!("\"{}*\"", instance.interface_prefix());
    let any = "\"atl*\"";
    let private = PRIVATE.join(", ");
    let (subnet, length) = instance.network();
    let set = |elements: Vec<String>| {
        if elements.is_empty() { String::new() } else { format!("elements = {{ {} }}", elements.join(", ")) }
    };
    let nameservers = set(network.nameservers.iter().map(ToString::to_string).collect());
    let allowed =
        set(network.allowed.iter().map(|(address, length)| format!("{address}/{length}")).collect());
    format!(
        "\
table inet {name}
delete table inet {name}
table inet {name} {{
    set nameservers {{ type ipv4_addr; {nameservers} }}
    set allowed {{ type ipv4_addr; flags interval; auto-merge; {allowed} }}
    set private {{ type ipv4_addr; flags interval; elements = {{ {private} }} }}

    chain input {{
        type filter hook input priority filter - 10; policy accept;
        iifname {ours} ip daddr @nameservers meta l4proto {{ tcp, udp }} th dport 53 accept
        iifname {ours} drop
    }}
    chain forward {{
        type filter hook forward priority filter - 10; policy accept;
        iifname {ours} oifname {any} drop
        iifname {ours} meta nfproto ipv6 drop
        iifname {ours} ip daddr @nameservers meta l4proto {{ tcp, udp }} th dport 53 accept
        iifname {ours} ip daddr @allowed accept
        iifname {ours} ip daddr @private reject with icmp type admin-prohibited
        oifname {ours} ct state established,related accept
        oifname {ours} drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet}/{length} oifname != {any} masquerade
    }}
}}
"
    )
}

/// Loads rules, all or none.
fn table_load(rules: &str) -> Result<(), StepError> {
    let load = || -> std::io::Result<()> {
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        if let Some(mut input) = nft.stdin.take() {
            input.write_all(rules.as_bytes())?;
        }
        if nft.wait()?.success() { Ok(()) } else { Err(std::io::Error::from(Errno::INVAL)) }
    };
    load().step(|| "load the nftables table with nft".to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_rules_of_an_instance() {
        let network = NetworkConfig {
            nameservers: vec![Ipv4Addr::new(10, 0, 0, 53)],
            allowed: vec![(Ipv4Addr::new(192, 168, 7, 0), 24)],
        };
        insta::assert_snapshot!(table(Instance::new(3).unwrap(), &network));
    }
}
