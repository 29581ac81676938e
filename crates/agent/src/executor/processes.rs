//! Processes that run on after the answer: started, listed, killed, and their output, history first.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, SystemTime},
};

use hyper::StatusCode;
use protocol::{ExecId, agent::ExecEnd};

use super::{
    command::{Command, code_of},
    events::{LineEvents, event_push},
    invalid,
    journal::Journal,
    told,
    types::{Done, ErrorReply, KillRequest, Killed, LogComplete, ProcessEntry, ProcessList, Started},
    value_of,
};
use crate::{
    agent::Agent,
    exec::{Exec, Tap, Tapped, exec_kill, exec_signal},
    http::{Gone, HttpError, Incoming, Outgoing, Query, Reply, body_stream, event_stream, json},
    moment::rfc3339,
    sys::number::SIGTERM,
};

/// How many are remembered after their end.
const ENDED_MAX: usize = 256;
/// How long one that is to end may take, before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// All that can be named, in the order in which they were started.
#[derive(Default)]
pub(super) struct Processes(RefCell<Vec<Rc<Process>>>);

struct Process {
    id: ExecId,
    pid: i32,
    command: String,
    started: SystemTime,
    is_killed: Cell<bool>,
    end: Cell<Option<(ExecEnd, SystemTime)>>,
    journal: Rc<Journal>,
}

impl Process {
    fn status(&self) -> &'static str {
        match self.end.get() {
            _ if self.is_killed.get() => "killed",
            None => "running",
            Some((end, _)) if code_of(&end) == 0 => "completed",
            Some(_) => "failed",
        }
    }
}

impl Processes {
    fn find(&self, id: &str) -> Result<Rc<Process>, String> {
        let known = id
            .parse()
            .ok()
            .and_then(|id: ExecId| self.0.borrow().iter().find(|process| process.id == id).map(Rc::clone));
        known.ok_or_else(|| format!("process not found: {id}"))
    }

    /// Forgets the first that have ended, where too many have.
    fn ended_trim(&self) {
        let mut all = self.0.borrow_mut();
        let mut excess =
            all.iter().filter(|process| process.end.get().is_some()).count().saturating_sub(ENDED_MAX);
        all.retain(|process| {
            let goes = excess > 0 && process.end.get().is_some();
            excess -= usize::from(goes);
            !goes
        });
    }
}

/// `POST /start_process`
pub(super) async fn start(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let command = Command::of(agent, value_of(request).await?).await?;
    if command.text.is_empty() {
        return Err(invalid("Command is required"));
    }
    let journal = Rc::new(Journal::create(agent).await.map_err(|failure| invalid(told(failure)))?);
    let exec = command.start(agent).map_err(invalid)?;
    // Before anything is read of what it writes.
    let tap = Tap::new(agent, &exec);
    let process = Rc::new(Process {
        id: exec.id,
        pid: exec.pid,
        command: command.text,
        started: SystemTime::now(),
        is_killed: Cell::new(false),
        end: Cell::new(None),
        journal,
    });
    agent.executor.processes.0.borrow_mut().push(Rc::clone(&process));
    let mut reply = json(&Started { id: exec.id.to_string(), pid: exec.pid, status: "running" });
    *reply.status_mut() = StatusCode::CREATED;
    tokio::task::spawn_local(process_watch(Rc::clone(agent), process, exec, tap));
    Ok(reply)
}

/// Looks after a process until it has ended.
async fn process_watch(agent: Rc<Agent>, process: Rc<Process>, exec: Rc<Exec>, mut tap: Tap) {
    let mut lines = LineEvents::new(event_begin);
    loop {
        let mut out = Vec::new();
        match tap.next().await {
            Tapped::Output(stream, bytes) => {
                lines.push(stream, &bytes, &mut out);
                process.journal.append(&agent, out, lines.is_between()).await;
            }
            Tapped::Ended(_) | Tapped::Replaced => {
                lines.end(&mut out);
                process.journal.append(&agent, out, true).await;
                break;
            }
        }
    }
    let end = exec.ended().await;
    process.end.set(Some((end, SystemTime::now())));
    process.journal.finish();
    agent.execs.forget(exec.id);
    agent.executor.processes.ended_trim();
}

fn event_begin(out: &mut Vec<u8>, stream: &'static str) {
    let now = rfc3339(SystemTime::now());
    for part in ["event: log\ndata: {\"timestamp\":\"", &now, "\",\"stream\":\"", stream, "\",\"data\":\""] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `GET /list_processes`
pub(super) fn list(agent: &Agent) -> Reply {
    let entry = |process: &Rc<Process>| {
        let end = process.end.get();
        ProcessEntry {
            id: process.id.to_string(),
            command: process.command.clone(),
            status: process.status(),
            pid: process.pid,
            exit_code: end.map(|(end, _)| code_of(&end)),
            started_at: rfc3339(process.started),
            completed_at: end.map(|(_, at)| rfc3339(at)),
        }
    };
    json(&ProcessList { processes: agent.executor.processes.0.borrow().iter().map(entry).collect() })
}

/// `POST /kill_process`
pub(super) async fn kill(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let KillRequest { id } = value_of(request).await?;
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| invalid("Process ID is required"))?;
    let process = match agent.executor.processes.find(&id) {
        Ok(process) => process,
        Err(error) => return Ok(not_killed(error)),
    };
    let running = agent.execs.find(process.id).filter(|_| process.status() == "running");
    let Some(exec) = running else {
        return Ok(not_killed(format!("process is not running (status: {})", process.status())));
    };
    process.is_killed.set(true);
    let agent = Rc::clone(agent);
    let killing = tokio::task::spawn_local(async move {
        // It has ended meanwhile if it can't be signalled.
        let _ = exec_signal(&agent, exec.id, SIGTERM).await;
        let _ = tokio::time::timeout(GRACE, exec.exited()).await;
        exec_kill(&agent, &exec).await;
    });
    // It goes on if nobody waits for it.
    let _ = killing.await;
    Ok(json(&Killed { success: true, message: "Process killed successfully" }))
}

fn not_killed(error: String) -> Reply {
    let mut reply = json(&Done { success: false, error: Some(error) });
    *reply.status_mut() = StatusCode::BAD_REQUEST;
    reply
}

/// `GET /process_logs_streaming?id=`
pub(super) fn logs(agent: &Rc<Agent>, query: &Query) -> Result<Reply, HttpError> {
    let id = query.text("id").filter(|id| !id.is_empty()).ok_or_else(|| invalid("Process ID is required"))?;
    let process = match agent.executor.processes.find(id) {
        Ok(process) => process,
        Err(error) => {
            let mut out = Vec::new();
            event_push(&mut out, "error", &ErrorReply { error });
            return Ok(event_stream(Outgoing::Whole(Some(out.into()))));
        }
    };
    let (pieces, body) = body_stream(None);
    let agent = Rc::clone(agent);
    let journal = Rc::clone(&process.journal);
    tokio::task::spawn_local(async move {
        let sent = tokio::select! {
            sent = journal.send(&agent, &pieces) => sent,
            () = pieces.gone() => Err(Gone),
        };
        match sent {
            Ok(()) => {
                let mut out = Vec::new();
                event_push(&mut out, "complete", &LogComplete { message: "stream ended" });
                pieces.end(out).await;
            }
            Err(Gone) => pieces.fail().await,
        }
    });
    Ok(event_stream(body))
}
