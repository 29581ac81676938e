//! What a sandbox reaches over the network: nothing, or the Internet and no more.

mod neighbours;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use blackbox::Server;
use serde_json::json;

use crate::attack::{outcomes, program};

/// An address of this host that is not loopback: the one it would send to the Internet from.
fn host_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").expect("a default route");
    socket.local_addr().unwrap().ip()
}

/// Runs with the network that installations get.
fn with_network(server: &Server, code: &str) -> BTreeMap<String, String> {
    outcomes(&server.execute(&program(code, &json!({"install_deps": true, "timeout_ms": 60_000}))))
}

/// Tries to connect to each address; `ok` where somebody answers.
fn connect_to(addresses: &[(&str, SocketAddr)]) -> String {
    addresses.iter().fold(String::new(), |code, (name, address)| {
        let (host, port) = (address.ip(), address.port());
        code + &format!(
            "attempt('{name}', lambda: socket.create_connection(('{host}', {port}), timeout=1.5).close())\n"
        )
    })
}

#[track_caller]
fn none_reached(outcomes: &BTreeMap<String, String>) {
    assert!(!outcomes.is_empty());
    let reached: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.starts_with("ok")).collect();
    assert!(reached.is_empty(), "{reached:?}");
}

#[test]
fn without_a_network_there_is_only_loopback() {
    let server = Server::start();
    let code = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; tail -n +2 /proc/net/route | wc -l; cat /proc/net/if_inet6 | wc -l";
    assert_eq!(server.execute_code("bash", code).output(), "lo\n0\n1\n");
    let code = format!(
        "{}attempt('a name', lambda: socket.getaddrinfo('example.org', 80) and None)\n",
        connect_to(&[
            ("the internet", "198.51.100.1:80".parse().unwrap()),
            ("the host", SocketAddr::new(host_address(), server.address().port())),
            ("the server", server.address()),
        ])
    );
    none_reached(&outcomes(&server.execute(&program(&code, &json!({})))));
    let own = "import socket\nserver = socket.create_server(('127.0.0.1', 8000))\n\
               socket.create_connection(('127.0.0.1', 8000)).close()\nprint('loopback works')";
    assert_eq!(server.execute_code("python", own).output(), "loopback works\n");
}

#[test]
fn services_of_the_host_are_unreachable() {
    let server = Server::start();
    let gateway = gateway(&server);
    // Listeners that answer on the host itself, on loopback, on its own address and on every address.
    let loopback = TcpListener::bind("127.0.0.1:0").unwrap();
    let outer = TcpListener::bind((host_address(), 0)).unwrap();
    let every = TcpListener::bind("[::]:0").unwrap();
    let port = every.local_addr().unwrap().port();
    for address in [
        loopback.local_addr().unwrap(),
        outer.local_addr().unwrap(),
        SocketAddr::new(host_address(), port),
        SocketAddr::new("127.0.0.1".parse().unwrap(), port),
    ] {
        std::net::TcpStream::connect(address).expect("the host reaches its own listeners");
    }
    let mut code = connect_to(&[
        ("loopback", loopback.local_addr().unwrap()),
        ("own address", outer.local_addr().unwrap()),
        ("own address, every", SocketAddr::new(host_address(), port)),
        ("gateway", SocketAddr::new(gateway, port)),
        ("gateway, api", SocketAddr::new(gateway, server.address().port())),
        ("every address", SocketAddr::new("0.0.0.0".parse().unwrap(), port)),
    ]);
    // Over IPv6 the host's end of the link has an address as well: ask all neighbours, then try each.
    code += &format!(
        r#"
scope = socket.if_nametoindex("eth0")
probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for target in ["ff02::1", "ff02::2"]:
    try: probe.sendto(b"x", (target, {port}, 0, scope))
    except OSError: pass
neighbours = subprocess.run(["ip", "-6", "neigh"], capture_output=True, text=True).stdout
for line in neighbours.splitlines():
    address = line.split()[0]
    def connect():
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            client.settimeout(1.5)
            client.connect((address, {port}, 0, scope))
    attempt("neighbour " + address, connect)
"#
    );
    if let Some(address) = link_local_of_host() {
        code += &format!(
            "attempt('link-local', lambda: socket.create_connection(('{address}', {port}), timeout=1.5).close())\n"
        );
    }
    none_reached(&with_network(&server, &code));
}

/// The IPv6 address of the host's own link, which a sandbox's link is not.
fn link_local_of_host() -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    let line = table.lines().find(|line| line.starts_with("fe80") && !line.contains("atl"))?;
    let hex = line.split(' ').next()?;
    let groups: Vec<&str> = (0..8).map(|group| &hex[group * 4..group * 4 + 4]).collect();
    Some(groups.join(":"))
}

