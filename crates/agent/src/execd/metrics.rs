//! How much of its processors and memory the sandbox uses: of the limits that the server has told, the sum over its
//! processes; stand-alone what the cgroup says or, where none can be seen, the processes and the machine.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::limits::Limits;
use rustix::param::{clock_ticks_per_second, page_size};
use tokio::time::sleep;

use super::{events::event_push, types::Metrics};
use crate::{
    agent::Agent,
    http::{HttpError, Reply, body_stream, event_stream, json},
    moment::now_ms,
};

/// How far apart two looks at the processor's time must be to tell something.
const SPAN_MIN: Duration = Duration::from_millis(100);
/// How old the look before may be.
const SPAN_MAX: Duration = Duration::from_secs(10);
/// How often a watcher is told.
const WATCH: Duration = Duration::from_secs(1);
const MIB: f64 = 1024.0 * 1024.0;

/// When the processor's time was looked at, and what it was.
pub(super) type LastUsage = Cell<Option<(Instant, Duration)>>;

/// What is known at one moment.
struct Usage {
    cpu_count: f64,
    cpu_time: Duration,
    memory_total: u64,
    memory_used: u64,
}

/// `GET /metrics`
pub(super) async fn once(agent: &Rc<Agent>) -> Result<Reply, HttpError> {
    let last = agent.execd.usage.get().filter(|(at, _)| (SPAN_MIN..SPAN_MAX).contains(&at.elapsed()));
    let since = match last {
        Some(last) => last,
        None => {
            let begin = look(agent).await?;
            sleep(SPAN_MIN).await;
            begin
        }
    };
    let (metrics, now) = measure(agent, since).await?;
    agent.execd.usage.set(Some(now));
    Ok(json(&metrics))
}

/// `GET /metrics/watch`
pub(super) fn watch(agent: &Rc<Agent>) -> Reply {
    let (pieces, body) = body_stream(None);
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let told = async {
            let mut last = look(&agent).await?;
            let mut span = SPAN_MIN;
            loop {
                sleep(span).await;
                span = WATCH;
                let (metrics, now) = measure(&agent, last).await?;
                last = now;
                let mut event = Vec::new();
                event_push(&mut event, &metrics);
                if pieces.send(event).await.is_err() {
                    return Ok::<_, HttpError>(());
                }
            }
        };
        tokio::select! {
            _ = told => {}
            () = pieces.gone() => {}
        }
    });
    event_stream(body)
}

async fn look(agent: &Agent) -> Result<(Instant, Duration), HttpError> {
    let usage = usage(agent).await?;
    Ok((Instant::now(), usage.cpu_time))
}

async fn usage(agent: &Agent) -> Result<Usage, HttpError> {
    let limits = agent.surroundings.limits();
    let look = move || Ok(limits.map_or_else(Usage::read, Usage::of_sandbox));
    Ok(agent.files.run(look).await?)
}

/// What is used now, and of the processor since a look before.
async fn measure(
    agent: &Agent,
    (at, before): (Instant, Duration),
) -> Result<(Metrics, (Instant, Duration)), HttpError> {
    let usage = usage(agent).await?;
    let now = Instant::now();
    let span = now.duration_since(at).as_secs_f64() * usage.cpu_count;
    let used = usage.cpu_time.saturating_sub(before).as_secs_f64();
    let mib = |bytes: u64| bytes as f64 / MIB;
    let metrics = Metrics {
        cpu_count: usage.cpu_count,
        cpu_used_pct: (used / span * 100.0).clamp(0.0, 100.0),
        mem_total_mib: mib(usage.memory_total),
        mem_used_mib: mib(usage.memory_used),
        timestamp: now_ms(),
    };
    Ok((metrics, (now, usage.cpu_time)))
}

impl Usage {
    /// In a sandbox of the server: no file inside says what its limits are, and what can be seen of the machine is
    /// another's.
    fn of_sandbox(limits: Limits) -> Self {
        let Processes { cpu_time, memory } = Processes::read();
        Self {
            cpu_count: f64::from(limits.cpu_millis) / 1000.0,
            cpu_time,
            memory_total: limits.memory_bytes,
            memory_used: memory.min(limits.memory_bytes),
        }
    }

