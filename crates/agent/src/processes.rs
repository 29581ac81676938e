//! The sandbox's processes as `/proc` shows them, but the agent: what they are, and what they use.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use protocol::{agent::Failure, workspace::ProcessInfo};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    time::{ClockId, clock_gettime},
};

use crate::{
    agent::Agent,
    wire::{FrameWriter, WireError},
    workspace::{list_send, lists_of},
};

/// How much of a process's arguments is told.
const ARGV_BYTES: u64 = 4 << 10;
/// Two looks that tell how much of a processor is used in between are so far apart: a clock tick is 10 ms as a rule.
const LOOK_SPAN: Duration = Duration::from_millis(500);

/// What names a process for ever: its number and its start, in ticks since boot.
type Identity = (i32, u64);

/// A process that was looked at.
struct Looked {
    info: ProcessInfo,
    identity: Identity,
    /// What it has used of processors.
    ticks: u64,
    /// How long it has been running.
    age: Duration,
}

/// What processes had used when they were looked at: the latest look, and the one before.
#[derive(Default)]
pub(crate) struct Looks {
    latest: Option<Look>,
    earlier: Option<Look>,
}

struct Look {
    at: Instant,
    ticks: HashMap<Identity, u64>,
}

/// Sends all processes.
///
/// # Errors
/// [`WireError`] when the connection breaks; a [`Failure`] inside when the thread that looks has ended.
pub(crate) async fn process_list(
    agent: &Agent,
    writer: FrameWriter<'_>,
) -> Result<Result<(), Failure>, WireError> {
    let mut looked = match agent.files.run(|| Ok(look())).await {
        Ok(looked) => looked,
        Err(failure) => return Ok(Err(failure)),
    };
    agent.looks.borrow_mut().compare(&mut looked, Instant::now());
    let infos = looked.into_iter().map(|looked| looked.info).collect();
    for list in lists_of(infos, bytes_of) {
        list_send(writer, &list).await?;
    }
    Ok(Ok(()))
}

impl Looks {
    /// Finds out what each process uses of a processor, and remembers this look for the next.
    fn compare(&mut self, looked: &mut [Looked], now: Instant) {
        if self.latest.as_ref().is_some_and(|look| now.duration_since(look.at) >= LOOK_SPAN) {
            self.earlier = self.latest.take();
        }
        let earlier = self.earlier.as_ref();
        for process in &mut *looked {
            let before = earlier.and_then(|look| Some((look, *look.ticks.get(&process.identity)?)));
            let (ticks, span) = match before {
                Some((look, ticks)) => (process.ticks.saturating_sub(ticks), now.duration_since(look.at)),
                None => (process.ticks, process.age),
            };
            process.info.cpu_millis = share_millis(ticks, span);
        }
        if self.latest.is_none() {
            let ticks = looked.iter().map(|process| (process.identity, process.ticks)).collect();
            self.latest = Some(Look { at: now, ticks });
        }
    }
}

/// Thousandths of a processor that so many clock ticks are in that time.
fn share_millis(ticks: u64, span: Duration) -> u64 {
    let used = Duration::from_millis(ticks.saturating_mul(1000) / clock_ticks_per_second().max(1));
    let span = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    u64::try_from(used.as_micros() * 1000 / u128::from(span.max(1))).unwrap_or(u64::MAX)
}

/// Looks at all processes but this one.
fn look() -> Vec<Looked> {
    let own = std::process::id().cast_signed();
    let since_boot = clock_gettime(ClockId::Boottime);
    let since_boot = Duration::new(
        u64::try_from(since_boot.tv_sec).unwrap_or_default(),
        u32::try_from(since_boot.tv_nsec).unwrap_or_default(),
    );
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let stat = Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)?;
            let started = Duration::from_millis(stat.start * 1000 / clock_ticks_per_second().max(1));
            let age = since_boot.saturating_sub(started);
            let started_at = since_1970.saturating_sub(age);
            let info = ProcessInfo {
                pid,
                parent: stat.parent,
                name: stat.name,
                argv: arguments(pid),
                state: stat.state,
                cpu_millis: 0,
                memory_bytes: stat.pages.saturating_mul(page_size() as u64),
                started_at_ms: i64::try_from(started_at.as_millis()).unwrap_or(i64::MAX),
            };
            Some(Looked { info, identity: (pid, stat.start), ticks: stat.ticks, age })
        })
        .collect()
}

/// The beginning of a process's arguments: proc_pid_cmdline(5).
fn arguments(pid: i32) -> Vec<String> {
    let mut read = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline"));
    // One that is gone, or another's, has none.
    let _ = file.and_then(|file| file.take(ARGV_BYTES).read_to_end(&mut read));
    if read.is_empty() {
        return Vec::new();
    }
    let whole = read.strip_suffix(b"\0").unwrap_or(&read);
    whole.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// What is of interest in `/proc/<pid>/stat`: proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    parent: i32,
    /// User and system time.
    ticks: u64,
    start: u64,
    pages: u64,
}

impl Stat {
    /// The name in parentheses may itself contain parentheses and spaces: the last one closes it.
    fn parse(stat: &[u8]) -> Option<Self> {
        let open = stat.iter().position(|&byte| byte == b'(')?;
        let close = stat.iter().rposition(|&byte| byte == b')')?;
        let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            name,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            // Fields 14 and 15, 22, and 24; the one after the name is the third.
            ticks: number(11)? + number(12)?,
            start: number(19)?,
            pages: number(21)?,
        })
    }
}

/// What a process takes in a frame, at most.
fn bytes_of(process: &ProcessInfo) -> usize {
    let argv: usize = process.argv.iter().map(|word| word.len() + 2).sum();
    64 + process.name.len() + argv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_after_any_name() {
        let stat = b"42 (a) b (\xff) S 7 2 3 0 -1 4194304 0 0 0 0 10 20 3 4 20 0 1 0 777 99999 55 0";
        let parsed = Stat {
            name: "a) b (\u{fffd}".to_owned(),
            state: 'S',
            parent: 7,
            ticks: 30,
            start: 777,
            pages: 55,
        };
        assert_eq!(Stat::parse(stat), Some(parsed));
        assert_eq!(Stat::parse(b"42 (a"), None);
    }

    #[test]
    fn shares_are_of_the_time_between_two_looks_or_since_the_start() {
        let hz = clock_ticks_per_second();
        let process = |ticks| Looked {
            info: ProcessInfo {
                pid: 7,
                parent: 1,
                name: String::new(),
                argv: Vec::new(),
                state: 'R',
                cpu_millis: 0,
                memory_bytes: 0,
                started_at_ms: 0,
            },
            identity: (7, 1),
            ticks,
            age: Duration::from_secs(100),
        };
        let mut looks = Looks::default();
        let begin = Instant::now();
        let mut at = |ms, ticks| {
            let mut looked = [process(ticks)];
            looks.compare(&mut looked, begin + Duration::from_millis(ms));
            looked[0].info.cpu_millis
        };
        assert_eq!(at(0, 10 * hz), 100, "of its life");
        assert_eq!(at(100, 10 * hz), 100, "too soon");
        assert_eq!(at(1000, 11 * hz), 1000, "since the first look");
        assert_eq!(at(1100, 11 * hz), 909, "since the same one");
        assert_eq!(at(3000, 12 * hz), 500, "since the look in between");
    }
}
