//! Where the wire types and the engine's meet, and nowhere else: `request` turns the one into the other and
//! refuses what is out of range by its wire name, `answer` turns results back.

mod answer;
mod base_url;
mod env;
mod files;
mod request;
mod snapshots;

pub(super) use self::{
    answer::{log_line_body, run_body, sandbox_body},
    base_url::BaseUrl,
    files::program_files,
    request::{Bounds, sandbox_spec, sandbox_spec_once},
    snapshots::{event_body, event_query, snapshot_body, snapshot_spec},
};

/// The text of an engine's complaint about a field, with the field's wire name in place of the engine's.
pub(super) fn invalid_text(field: &str, text: &str) -> String {
    let name = match field {
        "memory" => "memory_limit_mb",
        "timeout" => "timeout_ms",
        "language" => "runtime",
        "env" => "env_vars",
        "install_dependencies" => "install_deps",
        same => same,
    };
    format!("{name}{}", text.strip_prefix(field).map_or_else(|| format!(": {text}"), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::invalid_text;

    #[test]
    fn the_fields_name_is_said_once() {
        assert_eq!(invalid_text("timeout", "timeout: is 0"), "timeout_ms: is 0");
        assert_eq!(invalid_text("code", "code: is empty"), "code: is empty");
        assert_eq!(invalid_text("entry_point", "is odd"), "entry_point: is odd");
    }
}
