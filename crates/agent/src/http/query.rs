//! The parameters of a query, with errors that name them.

use std::str::FromStr;

use hyper::{StatusCode, Uri};

use super::HttpError;

/// A query's names and values, decoded, in their order.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// A parameter's first value.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn required(&self, name: &str) -> Result<&str, HttpError> {
        self.text(name).filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
    }

    /// All values of a parameter that must be there.
    ///
    /// # Errors
    /// 400 when there is none.
    pub(crate) fn all(&self, name: &str) -> Result<Vec<String>, HttpError> {
        let values: Vec<String> =
            self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect();
        if values.is_empty() { Err(missing(name)) } else { Ok(values) }
    }

    /// A parameter of another type than text.
    ///
    /// # Errors
    /// 400 when it is not of the type.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, HttpError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => {
                Err(HttpError::query(format!("the parameter `{name}` has the impossible value {value:?}")))
            }
        }
    }
}

fn missing(name: &str) -> HttpError {
    HttpError::new(StatusCode::BAD_REQUEST, "MISSING_QUERY", format!("the parameter `{name}` is missing"))
}