    fn read() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let processes = Processes::read();
        let cpu = group_of(&groups, "cpuacct", "cpuacct.usage", "cpu.stat");
        let quota = group_of(&groups, "cpu", "cpu.cfs_quota_us", "cpu.max");
        let memory = group_of(&groups, "memory", "memory.usage_in_bytes", "memory.current");
        let machine =
            meminfo_total(&fs::read_to_string("/proc/meminfo").unwrap_or_default()).unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        Self {
            cpu_count: quota
                .as_deref()
                .and_then(quota_read)
                .map_or(processors, |quota| quota.min(processors)),
            cpu_time: cpu.as_deref().and_then(cpu_time_read).unwrap_or(processes.cpu_time),
            memory_total: memory
                .as_deref()
                .and_then(memory_limit_read)
                .map_or(machine, |limit| limit.min(machine)),
            memory_used: memory.as_deref().and_then(memory_used_read).unwrap_or(processes.memory),
        }
    }
}

/// The folder of the agent's cgroup that has one of the files: of the hierarchy with the controller in version 1, or
/// of the one in version 2. In a container it is mostly mounted at the root.
fn group_of(groups: &str, controller: &str, file_v1: &str, file_v2: &str) -> Option<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let path_of = |wanted: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let has = fields.next()?.split(',').any(|name| name == wanted);
            has.then(|| fields.next().unwrap_or_default().trim_start_matches('/').to_owned())
        })
    };
    let version_1 = root.join(controller);
    let (path_1, path_2) = (path_of(controller).unwrap_or_default(), path_of("").unwrap_or_default());
    [
        (version_1.join(path_1), file_v1),
        (version_1, file_v1),
        (root.join(path_2), file_v2),
        (root.to_owned(), file_v2),
    ]
    .into_iter()
    .find_map(|(folder, file)| folder.join(file).exists().then_some(folder))
}

fn number(path: PathBuf) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number after a word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

fn cpu_time_read(folder: &Path) -> Option<Duration> {
    let nanoseconds = number(folder.join("cpuacct.usage")).map(Duration::from_nanos);
    let stat = || {
        field(&fs::read_to_string(folder.join("cpu.stat")).ok()?, "usage_usec ").map(Duration::from_micros)
    };
    nanoseconds.or_else(stat)
}

/// How many processors the quota is; `None` without one.
fn quota_read(folder: &Path) -> Option<f64> {
    let version_2 = || {
        let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    };
    let version_1 = || {
        let quota = number(folder.join("cpu.cfs_quota_us"))?;
        Some(quota as f64 / number(folder.join("cpu.cfs_period_us"))? as f64)
    };
    version_2().or_else(version_1).filter(|quota| quota.is_finite() && *quota > 0.0)
}

fn memory_limit_read(folder: &Path) -> Option<u64> {
    number(folder.join("memory.max")).or_else(|| number(folder.join("memory.limit_in_bytes")))
}

/// What is used, without file contents that the kernel would give up first.
fn memory_used_read(folder: &Path) -> Option<u64> {
    let used =
        number(folder.join("memory.current")).or_else(|| number(folder.join("memory.usage_in_bytes")))?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let given_up = field(&stat, "total_inactive_file ").or_else(|| field(&stat, "inactive_file "));
    Some(used.saturating_sub(given_up.unwrap_or_default()))
}

fn meminfo_total(text: &str) -> Option<u64> {
    field(text, "MemTotal:").map(|kib| kib * 1024)
}

/// What all processes that can be seen use together.
#[derive(Default)]
struct Processes {
    cpu_time: Duration,
    memory: u64,
}

impl Processes {
    fn read() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries
            .filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit));
        processes.fold(Self::default(), |all, entry| {
            let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
            let (ticks, pages) = stat_parse(&String::from_utf8_lossy(&stat)).unwrap_or_default();
            Self {
                cpu_time: all.cpu_time
                    + Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64),
                memory: all.memory + pages * page_size() as u64,
            }
        })
    }
}

/// Clock ticks of a process and the children that it waited for, and its resident pages: proc_pid_stat(5).
fn stat_parse(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // Fields 14 to 17, and 24; the one after the name is the third.
    Some(((11..=14).map_while(number).sum(), number(21)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_pages_are_found_after_any_name() {
        let stat = "42 (a) b (c) S 1 2 3 0 -1 4194304 0 0 0 0 10 20 3 4 20 0 1 0 777 99999 55 0";
        assert_eq!(stat_parse(stat), Some((37, 55)));
        assert_eq!(stat_parse("42 (a"), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let stat = "active_file 1\ninactive_file 2\ntotal_inactive_file 3\n";
        assert_eq!((field(stat, "inactive_file "), field(stat, "none ")), (Some(2), None));
        assert_eq!(meminfo_total("MemTotal:       16 kB\n"), Some(16384));
    }
}
