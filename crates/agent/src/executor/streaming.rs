//! A command whose output is sent line by line while it runs. A client that goes away ends it.

use std::rc::Rc;

use super::{
    command::{Command, code_of},
    events::{LineEvents, event_push},
    types::{Complete, ErrorReply},
    value_of,
};
use crate::{
    agent::Agent,
    exec::{Tap, Tapped, exec_kill},
    http::{HttpError, Incoming, Outgoing, Pieces, Reply, body_stream, event_stream},
};

/// `POST /run_streaming`
pub(super) async fn run_streaming(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let command = Command::of(agent, value_of(request).await?).await?;
    let exec = match command.start(agent) {
        Ok(exec) => exec,
        Err(error) => {
            let mut out = Vec::new();
            event_push(&mut out, "error", &ErrorReply { error });
            return Ok(event_stream(Outgoing::Whole(Some(out.into()))));
        }
    };
    // Before anything is read of what it writes.
    let tap = Tap::new(agent, &exec);
    let (pieces, body) = body_stream(None);
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let last = tokio::select! {
            last = lines_send(tap, &pieces) => last,
            () = pieces.gone() => None,
        };
        match last {
            Some(last) => pieces.end(last).await,
            None => exec_kill(&agent, &exec).await,
        }
        agent.execs.forget(exec.id);
    });
    Ok(event_stream(body))
}

/// Sends events until the exec has ended, and returns the last ones; `None` if they are for nobody.
async fn lines_send(mut tap: Tap, pieces: &Pieces) -> Option<Vec<u8>> {
    let mut lines = LineEvents::new(event_begin);
    let mut out = Vec::new();
    loop {
        // Nothing is asked of the exec before the client has taken what came before.
        if !out.is_empty() && pieces.send(std::mem::take(&mut out)).await.is_err() {
            return None;
        }
        match tap.next().await {
            Tapped::Output(stream, bytes) => lines.push(stream, &bytes, &mut out),
            Tapped::Ended(end) => {
                lines.end(&mut out);
                let code = code_of(&end);
                event_push(&mut out, "complete", &Complete { code, error: code != 0 });
                return Some(out);
            }
            Tapped::Replaced => return None,
        }
    }
}

fn event_begin(out: &mut Vec<u8>, stream: &'static str) {
    for part in ["event: output\ndata: {\"stream\":\"", stream, "\",\"data\":\""] {
        out.extend_from_slice(part.as_bytes());
    }
}
