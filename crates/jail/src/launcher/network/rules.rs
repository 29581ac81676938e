//! The nftables table of an instance: who may reach what, and how many connections at once.
//!
//! It must not know interfaces and slots of single sandboxes: a pattern of names and a network stand for all.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use rustix::io::Errno;

use super::super::{NetworkConfig, ResolverPorts};
use crate::{
    failure::{Step, StepError},
    plan::Instance,
};

/// Networks that a sandbox may not reach unless allowed: this host's and its neighbours', not the
/// Internet's (RFC 1122, 1918, 3927 with the clouds' metadata service, 6598, 2544, 5771, 1112; RFC 6890 has the
/// whole list).
const PRIVATE: [&str; 11] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// Connections of one sandbox that the kernel tracks at once. All of a host's share one table
/// (`nf_conntrack_max`, 262,144 where it was looked at), and when that is full the host has no new ones.
const CONNECTIONS_MAX: u32 = 1024;

/// Loads the rules of an instance in the place of those it had. `local` are the networks that the host reaches
/// by routes of their own, closed like the private ones.
///
/// # Errors
/// When nft(8) refuses; then the rules stay what they were.
pub(super) fn load(
    instance: Instance,
    network: &NetworkConfig,
    resolver: Option<ResolverPorts>,
    local: &[String],
) -> Result<(), StepError> {
    table_load(&table(instance, network, resolver, local))
}

/// The rules of one instance, as nft(8) reads them.
fn table(
    instance: Instance,
    network: &NetworkConfig,
    resolver: Option<ResolverPorts>,
    local: &[String],
) -> String {
    let name = instance.name();
    let ours = format!("\"{}*\"", instance.interface_prefix());
    let any = "\"atl*\"";
    let private: Vec<&str> = PRIVATE.into_iter().chain(local.iter().map(String::as_str)).collect();
    let private = private.join(", ");
    let (subnet, length) = instance.network();
    let set = |elements: Vec<String>| {
        if elements.is_empty() { String::new() } else { format!("elements = {{ {} }}", elements.join(", ")) }
    };
    let nameservers = set(network.nameservers.iter().map(ToString::to_string).collect());
    let allowed =
        set(network.allowed.iter().map(|(address, length)| format!("{address}/{length}")).collect());
    // Only what was sent there by a rule: nobody reaches it by its own address.
    let resolver = match resolver {
        Some(ResolverPorts { udp, tcp }) => format!(
            "
        iifname {ours} udp dport {udp} ct status dnat accept
        iifname {ours} tcp dport {tcp} ct status dnat accept"
        ),
        None => String::new(),
    };
    format!(
        "\
table inet {name}
delete table inet {name}
table inet {name} {{
    set nameservers {{ type ipv4_addr; {nameservers} }}
    set allowed {{ type ipv4_addr; flags interval; auto-merge; {allowed} }}
    set private {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {private} }} }}
    set connections {{ type ipv4_addr; size 1024; flags dynamic; }}

    chain input {{
        type filter hook input priority filter - 10; policy accept;
        iifname {ours} ct state new add @connections {{ ip saddr ct count over {CONNECTIONS_MAX} }} drop{resolver}
        iifname {ours} ip daddr @nameservers meta l4proto {{ tcp, udp }} th dport 53 accept
        iifname {ours} drop
    }}
    chain forward {{
        type filter hook forward priority filter - 10; policy accept;
        iifname {ours} oifname {any} drop
        iifname {ours} meta nfproto ipv6 drop
        iifname {ours} ct state new add @connections {{ ip saddr ct count over {CONNECTIONS_MAX} }} drop
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

/// Whether the kernel would take the rules, without loading any (`nft --check`). A module of it may be missing.
///
/// # Errors
/// What nft(8) says, its first line.
pub(in crate::launcher) fn check(instance: Instance, network: &NetworkConfig) -> Result<(), String> {
    let checked = nft(&["--check", "-f", "-"], &table(instance, network, None, &[]), Stdio::piped());
    let output = checked.map_err(|error| format!("nft: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("nft: {}", said.lines().next().unwrap_or("it failed without a word")))
}

/// Loads rules, all or none.
pub(super) fn table_load(rules: &str) -> Result<(), StepError> {
    let load = || -> std::io::Result<()> {
        let loaded = nft(&["-f", "-"], rules, Stdio::inherit())?;
        if loaded.status.success() { Ok(()) } else { Err(std::io::Error::from(Errno::INVAL)) }
    };
    load().step(|| "load the nftables table with nft".to_owned())
}

/// What a table is, without the elements of its sets.
pub(super) fn table_list(name: &str) -> Result<String, StepError> {
    let list = || -> std::io::Result<String> {
        let listed = nft(&["--terse", "list", "table", "inet", name], "", Stdio::inherit())?;
        if !listed.status.success() {
            return Err(Errno::INVAL.into());
        }
        Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
    };
    list().step(|| format!("list the nftables table {name} with nft"))
}

fn nft(words: &[&str], rules: &str, stderr: Stdio) -> std::io::Result<Output> {
    let mut nft = Command::new("nft")
        .args(words)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        // Nobody reads it; but there is no `/dev/null` in the launcher any more when this runs again.
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()?;
    if let Some(mut input) = nft.stdin.take() {
        input.write_all(rules.as_bytes())?;
    }
    nft.wait_with_output()
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
        let resolver = Some(ResolverPorts { udp: 5301, tcp: 5302 });
        let local = ["192.0.2.0/24".to_owned()];
        insta::assert_snapshot!(table(Instance::new(3).unwrap(), &network, resolver, &local));
    }
}
