//! The JSON of this dialect, spelled as its document has it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Type, schema::Schema},
};

/// A key to make.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct KeyRequest {
    /// What to call it.
    #[schema(example = "my-app")]
    pub(super) name: Option<String>,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyMadeBody {
    /// Its number.
    pub(super) id: u64,
    /// The key. It is shown here and never again.
    #[schema(example = "ws_00112233445566778899aabbccddeeff0011223344556677")]
    pub(super) key: String,
    /// What it is called.
    #[schema(required)]
    pub(super) name: Option<String>,
    /// When it was made.
    pub(super) created_at: Seconds,
    /// For people.
    #[schema(example = "Save your API key - it won't be shown again!")]
    pub(super) message: &'static str,
}

/// The keys, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeysBody {
    /// Those that count.
    pub(super) api_keys: Vec<KeyBody>,
}

/// A key, masked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyBody {
    /// Its number.
    pub(super) id: u64,
    /// Its first characters.
    #[schema(example = "ws_001122...")]
    pub(super) key: String,
    /// What it is called.
    #[schema(required)]
    pub(super) name: Option<String>,
    /// When it was made.
    pub(super) created_at: Seconds,
}

/// The key of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MeBody {
    /// Its number.
    pub(super) api_key_id: u64,
    /// What it is called.
    #[schema(required)]
    pub(super) api_key_name: Option<String>,
    /// When it was made.
    pub(super) created_at: Seconds,
}

/// A machine to make.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct VmRequest {
    /// 1 to 63 letters, digits, `.`, `_` or `-`; new among the key's.
    #[schema(required, nullable = false, example = "my-sandbox")]
    pub(super) name: Option<String>,
}

/// A machine.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VmBody {
    /// Its number, which no other machine ever has.
    pub(super) id: u64,
    /// Its name.
    #[schema(example = "my-sandbox")]
    pub(super) name: String,
    /// What it was made from.
    #[schema(example = "dev-1")]
    pub(super) base_vm: String,
    /// Where it is in its life.
    pub(super) status: VmStatusWord,
    /// A number from 3333 on that no other machine has as long as it is there.
    #[schema(example = 3333)]
    pub(super) agent_port: u32,
    /// The same from 2222 on.
    #[schema(example = 2222)]
    pub(super) ssh_port: u32,
    /// When it was made.
    pub(super) created_at: Seconds,
    /// When its status last changed.
    pub(super) updated_at: Seconds,
}

/// Where a machine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum VmStatusWord {
    /// It is being made.
    Creating,
    /// It is up.
    Running,
    /// It has ended by itself, or with the host. What is next done with it starts it again.
    Stopped,
    /// It could not be started. What is next done with it tries again.
    Error,
}

/// A machine, and whether it answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VmInfoBody {
    #[serde(flatten)]
    pub(super) vm: VmBody,
    /// Whether it answered just now.
    #[serde(rename = "agentHealthy")]
    pub(super) agent_healthy: bool,
}

/// The machines, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VmsBody {
    /// Those of the key.
    pub(super) vms: Vec<VmBody>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageBody {
    /// For people.
    #[schema(example = "Workspace wiped")]
    pub(super) message: String,
}

/// A command to run.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct CommandRequest {
    /// For `sh -c`.
    #[schema(required, nullable = false, example = "echo 'Hello World'")]
    pub(super) command: Option<String>,
    /// The time it may take, in seconds; may have a fraction.
    #[schema(default = 30)]
    pub(super) timeout: Option<f64>,
}

/// What a command gave.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct CommandBody {
    /// What it wrote to standard output. What is not UTF-8 is replaced.
    #[schema(example = "Hello World\n")]
    pub(super) stdout: String,
    /// What it wrote to standard error, then a line for each limit it hit.
    pub(super) stderr: String,
    /// Its exit status; 128 and the number of the signal that ended it; 124 when it took too long.
    #[serde(rename = "exitCode")]
    pub(super) exit_code: i32,
    /// The snapshot after it.
    #[schema(example = "cmd_1702147200000")]
    pub(super) snapshot: String,
}

/// Snapshots.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SnapshotsBody {
    /// The snapshots.
    pub(super) snapshots: Vec<SnapshotBody>,
}

/// A snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SnapshotBody {
    /// Its number, which no other snapshot ever has.
    pub(super) id: u64,
    /// The number of its machine.
    pub(super) vm_id: u64,
    /// The name of its machine.
    #[schema(example = "my-sandbox")]
    pub(super) vm_name: String,
    /// Its name.
    #[schema(example = "cmd_1702147200000")]
    pub(super) snapshot_name: String,
    /// The command it was taken after; null for the one that the machine began with, and after an import.
    #[schema(required)]
    pub(super) command: Option<String>,
    /// Always null: snapshots are where the machine is.
    #[schema(required, value_type = Option<String>)]
    pub(super) s3_key: (),
    /// When it was taken.
    pub(super) created_at: Seconds,
}

/// A point in time as this dialect writes it: UTC, whole seconds, no zone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) Timestamp);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.strftime("%Y-%m-%dT%H:%M:%S"))
    }
}

impl PartialSchema for Seconds {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).examples(["2024-12-09T19:30:00"]).into()
    }
}

impl ToSchema for Seconds {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_neither_fractions_nor_a_zone() {
        let json = |text: &str| serde_json::to_string(&Seconds(text.parse().unwrap())).unwrap();
        assert_eq!(json("2024-12-09T19:30:00Z"), r#""2024-12-09T19:30:00""#);
        assert_eq!(json("2024-12-09T20:30:00.999+01:00"), r#""2024-12-09T19:30:00""#);
    }
}
