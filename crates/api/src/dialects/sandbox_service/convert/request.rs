//! A create request as the sandbox the engine is asked for.

use std::time::Duration;

use engine::{
    LimitsSpec, SandboxSpec, Settings,
    program::{Language, Mode, Program},
};
use protocol::limits::MEMORY_BYTES_MIN;

use super::{
    super::{
        DIALECT,
        types::{CreateRequest, ModeWord, RuntimeWord},
    },
    env::env,
    files::program_files,
};
use crate::reject::Rejection;

const MIB: u64 = 1 << 20;

/// What the operator allows, as far as a create request can ask for it.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Bounds {
    timeout_default: Duration,
    timeout_max: Duration,
    memory_bytes_max: u64,
}

impl From<&Settings> for Bounds {
    fn from(settings: &Settings) -> Self {
        Self {
            timeout_default: settings.timeout_default,
            timeout_max: settings.timeout_max,
            memory_bytes_max: settings.limits_max.memory_bytes,
        }
    }
}

/// The sandbox that a request asks for.
pub(in super::super) fn sandbox_spec(
    request: CreateRequest,
    bounds: &Bounds,
) -> Result<SandboxSpec, Rejection> {
    if request.code.is_empty() {
        return Err(Rejection::field("code", "is empty"));
    }
    let program = Program {
        language: language(request.runtime),
        code: request.code,
        entry_point: entry_point(request.entry_point)?,
        files: program_files(request.files.unwrap_or_default())?,
        mode: mode(request.mode),
        install_dependencies: request.install_deps.unwrap_or(false),
        dev_server: request.dev_server.unwrap_or(false),
        timeout: request
            .timeout_ms
            .map_or(Ok(bounds.timeout_default), |ms| timeout(ms, bounds.timeout_max))?,
    };
    let memory_bytes =
        request.memory_limit_mb.map(|mib| memory_bytes(mib, bounds.memory_bytes_max)).transpose()?;
    Ok(SandboxSpec {
        limits: LimitsSpec { memory_bytes, ..LimitsSpec::default() },
        env: env(request.env_vars.unwrap_or_default())?,
        program: Some(program),
        ..SandboxSpec::new(DIALECT)
    })
}

/// The same for a sandbox of which nothing is kept.
pub(in super::super) fn sandbox_spec_once(
    request: CreateRequest,
    bounds: &Bounds,
) -> Result<SandboxSpec, Rejection> {
    if mode(request.mode) == Mode::Persistent {
        return Err(Rejection::field(
            "mode",
            "a persistent program needs a sandbox that is kept; use POST /sandbox",
        ));
    }
    sandbox_spec(request, bounds)
}

fn language(word: RuntimeWord) -> Language {
    match word {
        RuntimeWord::Node | RuntimeWord::Nodejs => Language::Node,
        RuntimeWord::Bun => Language::Bun,
        RuntimeWord::Typescript | RuntimeWord::Ts => Language::Typescript,
        RuntimeWord::Python => Language::Python,
        RuntimeWord::Bash => Language::Bash,
    }
}

fn mode(word: Option<ModeWord>) -> Mode {
    match word {
        None | Some(ModeWord::Oneshot) => Mode::Oneshot,
        Some(ModeWord::Persistent) => Mode::Persistent,
    }
}

/// An empty entry point is none: forms send that.
fn entry_point(text: Option<String>) -> Result<Option<String>, Rejection> {
    match text {
        Some(text) if text.contains('\0') => Err(Rejection::field("entry_point", "contains NUL")),
        text => Ok(text.filter(|text| !text.trim().is_empty())),
    }
}

fn timeout(ms: u64, max: Duration) -> Result<Duration, Rejection> {
    let timeout = Duration::from_millis(ms);
    if timeout.is_zero() || timeout > max {
        let problem = format!("must be from 1 to {} milliseconds, not {ms}", max.as_millis());
        return Err(Rejection::field("timeout_ms", problem));
    }
    Ok(timeout)
}

