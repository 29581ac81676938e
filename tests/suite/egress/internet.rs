//! A small internet of a test's own: a network namespace with name servers and servers that greet, and a server of
//! Atoll that takes it for the real one.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use blackbox::{Client, Server, deadline::wait_until};
use serde_json::Value;

use super::sandbox::Sandbox;

/// What its names are, and its servers.
const SERVERS: &str = include_str!("internet.py");

/// The internet.
pub(super) struct Internet {
    /// All its addresses without the last number.
    pub(super) net: String,
    namespace: String,
    interface: String,
    folder: PathBuf,
    servers: Child,
}

impl Internet {
    /// Starts one with these names: each has the last numbers of addresses, or another name that it stands for.
    pub(super) fn start(zone: &Value) -> Self {
        let number = std::process::id();
        let (namespace, interface) = (format!("internet-{number}"), format!("in{number}"));
        // Of the networks for tests between networks (RFC 2544): one that nobody has now.
        let net = (0..512)
            .map(|step| (number + step) % 512)
            .map(|number| format!("198.{}.{}", 18 + number / 256, number % 256))
            .find(|net| !routes().contains(net))
            .expect("a network that nobody has");
        ip(&format!("netns add {namespace}"));
        ip(&format!("link add {interface} type veth peer name eth0 netns {namespace}"));
        ip(&format!("addr add {net}.1/24 dev {interface}"));
        ip(&format!("link set {interface} up"));
        // As on a machine whose uplink it is.
        fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"), "1").unwrap();
        ip(&format!("-n {namespace} link set lo up"));
        for last in (10..50).chain([53, 54]) {
            ip(&format!("-n {namespace} addr add {net}.{last}/24 dev eth0"));
        }
        ip(&format!("-n {namespace} link set eth0 up"));
        let folder = PathBuf::from(format!("/var/tmp/{namespace}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("zone.json"), zone.to_string()).unwrap();
        fs::write(folder.join("asked"), "").unwrap();
        let servers = Command::new("ip")
            .args(["netns", "exec", &namespace, "python3", "-c", SERVERS, &net])
            .arg(&folder)
            .stdin(Stdio::null())
            .spawn()
            .expect("ip runs");
        let internet = Self { net, namespace, interface, folder, servers };
        wait_until("the internet is up", || internet.folder.join("up").exists());
        internet
    }

    /// One of its addresses.
    pub(super) fn address(&self, last: u8) -> String {
        format!("{}.{last}", self.net)
    }

    /// Changes its names.
    pub(super) fn zone_set(&self, zone: &Value) {
        let draft = self.folder.join("draft.json");
        fs::write(&draft, zone.to_string()).unwrap();
        fs::rename(draft, self.folder.join("zone.json")).unwrap();
    }

    /// What its name servers were asked: each line is a server's address and a name.
    pub(super) fn asked(&self) -> String {
        fs::read_to_string(self.folder.join("asked")).unwrap()
    }

    /// A server that asks the first name server, and whose sandboxes may reach this internet.
    pub(super) fn server(&self) -> Server {
        let (dns, net) = (self.address(53), format!("{}.0/24", self.net));
        Server::start_with(&["--dns", &dns, "--network-allow", &net, "--running-max", "200"])
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        let _ = self.servers.kill();
        let _ = self.servers.wait();
        ip(&format!("link del {}", self.interface));
        ip(&format!("netns del {}", self.namespace));
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn routes() -> String {
    let shown = Command::new("ip").args(["-4", "route"]).output().expect("ip runs");
    String::from_utf8(shown.stdout).unwrap()
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}

/// A client with a key that may see everything.
pub(super) fn client(server: &Server) -> Client {
    server.with_key(&server.key_create(&["--admin"]))
}

/// The internet, a server in it, and a sandbox with this policy.
pub(super) fn guarded(zone: &Value, policy: impl FnOnce(&Internet) -> Value) -> (Internet, Server, Sandbox) {
    let internet = Internet::start(zone);
    let server = internet.server();
    let sandbox = Sandbox::create(&client(&server), &policy(&internet));
    (internet, server, sandbox)
}
