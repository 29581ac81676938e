//! What the agent knows of the sandbox that it is in: what the server has said of it, and what its own tables say.
//!
//! It must not know who asks, nor in which dialect.

mod accounts;
mod environment;

use std::{cell::RefCell, path::Path, sync::Arc};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
    limits::Limits,
};

use crate::{agent::Agent, failure::failure, files::Owner};

pub(crate) use accounts::{Accounts, small_file_read};
pub(crate) use environment::{SECRET_VARIABLE, TOKEN_VARIABLE, environment_of_user};

/// What no file inside says of a sandbox.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// What it may use.
    pub(crate) limits: Limits,
    /// The environment of what is started in it.
    pub(crate) env: Arc<Vec<(String, String)>>,
    /// Where that starts.
    pub(crate) cwd: GuestPath,
    /// Whose it is, as the tables inside have it; the agent's own if there is none.
    pub(crate) user: Option<String>,
}

/// What the server has said, if there is one.
#[derive(Default)]
pub(crate) struct Said(RefCell<Option<Surroundings>>);

impl Said {
    /// The server's word for what the sandbox is.
    pub(crate) fn set(&self, surroundings: Surroundings) {
        let known = self.0.borrow().as_ref().map(|known| known.cwd.clone());
        if known.as_ref() != Some(&surroundings.cwd) {
            // Where it can't be, what is started says so.
            let _ = std::env::set_current_dir(surroundings.cwd.as_str());
        }
        *self.0.borrow_mut() = Some(surroundings);
    }

    pub(crate) fn limits(&self) -> Option<Limits> {
        self.0.borrow().as_ref().map(|known| known.limits)
    }

    pub(crate) fn user(&self) -> Option<String> {
        self.0.borrow().as_ref().and_then(|known| known.user.clone())
    }

    /// The environment that the server has given, if one has.
    pub(crate) fn env(&self) -> Option<Arc<Vec<(String, String)>>> {
        self.0.borrow().as_ref().map(|known| Arc::clone(&known.env))
    }
}

/// Who owns what a request makes and says nothing of, if that is not the agent.
///
/// # Errors
/// As [`Accounts::own`].
pub(crate) async fn owner(agent: &Agent) -> Result<Option<Owner>, Failure> {
    match agent.surroundings.user() {
        None => Ok(None),
        user => agent.files.run(move || Accounts::read().own(user.as_deref()).map(Some)).await,
    }
}

/// The folder to start in. One that is not there is told before there is a process. Looks at the disk.
///
/// # Errors
/// When there is no such folder.
pub(crate) fn folder_check(cwd: Option<&str>) -> Result<GuestPath, Failure> {
    let own = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let path = own.join(cwd.filter(|cwd| !cwd.is_empty()).unwrap_or_default());
    let text = path.to_str().unwrap_or("/");
    let invalid = |reason: &dyn std::fmt::Display| {
        failure(FailureKind::Invalid, format!("the working directory {text:?}: {reason}"))
    };
    if cwd.is_some() && !Path::new(text).is_dir() {
        return Err(invalid(&"there is no such directory"));
    }
    GuestPath::absolute(text).map_err(|reason| invalid(&reason))
}
