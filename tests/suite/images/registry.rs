//! A real registry for one test, Debian's `docker-registry`, and what is needed to fill it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use blackbox::deadline::found;
use serde_json::{Value, json};
use ureq::{Agent, http::Response};

use super::{Folder, good, with_input};

pub(super) const USER: (&str, &str) = ("me", "a pass:word");
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(super) const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// A layer as it is pushed: its kind, its bytes, and its content without compression.
pub(super) type Pushed<'a> = (&'a str, Vec<u8>, &'a [u8]);

pub(super) struct Registry {
    child: Child,
    address: SocketAddr,
    folder: Folder,
    agent: Agent,
    locked: bool,
}

impl Registry {
    pub(super) fn start() -> Self {
        Self::started(false)
    }

    /// One that everybody needs a password for.
    pub(super) fn start_locked() -> Self {
        Self::started(true)
    }

    fn started(locked: bool) -> Self {
        let folder = Folder::new("registry");
        let agent: Agent = Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let path = folder.path().display().to_string();
        let mut auth = String::new();
        if locked {
            let made = with_input(Command::new("htpasswd").args(["-Bin", USER.0]), USER.1.as_bytes());
            fs::write(folder.path().join("users"), good(&made).trim()).unwrap();
            auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {path}/users\n");
        }
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {path}/data\n\
             http:\n  addr: {address}\n{auth}"
        );
        let file = folder.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let mut serve = Command::new("docker-registry");
        let serve = serve.arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = serve.spawn().expect("docker-registry is installed");
        let registry = Self { child, address, folder, agent, locked };
        let answers = || registry.agent.get(registry.url("/v2/")).call().is_ok().then_some(());
        found(PATIENCE, answers).expect("the registry answers");
        registry
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The reference of an image in it.
    pub(super) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn header(&self) -> String {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let login = BASE64_STANDARD.encode(format!("{}:{}", USER.0, USER.1));
        if self.locked { format!("Basic {login}") } else { String::new() }
    }

    /// Pushes a blob, and returns what a manifest says of it.
    pub(super) fn push_blob(&self, name: &str, kind: &str, bytes: &[u8]) -> Value {
        let url = self.url(&format!("/v2/{name}/blobs/uploads/"));
        let begun = self.agent.post(url).header("authorization", self.header()).send_empty().unwrap();
        let place = text(&begun, "location");
        let digest = digest_of(bytes);
        let put = self.agent.put(format!("{place}&digest={digest}"));
        let put =
            put.header("authorization", self.header()).header("content-type", "application/octet-stream");
        assert_eq!(put.send(bytes).unwrap().status(), 201);
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    }

    /// Pushes a manifest or an index, and returns what an index says of it.
    pub(super) fn push_manifest(&self, name: &str, tag: &str, kind: &str, manifest: &Value) -> Value {
        let bytes = manifest.to_string();
        let put = self.agent.put(self.url(&format!("/v2/{name}/manifests/{tag}")));
        let put = put.header("authorization", self.header()).header("content-type", kind);
        let mut answer = put.send(&bytes).unwrap();
        assert_eq!(answer.status(), 201, "{:?}", answer.body_mut().read_to_string());
        json!({"mediaType": kind, "digest": digest_of(bytes.as_bytes()), "size": bytes.len()})
    }

    /// Pushes an image for this machine's platform.
    pub(super) fn push(&self, name: &str, tag: &str, kind: &str, layers: &[Pushed<'_>]) -> Value {
        self.push_for(name, tag, kind, layers, "amd64")
    }

    pub(super) fn push_for(
        &self,
        name: &str,
        tag: &str,
        kind: &str,
        layers: &[Pushed<'_>],
        architecture: &str,
    ) -> Value {
        self.push_saying(name, tag, kind, layers, architecture, &json!({"User": "1000"}))
    }

    /// The same, and its configuration says this besides what it says always.
    pub(super) fn push_saying(
        &self,
        name: &str,
        tag: &str,
        kind: &str,
        layers: &[Pushed<'_>],
        architecture: &str,
        more: &Value,
    ) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|(_, _, plain)| digest_of(plain)).collect();
        let mut says =
            json!({"Entrypoint": ["/bin/bash"], "Cmd": ["-c", "id"], "Env": ["A=b"], "WorkingDir": "/tmp"});
        says.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config = json!({
            "os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "config": says,
        });
        let config_kind = "application/vnd.oci.image.config.v1+json";
        let config = self.push_blob(name, config_kind, config.to_string().as_bytes());
        let layers: Vec<Value> =
            layers.iter().map(|(kind, bytes, _)| self.push_blob(name, kind, bytes)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
        self.push_manifest(name, tag, kind, &manifest)
    }

    /// Where it keeps a blob.
    pub(super) fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text<T>(answer: &Response<T>, name: &str) -> String {
    answer.headers()[name].to_str().unwrap().to_owned()
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
