//! What a server answered, with the checks that each test would repeat.

use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub text: String,
}

/// The same where the body may be no text.
#[derive(Debug)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// As text.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn into_text(self) -> Answer {
        let text = String::from_utf8(self.body).expect("the answer is UTF-8");
        Answer { status: self.status, headers: self.headers, text }
    }
}

impl Answer {
    /// The first header of this name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("no JSON ({error}) in {} {:?}", self.status, self.text))
    }

    /// The JSON of a success.
    ///
    /// # Panics
    /// When the status is not 200.
    #[must_use]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The text of an error of this status, whose body must be `{"error": "…"}` and nothing else.
    ///
    /// # Panics
    /// When it is anything else.
    #[must_use]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text);
        let body = self.json();
        let object = body.as_object().expect("an object");
        assert_eq!(object.keys().collect::<Vec<_>>(), ["error"], "{body}");
        object["error"].as_str().expect("a text").to_owned()
    }
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// `success`
    pub success: bool,
    /// `stdout`
    pub stdout: String,
    /// `stderr`
    pub stderr: String,
    /// `exit_code`
    pub exit_code: i64,
    /// `is_running`
    pub is_running: bool,
    /// `limits_hit`
    pub limits_hit: Vec<String>,
}

impl Run {
    /// The run that an answer tells of.
    ///
    /// # Panics
    /// When it is no success, or does not have the documented fields.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        let body = answer.ok();
        let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("{name} in {body}")).to_owned();
        let word = |name: &str| body[name].as_bool().unwrap_or_else(|| panic!("{name} in {body}"));
        assert!(body["execution_time_ms"].is_u64(), "{body}");
        Self {
            success: word("success"),
            stdout: text("stdout"),
            stderr: text("stderr"),
            exit_code: body["exit_code"].as_i64().expect("a number"),
            is_running: word("is_running"),
            limits_hit: body["limits_hit"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|word| word.as_str().expect("a word").to_owned())
                .collect(),
        }
    }

    /// Its standard output, of a run that succeeded without a word of complaint.
    ///
    /// # Panics
    /// When it failed, hit a limit or wrote to standard error.
    #[must_use]
    pub fn output(&self) -> &str {
        assert!(self.success && self.exit_code == 0, "{self:?}");
        assert_eq!(self.stderr, "", "{self:?}");
        assert_eq!(self.limits_hit, [""; 0], "{self:?}");
        &self.stdout
    }

    /// Whether it hit this limit.
    #[must_use]
    pub fn hit(&self, limit: &str) -> bool {
        self.limits_hit.iter().any(|hit| hit == limit)
    }
}
