//! execd: the API that is served inside a sandbox, spelled as OpenSandbox's published specification has it.
//!
//! This file is its index. Handlers take a request apart, call one thing and convert what comes back; [`types`] has
//! the wire. Nothing here knows how a connection came in, or who may ask: [`crate::http`] does.

mod code;
mod commands;
mod environment;
mod events;
mod files;
mod isolated;
mod lines;
mod log;
mod metrics;
mod pty;
mod run;
mod sessions;
mod types;

use std::rc::Rc;

use hyper::{Method, StatusCode, header};

use crate::{
    agent::Agent,
    http::{HttpError, Incoming, Query, Reply, empty},
};

pub(crate) use code::code_port_open;

/// What clients can name. It is empty until one comes.
#[derive(Default)]
pub(crate) struct Execd {
    commands: commands::Commands,
    sessions: sessions::Sessions,
    ptys: pty::Ptys,
    code: code::Contexts,
    /// What the next look at the processor's time is compared with.
    usage: metrics::LastUsage,
}

/// Answers a request.
///
/// # Errors
/// [`HttpError`], which is an answer as well.
pub(crate) async fn answer(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let query = Query::of(&uri);
    let path: Vec<&str> = uri.path().split('/').skip(1).collect();
    match path[..] {
        ["ping"] => match method {
            Method::GET => Ok(empty()),
            _ => Err(method_refuse("GET")),
        },
        ["command"] => match method {
            Method::POST => commands::run(agent, request).await,
            Method::DELETE => commands::interrupt(agent, &query),
            _ => Err(method_refuse("POST, DELETE")),
        },
        ["command", "status", id] => match method {
            Method::GET => commands::status(agent, id),
            _ => Err(method_refuse("GET")),
        },
        ["command", id, "logs"] | ["command", "output", id] => match method {
            Method::GET => commands::logs(agent, id, &query).await,
            _ => Err(method_refuse("GET")),
        },
        ["session"] => match method {
            Method::POST => sessions::create(agent, request).await,
            _ => Err(method_refuse("POST")),
        },
        ["session", id] => match method {
            Method::DELETE => sessions::remove(agent, id).await,
            _ => Err(method_refuse("DELETE")),
        },
        ["session", id, "run"] => match method {
            Method::POST => sessions::run(agent, id, request).await,
            _ => Err(method_refuse("POST")),
        },
        ["pty"] => match method {
            Method::POST => pty::create(agent, request).await,
            _ => Err(method_refuse("POST")),
        },
        ["pty", id] => match method {
            Method::GET => pty::status(agent, id),
            Method::DELETE => pty::remove(agent, id),
            _ => Err(method_refuse("GET, DELETE")),
        },
        ["pty", id, "ws"] => match method {
            Method::GET => pty::attach(agent, id, request, &query),
            _ => Err(method_refuse("GET")),
        },
        ["code"] => match method {
            Method::POST => code::run(agent, request).await,
            Method::DELETE => code::interrupt(agent, &query).await,
            _ => Err(method_refuse("POST, DELETE")),
        },
        ["code", "context"] => match method {
            Method::POST => code::create(agent, request).await,
            _ => Err(method_refuse("POST")),
        },
        ["code", "contexts"] => match method {
            Method::GET => code::contexts_list(agent, &query),
            Method::POST => code::create(agent, request).await,
            Method::DELETE => code::contexts_remove(agent, &query).await,
            _ => Err(method_refuse("GET, POST, DELETE")),
        },
        ["code", "contexts", id] => match method {
            Method::GET => code::get(agent, id),
            Method::DELETE => code::remove(agent, id).await,
            _ => Err(method_refuse("GET, DELETE")),
        },
        ["v1", "isolated", "capabilities"] => match method {
            Method::GET => Ok(isolated::capabilities()),
            _ => Err(method_refuse("GET")),
        },
        ["v1", "isolated", ..] => Err(isolated::refusal()),
        ["metrics"] => match method {
            Method::GET => metrics::once(agent).await,
            _ => Err(method_refuse("GET")),
        },
        ["metrics", "watch"] => match method {
            Method::GET => Ok(metrics::watch(agent)),
            _ => Err(method_refuse("GET")),
        },
        ["files"] => match method {
            Method::DELETE => files::change::files_remove(agent, &query).await,
            _ => Err(method_refuse("DELETE")),
        },
        ["files", "info"] => match method {
            Method::GET => files::info::files_info(agent, &query).await,
            _ => Err(method_refuse("GET")),
        },
        ["files", "search"] => match method {
            Method::GET => files::listing::files_search(agent, &query).await,
            _ => Err(method_refuse("GET")),
        },
        ["files", "download"] => match method {
            Method::GET => files::download::file_download(agent, &request, &query).await,
            _ => Err(method_refuse("GET")),
        },
        ["files", "upload"] => match method {
            Method::POST => files::upload::files_upload(agent, request).await,
            _ => Err(method_refuse("POST")),
        },
        ["files", "mv"] => match method {
            Method::POST => files::rename::files_rename(agent, request).await,
            _ => Err(method_refuse("POST")),
        },
        ["files", "permissions"] => match method {
            Method::POST => files::change::permissions_set(agent, request).await,
            _ => Err(method_refuse("POST")),
        },
        ["files", "replace"] => match method {
            Method::POST => files::replace::files_replace(agent, request, &query).await,
            _ => Err(method_refuse("POST")),
        },
        ["directories"] => match method {
            Method::POST => files::change::directories_create(agent, request).await,
            Method::DELETE => files::change::directories_remove(agent, &query).await,
            _ => Err(method_refuse("POST, DELETE")),
        },
        ["directories", "list"] => match method {
            Method::GET => files::listing::directory_list(agent, &query).await,
            _ => Err(method_refuse("GET")),
        },
        _ => Err(HttpError::not_found(format!("there is no {}", uri.path()))),
    }
}

fn method_refuse(allowed: &str) -> HttpError {
    let message = format!("this path takes {allowed}");
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        .with_header(header::ALLOW, allowed)
}
