//! Which sandbox may reach what: a table beside the instance's own, that only takes away.
//!
//! Each sandbox with a policy has a chain and two sets there. They are changed in one transaction that touches no
//! other sandbox, and stay in force when the launcher is gone. It must not know names: what a name's address means is
//! told by the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::Ipv4Addr,
};

use protocol::{
    launcher::KnownAddress,
    policy::{Action, NetworkPolicy},
};
use rustix::io::Errno;

use super::{elements::Elements, routes, rules};
use crate::{
    failure::StepError,
    launcher::ResolverPorts,
    plan::{Instance, Slot},
};

/// Addresses in one set: more than are told of at once, so that old ones need not go first.
const SET_SIZE: usize = 8192;

/// Marks of connections that a policy let through begin with this byte. The rest tells one policy from another.
const MARK: u32 = 0xa7 << 24;

/// The policies that are in force.
pub(in crate::launcher) struct Policies {
    instance: Instance,
    /// The slots that had a chain at the start.
    found: BTreeSet<u16>,
    in_force: BTreeMap<u16, InForce>,
}

struct InForce {
    interface: String,
    policy: NetworkPolicy,
}

impl Policies {
    /// Sets the table up, or takes over what is in it: sandboxes may run that it guards.
    pub(super) fn open(instance: Instance, resolver: Option<ResolverPorts>) -> Result<Self, StepError> {
        rules::table_load(&base(instance, resolver))?;
        let listing = rules::table_list(&table_name(instance))?;
        let chains = listing
            .lines()
            .filter_map(|line| line.trim().strip_prefix("chain sandbox-")?.strip_suffix(" {")?.parse().ok());
        Ok(Self { instance, found: chains.collect(), in_force: BTreeMap::new() })
    }

    /// Takes over a policy that an earlier launcher put in force, and puts it in force where it is not.
    pub(super) fn adopt(&mut self, slot: Slot, policy: NetworkPolicy) -> Result<(), StepError> {
        let interface = routes::interface_of(slot.address())?;
        if self.found.contains(&slot.number) {
            self.in_force.insert(slot.number, InForce { interface, policy });
            return Ok(());
        }
        self.set(slot, policy, &[])
    }

    /// Removes what belongs to no sandbox that was taken over.
    pub(super) fn strangers_remove(&mut self) -> Result<(), StepError> {
        let found = std::mem::take(&mut self.found);
        let strangers: Vec<u16> =
            found.into_iter().filter(|slot| !self.in_force.contains_key(slot)).collect();
        if strangers.is_empty() {
            return Ok(());
        }
        // Elements may refer to any of the chains, under names that nobody knows any more.
        let table = table_name(self.instance);
        let mut text = format!("flush map inet {table} policies\nflush set inet {table} sandboxes\n");
        for (slot, InForce { interface, .. }) in &self.in_force {
            let slot = Slot { instance: self.instance, number: *slot };
            text.push_str(&elements(&table, "add", slot, interface));
        }
        for slot in strangers {
            text.push_str(&chain_delete(&table, slot));
        }
        rules::table_load(&text)
    }

    /// Puts a policy in force in the place of the one that was. What the sandbox had open is judged anew.
    pub(in crate::launcher) fn set(
        &mut self,
        slot: Slot,
        policy: NetworkPolicy,
        known: &[KnownAddress],
    ) -> Result<(), StepError> {
        let interface = routes::interface_of(slot.address())?;
        let [.., a, b, c] = uuid::Uuid::new_v4().into_bytes();
        let mark = MARK | u32::from_be_bytes([0, a, b, c]);
        rules::table_load(&sandbox(slot, &interface, &policy, known, mark))?;
        self.in_force.insert(slot.number, InForce { interface, policy });
        Ok(())
    }

    /// The policy that is in force for a sandbox.
    pub(in crate::launcher) fn get(&self, slot: Slot) -> Option<&NetworkPolicy> {
        Some(&self.in_force.get(&slot.number)?.policy)
    }

    /// Tells of addresses that names have.
    pub(in crate::launcher) fn addresses_add(
        &self,
        slot: Slot,
        known: &[KnownAddress],
    ) -> Result<(), StepError> {
        if !self.in_force.contains_key(&slot.number) {
            return Err(StepError::new("tell of addresses: the sandbox has no policy", Errno::NOENT));
        }
        let mut batch = Elements::new(&table_name(self.instance));
        for action in [Action::Allow, Action::Deny] {
            let these: Vec<&KnownAddress> = known.iter().filter(|known| known.action == action).collect();
            if these.is_empty() {
                continue;
            }
            let addresses: Vec<Ipv4Addr> = these.iter().map(|known| known.address).collect();
            let set = |action| set_name(action, slot.number);
            let other = if action == Action::Allow { Action::Deny } else { Action::Allow };
            batch.remove(&set(other), &addresses);
            batch.remove(&set(action), &addresses);
            batch.add(&set(action), these.iter().map(|known| (known.address, known.seconds)));
        }
        batch.commit()
    }

    /// Removes what a sandbox had that has ended.
    pub(super) fn remove(&mut self, slot: Slot) -> Result<(), StepError> {
        let Some(InForce { interface, .. }) = self.in_force.remove(&slot.number) else { return Ok(()) };
        let table = table_name(self.instance);
        let text = elements(&table, "delete", slot, &interface) + &chain_delete(&table, slot.number);
        rules::table_load(&text)
    }
}

