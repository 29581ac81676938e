//! The measurements as a table for people and as JSON for programs. It must not measure anything.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    launches::Breakdown,
    machine::Machine,
    rounds::{AT_ONCE, Inside, Times},
    samples::Samples,
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
    pub(crate) fn new(machine: Machine, times: &Times, inside: Inside) -> Self {
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
        ];
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

fn aims(lines: &[Line]) -> Vec<Aim> {
    let find = |start: &str| lines.iter().find(|line| line.name.starts_with(start));
    let (Some(yardstick), Some(a), Some(c), Some(d)) = (find("bwrap"), find("(a)"), find("(c)"), find("(d)"))
    else {
        return Vec::new();
    };
    let (of_bwrap, tail) = (a.p50_us / yardstick.p50_us, a.p99_us / a.p50_us);
    let aim = |aim: &str, reached, value| Aim { aim: aim.to_owned(), reached, value };
    vec![
        aim("(a) p50 at or below bwrap's", of_bwrap <= 1.0, format!("{of_bwrap:.2} of it")),
        aim("(a) p99 below 3 times its p50", tail < 3.0, format!("{tail:.2} times")),
        aim("(c) p50 below 1.5 ms", c.p50_us < 1500.0, format!("{:.2} ms", c.p50_us / 1e3)),
        aim(
            "(d) all succeed, wall below 0.5 s",
            d.p50_us < 5e5,
            format!("{:.2} s, all succeeded", d.p50_us / 1e6),
        ),
    ]
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
        ];
        let reached: Vec<_> = aims(&lines).iter().map(|aim| aim.reached).collect();
        assert_eq!(reached, [true, false, true, false]);
    }
}
