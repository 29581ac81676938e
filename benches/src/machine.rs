//! What the measurements were taken on, for whoever compares them later.

use std::fs;

use serde::Serialize;

/// Facts about this machine.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    kernel: String,
    processor: String,
    cores: usize,
    memory_mb: u64,
    /// Processes that ran or waited to run, over the last minute: of others too, and they slow everything down.
    load_before: f64,
    load_after: Option<f64>,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let first = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines()
                .find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_owned()))
                .unwrap_or_default()
        };
        let memory_kb =
            first("/proc/meminfo", "MemTotal").split(' ').next().and_then(|word| word.parse().ok());
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            processor: first("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mb: memory_kb.unwrap_or(0u64) / 1024,
            load_before: load(),
            load_after: None,
        }
    }

    /// Notes the load at the end.
    pub(crate) fn finish(&mut self) {
        self.load_after = Some(load());
    }

    pub(crate) fn describe(&self) -> String {
        let Self { kernel, processor, cores, memory_mb, load_before, load_after } = self;
        format!(
            "Linux {kernel}, {cores} cores ({processor}), {memory_mb} MB; load average {load_before} before, {} after",
            load_after.unwrap_or(*load_before)
        )
    }
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}
