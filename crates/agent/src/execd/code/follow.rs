//! A run, from the code to its last event. It goes on when its client does not.
//!
//! Output comes by pipes, all else by the connection. So that both come in their order, what a message finds written
//! and not read yet is passed on before it. A program writes as fast as the client reads.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::agent::{ExecEnd, ExitStatus};
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use super::{
    context::{Busy, Context, context_remove},
    cut::Cut,
    language::Language,
    message::{Done, Message, SETTLE, SHOWN, bash_end_request, interrupt_request, run_request},
    start::Live,
};
use crate::{
    agent::Agent,
    exec::{OutputStream, Tap, Tapped, exec_kill, exec_signal},
    execd::{
        events::{COMMAND_ERROR, KEEP_ALIVE, event, event_push, init},
        types::{ExecutionError, ServerStreamEvent},
    },
    http::Pieces,
    sys::number::SIGINT,
};

/// What an error is called that says that the process is gone.
const DIED: &str = "ContextDied";
/// How an interrupt is called, in all languages.
const INTERRUPTED: &str = "KeyboardInterrupt";
/// The exit status of a shell's command that SIGINT has ended.
const INTERRUPTED_STATUS: i32 = 130;
/// How often it is seen to it that an interrupt has its effect, and after what time each.
const INTERRUPTS_MAX: u32 = 30;
const INTERRUPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a process may go on whose connection has ended, before it is killed.
const EXIT_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a driver may take to say that no signal is on its way to it.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);

/// What goes to the client, as long as there is one.
struct Events {
    pieces: Option<Pieces>,
    out: Vec<u8>,
    stdout: Cut,
    stderr: Cut,
}

/// How a run has ended.
enum Outcome {
    Done(Done),
    Died(ExecEnd),
}

impl Events {
    fn push(&mut self, event: &ServerStreamEvent<'_>) {
        event_push(&mut self.out, event);
    }

    fn text(&mut self, kind: &'static str, text: &str) {
        if !text.is_empty() {
            self.push(&ServerStreamEvent { text: Some(text), ..event(kind) });
        }
    }

    fn output(&mut self, stream: OutputStream, bytes: &[u8]) {
        let (kind, cut) = match stream {
            OutputStream::Stdout => ("stdout", &mut self.stdout),
            OutputStream::Stderr => ("stderr", &mut self.stderr),
        };
        let text = cut.push(bytes);
        self.text(kind, &text);
    }

    fn output_end(&mut self) {
        for (kind, rest) in [("stdout", self.stdout.rest()), ("stderr", self.stderr.rest())] {
            self.text(kind, &rest);
        }
    }

    /// Waits until the client has taken all; drops it if there is none any more.
    async fn flush(&mut self) {
        let out = std::mem::take(&mut self.out);
        if let Some(pieces) = self.pieces.take_if(|_| !out.is_empty())
            && pieces.send(out).await.is_ok()
        {
            self.pieces = Some(pieces);
        }
    }
}

/// Runs code in a context that was claimed.
pub(super) async fn code_run(
    agent: Rc<Agent>,
    context: Rc<Context>,
    (mut live, busy): (Live, Rc<Busy>),
    code: String,
    pieces: Pieces,
    is_for_once: bool,
) {
    let begin = Instant::now();
    let mut events =
        Events { pieces: Some(pieces), out: Vec::new(), stdout: Cut::default(), stderr: Cut::default() };
    events.push(&init(&context.id));
    events.push(&ServerStreamEvent { execution_count: Some(busy.number), ..event("execution_count") });
    let request = run_request(&context.language, busy.number, &code);
    drop(code);
    let outcome = {
        let mut tap = Tap::new(&agent, &live.exec);
        let sent = live.control.send(&request);
        let followed = follow(&agent, &context, &mut live.lines, &busy, &mut tap, &mut events);
        // A request that can't be sent is to one that has died, which following it tells.
        let (_, outcome) = tokio::join!(sent, followed);
        outcome
    };
    events.output_end();
    let outcome = match outcome {
        Outcome::Done(_) if !is_settled(&context, &mut live, &busy).await => {
            context
                .killed
                .set(Some("what the interrupted code had left could not be stopped, and was killed"));
            exec_kill(&agent, &live.exec).await;
            Outcome::Died(live.exec.ended().await)
        }
        outcome => outcome,
    };
    let outcome = match outcome {
        Outcome::Done(done) => {
            context.set_idle(live);
            end_of(done, &busy, &mut events)
        }
        Outcome::Died(end) => {
            exec_kill(&agent, &live.exec).await;
            agent.execs.forget(live.exec.id);
            context.set_ended();
            Err(death_of(&context, &end))
        }
    };
    if is_for_once {
        context_remove(&agent, &context).await;
    }
    match outcome {
        Ok(()) => {
            let time = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
            events.push(&ServerStreamEvent { execution_time: Some(time), ..event("execution_complete") });
        }
        Err(error) => events.push(&ServerStreamEvent { error: Some(error), ..event("error") }),
    }
    events.flush().await;
}

