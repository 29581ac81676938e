//! A command whose output comes in one answer. It runs on when nobody waits for that any more.

use std::rc::Rc;

use protocol::agent::ExecEnd;
use tokio::sync::oneshot;

use super::{
    command::{Command, code_of},
    refusal,
    spool::Spool,
    types::RunNotBegun,
    value_of,
};
use crate::{
    agent::Agent,
    exec::{OutputStream, Tap, Tapped},
    http::{
        Gone, HttpError, Incoming, Outgoing, Pieces, Reply, body_stream, json, json_pieces, json_text_push,
    },
};

/// All that a command gave.
struct Outcome {
    stdout: Spool,
    stderr: Spool,
    end: ExecEnd,
}

/// `POST /run`
pub(super) async fn run(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let command = Command::of(agent, value_of(request).await?).await?;
    let exec = match command.start(agent) {
        Ok(exec) => exec,
        Err(error) => return Ok(json(&RunNotBegun { stdout: "", stderr: "", error, code: -1 })),
    };
    // Before anything is read of what it writes.
    let mut tap = Tap::new(agent, &exec);
    let (sender, outcome) = oneshot::channel();
    let keeper = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let outcome = outcome_of(&keeper, &mut tap).await;
        keeper.execs.forget(exec.id);
        // Nobody waits when the client is gone.
        let _ = sender.send(outcome);
    });
    let ended = || refusal(hyper::StatusCode::INTERNAL_SERVER_ERROR, "The command can't be followed");
    Ok(outcome.await.ok().flatten().ok_or_else(ended)?.into_reply(agent))
}

/// Keeps what an exec gives until its end; `None` when another follows it.
async fn outcome_of(agent: &Agent, tap: &mut Tap) -> Option<Outcome> {
    let (mut stdout, mut stderr) = (Spool::default(), Spool::default());
    loop {
        match tap.next().await {
            Tapped::Output(OutputStream::Stdout, bytes) => stdout.push(agent, &bytes).await,
            Tapped::Output(OutputStream::Stderr, bytes) => stderr.push(agent, &bytes).await,
            Tapped::Ended(end) => return Some(Outcome { stdout, stderr, end }),
            Tapped::Replaced => return None,
        }
    }
}

impl Outcome {
    fn into_reply(self, agent: &Rc<Agent>) -> Reply {
        let mut out = STDOUT.to_vec();
        if self.stdout.is_small() && self.stderr.is_small() {
            self.stdout.memory_push(&mut out);
            out.extend(STDERR);
            self.stderr.memory_push(&mut out);
            self.end_push(&mut out);
            return json_pieces(Outgoing::Whole(Some(out.into())));
        }
        let (pieces, body) = body_stream(None);
        let agent = Rc::clone(agent);
        tokio::task::spawn_local(async move {
            match self.send(&agent, &pieces, &mut out).await {
                Ok(()) => pieces.end(out).await,
                Err(Gone) => pieces.fail().await,
            }
        });
        json_pieces(body)
    }

    async fn send(&self, agent: &Agent, pieces: &Pieces, out: &mut Vec<u8>) -> Result<(), Gone> {
        self.stdout.send(agent, pieces, out).await?;
        out.extend(STDERR);
        self.stderr.send(agent, pieces, out).await?;
        self.end_push(out);
        Ok(())
    }

    /// What comes after the output.
    fn end_push(&self, out: &mut Vec<u8>) {
        let code = code_of(&self.end);
        let dropped = self.stdout.dropped_bytes + self.stderr.dropped_bytes;
        let error = match (dropped, code) {
            (0, 0) => None,
            (0, _) => Some("Non-zero exit code".to_owned()),
            _ => Some(format!("{dropped} bytes of output were dropped: there was no room to keep them")),
        };
        out.push(b'"');
        if let Some(error) = error {
            out.extend(br#","error":""#);
            json_text_push(out, &error);
            out.push(b'"');
        }
        out.extend(format!(",\"code\":{code}}}").bytes());
    }
}

const STDOUT: &[u8] = br#"{"stdout":""#;
const STDERR: &[u8] = br#"","stderr":""#;
