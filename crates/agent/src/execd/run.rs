//! From what a client wants to run to an exec.

use std::{collections::BTreeMap, rc::Rc};

use protocol::{
    ExecId,
    agent::{ExecSpec, Failure, FailureKind, Stdin, TerminalSize},
};

use super::environment::environment_of;
use crate::{
    agent::Agent,
    exec::{Exec, exec_start},
    failure::failure,
    http::HttpError,
    surroundings::{Accounts, folder_check},
};

/// What clients' terminals understand, where nobody says anything else.
const TERM: &str = "xterm-256color";

/// What is to run, and as whom.
pub(super) struct Run {
    /// Programs with arguments; the first that is there is started.
    pub(super) argvs: Vec<Vec<String>>,
    pub(super) cwd: Option<String>,
    /// Milliseconds; 0 is none.
    pub(super) timeout: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) envs: BTreeMap<String, String>,
}

/// A text for a shell: bash if there is one, else sh.
pub(super) fn shell_argvs(script: &str) -> Vec<Vec<String>> {
    ["bash", "sh"].map(|shell| [shell, "-c", script].map(str::to_owned).to_vec()).to_vec()
}

/// What it is started before.
#[derive(Clone, Copy)]
pub(super) enum Before {
    /// Nobody: there is no input.
    Nobody,
    /// Pipes.
    Pipes,
    /// A terminal of this size.
    Terminal(TerminalSize),
}

/// Starts it without input.
///
/// # Errors
/// As [`run_start_before`].
pub(super) async fn run_start(agent: &Rc<Agent>, run: Run) -> Result<Rc<Exec>, HttpError> {
    run_start_before(agent, run, Before::Nobody).await
}

/// Starts it.
///
/// # Errors
/// 400 for what can't be started because of what the client said.
pub(super) async fn run_start_before(
    agent: &Rc<Agent>,
    mut run: Run,
    before: Before,
) -> Result<Rc<Exec>, HttpError> {
    let argvs = std::mem::take(&mut run.argvs);
    let mut spec = run_prepare(agent, run, before).await?;
    first_start(&mut spec, argvs, |spec| exec_start(agent, spec))
}

/// What it is to run with, without what it is to run.
///
/// # Errors
/// As [`run_start_before`].
pub(super) async fn run_prepare(agent: &Rc<Agent>, run: Run, before: Before) -> Result<ExecSpec, HttpError> {
    if run.gid.is_some() && run.uid.is_none() {
        return Err(HttpError::body("`gid` is given without `uid`"));
    }
    let Run { argvs: _, cwd, timeout, uid, gid, envs } = run;
    let (given, user) = (agent.surroundings.env(), agent.surroundings.user());
    let prepare = move || {
        let given = given.as_ref().map(|given| given.as_slice());
        let accounts = Accounts::read();
        let cwd = folder_check(cwd.as_deref())?;
        let (own_uid, own_gid) = accounts.own(user.as_deref())?;
        let own = (own_uid.as_raw(), own_gid.as_raw());
        let group_of = |uid| accounts.user(uid).map_or(uid, |user| user.gid);
        let ids = (uid.unwrap_or(own.0), gid.or(uid.map(group_of)).unwrap_or(own.1));
        Ok((cwd, ids, environment_of(given, &accounts, (own.0, user.is_some()), uid, envs)))
    };
    // Where no program runs, there is no output that a slow disk could hold up, and the way to the file thread and back
    // takes longer than the look.
    let prepared = if agent.execs.none_runs() { prepare() } else { agent.files.run(prepare).await };
    let (cwd, (uid, gid), mut env) = prepared.map_err(start_refuse)?;
    if let Before::Terminal(_) = before {
        // An agent that no terminal started may have been told that there is none.
        if env.get("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            env.insert("TERM".to_owned(), TERM.to_owned());
        }
    }
    Ok(ExecSpec {
        id: ExecId::random(),
        argv: Vec::new(),
        env: env.into_iter().collect(),
        cwd,
        uid,
        gid,
        stdin: if let Before::Pipes = before { Stdin::Piped } else { Stdin::Null },
        timeout_ms: timeout.filter(|timeout| *timeout > 0),
        output_bytes_max: None,
        retain_bytes: 0,
        terminal: if let Before::Terminal(size) = before { Some(size) } else { None },
    })
}

/// Starts the first program that is there.
///
/// # Errors
/// As [`run_start_before`].
pub(super) fn first_start<T>(
    spec: &mut ExecSpec,
    argvs: Vec<Vec<String>>,
    start: impl Fn(&ExecSpec) -> Result<T, Failure>,
) -> Result<T, HttpError> {
    let mut reason = failure(FailureKind::Invalid, "start a process: there is nothing to start");
    for argv in argvs {
        spec.argv = argv;
        match start(spec) {
            Ok(started) => return Ok(started),
            Err(failure) => reason = failure,
        }
        if reason.kind != FailureKind::NotFound {
            break;
        }
    }
    Err(start_refuse(reason))
}

/// A program that does not exist is the client's mistake, and not a thing that it asked for.
fn start_refuse(failure: Failure) -> HttpError {
    match failure.kind {
        FailureKind::NotFound | FailureKind::Denied => HttpError::body(failure.message),
        _ => failure.into(),
    }
}
