//! The JSON of the lifecycle API, spelled as its specification has it. Fields that are none are left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamps::WireTimestamp;

/// The body of `POST /v1/sandboxes`. One of `image` and `snapshotId` has to be given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateSandboxRequest {
    /// What the sandbox is made from.
    pub(super) image: Option<ImageSpec>,
    /// A snapshot that it begins with.
    pub(super) snapshot_id: Option<String>,
    /// What it has to run on.
    pub(super) platform: Option<PlatformSpec>,
    /// Seconds until it ends by itself, 60 at least; it does not if there are none.
    #[schema(minimum = 60)]
    pub(super) timeout: Option<i64>,
    /// `cpu` (`"500m"`, `"1"`), `memory` (`"512Mi"`), and beyond the specification `disk` and `pids`.
    pub(super) resource_limits: Option<BTreeMap<String, String>>,
    /// Least amounts, for clusters; here they mean nothing.
    pub(super) resource_requests: Option<BTreeMap<String, String>>,
    /// Environment of everything that runs in it.
    pub(super) env: Option<BTreeMap<String, Option<String>>>,
    /// Labels, by the rules of Kubernetes.
    pub(super) metadata: Option<BTreeMap<String, String>>,
    /// Program and arguments. The sandbox ends with it.
    pub(super) entrypoint: Option<Vec<String>>,
    /// Whom it may reach; everybody who is not closed to all sandboxes, if it says nothing.
    pub(super) network_policy: Option<NetworkPolicyBody>,
    /// Who brings credentials to servers; there is none here.
    pub(super) credential_proxy: Option<CredentialProxyConfig>,
    /// `access.renew.extend.seconds`: each use moves the end of the time-out; `idle.pause.seconds`: it is paused when
    /// nobody has used it for so long, and resumed by the next use.
    pub(super) extensions: Option<BTreeMap<String, String>>,
    /// Folders that outlive it, or belong to the host; at most 16.
    pub(super) volumes: Option<Vec<VolumeRequest>>,
    /// Programs that run around the entrypoint; there are none here.
    #[schema(value_type = Option<Object>)]
    pub(super) lifecycle: Option<serde_json::Value>,
    /// A template; there are none here.
    pub(super) template_id: Option<String>,
}

/// A volume of a sandbox. Exactly one of `host` and `pvc` has to be given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct VolumeRequest {
    /// What it is called within the sandbox.
    #[schema(example = "data", max_length = 63)]
    pub(super) name: String,
    /// A folder of the host.
    pub(super) host: Option<HostVolume>,
    /// A volume of the server's.
    pub(super) pvc: Option<NamedVolume>,
    /// A bucket of an object store; there are none here.
    #[schema(value_type = Option<Object>)]
    pub(super) ossfs: Option<serde_json::Value>,
    /// Where it is mounted. What is missing on the way there is made.
    #[schema(example = "/data")]
    pub(super) mount_path: String,
    /// Nothing can be written through it.
    pub(super) read_only: Option<bool>,
    /// The folder of it that is mounted. A named volume gets it if it is missing.
    pub(super) sub_path: Option<String>,
}

/// A folder of the host, below one that the operator allowed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HostVolume {
    /// Its whole path.
    #[schema(example = "/srv/data/project")]
    pub(super) path: String,
}

/// A volume that the server keeps, of the key that made it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NamedVolume {
    /// Its name, unique among the key's.
    #[schema(example = "project", max_length = 253)]
    pub(super) claim_name: String,
    /// It is made if there is none, which is so if nothing is said.
    pub(super) create_if_not_exists: Option<bool>,
    /// If it is made for the sandbox, it goes with it and its forks, unless another sandbox has it then.
    pub(super) delete_on_sandbox_termination: Option<bool>,
    /// What it may hold, if it is made.
    #[schema(example = "10Gi")]
    pub(super) storage: Option<String>,
    /// For clusters; here it means nothing.
    #[serde(rename = "storageClass")]
    pub(super) _storage_class: Option<String>,
    /// For clusters; here several sandboxes may have it.
    #[serde(rename = "accessModes")]
    pub(super) _access_modes: Option<Vec<String>>,
}

/// A volume that the server keeps.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VolumeBody {
    pub(super) id: String,
    pub(super) name: String,
    /// The key that made it, as the administrator's list has it.
    #[schema(example = "key:1")]
    pub(super) owner: String,
    /// What it may hold.
    pub(super) bytes: u64,
    pub(super) created_at: WireTimestamp,
}

/// Volumes, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListVolumesResponse {
    pub(super) items: Vec<VolumeBody>,
}

/// Whom a sandbox may reach.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NetworkPolicyBody {
    /// `allow` or `deny`: what becomes of what no rule is about. `deny`, if there are rules and nothing is said.
    #[schema(example = "deny")]
    pub(super) default_action: Option<String>,
    /// Rules. The first that matches decides.
    pub(super) egress: Option<Vec<NetworkRuleBody>>,
}

