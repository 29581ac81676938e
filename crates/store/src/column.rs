//! How values of other crates are written into columns.

use std::{fmt::Display, str::FromStr};

use jiff::Timestamp;
use rusqlite::{
    Error, Result,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// How deep a JSON document of foreign content may be nested. `serde_json` reads no deeper than 128, and a row
/// that cannot be read would spoil every list that it is in.
const DOCUMENT_DEPTH_MAX: usize = 100;

/// A time, as microseconds since 1970.
pub(crate) struct Micros(pub(crate) Timestamp);

impl ToSql for Micros {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.0.as_microsecond().into())
    }
}

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = value.as_i64()?;
        let (second, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        // Not `from_microsecond`, which does not take the last second before `Timestamp::MAX`.
        Timestamp::new(second, micros as i32 * 1000).map(Self).map_err(FromSqlError::other)
    }
}

/// An identifier, as text: it can be typed into a shell.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: Display> ToSql for Id<T> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl<T: FromStr<Err: std::error::Error + Send + Sync + 'static>> FromSql for Id<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

/// Anything, as JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0).map_err(unstorable)?;
        Ok(text.into())
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

/// An enum without content, as its serde name.
pub(crate) struct Word<T>(pub(crate) T);

impl<T: Serialize> ToSql for Word<T> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        match serde_json::to_value(&self.0).map_err(unstorable)? {
            Value::String(word) => Ok(word.into()),
            other => Err(unstorable(format!("{other} is not a word"))),
        }
    }
}

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = Value::String(value.as_str()?.to_owned());
        serde_json::from_value(word).map(Self).map_err(FromSqlError::other)
    }
}

/// A JSON document of foreign content. Read it as [`Json`].
pub(crate) struct Document<'a>(pub(crate) &'a Value);

impl ToSql for Document<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        if is_deeper(self.0, DOCUMENT_DEPTH_MAX) {
            return Err(unstorable(format!("JSON nested over {DOCUMENT_DEPTH_MAX} levels deep")));
        }
        Ok(self.0.to_string().into())
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, below)),
        Value::Object(fields) => fields.values().any(|field| is_deeper(field, below)),
        _ => false,
    }
}

fn unstorable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::ToSqlConversionFailure(error.into())
}
