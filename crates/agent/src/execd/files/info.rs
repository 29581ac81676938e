//! What a file is.

use std::{collections::BTreeMap, path::Path, rc::Rc};

use protocol::agent::Failure;
use rustix::{
    fs::{AtFlags, CWD, FileType, Statx, StatxFlags, StatxTimestamp, statx},
    io::Errno,
};

use super::{super::types::FileInfo, path_of};
use crate::{
    agent::Agent,
    failure::failure_os,
    http::{HttpError, Query, Reply, json},
    moment::rfc3339_of,
    surroundings::Accounts,
};

/// `GET /files/info?path=…`
pub(in crate::execd) async fn files_info(agent: &Rc<Agent>, query: &Query) -> Result<Reply, HttpError> {
    let names = query.all("path")?;
    let paths = names.iter().map(|name| path_of(name)).collect::<Result<Vec<_>, _>>()?;
    let look = move || {
        let accounts = Accounts::read();
        let look_at = |(name, path): (String, protocol::GuestPath)| {
            let path = Path::new(path.as_str());
            let found =
                found_at(path).map_err(|errno| failure_os(format_args!("stat {name}"), &errno.into()))?;
            Ok((name, info_of(&accounts, path, &found)))
        };
        names.into_iter().zip(paths).map(look_at).collect::<Result<BTreeMap<_, _>, Failure>>()
    };
    Ok(json(&agent.files.run(look).await?))
}

/// What is at a path; a symbolic link is itself.
pub(super) fn found_at(path: &Path) -> Result<Statx, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, wanted)
}

pub(super) fn type_of(found: &Statx) -> FileType {
    FileType::from_raw_mode(found.stx_mode.into())
}

pub(super) fn info_of(accounts: &Accounts, path: &Path, found: &Statx) -> FileInfo {
    let time = |time: StatxTimestamp| rfc3339_of(time.tv_sec, time.tv_nsec);
    // Not all file systems know when a file was made.
    let has_birth = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    FileInfo {
        path: path.to_string_lossy().into_owned(),
        kind: match type_of(found) {
            FileType::RegularFile => "file",
            FileType::Directory => "directory",
            FileType::Symlink => "symlink",
            _ => "other",
        },
        size: found.stx_size,
        modified_at: time(found.stx_mtime),
        created_at: time(if has_birth { found.stx_btime } else { found.stx_ctime }),
        owner: accounts.user_name(found.stx_uid),
        group: accounts.group_name(found.stx_gid),
        mode: digits_of(u32::from(found.stx_mode) & 0o7777),
    }
}

/// 0o755 as 755.
fn digits_of(mode: u32) -> u32 {
    (0..4).map(|place| (mode >> (3 * place) & 7) * 10_u32.pow(place)).sum()
}

/// 755 as 0o755; `None` for what are no octal digits, or too many.
pub(super) fn mode_of(digits: u32) -> Option<u32> {
    (digits <= 7777)
        .then(|| (0..4).map(|place| (digits / 10_u32.pow(place) % 10) << (3 * place)))
        .filter(|_| (0..4).all(|place| digits / 10_u32.pow(place) % 10 <= 7))
        .map(Iterator::sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_digits() {
        for (digits, mode) in [(0, 0), (755, 0o755), (4711, 0o4711), (7777, 0o7777), (20, 0o20)] {
            assert_eq!((mode_of(digits), digits_of(mode)), (Some(mode), digits));
        }
        for digits in [8, 780, 10_000, 9777] {
            assert_eq!(mode_of(digits), None, "{digits}");
        }
    }
}