/// A rule of a network policy.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkRuleBody {
    /// `allow` or `deny`.
    #[schema(example = "allow")]
    pub(super) action: String,
    /// A name, `*.` and a name for all below it, an address, or a network in CIDR notation.
    #[schema(example = "*.example.com")]
    pub(super) target: String,
}

/// A network policy that is in force.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyStatusResponse {
    #[schema(example = "ok")]
    pub(super) status: &'static str,
    /// What becomes of what no rule is about.
    #[schema(example = "deny_all")]
    pub(super) mode: &'static str,
    /// By names and by addresses.
    #[schema(example = "dns+nft")]
    pub(super) enforcement_mode: &'static str,
    pub(super) policy: NetworkPolicyBody,
}

/// An image.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(super) struct ImageSpec {
    /// `host`: sandboxes are made from no other image yet.
    #[schema(example = "host")]
    pub(super) uri: String,
}

/// An image in an answer: without the login.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(super) struct ImageBody {
    pub(super) uri: String,
}

/// A machine to run on.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(super) struct PlatformSpec {
    #[schema(example = "linux")]
    pub(super) os: String,
    #[schema(example = "amd64")]
    pub(super) arch: String,
}

/// See [`CreateSandboxRequest::credential_proxy`].
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CredentialProxyConfig {
    pub(super) enabled: Option<bool>,
}

/// A sandbox.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = lifecycle::Sandbox)]
pub(super) struct SandboxBody {
    pub(super) id: String,
    /// What it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<ImageBody>,
    /// The snapshot that it began with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<PlatformSpec>,
    pub(super) status: SandboxStatus,
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) extensions: BTreeMap<String, String>,
    pub(super) entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<WireTimestamp>,
    pub(super) created_at: WireTimestamp,
}

/// Where something is in its life.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SandboxStatus {
    #[schema(example = "Running")]
    pub(super) state: &'static str,
    /// Why, in a word for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    pub(super) last_transition_at: WireTimestamp,
}

/// A page of sandboxes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListSandboxesResponse {
    pub(super) items: Vec<SandboxBody>,
    pub(super) pagination: PaginationInfo,
}

/// Where a page is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PaginationInfo {
    pub(super) page: usize,
    pub(super) page_size: usize,
    pub(super) total_items: usize,
    pub(super) total_pages: usize,
    pub(super) has_next_page: bool,
}

/// The body of `POST /v1/sandboxes/{sandboxId}/renew-expiration`, and its answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RenewRequest {
    /// When it is to end, as RFC 3339 writes it.
    #[schema(example = "2030-01-01T00:00:00Z", format = DateTime)]
    pub(super) expires_at: String,
}

/// When a sandbox ends now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RenewResponse {
    pub(super) expires_at: WireTimestamp,
}

/// Where something inside a sandbox is reached.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndpointBody {
    /// Host, port and path, without a scheme.
    #[schema(example = "localhost:8080/v1/sandboxes/0198…/proxy/8000")]
    pub(super) endpoint: String,
    /// Headers that every request to it needs.
    pub(super) headers: BTreeMap<&'static str, String>,
}

/// The body of `POST /v1/sandboxes/{sandboxId}/snapshots`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct CreateSnapshotRequest {
    /// A name, new among the sandbox's.
    #[schema(min_length = 1)]
    pub(super) name: Option<String>,
}

/// A snapshot.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = lifecycle::Snapshot)]
pub(super) struct SnapshotBody {
    pub(super) id: String,
    pub(super) sandbox_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) status: SnapshotStatus,
    pub(super) created_at: WireTimestamp,
}

/// Where a snapshot is in its life.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SnapshotStatus {
    #[schema(example = "Ready")]
    pub(super) state: &'static str,
    pub(super) reason: &'static str,
    pub(super) last_transition_at: WireTimestamp,
}

/// A page of snapshots.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListSnapshotsResponse {
    pub(super) items: Vec<SnapshotBody>,
    pub(super) pagination: PaginationInfo,
}

/// Text about what a sandbox did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiagnosticBody {
    pub(super) sandbox_id: String,
    /// `logs` or `events`.
    pub(super) kind: &'static str,
    pub(super) scope: String,
    /// Always `inline`: the text is in `content`.
    pub(super) delivery: &'static str,
    pub(super) content_type: &'static str,
    pub(super) content: String,
    pub(super) content_length: usize,
    /// Whether older lines were left out.
    pub(super) truncated: bool,
}

/// What a client tells of a creation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricsEvent {
    #[schema(example = "sandbox.create")]
    pub(super) event_type: String,
    pub(super) sandbox_id: Option<String>,
    pub(super) image: Option<String>,
    pub(super) create_duration_ms: u64,
    pub(super) success: bool,
}

/// The version of this server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionBody {
    #[schema(example = "0.1.0")]
    pub(super) version: &'static str,
}

/// The health of this server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LifecycleHealthBody {
    #[schema(example = "healthy")]
    pub(super) status: &'static str,
}

/// The body of every answer that is none of the above.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorResponse {
    /// What kind of error it is, for programs.
    #[schema(example = "INVALID_REQUEST")]
    pub(super) code: String,
    /// What is wrong, and what to do about it.
    pub(super) message: String,
}
