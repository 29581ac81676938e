//! Names: what is answered, and what an answer opens.

use std::fs;

use blackbox::Server;
use serde_json::{Value, json};

use super::{
    internet::guarded,
    sandbox::{allowing, denying, every_way, refused, rule},
};

fn zone() -> Value {
    json!({
        "good.example": [20, 21], "other.example": [22], "a.wild.example": [23], "wild.example": [24],
        "alias.example": "target.example", "target.example": [25], "leads.example": "bad.example",
        "bad.example": [26], "large.example": [27], "x.bad.example": [28],
    })
}

#[test]
fn by_default_denied_nothing_is_reached_by_name_or_address() {
    let (internet, _server, sandbox) = guarded(&zone(), |_| json!({"defaultAction": "deny"}));
    refused(&sandbox.reach(&every_way(&internet.address(20))));
    let names = sandbox.reach("report('name', lambda: resolved('good.example'))");
    assert_eq!(names["name"], "no such name");
    assert_eq!(internet.asked(), "", "what is denied is not asked of anybody");
}

#[test]
fn an_allowed_name_opens_the_addresses_it_was_answered_with_and_no_others() {
    let (internet, server, sandbox) = guarded(&zone(), |_| allowing(&["Good.Example."]));
    refused(&sandbox.reach(&every_way(&internet.address(20))));
    let reached = sandbox.reach(
        "report('address', lambda: resolved('good.example'))\nreport('by name', lambda: greeted('good.example'))\n\
         report('other name', lambda: greeted('other.example'))",
    );
    assert_eq!(reached["address"], internet.address(20));
    assert!([20, 21].map(|last| internet.address(last)).contains(&reached["by name"]), "{reached:?}");
    assert_eq!(reached["other name"], "no such name");
    for last in [20, 21] {
        let ways = sandbox.reach(&every_way(&internet.address(last)));
        assert_eq!(ways["tcp"], internet.address(last));
        assert_eq!((ways["udp"].as_str(), ways["icmp"].as_str()), ("ok", "ok"));
    }
    refused(&sandbox.reach(&every_way(&internet.address(22))));
    let elements = opened(&server);
    assert!(elements.contains(&internet.address(20)) && elements.contains("timeout 1m30s"), "{elements}");
}

/// The addresses that are let through for names, as the kernel has them.
fn opened(server: &Server) -> String {
    let table = super::servers::table(server);
    let from = table.find("set allowed-").expect("a sandbox with a policy");
    table[from..].lines().take_while(|line| line.trim() != "}").collect::<Vec<_>>().join("\n")
}

#[test]
fn a_wildcard_is_for_names_below() {
    let (internet, _server, sandbox) = guarded(&zone(), |_| allowing(&["*.wild.example"]));
    let reached = sandbox.reach(
        "report('below', lambda: greeted('a.wild.example'))\nreport('itself', lambda: greeted('wild.example'))",
    );
    assert_eq!(reached["below"], internet.address(23));
    assert_eq!(reached["itself"], "no such name");
}

#[test]
fn a_program_with_a_resolver_of_its_own_gets_the_same_answers() {
    let (internet, _server, sandbox) = guarded(&zone(), |_| allowing(&["good.example", "large.example"]));
    let code = ["53", "54", "30", "250"].into_iter().fold(String::new(), |code, last| {
        let server = format!("{}.{last}", internet.net);
        code + &format!(
            "for way in (False, True):\n    report(f'good {last} {{way}}', lambda: asked('{server}', 'good.example', connection=way))\n    \
             report(f'other {last} {{way}}', lambda: asked('{server}', 'other.example', connection=way))\n"
        )
    });
    let outcomes = sandbox.reach(&code);
    let good = format!("{} {}", internet.address(20), internet.address(21));
    for (way, outcome) in &outcomes {
        let expected = if way.starts_with("good") { good.as_str() } else { "code 3" };
        assert_eq!(outcome, expected, "{way}: {outcomes:?}");
    }
    assert_eq!(outcomes.len(), 16);
    let asked = internet.asked();
    assert!(asked.lines().all(|line| line == format!("{} good.example", internet.address(53))), "{asked}");
}

