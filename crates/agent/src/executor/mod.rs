//! The executor: commands, files, processes and one port, over HTTP with a secret; the API of a published client.
//!
//! This file is its index. Handlers take a request apart, call one thing and convert what comes back; [`types`] has the
//! wire. Errors are text, and a file operation that failed is none: its answer says so.

mod command;
mod events;
mod files;
mod folders;
mod journal;
mod ports;
mod processes;
mod run;
mod spool;
mod streaming;
mod types;
mod utf8;

use std::rc::Rc;

use hyper::{Method, StatusCode, header};
use protocol::agent::Failure;
use serde::de::DeserializeOwned;

use crate::{
    agent::Agent,
    http::{Door, HttpError, Incoming, Query, Reply, body_read, json},
};

pub(crate) use ports::{
    PROXY_PORT_DEFAULT, PROXY_PORT_VARIABLE, bound_port_dial, proxy_open_inside, proxy_serve,
};

/// Where the executor listens when it is alone and nothing else is said.
pub(crate) const PORT_DEFAULT: u16 = 3030;

/// The largest body of a request.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What clients can name. It is empty until one comes.
#[derive(Default)]
pub(crate) struct Executor {
    processes: processes::Processes,
    port: ports::BoundPort,
}

/// Answers a request.
pub(crate) async fn answer(agent: &Rc<Agent>, door: &Door, request: Incoming) -> Reply {
    if request.uri().path() != "/health" && !door.opens_to_bearer(request.headers()) {
        return refusal(StatusCode::UNAUTHORIZED, "Unauthorized").into_text();
    }
    route(agent, request).await.unwrap_or_else(HttpError::into_text)
}

async fn route(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let uri = request.uri().clone();
    let path = uri.path();
    let wanted = match path {
        "/health" | "/list_processes" | "/process_logs_streaming" => Method::GET,
        "/run" | "/run_streaming" | "/write_file" | "/read_file" | "/delete_file" | "/make_dir"
        | "/delete_dir" | "/list_dir" | "/bind_port" | "/unbind_port" | "/start_process"
        | "/kill_process" => Method::POST,
        _ => return Err(refusal(StatusCode::NOT_FOUND, "Not found")),
    };
    if *request.method() != wanted {
        let refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
        return Err(refused.with_header(header::ALLOW, wanted.as_str()));
    }
    match path {
        "/run" => run::run(agent, request).await,
        "/run_streaming" => streaming::run_streaming(agent, request).await,
        "/write_file" => files::write(agent, request).await,
        "/read_file" => files::read(agent, request).await,
        "/delete_file" => files::delete(agent, request).await,
        "/make_dir" => folders::make(agent, request).await,
        "/delete_dir" => folders::delete(agent, request).await,
        "/list_dir" => folders::list(agent, request).await,
        "/bind_port" => ports::bind(agent, request).await,
        "/unbind_port" => Ok(ports::unbind(agent)),
        "/start_process" => processes::start(agent, request).await,
        "/list_processes" => Ok(processes::list(agent)),
        "/kill_process" => processes::kill(agent, request).await,
        "/process_logs_streaming" => processes::logs(agent, &Query::of(&uri)),
        _ => Ok(json(&types::Health { status: "ok" })),
    }
}

/// The body's value, which must be an object.
///
/// # Errors
/// 400 when it is none, 413 when it is too large.
async fn value_of<T: DeserializeOwned>(request: Incoming) -> Result<T, HttpError> {
    let bytes = body_read(request, BODY_BYTES_MAX).await?;
    // A list of an object's fields would be taken for it.
    let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
    serde_json::from_slice(&bytes).ok().filter(|_| is_object).ok_or_else(|| invalid("Invalid request"))
}

fn refusal(status: StatusCode, text: impl Into<String>) -> HttpError {
    HttpError::new(status, "", text)
}

/// 400.
fn invalid(text: impl Into<String>) -> HttpError {
    refusal(StatusCode::BAD_REQUEST, text)
}

/// What failed, with the reason as clients search for it: in small letters.
fn told(failure: Failure) -> String {
    let mut text = failure.message;
    let at = text.rfind(": ").map_or(0, |at| at + ": ".len());
    if let Some(first) = text.get_mut(at..=at) {
        first.make_ascii_lowercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use protocol::agent::FailureKind;

    use super::*;
    use crate::failure::failure;

    #[test]
    fn reasons_begin_with_small_letters() {
        let of = |text: &str| told(failure(FailureKind::Other, text));
        assert_eq!(of("open /A: B: No such file"), "open /A: B: no such file");
        assert_eq!(of("open /x: Ü"), "open /x: Ü");
        assert_eq!((of("open: "), of(""), of("Text")), ("open: ".into(), String::new(), "text".into()));
    }
}
