//! The host's own neighbours, and what all of its network shares.

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use blackbox::{Server, deadline::wait_until};

use super::{connect_to, none_reached, with_network};

/// Another machine on a network that the host is on: a network namespace with a listener. Its addresses are of
/// no private range (RFC 5737, TEST-NET-2).
struct Neighbour {
    namespace: String,
    interface: String,
    listener: Child,
}

const HOST: &str = "198.51.100.209/28";
const NEIGHBOUR: &str = "198.51.100.210";

impl Neighbour {
    fn start() -> Self {
        let number = std::process::id();
        let (namespace, interface) = (format!("neighbour-{number}"), format!("nb{number}"));
        ip(&format!("netns add {namespace}"));
        ip(&format!("link add {interface} type veth peer name eth0 netns {namespace}"));
        ip(&format!("-n {namespace} addr add {NEIGHBOUR}/28 dev eth0"));
        ip(&format!("-n {namespace} link set eth0 up"));
        ip(&format!("addr add {HOST} dev {interface}"));
        ip(&format!("link set {interface} up"));
        let code =
            format!("import socket\ns = socket.create_server(('{NEIGHBOUR}', 8000))\nwhile True: s.accept()");
        let listener = Command::new("ip")
            .args(["netns", "exec", &namespace, "python3", "-c", &code])
            .stdin(Stdio::null())
            .spawn()
            .expect("ip runs");
        Self { namespace, interface, listener }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
        ip(&format!("link del {}", self.interface));
        ip(&format!("netns del {}", self.namespace));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn the_hosts_neighbours_are_unreachable_whatever_their_addresses() {
    // Before the network is there: the server has to notice.
    let server = Server::start();
    let _neighbour = Neighbour::start();
    let address = format!("{NEIGHBOUR}:8000").parse().unwrap();
    wait_until("the host reaches its neighbour", || {
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    });
    let outcomes = with_network(&server, &connect_to(&[("neighbour", address)]));
    none_reached(&outcomes);
    assert_eq!(outcomes["neighbour"], "EHOSTUNREACH", "a rule refuses it");
}

#[test]
fn a_sandbox_cannot_fill_the_hosts_table_of_connections() {
    let server = Server::start();
    let tracked = || {
        fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")
            .unwrap()
            .trim()
            .parse::<i64>()
            .unwrap()
    };
    let before = tracked();
    let code = r#"
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sent = 0
for port in range(1024, 21024):
    try:
        sent += sender.sendto(b"x", ("203.0.113.1", port))
    except OSError:
        pass
report("sent", sent)
"#;
    let outcomes = with_network(&server, code);
    assert!(outcomes["sent"].parse::<u32>().unwrap() > 10_000, "{outcomes:?}");
    let grown = tracked() - before;
    assert!(grown < 3000, "{grown} connections more than before");
    wait_until("they are forgotten with the sandbox", || tracked() - before < 500);
}
