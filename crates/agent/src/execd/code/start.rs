//! How a context's process comes to be: forked by a template, taken from what waits, or started.
//!
//! What is kept warm is made for an environment. When the next context is to have another, because a client has set
//! variables meanwhile, it is made anew.

use std::{cell::RefCell, collections::BTreeMap, os::fd::AsFd, rc::Rc, time::Duration};

use hyper::StatusCode;
use protocol::{ExecId, agent::ExecSpec};
use tokio::sync::Mutex;

use super::{
    control::{Control, Lines, connection_make},
    language::{BASH_DRIVER, Language, language_unknown},
    message::{Message, fork_request},
};
use crate::{
    agent::Agent,
    exec::{Adoption, Exec, OutputStream, exec_adopt, exec_kill, exec_start_private},
    execd::run::{Before, Run, first_start, run_prepare},
    failure::failure_os,
    http::HttpError,
};

/// After what time the process for the next context is forked.
const FORK_AHEAD_PAUSE: Duration = Duration::from_millis(20);
/// How long a template that fails is waited for, to say why.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(2);

/// A process and the connection to it.
pub(super) struct Live {
    pub(super) exec: Rc<Exec>,
    pub(super) control: Control,
    pub(super) lines: Lines,
}

/// A process that waits to be of use.
struct Waiting {
    live: Live,
    /// What it was started with.
    spec: ExecSpec,
}

/// What is kept ready.
#[derive(Default)]
pub(super) struct Warm {
    /// A Python that forks for each context.
    template: Mutex<Option<Waiting>>,
    /// What it has forked for the next.
    forked: RefCell<Option<Waiting>>,
    /// A Node.js that will be the next context, as it can't fork.
    spare: RefCell<Option<Waiting>>,
}

impl Waiting {
    fn is_fit_for(&self, spec: &ExecSpec) -> bool {
        let with = |spec: &ExecSpec| (spec.uid, spec.gid, spec.cwd.clone(), spec.env.clone());
        !self.live.exec.has_exited() && with(&self.spec) == with(spec)
    }
}

/// Starts a process for a context.
///
/// # Errors
/// 400 when there is no such language here.
pub(super) async fn live_start(agent: &Rc<Agent>, language: &Language) -> Result<Live, HttpError> {
    let (agent, language) = (Rc::clone(agent), language.clone());
    // To its end, also when nobody waits for it any more: the template's answers come in the order of requests.
    let started = tokio::task::spawn_local(async move { start(&agent, &language).await }).await;
    started.unwrap_or_else(|_| Err(HttpError::conflict("the agent ends")))
}

async fn start(agent: &Rc<Agent>, language: &Language) -> Result<Live, HttpError> {
    let spec = spec_make(agent).await?;
    match language {
        Language::Python => python_take(agent, spec).await,
        Language::Javascript | Language::Typescript => node_take(agent, spec),
        Language::Bash => {
            let live = driver_start(agent, language, spec)?;
            // It has begun to end where this fails, which its first run tells.
            let _ = live.control.send(BASH_DRIVER.as_bytes()).await;
            Ok(live)
        }
        Language::Kernel(name) => kernel_start(agent, language, name, spec).await,
    }
}

/// Starts the template, if there is none: somebody is about to make contexts. Of Node.js nothing is started before it
/// is used, as it takes several times the memory.
pub(super) async fn python_warm(agent: &Rc<Agent>) {
    if let Ok(spec) = spec_make(agent).await {
        python_fork_ahead(agent, spec).await;
    }
}

async fn spec_make(agent: &Rc<Agent>) -> Result<ExecSpec, HttpError> {
    let run =
        Run { argvs: Vec::new(), cwd: None, timeout: None, uid: None, gid: None, envs: BTreeMap::new() };
    run_prepare(agent, run, Before::Nobody).await
}

fn driver_start(agent: &Rc<Agent>, language: &Language, mut spec: ExecSpec) -> Result<Live, HttpError> {
    let (control, lines, theirs) =
        connection_make().map_err(|error| failure_os("make a connection to a context", &error))?;
    spec.id = ExecId::random();
    let forks = *language == Language::Python;
    let start = |spec: &ExecSpec| exec_start_private(agent, spec, theirs.as_fd(), forks);
    let exec = first_start(&mut spec, language.argvs(), start)?;
    Ok(Live { exec, control, lines })
}

/// Takes what was forked ahead, and has the next forked soon.
async fn python_take(agent: &Rc<Agent>, spec: ExecSpec) -> Result<Live, HttpError> {
    let forked = waiting_take(agent, &agent.execd.code.warm.forked, &spec);
    let live = match forked {
        Some(live) => live,
        None => python_fork(agent, spec.clone()).await?,
    };
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        // Who has just made a context is about to use it.
        tokio::time::sleep(FORK_AHEAD_PAUSE).await;
        python_fork_ahead(&agent, spec).await;
    });
    Ok(live)
}

