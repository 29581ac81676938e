//! What registries say of an image: its manifest, an index over several platforms, its configuration.
//!
//! All of it comes from others. It must not know where from.

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// Media types of manifests that are asked for, in the words of OCI and of Docker.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
/// The most that a manifest or a configuration may have.
pub(super) const JSON_BYTES_MAX: u64 = 4 << 20;
/// The most layers of an image: overlayfs takes 500 (`OVL_MAX_STACK`).
const LAYERS_MAX: usize = 127;
/// The most that a layer may have, packed.
const LAYER_BYTES_MAX: u64 = 32 << 30;

/// The names of this machine's kind, as images say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The kernel.
    #[serde(default)]
    pub os: String,
    /// The processor.
    #[serde(default)]
    pub architecture: String,
}

impl Platform {
    /// This machine's.
    #[must_use]
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned() }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |text: &str| text.chars().take(32).flat_map(char::escape_default).collect::<String>();
        write!(out, "{}/{}", short(&self.os), short(&self.architecture))
    }
}

/// Something that is fetched by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Descriptor {
    #[serde(default, rename = "mediaType")]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What a reference leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Manifest(Manifest),
    /// The manifest for this platform is elsewhere.
    Elsewhere(Descriptor),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// Why a manifest is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Why(String),
    /// It is for other platforms only.
    Platforms(Vec<String>),
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<IndexEntry>>,
}

#[derive(Deserialize)]
struct IndexEntry {
    #[serde(flatten)]
    descriptor: Descriptor,
    platform: Option<Platform>,
}

/// Reads a manifest or an index.
pub(super) fn manifest_read(bytes: &[u8], platform: &Platform) -> Result<Found, Refused> {
    let why = |text: &str| Refused::Why(text.to_owned());
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| Refused::Why(format!("it is no manifest: {error}")))?;
    if document.schema_version != 2 {
        return Err(why("it is a manifest of the first version of Docker's format, which is not read"));
    }
    match document {
        Document { manifests: Some(entries), config: None, layers: None, .. } => choose(entries, platform),
        Document { manifests: None, config: Some(config), layers: Some(layers), .. } => {
            if config.size > JSON_BYTES_MAX {
                return Err(why("its configuration is over 4 MiB"));
            }
            layers_check(&layers).map_err(Refused::Why)?;
            Ok(Found::Manifest(Manifest { config, layers }))
        }
        _ => Err(why("it is neither an image nor a list of images")),
    }
}

fn choose(entries: Vec<IndexEntry>, platform: &Platform) -> Result<Found, Refused> {
    // What signs or describes an image stands beside it, under the platform `unknown`.
    let images = entries
        .into_iter()
        .filter_map(|entry| Some((entry.platform?, entry.descriptor)))
        .filter(|(there, _)| there.os != "unknown");
    let mut others = Vec::new();
    for (there, descriptor) in images {
        if there == *platform {
            return if descriptor.size > JSON_BYTES_MAX {
                Err(Refused::Why("its manifest is over 4 MiB".to_owned()))
            } else {
                Ok(Found::Elsewhere(descriptor))
            };
        }
        let name = there.to_string();
        if !others.contains(&name) && others.len() < 32 {
            others.push(name);
        }
    }
    Err(Refused::Platforms(others))
}

fn layers_check(layers: &[Descriptor]) -> Result<(), String> {
    if layers.is_empty() {
        return Err("it has no layers".to_owned());
    }
    if layers.len() > LAYERS_MAX {
        return Err(format!("it has {} layers, at most {LAYERS_MAX} are taken", layers.len()));
    }
    for layer in layers {
        let kind = layer.media_type.as_str();
        let base = kind.trim_end_matches(".gzip").trim_end_matches("+gzip").trim_end_matches("+zstd");
        match base {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {}
            _ if kind.contains("foreign") || kind.contains("nondistributable") => {
                return Err(format!("its layer {} is to be had from its vendor only", layer.digest));
            }
            _ => {
                let kind: String = kind.chars().take(100).flat_map(char::escape_default).collect();
                return Err(format!("its layer {} is of the unknown kind {kind:?}", layer.digest));
            }
        }
        if layer.size > LAYER_BYTES_MAX {
            return Err(format!("its layer {} has {} bytes, which is too much", layer.digest, layer.size));
        }
    }
    Ok(())
}

/// What a program of the image is started with, unless told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The program, with its first arguments.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program where there is no entry point.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// Variables, as `NAME=VALUE`.
    #[serde(default)]
    pub env: Vec<String>,
    /// User, and group after a colon, each by name or number; empty for root.
    #[serde(default)]
    pub user: String,
    /// The folder that it starts in; empty for `/`.
    #[serde(default)]
    pub workdir: String,
}