async fn follow(
    agent: &Rc<Agent>,
    context: &Rc<Context>,
    lines: &mut super::control::Lines,
    busy: &Rc<Busy>,
    tap: &mut Tap,
    events: &mut Events,
) -> Outcome {
    let mut keep_alive = interval_at((Instant::now() + KEEP_ALIVE).into(), KEEP_ALIVE);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_connected = true;
    loop {
        events.flush().await;
        let line = tokio::select! {
            biased;
            line = lines.next(), if is_connected => line,
            tapped = tap.next() => {
                match tapped {
                    Tapped::Output(stream, bytes) => events.output(stream, &bytes),
                    Tapped::Ended(end) => return Outcome::Died(end),
                    Tapped::Replaced => {
                        // Whoever takes its output takes its life as a context.
                        exec_kill(agent, &busy.exec).await;
                        return Outcome::Died(busy.exec.ended().await);
                    }
                }
                continue;
            }
            _ = keep_alive.tick() => {
                events.text("ping", "pong");
                continue;
            }
        };
        let Some(message) = line.as_deref().and_then(Message::parse) else {
            // It ends, which takes some longer than to close the connection, or has nothing more to say to the agent, which
            // comes to the same.
            is_connected = false;
            let (agent, exec) = (Rc::clone(agent), Rc::clone(&busy.exec));
            tokio::task::spawn_local(async move {
                if timeout(EXIT_TIME_MAX, exec.ended()).await.is_err() {
                    exec_kill(&agent, &exec).await;
                }
            });
            continue;
        };
        match message {
            Message::Begun => {
                busy.begun.set(true);
                if busy.interrupted.get() {
                    interrupt_send(agent, context, busy).await;
                }
                continue;
            }
            Message::Done(Done { run: Some(run), .. }) if run != busy.number => continue,
            _ => {}
        }
        if let Some(end) = written_pass_on(tap, busy, events).await {
            return Outcome::Died(end);
        }
        match message {
            Message::Done(done) => return Outcome::Done(done),
            Message::Display { data } => {
                events.push(&ServerStreamEvent { results: Some(&data), ..event("result") });
                events.flush().await;
                // It fails where the next line will not come either.
                let _ = busy.control.send(SHOWN).await;
            }
            Message::Written { stream, text } => {
                events.text(if stream == "stderr" { "stderr" } else { "stdout" }, &text);
            }
            _ => {}
        }
    }
}

/// Ends the sending of signals, and waits until none is on its way that would end the next run instead of this one.
async fn is_settled(context: &Context, live: &mut Live, busy: &Busy) -> bool {
    *busy.is_over.lock().await = true;
    if !busy.interrupted.get() || !is_javascript(context) {
        return true;
    }
    let settled = async {
        live.control.send(SETTLE).await.ok()?;
        loop {
            if let Message::Settled = Message::parse(&live.lines.next().await?)? {
                return Some(());
            }
        }
    };
    timeout(SETTLE_TIME_MAX, settled).await.is_ok_and(|settled| settled.is_some())
}

/// Passes on what has been written until now, and no more: somebody may write for ever. Returns the end, should it come.
async fn written_pass_on(tap: &mut Tap, busy: &Busy, events: &mut Events) -> Option<ExecEnd> {
    let streams = [OutputStream::Stdout, OutputStream::Stderr];
    let [mut stdout, mut stderr] = streams.map(|stream| busy.exec.output_written(stream));
    while stdout > 0 || stderr > 0 {
        match tap.next().await {
            Tapped::Output(stream, bytes) => {
                let due = match stream {
                    OutputStream::Stdout => &mut stdout,
                    OutputStream::Stderr => &mut stderr,
                };
                *due = due.saturating_sub(bytes.len());
                events.output(stream, &bytes);
                events.flush().await;
            }
            Tapped::Ended(end) => return Some(end),
            Tapped::Replaced => return None,
        }
    }
    None
}