/// Has a process forked for the next context, unless one waits.
async fn python_fork_ahead(agent: &Rc<Agent>, spec: ExecSpec) {
    let forked = &agent.execd.code.warm.forked;
    if forked.borrow().as_ref().is_some_and(|waiting| waiting.is_fit_for(&spec)) {
        return;
    }
    // Where there is no Python, the next context says so.
    if let Ok(live) = python_fork(agent, spec.clone()).await {
        let before = forked.replace(Some(Waiting { live, spec }));
        waiting_drop(agent, before);
    }
}

/// Has the template fork. A template that has died, as anything in a sandbox can, is made anew once.
async fn python_fork(agent: &Rc<Agent>, spec: ExecSpec) -> Result<Live, HttpError> {
    let mut template = agent.execd.code.warm.template.lock().await;
    let mut reason = String::new();
    for _ in 0..2 {
        let waiting = template_ensure(agent, &mut template, spec.clone()).await?;
        match forked(agent, &mut waiting.live, &spec).await {
            Ok(live) => return Ok(live),
            Err(error) => reason = error,
        }
        if let Some(Waiting { live, .. }) = template.take() {
            drop((live.control, live.lines));
            if tokio::time::timeout(LAST_WORDS_WAIT, live.exec.ended()).await.is_ok() {
                reason = Some(last_line(&live.exec)).filter(|line| !line.is_empty()).unwrap_or(reason);
            }
            agent.execs.forget(live.exec.id);
        }
    }
    let message = format!("start a Python context: {reason}");
    Err(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "RUNTIME_ERROR", message))
}

async fn template_ensure<'a>(
    agent: &Rc<Agent>,
    template: &'a mut Option<Waiting>,
    spec: ExecSpec,
) -> Result<&'a mut Waiting, HttpError> {
    if template.as_ref().is_none_or(|waiting| !waiting.is_fit_for(&spec)) {
        waiting_drop(agent, template.take());
        let live = driver_start(agent, &Language::Python, spec.clone())?;
        return Ok(template.insert(Waiting { live, spec }));
    }
    template.as_mut().ok_or_else(|| HttpError::conflict("the Python template is gone"))
}

async fn forked(agent: &Rc<Agent>, template: &mut Live, spec: &ExecSpec) -> Result<Live, String> {
    let text = |error: std::io::Error| error.to_string();
    let spec = ExecSpec { id: ExecId::random(), ..spec.clone() };
    let (adoption, [stdout, stderr]) = Adoption::prepare(agent, &spec).map_err(text)?;
    let (control, lines, theirs) = connection_make().map_err(text)?;
    let request = fork_request(adoption.mark());
    let fds = [stdout.as_fd(), stderr.as_fd(), theirs.as_fd()];
    template.control.send_with(&request, fds).await.map_err(text)?;
    let answer = template.lines.next().await.ok_or("it has ended")?;
    match Message::parse(&answer) {
        Some(Message::Forked { pid }) if pid > 0 => {
            let exec = exec_adopt(agent, &spec, adoption, pid).map_err(|failure| failure.message)?;
            Ok(Live { exec, control, lines })
        }
        _ => Err("no process could be forked: the limit of processes or memory is reached".to_owned()),
    }
}

/// Takes the spare, and starts the next.
fn node_take(agent: &Rc<Agent>, spec: ExecSpec) -> Result<Live, HttpError> {
    let warm = &agent.execd.code.warm;
    let live = match waiting_take(agent, &warm.spare, &spec) {
        Some(live) => live,
        None => driver_start(agent, &Language::Javascript, spec.clone())?,
    };
    if let Ok(next) = driver_start(agent, &Language::Javascript, spec.clone()) {
        *warm.spare.borrow_mut() = Some(Waiting { live: next, spec });
    }
    Ok(live)
}

fn waiting_take(agent: &Agent, place: &RefCell<Option<Waiting>>, spec: &ExecSpec) -> Option<Live> {
    let waiting = place.take()?;
    if waiting.is_fit_for(spec) {
        return Some(waiting.live);
    }
    waiting_drop(agent, Some(waiting));
    None
}

/// Lets go of a driver, which ends when it sees its connection close.
fn waiting_drop(agent: &Agent, waiting: Option<Waiting>) {
    if let Some(waiting) = waiting {
        agent.execs.forget(waiting.live.exec.id);
    }
}

async fn kernel_start(
    agent: &Rc<Agent>,
    language: &Language,
    name: &str,
    spec: ExecSpec,
) -> Result<Live, HttpError> {
    let mut live = driver_start(agent, language, spec)
        .map_err(|_| language_unknown(name, "there is no python3 to look for Jupyter kernels with"))?;
    let reason = match live.lines.next().await.as_deref().and_then(Message::parse) {
        Some(Message::Ready) => return Ok(live),
        Some(Message::Refused { message }) => message,
        _ => last_line(&live.exec),
    };
    exec_kill(agent, &live.exec).await;
    agent.execs.forget(live.exec.id);
    Err(language_unknown(name, &reason))
}

/// What a program that nobody listened to said last.
fn last_line(exec: &Exec) -> String {
    let backlog = exec.backlog(OutputStream::Stderr);
    let bytes: Vec<u8> = backlog.front(backlog.len()).iter().flat_map(|part| part.to_vec()).collect();
    String::from_utf8_lossy(&bytes).lines().next_back().unwrap_or_default().to_owned()
}
