//! The contexts that there are, and who has one just now.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use hyper::StatusCode;
use protocol::ExecId;
use tokio::sync::Mutex;

use super::{
    control::Control,
    language::Language,
    start::{Live, Warm, live_start},
};
use crate::{
    agent::Agent,
    exec::{Exec, exec_kill},
    http::HttpError,
};

/// Contexts at once.
const CONTEXTS_MAX: usize = 64;

/// All contexts.
#[derive(Default)]
pub(in crate::execd) struct Contexts {
    /// In the order in which they were made.
    all: RefCell<Vec<Rc<Context>>>,
    pub(super) warm: Warm,
    pub(super) is_port_open: Cell<bool>,
}

/// A place where code runs. Should its process end, the next run begins with a new one.
pub(super) struct Context {
    pub(super) id: String,
    pub(super) language: Language,
    /// Whether it is meant where a language is named and no context.
    is_default: bool,
    state: RefCell<State>,
    /// Runs since its process was started.
    runs: Cell<u64>,
    /// Why its process was killed.
    pub(super) killed: Cell<Option<&'static str>>,
}

enum State {
    Idle(Live),
    Starting,
    Busy(Rc<Busy>),
    /// It has no process.
    Ended,
}

/// A run.
pub(super) struct Busy {
    pub(super) exec: Rc<Exec>,
    pub(super) control: Control,
    /// Its number in the life of its process.
    pub(super) number: u64,
    /// Whether an interrupt would find it.
    pub(super) begun: Cell<bool>,
    /// Whether it is to be interrupted, or was.
    pub(super) interrupted: Cell<bool>,
    /// Held while a signal is sent. True when none may be sent any more.
    pub(super) is_over: Mutex<bool>,
}

impl Contexts {
    pub(super) fn find(&self, id: &str) -> Result<Rc<Context>, HttpError> {
        let known = self.all.borrow().iter().find(|context| context.id == id).cloned();
        known.ok_or_else(|| HttpError::not_found(format!("there is no context {id:?}")))
    }

    pub(super) fn of_language(&self, language: &Language) -> Vec<Rc<Context>> {
        self.all.borrow().iter().filter(|context| context.language == *language).cloned().collect()
    }

    fn add(&self, context: &Rc<Context>) -> Result<(), HttpError> {
        let mut all = self.all.borrow_mut();
        if all.len() >= CONTEXTS_MAX {
            let message = format!("there are {CONTEXTS_MAX} contexts already; delete one");
            return Err(HttpError::new(StatusCode::TOO_MANY_REQUESTS, "LIMIT_REACHED", message));
        }
        all.push(Rc::clone(context));
        Ok(())
    }

    fn take_out(&self, context: &Rc<Context>) {
        self.all.borrow_mut().retain(|known| !Rc::ptr_eq(known, context));
    }
}

impl Context {
    /// One that no list has.
    pub(super) fn new(language: Language, is_default: bool) -> Rc<Self> {
        Rc::new(Self {
            id: ExecId::random().to_string(),
            language,
            is_default,
            state: RefCell::new(State::Ended),
            runs: Cell::new(0),
            killed: Cell::new(None),
        })
    }

    /// The run that has it.
    pub(super) fn busy(&self) -> Option<Rc<Busy>> {
        match &*self.state.borrow() {
            State::Busy(busy) => Some(Rc::clone(busy)),
            _ => None,
        }
    }

    fn next_run(&self, live: &Live) -> Rc<Busy> {
        self.runs.set(self.runs.get() + 1);
        Rc::new(Busy {
            exec: Rc::clone(&live.exec),
            control: live.control.clone(),
            number: self.runs.get(),
            begun: Cell::new(false),
            interrupted: Cell::new(false),
            is_over: Mutex::new(false),
        })
    }

    /// It is free for its first run.
    fn set_unused(&self, live: Live) {
        self.runs.set(0);
        self.set_idle(live);
    }

    /// It is free for the next run.
    pub(super) fn set_idle(&self, live: Live) {
        *self.state.borrow_mut() = State::Idle(live);
    }

    /// Its process is gone.
    pub(super) fn set_ended(&self) {
        *self.state.borrow_mut() = State::Ended;
    }
}

/// The time until a context has a process, however that ends.
struct Starting<'a>(&'a Context);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        if matches!(*state, State::Starting) {
            *state = State::Ended;
        }
    }
}

/// A place in the list that is given up, unless it is kept.
struct Listed<'a> {
    agent: &'a Agent,
    context: Option<&'a Rc<Context>>,
}

impl Listed<'_> {
    fn keep(mut self) {
        self.context = None;
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.context {
            self.agent.execd.code.take_out(context);
        }
    }
}

/// Makes a context with a process.
///
/// # Errors
/// 400 for a language that there is not, 429.
pub(super) async fn context_create(agent: &Rc<Agent>, language: Language) -> Result<Rc<Context>, HttpError> {
    let context = Context::new(language, false);
    agent.execd.code.add(&context)?;
    let listed = Listed { agent, context: Some(&context) };
    let (live, _) = context_claim(agent, &context).await?;
    context.set_unused(live);
    listed.keep();
    Ok(context)
}

/// The context that is meant where only a language is named. It is made when it is first asked for.
pub(super) fn context_default(agent: &Rc<Agent>, language: Language) -> Result<Rc<Context>, HttpError> {
    let contexts = &agent.execd.code;
    if let Some(known) = contexts.of_language(&language).into_iter().find(|context| context.is_default) {
        return Ok(known);
    }
    let context = Context::new(language, true);
    contexts.add(&context)?;
    Ok(context)
}

/// Takes a context's process for a run, and starts one if it has none. Whoever has it must call [`Context::set_idle`] or
/// [`Context::set_ended`].
///
/// # Errors
/// 409 when another has it; those of starting one.
pub(super) async fn context_claim(
    agent: &Rc<Agent>,
    context: &Rc<Context>,
) -> Result<(Live, Rc<Busy>), HttpError> {
    {
        let mut state = context.state.borrow_mut();
        match &*state {
            State::Idle(_) | State::Ended => {}
            State::Starting | State::Busy(_) => {
                let message = "the context runs code; wait for its end, interrupt it, or make another";
                return Err(HttpError::conflict(message));
            }
        }
        if let State::Idle(live) = std::mem::replace(&mut *state, State::Starting) {
            let busy = context.next_run(&live);
            *state = State::Busy(Rc::clone(&busy));
            return Ok((live, busy));
        }
    }
    let _starting = Starting(context);
    match live_start(agent, &context.language).await {
        Ok(live) => {
            context.runs.set(0);
            let busy = context.next_run(&live);
            *context.state.borrow_mut() = State::Busy(Rc::clone(&busy));
            Ok((live, busy))
        }
        Err(error) => {
            if context.is_default {
                // It would be listed, and never was.
                agent.execd.code.take_out(context);
            }
            Err(error)
        }
    }
}

/// Ends a context and all that runs in it.
pub(super) async fn context_remove(agent: &Rc<Agent>, context: &Rc<Context>) {
    agent.execd.code.take_out(context);
    context.killed.set(Some("the context was deleted"));
    let exec = match &*context.state.borrow() {
        State::Idle(live) => Some(Rc::clone(&live.exec)),
        State::Busy(busy) => Some(Rc::clone(&busy.exec)),
        State::Starting | State::Ended => None,
    };
    if let Some(exec) = exec {
        exec_kill(agent, &exec).await;
        agent.execs.forget(exec.id);
    }
}
