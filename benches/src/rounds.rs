//! The measuring itself: all contestants in turn, in rounds, so that whatever else the machine does hits all
//! of them alike.

use crate::{
    bubblewrap,
    execute::{self, Network},
    failure::Outcome,
    http::Connection,
    launches::{Breakdown, LaunchLog},
    live_sandbox::LiveSandbox,
    runc::Runc,
    samples::Samples,
    server::Server,
};

/// Requests at once in (d).
pub(crate) const AT_ONCE: usize = 100;

/// How often each contestant runs.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Runs of each contestant in a round.
    pub(crate) runs: usize,
    /// Runs of runc in a round, which takes the longest.
    pub(crate) runs_runc: usize,
    /// Runs of each contestant before the first round, which are not counted.
    pub(crate) warm_up: usize,
}

/// The times of each contestant.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) bubblewrap: Samples,
    pub(crate) runc: Samples,
    pub(crate) execute: Samples,
    pub(crate) execute_nat: Samples,
    pub(crate) live: Samples,
    /// Wall time of [`AT_ONCE`] requests at once.
    pub(crate) at_once: Samples,
}

/// Measures everything.
pub(crate) fn measure(server: &Server, effort: Effort) -> Outcome<Times> {
    let mut connection = server.connect()?;
    let live = LiveSandbox::start(server, &mut connection)?;
    let mut runc = Runc::prepare()?;
    let warm_up = Effort { rounds: 1, runs: effort.warm_up, runs_runc: effort.warm_up.min(3), warm_up: 0 };
    let measured = rounds(server, &mut connection, &live, &mut runc, warm_up)
        .and_then(|_| rounds(server, &mut connection, &live, &mut runc, effort));
    live.delete(&mut connection)?;
    measured
}

fn rounds(
    server: &Server,
    connection: &mut Connection,
    live: &LiveSandbox,
    runc: &mut Runc,
    effort: Effort,
) -> Outcome<Times> {
    let mut times = Times::default();
    let (none, nat) = (execute::request(Network::None), execute::request(Network::Nat));
    for _ in 0..effort.rounds {
        for _ in 0..effort.runs {
            times.bubblewrap.push(bubblewrap::time()?);
        }
        for _ in 0..effort.runs {
            times.execute.push(execute::time(connection, &none)?);
        }
        for _ in 0..effort.runs_runc {
            times.runc.push(runc.time()?);
        }
        for _ in 0..effort.runs {
            times.execute_nat.push(execute::time(connection, &nat)?);
        }
        for _ in 0..effort.runs {
            times.live.push(live.time()?);
        }
        times.at_once.push(execute::time_at_once(server.address, &none, AT_ONCE)?);
    }
    Ok(times)
}

/// What a launch and a request take inside a server that logs them, and the medians of whole requests.
pub(crate) struct Inside {
    pub(crate) breakdowns: Vec<Breakdown>,
    /// Median of a request with network none, as the client sees it, in microseconds.
    pub(crate) client_us: f64,
    /// The same, as the server sees it.
    pub(crate) server_us: f64,
}

/// Breaks launches down by step: `count` of each network one after the other, then [`AT_ONCE`] at once.
/// `server` has to log at level `debug`.
pub(crate) fn break_down(server: &Server, count: usize) -> Outcome<Inside> {
    let mut connection = server.connect()?;
    let mut read = 0;
    let mut part = |server: &Server| -> Outcome<LaunchLog> {
        let log = server.log()?;
        let part = LaunchLog::parse(log.get(read..).unwrap_or_default());
        read = log.len();
        Ok(part)
    };
    let (none, nat) = (execute::request(Network::None), execute::request(Network::Nat));
    for _ in 0..10 {
        execute::time(&mut connection, &none)?;
        execute::time(&mut connection, &nat)?;
    }
    part(server)?;
    let mut seen = Samples::default();
    for _ in 0..count {
        seen.push(execute::time(&mut connection, &none)?);
    }
    let alone = part(server)?;
    for _ in 0..count {
        execute::time(&mut connection, &nat)?;
    }
    let with_network = part(server)?;
    execute::time_at_once(server.address, &none, AT_ONCE)?;
    let at_once = part(server)?;
    let mut breakdowns = alone.breakdowns("network none, one at a time");
    breakdowns.extend(with_network.breakdowns("network nat, one at a time"));
    breakdowns.extend(at_once.breakdowns("network none, 100 at once"));
    Ok(Inside {
        breakdowns,
        client_us: seen.percentile_us(500).unwrap_or_default(),
        server_us: alone.requests.percentile_us(500).unwrap_or_default(),
    })
}
