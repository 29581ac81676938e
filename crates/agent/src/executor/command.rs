//! From what a client wants to run to an exec: a text for `sh`.

use std::{fs::File, io::Write, os::fd::AsFd, rc::Rc};

use protocol::{
    ExecId, GuestPath,
    agent::{ExecEnd, ExecSpec, ExitStatus, Failure, FailureKind, Stdin},
};
use rustix::fs::{MemfdFlags, memfd_create};

use super::{invalid, told, types::CommandRequest};
use crate::{
    agent::Agent,
    exec::{Exec, exec_start, exec_start_private},
    failure::failure_os,
    http::HttpError,
    surroundings::{Accounts, environment_of_user, folder_check},
};

/// The shells to try: one that the variables lead to, else the one that every system has.
const SHELLS: [&str; 2] = ["sh", "/bin/sh"];
/// The longest text that fits into one argument (execve(2), `MAX_ARG_STRLEN`), its end not counted.
const ARGUMENT_BYTES_MAX: usize = (128 << 10) - 1;
/// What the shell reads a longer one from: the descriptor that is for it alone.
const SCRIPT_PATH: &str = "/proc/self/fd/3";

/// What is to run, once it was looked at.
pub(super) struct Command {
    pub(super) text: String,
    spec: ExecSpec,
}

impl Command {
    /// # Errors
    /// 400 for what can't be run because of what the client said.
    pub(super) async fn of(agent: &Agent, request: CommandRequest) -> Result<Self, HttpError> {
        let text = request.cmd.ok_or_else(|| invalid("Command is required"))?;
        let (given, user) = (agent.surroundings.env(), agent.surroundings.user());
        let (cwd, requested) = (request.cwd, request.env.unwrap_or_default());
        let prepare = move || {
            let cwd = match folder_check(cwd.as_deref()) {
                Ok(cwd) => cwd,
                Err(failure) => return Ok(Err(cwd.unwrap_or(failure.message))),
            };
            let accounts = Accounts::read();
            let (uid, gid) = accounts.own(user.as_deref())?;
            let given = given.as_ref().map(|given| given.as_slice());
            let mut env = environment_of_user(given, &accounts, uid.as_raw(), user.is_some());
            env.extend(requested);
            Ok(Ok((cwd, uid.as_raw(), gid.as_raw(), env)))
        };
        // Where no program runs, there is no output that a slow disk could hold up, and the way to the file thread and
        // back takes longer than the look.
        let prepared = if agent.execs.none_runs() { prepare() } else { agent.files.run(prepare).await };
        let (cwd, uid, gid, env): (GuestPath, _, _, _) = prepared
            .map_err(|failure: Failure| invalid(failure.message))?
            .map_err(|cwd| invalid(format!("Invalid working directory: {cwd}")))?;
        let spec = ExecSpec {
            id: ExecId::random(),
            argv: Vec::new(),
            env: env.into_iter().collect(),
            cwd,
            uid,
            gid,
            stdin: Stdin::Null,
            timeout_ms: None,
            output_bytes_max: None,
            retain_bytes: 0,
            terminal: None,
        };
        Ok(Self { text, spec })
    }

    /// Starts it.
    ///
    /// # Errors
    /// Why it can't be started, as clients are told.
    pub(super) fn start(&self, agent: &Rc<Agent>) -> Result<Rc<Exec>, String> {
        let script = if self.text.len() > ARGUMENT_BYTES_MAX {
            Some(script_of(&self.text).map_err(told)?)
        } else {
            None
        };
        let mut reason = String::new();
        for shell in SHELLS {
            let argv: &[&str] = match script {
                Some(_) => &[shell, SCRIPT_PATH],
                None => &[shell, "-c", &self.text],
            };
            let argv = argv.iter().map(|&word| word.to_owned()).collect();
            let spec = ExecSpec { argv, ..self.spec.clone() };
            let started = match &script {
                Some(script) => exec_start_private(agent, &spec, script.as_fd(), false),
                None => exec_start(agent, &spec),
            };
            match started {
                Ok(exec) => return Ok(exec),
                Err(failure) => {
                    let is_elsewhere = failure.kind == FailureKind::NotFound;
                    reason = told(failure);
                    if !is_elsewhere {
                        break;
                    }
                }
            }
        }
        Err(reason)
    }
}

/// A text that does not fit into an argument, as a file.
fn script_of(text: &str) -> Result<File, Failure> {
    let made = memfd_create("atoll-command", MemfdFlags::CLOEXEC).map(File::from).map_err(Into::into);
    made.and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file))
        .map_err(|error| failure_os("hold a long command", &error))
}

/// The exit code as clients have it: -1 for what was ended by a signal.
pub(super) fn code_of(end: &ExecEnd) -> i32 {
    match end.status {
        ExitStatus::Exited(code) => code,
        ExitStatus::Signaled(_) => -1,
    }
}
