//! The measurements as a table for people and as JSON for programs. It must not measure anything.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    executor,
    launches::Breakdown,
    machine::Machine,
    opensandbox,
    rounds::{AT_ONCE, Inside, Times},
    samples::Samples,
    snapshots::{self, FORKS},
    terminals,
};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    lines: Vec<Line>,
    aims: Vec<Aim>,
    breakdowns: Vec<Breakdown>,
    /// Median of (a) in the run that was broken down, as the client sees it.
    broken_down_client_us: f64,
    /// The same, as the server sees it.
    broken_down_server_us: f64,
}

/// A contestant.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    samples: usize,
    p50_us: f64,
    p99_us: f64,
    /// Its median over bubblewrap's.
    ratio: Option<f64>,
}

/// What was to be reached.
#[derive(Debug, Serialize)]
struct Aim {
    aim: String,
    reached: bool,
    value: String,
}

impl Report {
    pub(crate) fn new(
        machine: Machine,
        times: &Times,
        kept: &snapshots::Times,
        (entered, executor, shown): (&opensandbox::Times, &executor::Times, &terminals::Times),
        inside: Inside,
    ) -> Self {
        let yardstick = times.bubblewrap.percentile_us(500).unwrap_or_default();
        let line = |name: &str, samples: &Samples, compare: bool| {
            let p50_us = samples.percentile_us(500).unwrap_or_default();
            Line {
                name: name.to_owned(),
                samples: samples.count(),
                p50_us,
                p99_us: samples.percentile_us(990).unwrap_or_default(),
                ratio: (compare && yardstick > 0.0).then(|| p50_us / yardstick),
            }
        };
        let lines = vec![
            line("bwrap, spawned", &times.bubblewrap, true),
            line("runc run, prepared bundle", &times.runc, true),
            line("(a) Atoll, HTTP, network none", &times.execute, true),
            line("(b) Atoll, HTTP, network nat", &times.execute_nat, true),
            line("(c) second command, agent socket, no HTTP", &times.live, true),
            line(&format!("(d) Atoll, HTTP, {AT_ONCE} at once, wall"), &times.at_once, false),
            line("bare snapshot, 10 files", &kept.bare[0], false),
            line("(e) snapshot, 10 files", &kept.snapshot[0], false),
            line("bare snapshot, 20,000 files", &kept.bare[1], false),
            line("(f) snapshot, 20,000 files", &kept.snapshot[1], false),
            line("snapshot, 10 there already", &kept.with_few, false),
            line("(g) snapshot, 1,000 there already", &kept.with_many, false),
            line("bare snapshot, few there already", &kept.bare_with_few, false),
            line("bare snapshot, 1,000 there already", &kept.bare_with_many, false),
            line("(h) run of `true` with its snapshot", &kept.run, false),
            line("(i) restore to the end of the first command", &kept.restore, false),
            line(&format!("(j) one sandbox into {FORKS}, all answering"), &kept.fork, false),
            line("(k) start with 500 sandboxes that run", &kept.adoption, false),
            line("(l) create until /ping answers", &entered.create, false),
            line("(l) with an imported image", &entered.create_imported, false),
            line("(m) pause", &entered.pause, false),
            line("(n) resume", &entered.resume, false),
            line("(o) /command of `true`", &entered.command, false),
            line("(p) /code 1+1, hot", &entered.code_hot, false),
            line("ipykernel 1+1, hot", &entered.ipykernel_hot, false),
            line("(q) first result in a new Python context", &entered.code_fresh, false),
            line("ipykernel, first result of a new kernel", &entered.ipykernel_fresh, false),
            line("ping through the Python client", &entered.client_ping, false),
            line("(r) echo through the Python client", &entered.client_echo, false),
            line("cp of 1 GiB", &entered.copy, false),
            line("(s) upload of 1 GiB", &entered.upload, false),
            line("(t) download of 1 GiB", &entered.download, false),
            line("(u) executor: /run of `true`", &executor.run, false),
            line("(v) executor: a line of a stream, since written", &executor.line, false),
            line("keystroke to echo, local terminal", &shown.keystroke_local, false),
            line("(w) keystroke to echo over the WebSocket", &shown.keystroke, false),
            line("cat of 100 MB, local terminal", &shown.large_local, false),
            line("(x) cat of 100 MB over the WebSocket", &shown.large, false),
        ];
        let lines: Vec<Line> = lines.into_iter().filter(|line| line.samples > 0).collect();
        let aims = aims(&lines);
        Self {
            machine,
            lines,
            aims,
            breakdowns: inside.breakdowns,
            broken_down_client_us: inside.client_us,
            broken_down_server_us: inside.server_us,
        }
    }

    /// The report as text.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n\n", self.machine.describe());
        let mut add = |line: String| {
            text.push_str(line.trim_end());
            text.push('\n');
        };
        add(format!("{:<44} {:>5} {:>9} {:>9} {:>9}", "", "n", "p50 ms", "p99 ms", "of bwrap"));
        for Line { name, samples, p50_us, p99_us, ratio } in &self.lines {
            let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            add(format!("{name:<44} {samples:>5} {:>9.2} {:>9.2} {ratio:>9}", p50_us / 1e3, p99_us / 1e3));
        }
        add(String::new());
        for Aim { aim, reached, value } in &self.aims {
            add(format!("{:<8} {aim}: {value}", if *reached { "reached" } else { "missed" }));
        }
        add(String::new());
        add("Launches by step, median µs (`child` includes the mounts; of a prepared sandbox it is the hand-over):"
            .to_owned());
        for Breakdown { requests, prepared, launches, steps_us } in &self.breakdowns {
            let mut line = String::new();
            for (step, time_us) in steps_us {
                let _ = write!(line, " {step} {time_us:.0}");
            }
            let how = if *prepared { "prepared" } else { "made on request" };
            add(format!("{requests:<28} {how:<15} {launches:>4}  {line}"));
        }
        add(format!(
            "{:<28} {:<15} {:>4}   client {:.0}, server {:.0}",
            "network none, one at a time",
            "whole request",
            "",
            self.broken_down_client_us,
            self.broken_down_server_us
        ));
        text
    }
}

