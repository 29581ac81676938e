//! The signals that end `atoll run`, and its sandbox with it.

use std::{fs, io, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, a polite kill, and the end of the terminal.
const ENDING: [SignalKind; 3] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];

/// Waits for the ending signals.
pub(super) struct Ending(Vec<(i32, Signal)>);

impl Ending {
    /// Waits for them from now on, but for those that whoever started this process has it ignore: `nohup`
    /// the hangup, a shell without job control the interrupt of what it starts in the background.
    pub(super) fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let heard = ENDING.into_iter().map(|kind| kind.as_raw_value());
        let heard = heard.filter(|number| ignored >> (number - 1) & 1 == 0);
        heard
            .map(|number| Ok((number, signal(SignalKind::from_raw(number))?)))
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// The number of the first that comes.
    pub(super) async fn first(mut self) -> i32 {
        std::future::poll_fn(|context| {
            let came = self
                .0
                .iter_mut()
                .find_map(|(number, signal)| signal.poll_recv(context).is_ready().then_some(*number));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The ignored signals, a bit for each: proc(5).
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
