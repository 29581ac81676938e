//! Terminals over WebSocket, as upstream's execd has them beside its specification: a session is made, attached to,
//! left, attached to again, and deleted. The program starts when the first client comes.

mod frames;
mod replay;
mod session;
mod socket;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    path::Path,
    rc::Rc,
};

use hyper::StatusCode;
use protocol::{ExecId, agent::TerminalSize};
use serde::{Deserialize, Serialize};

use crate::{
    agent::Agent,
    files::{FOLDER_MODE, folders_make_for},
    http::{HttpError, Incoming, Reply, empty, json, json_optional},
    surroundings::owner,
};
use session::Session;
pub(super) use socket::attach;

/// Sessions at once.
const SESSIONS_MAX: usize = 512;
/// How many are remembered after their program has ended, and what their output takes together.
const ENDED_MAX: usize = 64;
const ENDED_BYTES_MAX: usize = 4 << 20;
/// What a terminal is until somebody says another size.
const SIZE_DEFAULT: TerminalSize = TerminalSize { rows: 24, cols: 80 };

/// The sessions that there are.
#[derive(Default)]
pub(super) struct Ptys {
    by_id: RefCell<HashMap<ExecId, Rc<Session>>>,
    /// Those whose program has ended, the oldest first.
    ended: RefCell<VecDeque<Rc<Session>>>,
    /// WebSockets at once.
    sockets: Cell<usize>,
}

impl Ptys {
    fn find(&self, id: &str) -> Result<Rc<Session>, HttpError> {
        let known = id.parse().ok().and_then(|id: ExecId| self.by_id.borrow().get(&id).cloned());
        known.ok_or_else(|| {
            let message = format!("there is no pty session {id:?}");
            HttpError::new(StatusCode::NOT_FOUND, "CONTEXT_NOT_FOUND", message)
        })
    }

    /// A session's program has ended: the oldest of those are forgotten.
    fn ended_add(&self, session: &Rc<Session>) {
        if !self.by_id.borrow().contains_key(&session.id) {
            return;
        }
        let mut ended = self.ended.borrow_mut();
        ended.retain(|known| known.id != session.id && !known.is_running());
        ended.push_back(Rc::clone(session));
        let mut bytes: usize = ended.iter().map(|session| session.kept_bytes()).sum();
        while ended.len() > ENDED_MAX || bytes > ENDED_BYTES_MAX {
            let Some(oldest) = ended.pop_front() else { return };
            bytes -= oldest.kept_bytes();
            self.by_id.borrow_mut().remove(&oldest.id);
        }
    }
}

/// `POST /pty`.
#[derive(Default, Deserialize)]
struct CreateRequest {
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    command: Option<String>,
    /// The size it begins with, which upstream does not take.
    rows: Option<u16>,
    cols: Option<u16>,
}

#[derive(Serialize)]
struct CreateResponse {
    session_id: String,
}

/// `GET /pty/{id}`.
#[derive(Serialize)]
struct StatusResponse {
    session_id: String,
    running: bool,
    /// How many bytes were written: what a client that has them all asks for next.
    output_offset: u64,
    launch_attempted: bool,
    launch_failed: bool,
}

/// `POST /pty`
pub(super) async fn create(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let request: CreateRequest = json_optional(request).await?;
    if [request.rows, request.cols].contains(&Some(0)) {
        return Err(HttpError::body("`rows` and `cols` must be at least 1"));
    }
    let size = TerminalSize {
        rows: request.rows.unwrap_or(SIZE_DEFAULT.rows),
        cols: request.cols.unwrap_or(SIZE_DEFAULT.cols),
    };
    let cwd = request.cwd.filter(|cwd| !cwd.is_empty());
    if let Some(cwd) = cwd.clone() {
        // As upstream: a folder that is not there is made.
        let owner = owner(agent).await?;
        agent.files.run(move || folders_make_for(Path::new(&cwd), FOLDER_MODE, owner)).await?;
    }
    let ptys = &agent.execd.ptys;
    if ptys.by_id.borrow().len() >= SESSIONS_MAX {
        let message = format!("there are {SESSIONS_MAX} pty sessions already; delete one");
        return Err(HttpError::new(StatusCode::TOO_MANY_REQUESTS, "LIMIT_REACHED", message));
    }
    let id = ExecId::random();
    let command = request.command.filter(|command| !command.is_empty());
    ptys.by_id.borrow_mut().insert(id, Rc::new(Session::new(id, cwd, command, size)));
    let mut reply = json(&CreateResponse { session_id: id.to_string() });
    *reply.status_mut() = StatusCode::CREATED;
    Ok(reply)
}

/// `GET /pty/{id}`
pub(super) fn status(agent: &Agent, id: &str) -> Result<Reply, HttpError> {
    let session = agent.execd.ptys.find(id)?;
    let launch = session.launch();
    Ok(json(&StatusResponse {
        session_id: session.id.to_string(),
        running: session.is_running(),
        output_offset: session.output_end(),
        launch_attempted: launch.was_attempted,
        launch_failed: launch.has_failed,
    }))
}

/// `DELETE /pty/{id}`
pub(super) fn remove(agent: &Rc<Agent>, id: &str) -> Result<Reply, HttpError> {
    let session = agent.execd.ptys.find(id)?;
    agent.execd.ptys.by_id.borrow_mut().remove(&session.id);
    agent.execd.ptys.ended.borrow_mut().retain(|known| known.id != session.id);
    session.remove(agent);
    Ok(empty())
}
