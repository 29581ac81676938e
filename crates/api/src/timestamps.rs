//! Points in time as the dialects write them: RFC 3339 in UTC with three decimals,
//! `2024-12-09T19:30:00.000Z`.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, SchemaFormat, Type, schema::Schema},
};

/// A point in time in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WireTimestamp(pub(crate) Timestamp);

impl Serialize for WireTimestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

impl PartialSchema for WireTimestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2024-12-09T19:30:00.000Z"])
            .into()
    }
}

impl ToSchema for WireTimestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_decimals_even_when_they_are_zero() {
        let json = |text: &str| serde_json::to_string(&WireTimestamp(text.parse().unwrap())).unwrap();
        assert_eq!(json("2024-12-09T19:30:00Z"), r#""2024-12-09T19:30:00.000Z""#);
        assert_eq!(json("2024-12-09T20:30:00.123987+01:00"), r#""2024-12-09T19:30:00.123Z""#);
    }
}
