//! Bash sessions: each run finds the variables, functions, options and folder that the one before left.
//!
//! Between runs no process waits. A run is an exec as any other, with its time limit and its own end; what it leaves
//! is written to a folder of the session and read by the next.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::{DirBuilderExt, lchown},
    rc::Rc,
};

use hyper::StatusCode;
use protocol::{ExecId, GuestPath};

use super::{
    commands::command_remember,
    events::exec_stream,
    run::{Run, run_start},
    types::{CreateSessionRequest, CreateSessionResponse, RunInSessionRequest},
};
use crate::{
    agent::Agent,
    exec::{Exec, exec_interrupt},
    failure::failure_os,
    http::{HttpError, Incoming, Reply, empty, json, json_object, json_optional},
    surroundings::{Accounts, folder_check},
    tree::folder_remove,
};

/// Sessions at once.
const SESSIONS_MAX: usize = 256;
const DRIVER: &str = include_str!("session.bash");

/// The sessions that there are.
#[derive(Default)]
pub(super) struct Sessions(RefCell<HashMap<ExecId, Rc<Session>>>);

struct Session {
    /// Where its state is.
    folder: GuestPath,
    /// The latest run.
    latest: RefCell<Option<Rc<Exec>>>,
    is_starting: Cell<bool>,
}

/// The time until a run has started, however that ends.
struct Starting<'a>(&'a Session);

impl<'a> Starting<'a> {
    fn new(session: &'a Session) -> Self {
        session.is_starting.set(true);
        Self(session)
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.is_starting.set(false);
    }
}

impl Session {
    fn running(&self) -> Option<Rc<Exec>> {
        self.latest.borrow().clone().filter(|exec| exec.end().is_none())
    }

    fn state(&self) -> String {
        format!("{}/state", self.folder.as_str())
    }
}

/// `POST /session`
pub(super) async fn create(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let request: CreateSessionRequest = json_optional(request).await?;
    if agent.execd.sessions.0.borrow().len() >= SESSIONS_MAX {
        let message = format!("there are {SESSIONS_MAX} sessions already; delete one");
        return Err(HttpError::new(StatusCode::TOO_MANY_REQUESTS, "LIMIT_REACHED", message));
    }
    let id = ExecId::random();
    let folder = std::env::temp_dir().join(format!("atoll-session-{id}"));
    let user = agent.surroundings.user();
    let make = move || {
        let cwd = folder_check(request.cwd.as_deref())?;
        let failed = |error| failure_os(format_args!("make {}", folder.display()), &error);
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let first = format!("cd -- '{}'\n", cwd.as_str().replace('\'', r"'\''"));
        let state = folder.join("state");
        fs::write(&state, first).map_err(failed)?;
        if user.is_some() {
            let (uid, gid) = Accounts::read().own(user.as_deref())?;
            for path in [&state, &folder] {
                lchown(path, Some(uid.as_raw()), Some(gid.as_raw())).map_err(failed)?;
            }
        }
        Ok(folder)
    };
    let folder = agent.files.run(make).await?;
    let folder = GuestPath::absolute(&folder.to_string_lossy())
        .map_err(|reason| HttpError::body(format!("the folder of temporary files: {reason}")))?;
    let session = Rc::new(Session { folder, latest: RefCell::new(None), is_starting: Cell::new(false) });
    agent.execd.sessions.0.borrow_mut().insert(id, session);
    Ok(json(&CreateSessionResponse { session_id: id.to_string() }))
}

/// `POST /session/{id}/run`
pub(super) async fn run(agent: &Rc<Agent>, id: &str, request: Incoming) -> Result<Reply, HttpError> {
    let (_, session) = session_find(agent, id)?;
    let request: RunInSessionRequest = json_object(request).await?;
    if request.command.is_empty() {
        return Err(HttpError::body("`command` is empty"));
    }
    let folder = request.cwd.clone().unwrap_or_default();
    let words = ["bash", "-c", DRIVER, "bash", &session.state(), &request.command, &folder];
    let run = Run {
        argvs: vec![words.map(str::to_owned).to_vec()],
        cwd: request.cwd,
        timeout: request.timeout,
        uid: None,
        gid: None,
        envs: BTreeMap::new(),
    };
    if session.is_starting.get() || session.running().is_some() {
        return Err(HttpError::conflict("the session runs a command; wait for its end, or interrupt it"));
    }
    let starting = Starting::new(&session);
    let exec = run_start(agent, run).await?;
    *session.latest.borrow_mut() = Some(Rc::clone(&exec));
    drop(starting);
    let reply = exec_stream(agent, &exec);
    command_remember(agent, &exec, request.command, None);
    Ok(reply)
}

/// `DELETE /session/{id}`
pub(super) async fn remove(agent: &Rc<Agent>, id: &str) -> Result<Reply, HttpError> {
    let (id, session) = session_find(agent, id)?;
    agent.execd.sessions.0.borrow_mut().remove(&id);
    if let Some(exec) = session.running() {
        exec_interrupt(agent, &exec);
        // The last that a shell does is to leave its state in the folder.
        exec.exited().await;
    }
    folder_remove(&agent.files, session.folder.clone()).await?;
    Ok(empty())
}

fn session_find(agent: &Agent, id: &str) -> Result<(ExecId, Rc<Session>), HttpError> {
    let known =
        id.parse().ok().and_then(|id: ExecId| Some((id, agent.execd.sessions.0.borrow().get(&id).cloned()?)));
    known.ok_or_else(|| HttpError::not_found(format!("there is no session {id:?}")))
}
