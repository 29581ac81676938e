//! The figures of this machine, out of `/proc` and the storage's file system. They take no privileges. It must not know
//! what they are for.

use std::{fs, io};

use storage::{layout::DataDir, pool::machine_space};

use crate::machine::MachineSample;

/// Reads them.
pub(super) fn machine_read(data: &DataDir) -> io::Result<MachineSample> {
    let (busy, whole) = cpu_times(&fs::read_to_string("/proc/stat")?)?;
    let (memory_total_bytes, memory_used_bytes) = memory(&fs::read_to_string("/proc/meminfo")?)?;
    let space = machine_space(data)?;
    Ok(MachineSample {
        busy,
        whole,
        memory_total_bytes,
        memory_used_bytes,
        disk_total_bytes: space.total_bytes,
        disk_used_bytes: space.total_bytes.saturating_sub(space.free_bytes),
        processes: processes()?,
    })
}

/// The first line of proc_stat(5): time spent in user, nice, system, idle, iowait, irq, softirq, steal; what guests used
/// is in the first two already.
fn cpu_times(stat: &str) -> io::Result<(u64, u64)> {
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> =
        line.split_ascii_whitespace().skip(1).take(8).filter_map(|time| time.parse().ok()).collect();
    let [_, _, _, idle, waiting, ..] = times[..] else { return Err(odd("/proc/stat")) };
    let whole: u64 = times.iter().sum();
    Ok((whole - idle - waiting, whole))
}

/// All memory, and what of it is not available (proc_meminfo(5)).
fn memory(meminfo: &str) -> io::Result<(u64, u64)> {
    let kilobytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().split(' ').next()?.parse::<u64>().ok()
    };
    let (Some(total), Some(available)) = (kilobytes("MemTotal:"), kilobytes("MemAvailable:")) else {
        return Err(odd("/proc/meminfo"));
    };
    Ok((total << 10, total.saturating_sub(available) << 10))
}

fn processes() -> io::Result<u64> {
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter(|entry| entry.file_name().to_str().is_some_and(is_number)).count() as u64)
}

fn odd(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} is not as expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "cpu  10 1 4 80 5 0 1 2 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(cpu_times(stat).unwrap(), (18, 103));
        let meminfo = "MemTotal:        8000 kB\nMemFree:  1 kB\nMemAvailable:    6000 kB\n";
        assert_eq!(memory(meminfo).unwrap(), (8000 << 10, 2000 << 10));
        assert!(cpu_times("").is_err() && memory("MemTotal: 1 kB\n").is_err());
    }
}
