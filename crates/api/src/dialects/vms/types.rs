//! The JSON of this dialect, spelled as its document has it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Type, schema::Schema},
};

/// A key to make.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
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
