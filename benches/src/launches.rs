//! Where the time of a launch goes, from what the server logs about each at level `debug`.
//!
//! The steps are read by name, so that a server with more of them needs no change here.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::samples::Samples;

/// Medians of some launches of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct Breakdown {
    /// Which requests these launches were for.
    pub(crate) requests: &'static str,
    /// Whether the sandbox had been prepared before the request came.
    pub(crate) prepared: bool,
    pub(crate) launches: usize,
    /// Median of each step, in microseconds.
    pub(crate) steps_us: BTreeMap<String, f64>,
}

/// What a part of the log tells.
#[derive(Debug, Default)]
pub(crate) struct LaunchLog {
    /// By whether the sandbox was prepared; then by step.
    launches: BTreeMap<bool, BTreeMap<String, Samples>>,
    /// How long the server took for each request.
    pub(crate) requests: Samples,
}

impl LaunchLog {
    /// Reads lines such as `… launched pid=7 timings=LaunchTimings { prepared: false, layer_us: 171, … }` and
    /// `… method=POST route="/execute" status=200 duration_us=27912`.
    pub(crate) fn parse(log: &str) -> Self {
        let mut found = Self::default();
        for line in log.lines() {
            if let Some(timings) = between(line, "timings=LaunchTimings { ", " }") {
                found.launch_add(timings);
            } else if line.contains(r#"route="/execute""#) {
                let duration =
                    line.split_once("duration_us=").and_then(|(_, number)| number.trim().parse().ok());
                found.requests.extend(duration.map(Duration::from_micros));
            }
        }
        found
    }

    fn launch_add(&mut self, timings: &str) {
        let fields: BTreeMap<_, _> = timings.split(", ").filter_map(|field| field.split_once(": ")).collect();
        let prepared = fields.get("prepared") == Some(&"true");
        let steps = self.launches.entry(prepared).or_default();
        for (name, value) in fields {
            if let (Some(step), Ok(time_us)) = (name.strip_suffix("_us"), value.parse()) {
                steps.entry(step.to_owned()).or_default().push(Duration::from_micros(time_us));
            }
        }
    }

    /// Medians by kind of launch.
    pub(crate) fn breakdowns(&self, requests: &'static str) -> Vec<Breakdown> {
        let breakdown = |(&prepared, steps): (&bool, &BTreeMap<String, Samples>)| Breakdown {
            requests,
            prepared,
            launches: steps.values().map(Samples::count).max().unwrap_or(0),
            steps_us: steps
                .iter()
                .filter_map(|(step, samples)| Some((step.clone(), samples.percentile_us(500)?)))
                .collect(),
        };
        self.launches.iter().map(breakdown).collect()
    }
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = line.split_once(before)?.1;
    Some(rest.split_once(after)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"
DEBUG engine::native: launched pid=7 timings=LaunchTimings { prepared: false, layer_us: 100, child_us: 900 }
DEBUG atoll::access: request_id=1 method=POST route="/execute" status=200 duration_us=5000
DEBUG engine::native: launched pid=8 timings=LaunchTimings { prepared: true, layer_us: 0, child_us: 140 }
DEBUG atoll::access: request_id=2 method=POST route="/execute" status=200 duration_us=3000
DEBUG atoll::access: request_id=3 method=GET route="/health" status=200 duration_us=10
"#;

    #[test]
    fn launches_are_told_apart_and_requests_counted() {
        let log = LaunchLog::parse(LOG);
        let breakdowns = log.breakdowns("test");
        let childs: Vec<_> =
            breakdowns.iter().map(|it| (it.prepared, it.launches, it.steps_us["child"])).collect();
        assert_eq!(childs, [(false, 1, 900.0), (true, 1, 140.0)]);
        assert_eq!(log.requests.count(), 2);
        assert_eq!(log.requests.percentile_us(500), Some(3000.0));
    }

    #[test]
    fn a_log_without_launches_has_no_breakdown() {
        assert!(LaunchLog::parse("INFO serving\n").breakdowns("test").is_empty());
    }
}
