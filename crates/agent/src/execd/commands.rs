//! Commands: run, interrupted, asked after. They belong to the sandbox, not to the connection that started them.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
    time::SystemTime,
};

use hyper::header::HeaderValue;
use protocol::{ExecId, agent::ExecEnd};

use super::{
    events::{self, exec_announce, exec_stream},
    log::Log,
    run::{Run, run_start, shell_argvs},
    types::{CommandStatusResponse, RunCommandRequest},
};
use crate::{
    agent::Agent,
    exec::{Exec, Tap, exec_interrupt},
    http::{HttpError, Incoming, Query, Reply, empty, json, json_object, text},
    moment::rfc3339,
};

/// How many commands are remembered after their end, and what their texts take together.
const ENDED_MAX: usize = 256;
const ENDED_CONTENT_BYTES_MAX: usize = 4 << 20;
/// Where a client finds from which line to ask the next time.
const CURSOR_HEADER: &str = "execd-commands-tail-cursor";

/// The commands that can be asked after.
#[derive(Default)]
pub(super) struct Commands {
    by_id: RefCell<HashMap<ExecId, Rc<Command>>>,
    /// Those that have ended, the oldest first.
    ended: RefCell<VecDeque<Rc<Command>>>,
}

struct Command {
    id: ExecId,
    content: String,
    started: SystemTime,
    /// While it runs.
    exec: RefCell<Option<Rc<Exec>>>,
    end: Cell<Option<(ExecEnd, SystemTime)>>,
    /// What it writes, if it runs in the background.
    log: Option<Log>,
}

impl Commands {
    fn find(&self, id: &str) -> Result<Rc<Command>, HttpError> {
        let known = id.parse().ok().and_then(|id: ExecId| self.by_id.borrow().get(&id).cloned());
        known.ok_or_else(|| HttpError::not_found(format!("there is no command {id:?}")))
    }

    fn ended_add(&self, command: Rc<Command>) {
        let mut ended = self.ended.borrow_mut();
        ended.push_back(command);
        let mut bytes: usize = ended.iter().map(|command| command.content.len()).sum();
        while ended.len() > ENDED_MAX || bytes > ENDED_CONTENT_BYTES_MAX {
            let Some(oldest) = ended.pop_front() else { return };
            bytes -= oldest.content.len();
            self.by_id.borrow_mut().remove(&oldest.id);
        }
    }
}

/// `POST /command`
pub(super) async fn run(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let request: RunCommandRequest = json_object(request).await?;
    let (argvs, content) = match (request.command, request.argv) {
        (Some(command), None) if !command.is_empty() => (shell_argvs(&command), command),
        (None, Some(argv)) if !argv.is_empty() => {
            let content = argv.join(" ");
            (vec![argv], content)
        }
        _ => {
            return Err(HttpError::body(
                "exactly one of `command` and `argv` must be given, and not be empty",
            ));
        }
    };
    let log = if request.background { Some(Log::create(agent).await?) } else { None };
    let run = Run {
        argvs,
        cwd: request.cwd,
        timeout: request.timeout,
        uid: request.uid,
        gid: request.gid,
        envs: request.envs.unwrap_or_default(),
    };
    let exec = run_start(agent, run).await?;
    // Before anything is read of what it writes.
    let (reply, tap) = if request.background {
        (exec_announce(&exec), Some(Tap::new(agent, &exec)))
    } else {
        (exec_stream(agent, &exec), None)
    };
    command_remember(agent, &exec, content, log.zip(tap));
    Ok(reply)
}

/// Lets clients ask after an exec, and has it written to a log if there is one.
pub(super) fn command_remember(agent: &Rc<Agent>, exec: &Rc<Exec>, content: String, log: Option<(Log, Tap)>) {
    let (log, tap) = log.unzip();
    let command = Rc::new(Command {
        id: exec.id,
        content,
        started: SystemTime::now(),
        exec: RefCell::new(Some(Rc::clone(exec))),
        end: Cell::new(None),
        log,
    });
    agent.execd.commands.by_id.borrow_mut().insert(command.id, Rc::clone(&command));
    tokio::task::spawn_local(command_watch(Rc::clone(agent), command, Rc::clone(exec), tap));
}

/// Looks after a command until it has ended.
async fn command_watch(agent: Rc<Agent>, command: Rc<Command>, exec: Rc<Exec>, tap: Option<Tap>) {
    if let (Some(log), Some(tap)) = (&command.log, tap) {
        log.follow(&agent, tap).await;
    }
    let end = exec.ended().await;
    command.end.set(Some((end, SystemTime::now())));
    command.exec.take();
    // Whoever still reads its output has it; nobody else comes for it.
    agent.execs.forget(exec.id);
    agent.execd.commands.ended_add(command);
}

/// `DELETE /command?id=`
pub(super) fn interrupt(agent: &Rc<Agent>, query: &Query) -> Result<Reply, HttpError> {
    let command = agent.execd.commands.find(query.required("id")?)?;
    if let Some(exec) = &*command.exec.borrow() {
        exec_interrupt(agent, exec);
    }
    Ok(empty())
}

/// `GET /command/status/{id}`
pub(super) fn status(agent: &Rc<Agent>, id: &str) -> Result<Reply, HttpError> {
    let command = agent.execd.commands.find(id)?;
    let end = command.end.get();
    Ok(json(&CommandStatusResponse {
        id: command.id.to_string(),
        content: command.content.clone(),
        running: end.is_none(),
        exit_code: end.map(|(end, _)| events::exit_code(&end)),
        error: end.and_then(|(end, _)| events::error_of(&end)),
        started_at: rfc3339(command.started),
        finished_at: end.map(|(_, at)| rfc3339(at)),
    }))
}

/// `GET /command/{id}/logs?cursor=`
pub(super) async fn logs(agent: &Rc<Agent>, id: &str, query: &Query) -> Result<Reply, HttpError> {
    let command = agent.execd.commands.find(id)?;
    let cursor = query.parsed("cursor")?.unwrap_or(0);
    let Some(log) = &command.log else {
        let message = "the command runs in the foreground: its output is in the answer that started it";
        return Err(HttpError::query(message));
    };
    let (body, lines) = log.read(agent, cursor).await?;
    let mut reply = text(body);
    reply.headers_mut().insert(CURSOR_HEADER, HeaderValue::from(lines));
    Ok(reply)
}