/// What is left to tell of a run that has ended, and whether it succeeded.
fn end_of(done: Done, busy: &Busy, events: &mut Events) -> Result<(), ExecutionError> {
    if let Some(data) = &done.data {
        events.push(&ServerStreamEvent { results: Some(data), ..event("result") });
    }
    let error = |ename: &'static str, evalue: String, reason: String| ExecutionError {
        ename: ename.into(),
        evalue,
        traceback: vec![reason],
    };
    match (done.error, done.status) {
        (Some(error), _) => Err(error),
        (None, None | Some(0)) => Ok(()),
        (None, Some(INTERRUPTED_STATUS)) if busy.interrupted.get() => {
            Err(error(INTERRUPTED, "the code was interrupted".to_owned(), INTERRUPTED.to_owned()))
        }
        (None, Some(status)) => {
            Err(error(COMMAND_ERROR, status.to_string(), format!("exit status {status}")))
        }
    }
}

fn death_of(context: &Context, end: &ExecEnd) -> ExecutionError {
    let reason = match (context.killed.take(), end.status) {
        (Some(reason), _) => reason.to_owned(),
        (None, ExitStatus::Exited(status)) => format!("its process has exited with status {status}"),
        (None, ExitStatus::Signaled(9)) => {
            "its process was killed (signal 9), by somebody or for want of memory".to_owned()
        }
        (None, ExitStatus::Signaled(signal)) => format!("its process was ended by signal {signal}"),
    };
    let evalue = format!("{reason}; what the context held is lost, the next run begins anew");
    ExecutionError { ename: DIED.into(), traceback: vec![format!("{DIED}: {evalue}")], evalue }
}

/// Interrupts the run, or will as soon as it has begun.
pub(super) async fn code_interrupt(agent: &Rc<Agent>, context: &Rc<Context>, busy: &Rc<Busy>) {
    busy.interrupted.set(true);
    if busy.begun.get() {
        interrupt_send(agent, context, busy).await;
    } else if is_javascript(context) && busy.number > 1 {
        // What an earlier run has left may keep it from beginning.
        tokio::task::spawn_local(interrupt_insist(Rc::clone(agent), Rc::clone(context), Rc::clone(busy)));
    }
}

fn is_javascript(context: &Context) -> bool {
    matches!(context.language, Language::Javascript | Language::Typescript)
}

/// Sends the signal, unless the run is over; whether it is not.
async fn signal_send(agent: &Rc<Agent>, busy: &Busy) -> bool {
    let is_over = busy.is_over.lock().await;
    if !*is_over {
        // It fails where it has ended, which the run will see.
        let _ = exec_signal(agent, busy.exec.id, SIGINT).await;
    }
    !*is_over
}

async fn interrupt_send(agent: &Rc<Agent>, context: &Rc<Context>, busy: &Rc<Busy>) {
    if !signal_send(agent, busy).await {
        return;
    }
    let request = match context.language {
        Language::Python | Language::Kernel(_) => return,
        Language::Bash => bash_end_request(busy.number),
        Language::Javascript | Language::Typescript => interrupt_request(busy.number),
    };
    let _ = busy.control.send(&request).await;
    tokio::task::spawn_local(interrupt_insist(Rc::clone(agent), Rc::clone(context), Rc::clone(busy)));
}

/// Sees to it that an interrupt has its effect. A shell takes no notice of one while it waits for a command that happens
/// to end well just then, Node.js when it is about to wait for a command, and of none at all while it is called back by
/// what was not wrapped.
async fn interrupt_insist(agent: Rc<Agent>, context: Rc<Context>, busy: Rc<Busy>) {
    for _ in 0..INTERRUPTS_MAX {
        tokio::time::sleep(INTERRUPT_PAUSE).await;
        if !signal_send(&agent, &busy).await {
            return;
        }
    }
    if is_javascript(&context) && !*busy.is_over.lock().await {
        context.killed.set(Some("its code could not be interrupted, and was killed"));
        exec_kill(&agent, &busy.exec).await;
    }
}