fn memory_bytes(mib: u64, max_bytes: u64) -> Result<u64, Rejection> {
    match mib.checked_mul(MIB) {
        Some(bytes) if (MEMORY_BYTES_MIN..=max_bytes).contains(&bytes) => Ok(bytes),
        _ => {
            let problem =
                format!("must be from {} to {} MB, not {mib}", MEMORY_BYTES_MIN / MIB, max_bytes / MIB);
            Err(Rejection::field("memory_limit_mb", problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::Lease;
    use serde_json::{Value, json};

    use super::*;

    const BOUNDS: Bounds = Bounds {
        timeout_default: Duration::from_secs(30),
        timeout_max: Duration::from_secs(600),
        memory_bytes_max: 512 * MIB,
    };

    /// The request for `node` with `fields` on top.
    fn request(fields: Value) -> Result<CreateRequest, String> {
        let mut body = json!({"runtime": "node", "code": "1"});
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            body.extend(fields);
        }
        serde_json::from_value(body).map_err(|error| error.to_string())
    }

    fn spec(fields: Value) -> Result<SandboxSpec, String> {
        sandbox_spec(request(fields)?, &BOUNDS).map_err(|rejection| rejection.to_string())
    }

    fn refusal(fields: Value) -> String {
        spec(fields).unwrap_err()
    }

    #[test]
    fn what_is_missing_or_null_takes_its_default() {
        let nulls = json!({
            "entry_point": null, "timeout_ms": null, "memory_limit_mb": null, "env_vars": null, "files": null,
            "mode": null, "install_deps": null, "dev_server": null, "unheard_of": {"x": 1},
        });
        for fields in [json!({}), nulls, json!({"entry_point": " "})] {
            let spec = spec(fields).unwrap();
            assert_eq!(spec.dialect, "sandbox-service");
            assert_eq!(spec.limits, LimitsSpec::default());
            assert!(spec.env.is_empty() && spec.network.is_none() && spec.lease == Lease::Configured);
            let expected = Program {
                language: Language::Node,
                code: "1".to_owned(),
                entry_point: None,
                files: vec![],
                mode: Mode::Oneshot,
                install_dependencies: false,
                dev_server: false,
                timeout: Duration::from_secs(30),
            };
            assert_eq!(spec.program, Some(expected));
        }
    }

    #[test]
    fn what_is_given_arrives() {
        let spec = spec(json!({
            "entry_point": "main.js", "timeout_ms": 600_000, "memory_limit_mb": 512,
            "env_vars": {"PORT": 3000}, "files": [{"path": "a", "content": "b"}],
            "mode": "persistent", "install_deps": true, "dev_server": true,
        }))
        .unwrap();
        assert_eq!(spec.limits.memory_bytes, Some(512 * MIB));
        assert_eq!(spec.env, [("PORT".to_owned(), "3000".to_owned())]);
        let program = spec.program.unwrap();
        assert_eq!(program.entry_point.as_deref(), Some("main.js"));
        assert_eq!(program.timeout, Duration::from_secs(600));
        assert_eq!(program.files.len(), 1);
        assert_eq!(program.mode, Mode::Persistent);
        assert!(program.install_dependencies && program.dev_server);
    }

    #[test]
    fn every_runtime_word_has_its_language() {
        let words = [
            ("node", Language::Node),
            ("nodejs", Language::Node),
            ("bun", Language::Bun),
            ("typescript", Language::Typescript),
            ("ts", Language::Typescript),
            ("python", Language::Python),
            ("bash", Language::Bash),
        ];
        for (word, language) in words {
            assert_eq!(spec(json!({"runtime": word})).unwrap().program.unwrap().language, language);
        }
        for word in ["ruby", "Node", "", " node"] {
            let refused = refusal(json!({"runtime": word}));
            assert!(
                refused.ends_with("known are node, nodejs, bun, typescript, ts, python, bash"),
                "{refused}"
            );
        }
        assert!(refusal(json!({"runtime": {"node": null}})).contains("invalid type"));
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        assert_eq!(refusal(json!({"code": ""})), "code: is empty");
        assert_eq!(refusal(json!({"entry_point": "a\u{0}"})), "entry_point: contains NUL");
        assert_eq!(
            refusal(json!({"timeout_ms": 0})),
            "timeout_ms: must be from 1 to 600000 milliseconds, not 0"
        );
        for timeout_ms in [600_001, u64::MAX] {
            assert!(refusal(json!({"timeout_ms": timeout_ms})).starts_with("timeout_ms: "));
        }
        assert_eq!(
            refusal(json!({"memory_limit_mb": 15})),
            "memory_limit_mb: must be from 16 to 512 MB, not 15"
        );
        for memory_limit_mb in [0, 513, u64::MAX, 1 << 44] {
            assert!(refusal(json!({"memory_limit_mb": memory_limit_mb})).starts_with("memory_limit_mb: "));
        }
        assert!(spec(json!({"memory_limit_mb": 16, "timeout_ms": 1})).is_ok());
        assert!(
            refusal(json!({"files": [{"path": "/etc/x", "content": ""}]})).starts_with("files[0].path: ")
        );
        assert!(refusal(json!({"env_vars": {"A=B": ""}})).starts_with("env_vars: "));
    }

    #[test]
    fn wrong_types_are_refused() {
        let cases = [
            json!({"timeout_ms": -1}),
            json!({"timeout_ms": 1.5}),
            json!({"timeout_ms": "30000"}),
            json!({"memory_limit_mb": 64.5}),
            json!({"code": 5}),
            json!({"code": null}),
            json!({"env_vars": ["A=B"]}),
            json!({"env_vars": {"A": null}}),
            json!({"files": {"a": "b"}}),
            json!({"mode": "forever"}),
            json!({"install_deps": "yes"}),
        ];
        for fields in cases {
            assert!(spec(fields.clone()).is_err(), "{fields}");
        }
    }

    #[test]
    fn a_program_that_is_not_kept_cannot_persist() {
        let once = |fields| sandbox_spec_once(request(fields).unwrap(), &BOUNDS);
        assert!(once(json!({"mode": "oneshot"})).is_ok());
        assert!(once(json!({"mode": "persistent"})).unwrap_err().to_string().starts_with("mode: "));
    }
}