/// An image's configuration, as far as it is used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) platform: Platform,
    pub(super) config: ImageConfig,
    pub(super) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct ConfigDocument {
    #[serde(flatten)]
    platform: Platform,
    config: Option<ConfigPart>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigPart {
    #[serde(rename = "Entrypoint")]
    entrypoint: Option<Vec<String>>,
    #[serde(rename = "Cmd")]
    cmd: Option<Vec<String>>,
    #[serde(rename = "Env")]
    env: Option<Vec<String>>,
    #[serde(rename = "User")]
    user: Option<String>,
    #[serde(rename = "WorkingDir")]
    workdir: Option<String>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

/// Reads a configuration.
pub(super) fn configuration_read(bytes: &[u8]) -> Result<Configuration, String> {
    let document: ConfigDocument =
        serde_json::from_slice(bytes).map_err(|error| format!("its configuration is damaged: {error}"))?;
    let part = document.config.unwrap_or_default();
    Ok(Configuration {
        platform: document.platform,
        config: ImageConfig {
            entrypoint: part.entrypoint.unwrap_or_default(),
            cmd: part.cmd.unwrap_or_default(),
            env: part.env.unwrap_or_default(),
            user: part.user.unwrap_or_default(),
            workdir: part.workdir.unwrap_or_default(),
        },
        diff_ids: document.rootfs.diff_ids,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(kind: &str, size: u64) -> Value {
        json!({"mediaType": kind, "digest": Digest::of(kind.as_bytes()).to_string(), "size": size})
    }

    fn read(document: &Value) -> Result<Found, Refused> {
        let here = Platform { os: "linux".into(), architecture: "amd64".into() };
        manifest_read(document.to_string().as_bytes(), &here)
    }

    fn with_layer(kind: &str, size: u64) -> Value {
        json!({
            "schemaVersion": 2,
            "config": descriptor("application/vnd.oci.image.config.v1+json", 2),
            "layers": [descriptor(kind, size)],
        })
    }

    #[test]
    fn manifests_of_both_formats_are_read() {
        for kind in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ] {
            let found = read(&with_layer(kind, 5));
            let Ok(Found::Manifest(manifest)) = found else { panic!("{kind}: {found:?}") };
            assert_eq!((manifest.layers[0].size, manifest.layers.len()), (5, 1));
        }
    }

    #[test]
    fn an_index_leads_to_this_platform_or_names_those_there_are() {
        let of = |os: &str, architecture: &str| {
            let mut entry = descriptor(architecture, 7);
            entry["platform"] = json!({"os": os, "architecture": architecture, "variant": "v8"});
            entry
        };
        let mut entries = vec![of("unknown", "unknown"), of("linux", "arm64"), of("windows", "amd64")];
        let index = |entries: &[Value]| json!({"schemaVersion": 2, "manifests": entries});
        let refused = read(&index(&entries)).unwrap_err();
        assert_eq!(refused, Refused::Platforms(vec!["linux/arm64".into(), "windows/amd64".into()]));
        entries.push(of("linux", "amd64"));
        let Ok(Found::Elsewhere(found)) = read(&index(&entries)) else { panic!("not found") };
        assert_eq!(found.digest, Digest::of(b"amd64"));
    }

    #[test]
    fn what_cannot_be_an_image_is_refused_with_the_reason() {
        let too_many: Vec<Value> =
            (0..200).map(|_| descriptor("application/vnd.oci.image.layer.v1.tar", 1)).collect();
        let mut many = with_layer("x", 1);
        many["layers"] = too_many.into();
        let mut none = with_layer("x", 1);
        none["layers"] = json!([]);
        for (document, word) in [
            (json!({}), "no manifest"),
            (json!([]), "no manifest"),
            (json!({"schemaVersion": 1, "fsLayers": []}), "first version"),
            (json!({"schemaVersion": 2}), "neither"),
            (with_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 1), "vendor"),
            (with_layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip", 1), "unknown kind"),
            (with_layer("application/vnd.oci.image.layer.v1.tar+gzip", 1 << 40), "too much"),
            (many, "200 layers"),
            (none, "no layers"),
            (
                json!({"schemaVersion": 2, "layers": [], "config": {"digest": "sha256:../..", "size": 1}}),
                "digest",
            ),
            (
                json!({"schemaVersion": 2, "layers": [], "config": {"digest": Digest::of(b""), "size": -1}}),
                "manifest",
            ),
        ] {
            let refused = read(&document);
            let Err(Refused::Why(why)) = refused else { panic!("{document}: {refused:?}") };
            assert!(why.contains(word), "{document}: {why}");
        }
    }

    #[test]
    fn a_configuration_may_leave_almost_all_out() {
        let bytes = json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []},
            "config": {"Env": ["A=b"], "Cmd": null, "Entrypoint": ["/x"], "User": "1:2", "Labels": {}}});
        let read = configuration_read(bytes.to_string().as_bytes()).unwrap();
        let config = ImageConfig {
            entrypoint: vec!["/x".into()],
            env: vec!["A=b".into()],
            user: "1:2".into(),
            ..ImageConfig::default()
        };
        assert_eq!(read.config, config);
        let bare = configuration_read(br#"{"rootfs": {"diff_ids": []}}"#).unwrap();
        assert_eq!(bare.config, ImageConfig::default());
        assert!(configuration_read(b"{}").is_err());
    }
}