#[test]
fn a_long_answer_comes_over_a_connection() {
    let (internet, _server, sandbox) = guarded(&zone(), |_| allowing(&["large.example"]));
    let server = internet.address(53);
    let outcomes = sandbox.reach(&format!(
        "report('datagram', lambda: asked('{server}', 'large.example', 16))\n\
         report('connection', lambda: asked('{server}', 'large.example', 16, True))"
    ));
    assert_eq!(outcomes["datagram"], "cut short");
    assert_eq!(outcomes["connection"], "20 records");
}

#[test]
fn a_name_that_stands_for_another_counts_as_it_was_asked_for() {
    let (internet, _server, sandbox) = guarded(
        &zone(),
        |_| json!({"egress": [rule("deny", "bad.example"), rule("allow", "alias.example"), rule("allow", "leads.example")]}),
    );
    let reached = sandbox.reach(
        "report('alias', lambda: greeted('alias.example'))\nreport('its target', lambda: resolved('target.example'))\n\
         report('leads to a denied one', lambda: resolved('leads.example'))",
    );
    assert_eq!(reached["alias"], internet.address(25));
    assert_eq!(reached["its target"], "no such name");
    assert_eq!(reached["leads to a denied one"], "no such name");
    refused(&sandbox.reach(&every_way(&internet.address(26))));
}

#[test]
fn a_denied_name_is_closed_by_its_address_though_nobody_asked_for_it() {
    let (internet, _server, sandbox) = guarded(&zone(), |_| denying(&["bad.example", "*.bad.example"]));
    refused(&sandbox.reach(&every_way(&internet.address(26))));
    let reached = sandbox.reach(
        "report('denied', lambda: resolved('bad.example'))\nreport('other', lambda: greeted('other.example'))",
    );
    assert_eq!(reached["denied"], "no such name");
    assert_eq!(reached["other"], internet.address(22));
    // Names below one can't be known before they are asked for; from then on their addresses are closed.
    let below = internet.address(28);
    let code = format!(
        "report('asked', lambda: resolved('x.bad.example'))\nreport('then', lambda: greeted('{below}'))"
    );
    let reached = sandbox.reach(&code);
    assert_eq!((reached["asked"].as_str(), reached["then"].as_str()), ("no such name", "EHOSTUNREACH"));
}

#[test]
fn the_resolver_answers_sandboxes_with_a_policy_only() {
    let (internet, server, sandbox) = guarded(&zone(), |_| allowing(&["good.example"]));
    let ports = resolver_ports(&server);
    let gateway = sandbox.run("print(open('/proc/net/route').read().split()[13])");
    let number = u32::from_str_radix(gateway.trim(), 16).unwrap();
    let gateway = std::net::Ipv4Addr::from(number.to_le_bytes());
    // By its own address it is closed to all sandboxes, also to those whose questions are led there.
    let code = ports.iter().fold(String::new(), |code, port| {
        code + &format!("report('{port}', lambda: echoed('{gateway}', port={port}, times=3))\nreport('c{port}', lambda: socket.create_connection(('{gateway}', {port}), timeout=1).close())\n")
    });
    let open = super::sandbox::Sandbox::create(&super::internet::client(&server), &Value::Null);
    for sandbox in [&sandbox, &open] {
        let outcomes = sandbox.reach(&code);
        assert!(outcomes.values().all(|outcome| outcome == "nothing"), "{outcomes:?}");
    }
    // And the host itself, which reaches it, is not answered.
    let asker = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    asker.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    for port in ports {
        let _ = asker
            .send_to(b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x04good\x07example\0\0\x01\0\x01", (gateway, port));
        asker.recv(&mut [0; 512]).unwrap_err();
    }
    assert_eq!(internet.asked(), "");
}

/// Where the rules lead questions to.
fn resolver_ports(server: &Server) -> Vec<u16> {
    let table = super::servers::table(server);
    let ports = table.lines().filter_map(|line| line.rsplit_once("redirect to :")?.1.trim().parse().ok());
    let ports: Vec<u16> = ports.collect();
    assert_eq!(ports.len(), 2, "{table}");
    let sockets = fs::read_to_string("/proc/net/udp").unwrap();
    assert!(ports.iter().any(|port| sockets.contains(&format!(":{port:04X} "))), "{sockets}");
    ports
}
