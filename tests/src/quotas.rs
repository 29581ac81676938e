//! What the kernel counts in a server's pool: the quotas of its subvolumes, and groups of them.

use std::{collections::BTreeMap, fs};

use crate::server::Server;

/// The quotas of subvolumes, and the groups of them that the server has made, each with the bytes that it counts; by
/// the names that the kernel gives them, `0_257` or `1_12345`. What belongs to the pool itself is left out.
///
/// # Panics
/// When the pool is no btrfs with quotas.
#[must_use]
pub fn quotas(server: &Server) -> BTreeMap<String, u64> {
    let storage = server.data().join("storage");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let device = mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let is_it = fields.get(4).is_some_and(|folder| storage.as_os_str() == *folder);
        fields.iter().rev().nth(1).filter(|_| is_it)?.strip_prefix("/dev/")
    });
    let device = device.expect("a pool in an image file");
    let pools = fs::read_dir("/sys/fs/btrfs").expect("btrfs").flatten().map(|entry| entry.path());
    let pool = pools.into_iter().find(|pool| pool.join("devices").join(device).exists()).expect("its pool");
    let counted = fs::read_dir(pool.join("qgroups")).expect("quotas").flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number: u64 = name.split_once('_')?.1.parse().ok().filter(|number| *number >= 256)?;
        let bytes = fs::read_to_string(entry.path().join("referenced")).ok()?;
        Some((name, bytes.trim().parse().ok()?)).filter(|_| number > 0)
    });
    counted.collect()
}
