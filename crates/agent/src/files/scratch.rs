//! Files without a name: they count as disk, not as memory, and are gone with the agent.

use std::fs::File;

use protocol::agent::Failure;
use rustix::{
    fs::{MemfdFlags, Mode, OFlags, memfd_create, open},
    io::Errno,
};

use crate::failure::failure_os;

/// Makes an empty one in the folder of temporary files; in memory where that takes none.
///
/// # Errors
/// When neither takes it.
pub(crate) fn scratch_file() -> Result<File, Failure> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let made = open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR);
    let made = made.or_else(|errno| match errno {
        Errno::DQUOT | Errno::MFILE | Errno::NFILE | Errno::NOSPC => Err(errno),
        _ => memfd_create("atoll-scratch", MemfdFlags::CLOEXEC),
    });
    made.map(File::from).map_err(|errno| failure_os("make a temporary file", &errno.into()))
}
