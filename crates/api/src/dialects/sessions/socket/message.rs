//! Messages over the WebSocket, both ways. It must not know what is done with them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::{convert::exit_code, types::StatsBody};
use protocol::{
    agent::{ExitStatus, TerminalSize},
    workspace::{Change, ChangeKind},
};

/// What a client may say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Create { terminal: Option<String>, size: Option<TerminalSize> },
    Input { terminal: Option<String>, data: String },
    Resize { terminal: Option<String>, size: TerminalSize },
    Close { terminal: Option<String> },
    Clear { terminal: Option<String> },
    Monitor,
    Unmonitor,
    Watch,
    Unwatch,
}

/// All fields of all messages.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(rename = "type")]
    kind: Option<String>,
    terminal_id: Option<String>,
    data: Option<String>,
    cols: Option<u16>,
    rows: Option<u16>,
}

/// As many columns and lines a terminal has at most.
const SIDE_MAX: u16 = 1000;
const SIZE_DEFAULT: TerminalSize = TerminalSize { rows: 24, cols: 80 };

impl Incoming {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let fields: Fields =
            serde_json::from_str(text).map_err(|error| format!("The message can't be read: {error}"))?;
        let kind = fields.kind.as_deref().ok_or("The message has no type")?;
        let terminal = fields.terminal_id;
        let size = size(fields.cols, fields.rows);
        Ok(match kind {
            "terminal:create" => Self::Create { terminal, size: size? },
            "terminal:input" => {
                Self::Input { terminal, data: fields.data.ok_or("terminal:input: data is required")? }
            }
            "terminal:resize" => {
                let size = size?.ok_or("terminal:resize: cols and rows are required")?;
                Self::Resize { terminal, size }
            }
            "terminal:close" => Self::Close { terminal },
            "terminal:clear" => Self::Clear { terminal },
            "system:monitor" => Self::Monitor,
            "system:unmonitor" => Self::Unmonitor,
            "files:watch" => Self::Watch,
            "files:unwatch" => Self::Unwatch,
            other => {
                let shown: String = other.chars().take(100).collect();
                return Err(format!("There is no message of type {shown:?}"));
            }
        })
    }
}

/// A size of which a part may be left out.
fn size(cols: Option<u16>, rows: Option<u16>) -> Result<Option<TerminalSize>, String> {
    if cols.is_none() && rows.is_none() {
        return Ok(None);
    }
    let (cols, rows) = (cols.unwrap_or(SIZE_DEFAULT.cols), rows.unwrap_or(SIZE_DEFAULT.rows));
    let fits = |side: u16| (1..=SIDE_MAX).contains(&side);
    if fits(cols) && fits(rows) {
        Ok(Some(TerminalSize { rows, cols }))
    } else {
        Err(format!("cols and rows must be between 1 and {SIDE_MAX}"))
    }
}

/// The size of a terminal of which none was said.
pub(super) fn size_or_default(size: Option<TerminalSize>) -> TerminalSize {
    size.unwrap_or(SIZE_DEFAULT)
}

/// `terminal:created` and its like, about one terminal.
pub(super) fn about(kind: &str, terminal: &str) -> String {
    json!({ "type": kind, "terminalId": terminal }).to_string()
}

/// A word without more.
pub(super) fn word(kind: &str) -> String {
    json!({ "type": kind }).to_string()
}

/// Its program has ended.
pub(super) fn exit(terminal: &str, status: ExitStatus) -> String {
    json!({ "type": "terminal:exit", "terminalId": terminal, "exitCode": exit_code(status) }).to_string()
}

/// Something could not be done; the connection stays.
pub(super) fn error(text: &str, terminal: Option<&str>) -> String {
    match terminal {
        Some(terminal) => json!({ "type": "error", "error": text, "terminalId": terminal }),
        None => json!({ "type": "error", "error": text }),
    }
    .to_string()
}

/// What the machine does.
pub(super) fn stats(data: &StatsBody) -> String {
    #[derive(Serialize)]
    struct Stats<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        data: &'a StatsBody,
    }
    // Numbers alone: encoding does not fail.
    serde_json::to_string(&Stats { kind: "system:stats", data }).unwrap_or_default()
}

/// Files have changed; none if all of their names are no UTF-8.
pub(super) fn changed(changes: &[Change]) -> Option<String> {
    let told: Vec<Value> = changes.iter().filter_map(change).collect();
    (!told.is_empty()).then(|| json!({ "type": "files:changed", "changes": told }).to_string())
}

fn change(change: &Change) -> Option<Value> {
    let path = str::from_utf8(&change.path).ok()?;
    let (kind, from) = match &change.kind {
        ChangeKind::Created => ("created", None),
        ChangeKind::Changed => ("changed", None),
        ChangeKind::Deleted => ("deleted", None),
        // From a name that can't be told it is new.
        ChangeKind::Moved { from } => match str::from_utf8(from) {
            Ok(from) => ("moved", Some(from)),
            Err(_) => ("created", None),
        },
        ChangeKind::Everything => ("everything", None),
    };
    let mut told = json!({ "path": path, "type": kind, "isDirectory": change.is_folder });
    if let Some(from) = from {
        told["from"] = from.into();
    }
    Some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read() {
        let read = Incoming::read;
        assert_eq!(
            read(r#"{"type":"terminal:create"}"#),
            Ok(Incoming::Create { terminal: None, size: None })
        );
        let size = TerminalSize { rows: 24, cols: 100 };
        assert_eq!(
            read(r#"{"type":"terminal:create","cols":100,"terminalId":"t","more":1}"#),
            Ok(Incoming::Create { terminal: Some("t".to_owned()), size: Some(size) })
        );
        for (text, wrong) in [
            ("{", "The message can't be read"),
            ("[]", "The message can't be read"),
            ("{}", "The message has no type"),
            (r#"{"type":"x"}"#, "There is no message of type \"x\""),
            (r#"{"type":"terminal:input"}"#, "terminal:input: data is required"),
            (r#"{"type":"terminal:resize"}"#, "terminal:resize: cols and rows are required"),
            (r#"{"type":"terminal:resize","cols":0,"rows":1}"#, "cols and rows must be between"),
            (r#"{"type":"terminal:resize","cols":70000,"rows":1}"#, "The message can't be read"),
            (r#"{"type":"terminal:resize","cols":-1,"rows":1}"#, "The message can't be read"),
        ] {
            assert!(read(text).unwrap_err().starts_with(wrong), "{text}");
        }
    }
}
