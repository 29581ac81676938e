//! Code that keeps its state from run to run: contexts, each a process of its own.
//!
//! This file has the requests. What a context is: [`context`]; how its process comes to be: [`start`]; what is said to
//! it: [`message`] over a [`control`] connection; what comes of it: [`follow`]. The other side of that connection are
//! the programs in `drivers/`, each in the language that it runs.

mod context;
mod control;
mod cut;
mod follow;
mod language;
mod message;
mod port;
mod start;

use std::rc::Rc;

pub(super) use context::Contexts;
use context::{Context, context_claim, context_create, context_default, context_remove};
use follow::{code_interrupt, code_run};
use language::Language;
pub(crate) use port::code_port_open;

use super::types::{CodeContext, CodeContextRequest, RunCodeRequest};
use crate::{
    agent::Agent,
    http::{HttpError, Incoming, Query, Reply, body_stream, empty, event_stream, json, json_object},
};

/// `GET /code/contexts?language=`
pub(super) fn contexts_list(agent: &Rc<Agent>, query: &Query) -> Result<Reply, HttpError> {
    let language = Language::parse(query.required("language")?)?;
    let contexts: Vec<CodeContext> =
        agent.execd.code.of_language(&language).iter().map(|context| view(context)).collect();
    Ok(json(&contexts))
}

/// `DELETE /code/contexts?language=`
pub(super) async fn contexts_remove(agent: &Rc<Agent>, query: &Query) -> Result<Reply, HttpError> {
    let language = Language::parse(query.required("language")?)?;
    for context in agent.execd.code.of_language(&language) {
        context_remove(agent, &context).await;
    }
    Ok(empty())
}

/// `POST /code/context`
pub(super) async fn create(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let request: CodeContextRequest = json_object(request).await?;
    let language = request.language.ok_or_else(|| HttpError::body("`language` is missing"))?;
    let context = context_create(agent, Language::parse(&language)?).await?;
    Ok(json(&view(&context)))
}

/// `GET /code/contexts/{id}`
pub(super) fn get(agent: &Rc<Agent>, id: &str) -> Result<Reply, HttpError> {
    let context = agent.execd.code.find(id)?;
    Ok(json(&view(&context)))
}

/// `DELETE /code/contexts/{id}`
pub(super) async fn remove(agent: &Rc<Agent>, id: &str) -> Result<Reply, HttpError> {
    let context = agent.execd.code.find(id)?;
    context_remove(agent, &context).await;
    Ok(empty())
}

/// `POST /code`
pub(super) async fn run(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let RunCodeRequest { context, code } = json_object(request).await?;
    if code.is_empty() {
        return Err(HttpError::body("`code` is empty"));
    }
    let CodeContextRequest { id, language } = context.unwrap_or_default();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let language = given(language).map(|name| Language::parse(&name)).transpose()?;
    let mut is_for_once = false;
    let context = match (given(id), language) {
        (Some(id), language) => {
            let context = agent.execd.code.find(&id)?;
            if let Some(other) = language.filter(|language| *language != context.language) {
                let message =
                    format!("the context {id} is for {}, not for {}", context.language.name(), other.name());
                return Err(HttpError::body(message));
            }
            context
        }
        (None, Some(language)) => context_default(agent, language)?,
        (None, None) => {
            // A command with the events of code: nothing is there before it or stays.
            is_for_once = true;
            Context::new(Language::Bash, false)
        }
    };
    let claimed = context_claim(agent, &context).await?;
    let (pieces, body) = body_stream(None);
    tokio::task::spawn_local(code_run(Rc::clone(agent), context, claimed, code, pieces, is_for_once));
    Ok(event_stream(body))
}

/// `DELETE /code?id=`
pub(super) async fn interrupt(agent: &Rc<Agent>, query: &Query) -> Result<Reply, HttpError> {
    let context = agent.execd.code.find(query.required("id")?)?;
    if let Some(busy) = context.busy() {
        code_interrupt(agent, &context, &busy).await;
    }
    Ok(empty())
}

fn view(context: &Context) -> CodeContext {
    CodeContext { id: context.id.clone(), language: context.language.name().to_owned() }
}