/// The host's end of a sandbox's link.
fn gateway(server: &Server) -> IpAddr {
    let run = server.execute(&json!({
        "runtime": "bash", "install_deps": true, "code": "ip -4 route show default | cut -d' ' -f3",
    }));
    run.output().trim().parse().expect("a default route")
}

#[test]
fn the_metadata_address_and_private_networks_are_unreachable() {
    let server = Server::start();
    let mut addresses = vec![("metadata", "169.254.169.254:80".parse().unwrap())];
    for (name, address) in [
        ("10/8", "10.0.0.1:80"),
        ("172.16/12", "172.17.0.1:80"),
        ("192.168/16", "192.168.1.1:80"),
        ("100.64/10", "100.100.100.200:80"),
        ("link-local", "169.254.0.1:80"),
        ("multicast", "224.0.0.1:80"),
    ] {
        addresses.push((name, address.parse().unwrap()));
    }
    let outcomes = with_network(&server, &connect_to(&addresses));
    none_reached(&outcomes);
    // Refused at once by a rule, not lost somewhere on the way: who asks is told.
    for name in ["metadata", "10/8", "172.16/12", "192.168/16", "100.64/10"] {
        assert_eq!(outcomes[name], "EHOSTUNREACH", "{name}");
    }
}

#[test]
fn another_sandboxs_address_is_unreachable() {
    let server = Server::start();
    let listens = json!({
        "runtime": "python", "mode": "persistent", "install_deps": true,
        "code": "import socket, subprocess\nserver = socket.create_server(('0.0.0.0', 8000))\n\
                 address = subprocess.run(['ip', '-4', '-o', 'addr', 'show', 'eth0'], capture_output=True, text=True).stdout.split()[3].split('/')[0]\n\
                 socket.create_connection((address, 8000)).close()\n\
                 print('listening', address, flush=True)\nserver.accept()\nwhile True:\n    server.accept()\n    print('reached', flush=True)\n",
    });
    let other = server.create(&listens);
    assert!(server.run(&other).is_running);
    let log = format!("/admin/api/sandboxes/{other}/logs");
    blackbox::deadline::wait_until("it listens", || server.get(&log).text.contains("listening "));
    let text = server.get(&log).text;
    let address: IpAddr =
        text.split("listening ").nth(1).unwrap().split('"').next().unwrap().parse().expect("an address");
    let outcomes = with_network(&server, &connect_to(&[("neighbour", SocketAddr::new(address, 8000))]));
    none_reached(&outcomes);
    assert!(
        std::net::TcpStream::connect_timeout(
            &SocketAddr::new(address, 8000),
            std::time::Duration::from_secs(2)
        )
        .is_err(),
        "not even the host connects"
    );
    assert!(!server.get(&log).text.contains("reached"));
}

#[test]
fn names_are_resolved_and_of_the_name_server_only_that_port_answers() {
    let server = Server::start();
    let code = r#"
servers = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")]
report("servers", len(servers))
for server in servers:
    for port in (22, 80, 443, 8080):
        attempt("port %d of %s" % (port, server), lambda: socket.create_connection((server, port), timeout=1.5).close())
    attempt("port 53 of " + server, lambda: socket.create_connection((server, 53), timeout=5).close())
"#;
    let outcomes = with_network(&server, code);
    assert_ne!(outcomes["servers"], "0");
    let ports: BTreeMap<_, _> = outcomes.into_iter().filter(|(name, _)| name.starts_with("port")).collect();
    assert!(ports.iter().any(|(name, outcome)| name.contains("port 53") && outcome == "ok"), "{ports:?}");
    none_reached(&ports.into_iter().filter(|(name, _)| !name.contains("port 53")).collect());
}

#[test]
fn a_network_the_operator_allows_is_reachable() {
    let host = host_address();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    drop(listener);
    let server = Server::start_with(&["--network-allow", "172.31.255.0/24"]);
    let outcomes = with_network(
        &server,
        &connect_to(&[
            ("allowed", "172.31.255.9:80".parse().unwrap()),
            ("private", "172.31.254.9:80".parse().unwrap()),
        ]),
    );
    // Nobody is there; but only the other network is refused by a rule.
    assert_eq!(outcomes["private"], "EHOSTUNREACH", "{host}");
    assert_ne!(outcomes["allowed"], "EHOSTUNREACH");
}

#[test]
fn a_sandbox_cannot_take_another_address() {
    let server = Server::start();
    let run = server.execute(&json!({
        "runtime": "bash", "install_deps": true,
        "code": "ip addr add 10.213.0.77/32 dev eth0; ip link set eth0 address 02:00:00:00:00:01; ip route add 10.0.0.0/8 dev eth0; ip link add x type dummy; ip addr | grep -c 10.213.0.77",
    }));
    assert_eq!(run.stdout, "0\n", "{run:?}");
    assert!(run.stderr.matches("Operation not permitted").count() >= 3, "{run:?}");
}