/// What is to be reached: a line's p50, or p99, below so many times that of another, or below a time.
const AIMS: [(&str, Measure, &str, Bound); 25] = [
    ("(a) p50 at or below bwrap's", Measure::P50, "(a)", Bound::Times(1.0, "bwrap", Measure::P50)),
    ("(a) p99 below 3 times its p50", Measure::P99, "(a)", Bound::Times(3.0, "(a)", Measure::P50)),
    ("(c) p50 below 1.5 ms", Measure::P50, "(c)", Bound::Below(1500.0)),
    ("(d) all succeed, wall below 0.5 s", Measure::P50, "(d)", Bound::Below(5e5)),
    (
        "(e) at most 1.5 times the bare call",
        Measure::P50,
        "(e)",
        Bound::Times(1.5, "bare snapshot, 10", Measure::P50),
    ),
    (
        "(f) at most 1.5 times the bare call",
        Measure::P50,
        "(f)",
        Bound::Times(1.5, "bare snapshot, 20", Measure::P50),
    ),
    (
        "(g) at most 1.3 times that with 10",
        Measure::P50,
        "(g)",
        Bound::Times(1.3, "snapshot, 10", Measure::P50),
    ),
    ("(h) below 10 ms", Measure::P50, "(h)", Bound::Below(1e4)),
    ("(i) below 15 ms", Measure::P50, "(i)", Bound::Below(1.5e4)),
    ("(j) below 0.6 s", Measure::P50, "(j)", Bound::Below(6e5)),
    ("(k) below 1 s", Measure::P50, "(k)", Bound::Below(1e6)),
    ("(l) below 8 ms", Measure::P50, "(l) create", Bound::Below(8e3)),
    ("(l) imported: below 8 ms", Measure::P50, "(l) with", Bound::Below(8e3)),
    ("(m) below 5 ms", Measure::P50, "(m)", Bound::Below(5e3)),
    ("(n) below 5 ms", Measure::P50, "(n)", Bound::Below(5e3)),
    ("(o) below 2 ms", Measure::P50, "(o)", Bound::Below(2e3)),
    ("(p) below 1.5 ms", Measure::P50, "(p)", Bound::Below(1.5e3)),
    ("(q) below 30 ms", Measure::P50, "(q)", Bound::Below(3e4)),
    ("(r) below 5 ms more than a ping", Measure::P50, "(r)", Bound::More(5e3, "ping through")),
    ("(s) at most twice as long as cp", Measure::P50, "(s)", Bound::Times(2.0, "cp of", Measure::P50)),
    ("(t) at most twice as long as cp", Measure::P50, "(t)", Bound::Times(2.0, "cp of", Measure::P50)),
    ("(u) below 2 ms", Measure::P50, "(u)", Bound::Below(2e3)),
    ("(v) below 3 ms", Measure::P50, "(v)", Bound::Below(3e3)),
    (
        "(w) below 1 ms more than a local one",
        Measure::P50,
        "(w)",
        Bound::More(1e3, "keystroke to echo, local"),
    ),
    ("(x) at 100 MB/s or more", Measure::P50, "(x)", Bound::Below(1e6)),
];

#[derive(Clone, Copy)]
enum Measure {
    P50,
    P99,
}

#[derive(Clone, Copy)]
enum Bound {
    /// So many times the measure of the line that begins so.
    Times(f64, &'static str, Measure),
    /// So many microseconds.
    Below(f64),
    /// So many microseconds more than the median of the line that begins so.
    More(f64, &'static str),
}

fn aims(lines: &[Line]) -> Vec<Aim> {
    let value = |start: &str, measure| {
        let line = lines.iter().find(|line| line.name.starts_with(start))?;
        Some(match measure {
            Measure::P50 => line.p50_us,
            Measure::P99 => line.p99_us,
        })
    };
    let aim = |&(aim, measure, start, bound): &(&str, Measure, &str, Bound)| {
        let is = value(start, measure)?;
        let (reached, value) = match bound {
            Bound::Below(most) => (is < most, format!("{:.2} ms", is / 1e3)),
            Bound::More(most, than) => {
                let more = is - value(than, Measure::P50)?;
                (more < most, format!("{:.2} ms more", more / 1e3))
            }
            Bound::Times(most, of, measure) => {
                let times = is / value(of, measure)?;
                (times <= most, format!("{times:.2} times"))
            }
        };
        Some(Aim { aim: aim.to_owned(), reached, value })
    };
    AIMS.iter().filter_map(aim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, p50_us: f64, p99_us: f64) -> Line {
        Line { name: name.to_owned(), samples: 1, p50_us, p99_us, ratio: None }
    }

    #[test]
    fn each_aim_is_compared_with_its_own_line() {
        let lines = [
            line("bwrap", 4000.0, 5000.0),
            line("(a) x", 4000.0, 12_000.0),
            line("(c) x", 1499.0, 9000.0),
            line("(d) x", 500_000.0, 500_000.0),
            line("bare snapshot, 10 files", 2000.0, 2000.0),
            line("(e) x", 3001.0, 3001.0),
        ];
        let reached: Vec<_> = aims(&lines).iter().map(|aim| aim.reached).collect();
        assert_eq!(reached, [true, true, true, false, false]);
    }
}
