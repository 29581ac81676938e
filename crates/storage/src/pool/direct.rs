//! Has the pool's image file written past the page cache of the file system that it lies on.
//!
//! Otherwise everything is copied once more and kept in memory twice, and a snapshot waits until the second cache is
//! written: loop(4), `LOOP_SET_DIRECT_IO`. It must not know what the pool is for.

use std::{ffi::OsStr, fs, path::Path};

use crate::{host_command::host_command_run, mounted};

/// Turns it on where the file system that has the image file can do it. Where it can't, the pool is slower and nothing
/// else, so that is nobody's failure.
pub(super) fn direct_wanted(storage: &Path) {
    let Ok(Some(device)) = mounted::device(storage) else { return };
    if !is_on(&device) {
        let args = [OsStr::new("--direct-io=on"), OsStr::new("--"), device.as_os_str()];
        let _ = host_command_run("losetup", &args);
    }
}

fn is_on(device: &Path) -> bool {
    let Some(name) = device.file_name() else { return false };
    let file = Path::new("/sys/class/block").join(name).join("loop/dio");
    fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
}