fn table_name(instance: Instance) -> String {
    format!("{}-policies", instance.name())
}

fn set_name(action: Action, slot: u16) -> String {
    match action {
        Action::Allow => format!("allowed-{slot}"),
        Action::Deny => format!("denied-{slot}"),
    }
}

/// What all sandboxes with a policy share. Loading it changes no policy.
///
/// Questions for names go to the resolver, whatever server they are for; without one they end at the chain of the
/// sandbox, as if refused.
fn base(instance: Instance, resolver: Option<ResolverPorts>) -> String {
    let table = table_name(instance);
    let dns = match resolver {
        Some(ResolverPorts { udp, tcp }) => format!(
            "
        iifname . ip saddr @sandboxes udp dport 53 redirect to :{udp}
        iifname . ip saddr @sandboxes tcp dport 53 redirect to :{tcp}"
        ),
        None => String::new(),
    };
    format!(
        "\
table inet {table} {{
    map policies {{ type ifname : verdict; }}
    set sandboxes {{ type ifname . ipv4_addr; }}
    chain refuse {{ }}
    chain forward {{ type filter hook forward priority filter - 11; policy accept; }}
    chain dns {{ type nat hook prerouting priority dstnat - 1; policy accept; }}
}}
flush chain inet {table} refuse
flush chain inet {table} forward
flush chain inet {table} dns
table inet {table} {{
    chain refuse {{
        ct state established meta l4proto tcp reject with tcp reset
        reject with icmp admin-prohibited
    }}
    chain forward {{
        iifname vmap @policies
    }}
    chain dns {{{dns}
    }}
}}
"
    )
}

/// The rules of one sandbox, in the place of those it had. A connection that was let through goes on, also when the
/// address has run out, until there is another policy: the mark is that policy's.
fn sandbox(slot: Slot, interface: &str, policy: &NetworkPolicy, known: &[KnownAddress], mark: u32) -> String {
    let table = table_name(slot.instance);
    let chain = format!("sandbox-{}", slot.number);
    let set = |action| set_name(action, slot.number);
    let (allowed, denied) = (set(Action::Allow), set(Action::Deny));
    let mut text = String::new();
    for set in [&allowed, &denied] {
        let _ = writeln!(
            text,
            "add set inet {table} {set} {{ type ipv4_addr; size {SET_SIZE}; flags timeout; }}\n\
             flush set inet {table} {set}"
        );
    }
    for known in known {
        let KnownAddress { address, action, seconds } = known;
        let _ =
            writeln!(text, "add element inet {table} {} {{ {address} timeout {seconds}s }}", set(*action));
    }
    let _ = writeln!(text, "add chain inet {table} {chain}\nflush chain inet {table} {chain}");
    let verdict = |action| match action {
        Action::Allow => format!("ct mark set {mark:#x} accept"),
        Action::Deny => "goto refuse".to_owned(),
    };
    let mut rule = |rule: String| {
        let _ = writeln!(text, "add rule inet {table} {chain} {rule}");
    };
    rule(format!("ip saddr != {} drop", slot.address()));
    rule("meta l4proto { tcp, udp } th dport 53 goto refuse".to_owned());
    rule(format!("ip daddr @{denied} goto refuse"));
    rule(format!("ct mark {mark:#x} accept"));
    rule(format!("ip daddr @{allowed} {}", verdict(Action::Allow)));
    for (action, address, length) in policy.networks() {
        rule(format!("ip daddr {address}/{length} {}", verdict(action)));
    }
    rule(verdict(policy.default_action()));
    text + &elements(&table, "add", slot, interface)
}

/// What leads packets of a sandbox to its chain.
fn elements(table: &str, verb: &str, slot: Slot, interface: &str) -> String {
    let (number, address) = (slot.number, slot.address());
    format!(
        "{verb} element inet {table} policies {{ \"{interface}\" : goto sandbox-{number} }}\n\
         {verb} element inet {table} sandboxes {{ \"{interface}\" . {address} }}\n"
    )
}

fn chain_delete(table: &str, slot: u16) -> String {
    let (allowed, denied) = (set_name(Action::Allow, slot), set_name(Action::Deny, slot));
    format!(
        "flush chain inet {table} sandbox-{slot}\ndelete chain inet {table} sandbox-{slot}\n\
         delete set inet {table} {allowed}\ndelete set inet {table} {denied}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_a_policy() {
        let rule = |action, text: &str| protocol::policy::Rule { action, target: text.parse().unwrap() };
        let policy = NetworkPolicy::new(
            Action::Deny,
            vec![
                rule(Action::Deny, "bad.example.com"),
                rule(Action::Allow, "*.example.com"),
                rule(Action::Deny, "192.0.2.9"),
                rule(Action::Deny, "::/0"),
                rule(Action::Allow, "192.0.2.0/24"),
            ],
        )
        .unwrap();
        let known =
            |last, action| KnownAddress { address: Ipv4Addr::new(203, 0, 113, last), action, seconds: 60 };
        let known = [known(1, Action::Allow), known(2, Action::Deny)];
        let slot = Slot { instance: Instance::new(3).unwrap(), number: 17 };
        let base = base(slot.instance, Some(ResolverPorts { udp: 5301, tcp: 5302 }));
        let sandbox = sandbox(slot, "atl3-1f", &policy, &known, 0xa700_0001);
        insta::assert_snapshot!(format!("{base}\n{sandbox}\n{}", chain_delete("atoll-3-policies", 17)));
    }
}
