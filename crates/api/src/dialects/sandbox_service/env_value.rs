//! The value of an environment variable in JSON. The document says "object" and no more, and clients send
//! numbers and booleans: those are taken as they are written.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Type, schema::Schema, schema::SchemaType},
};

/// A value of an environment variable, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnvValue(pub(super) String);

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EnvValueVisitor)
    }
}

struct EnvValueVisitor;

impl de::Visitor<'_> for EnvValueVisitor {
    type Value = EnvValue;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string, a number or a boolean")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<EnvValue, E> {
        Ok(EnvValue(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<EnvValue, E> {
        Ok(EnvValue(value))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<EnvValue, E> {
        Ok(EnvValue(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<EnvValue, E> {
        Ok(EnvValue(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<EnvValue, E> {
        Ok(EnvValue(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<EnvValue, E> {
        Ok(EnvValue(value.to_string()))
    }
}

impl PartialSchema for EnvValue {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Array(vec![Type::String, Type::Number, Type::Boolean]))
            .description(Some("Numbers and booleans are taken as they are written."))
            .into()
    }
}

impl ToSchema for EnvValue {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_become_their_text() {
        let text = |json: &str| serde_json::from_str::<EnvValue>(json).unwrap().0;
        assert_eq!(text(r#""a\u0041\n""#), "aA\n");
        assert_eq!(text(r#""""#), "");
        assert_eq!(text("3000"), "3000");
        assert_eq!(text("-1"), "-1");
        assert_eq!(text("1.5"), "1.5");
        assert_eq!(text("true"), "true");
    }

    #[test]
    fn everything_else_is_refused() {
        for json in ["null", "[]", "{}", r#"["a"]"#] {
            let refused = serde_json::from_str::<EnvValue>(json).unwrap_err().to_string();
            assert!(refused.contains("expected a string, a number or a boolean"), "{refused}");
        }
    }
}
