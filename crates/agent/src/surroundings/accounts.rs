//! Users and groups by name and number, as the sandbox's own `/etc/passwd` and `/etc/group` have them: passwd(5).
//!
//! Everything here reads files: it belongs on the file thread.

use std::{fs::File, io::Read, path::Path, sync::OnceLock};

use protocol::agent::{Failure, FailureKind};
use rustix::{
    fs::{Gid, Mode, OFlags, Uid, open},
    process::{getegid, geteuid},
};

use crate::{failure::failure, files::Owner};

/// The most that is read of a small file.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// A user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
}

/// All users and groups, each read when somebody first asks, and once for whoever asks for many.
pub(crate) struct Accounts {
    users: OnceLock<Vec<User>>,
    groups: OnceLock<Vec<(String, u32)>>,
}

impl Accounts {
    pub(crate) fn read() -> Self {
        Self { users: OnceLock::new(), groups: OnceLock::new() }
    }

    fn users(&self) -> &[User] {
        self.users.get_or_init(|| {
            small_file_read(Path::new("/etc/passwd")).lines().filter_map(user_parse).collect()
        })
    }

    fn groups(&self) -> &[(String, u32)] {
        self.groups.get_or_init(|| {
            small_file_read(Path::new("/etc/group")).lines().filter_map(group_parse).collect()
        })
    }

    pub(crate) fn user(&self, uid: u32) -> Option<&User> {
        self.users().iter().find(|user| user.uid == uid)
    }

    /// Whose things are that nobody else is named for: this user's, and group's after a colon; without one the agent's.
    ///
    /// # Errors
    /// When the tables have no such user or group.
    pub(crate) fn own(&self, user: Option<&str>) -> Result<Owner, Failure> {
        let Some(wanted) = user else { return Ok((geteuid(), getegid())) };
        let (user, group) =
            wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
        let uid = self.user_id(user);
        let gid = match group {
            Some(group) => self.group_id(group),
            None => uid.map(|uid| self.user(uid).map_or(uid, |user| user.gid)),
        };
        match (uid, gid) {
            (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
            _ => {
                let message = format!("the sandbox has no user {wanted:?}, as its image wants");
                Err(failure(FailureKind::Invalid, message))
            }
        }
    }

    /// The user's name, or the number where there is none.
    pub(crate) fn user_name(&self, uid: u32) -> String {
        self.user(uid).map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    /// The group's name, or the number where there is none.
    pub(crate) fn group_name(&self, gid: u32) -> String {
        let group = self.groups().iter().find(|(_, known)| *known == gid);
        group.map_or_else(|| gid.to_string(), |(name, _)| name.clone())
    }

    /// The number of a name, or of a number.
    pub(crate) fn user_id(&self, name: &str) -> Option<u32> {
        self.users().iter().find(|user| user.name == name).map(|user| user.uid).or_else(|| id_parse(name))
    }

    /// As [`Self::user_id`], of a group.
    pub(crate) fn group_id(&self, name: &str) -> Option<u32> {
        self.groups().iter().find(|(known, _)| known == name).map(|(_, gid)| *gid).or_else(|| id_parse(name))
    }
}

/// The text of a regular file, empty if there is none. What is no UTF-8 in it is replaced.
pub(crate) fn small_file_read(path: &Path) -> String {
    // A pipe in its place would be waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut bytes = Vec::new();
    if let Ok(file) = open(path, flags, Mode::empty()).map(File::from)
        && let Ok(found) = file.metadata()
        && found.is_file()
    {
        let length = found.len().min(SMALL_BYTES_MAX);
        // Room for all of it, and for seeing that there is no more.
        bytes.reserve_exact(usize::try_from(length).unwrap_or_default() + 1);
        // As far as it can be read.
        let _ = file.take(SMALL_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn user_parse(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
    Some(User {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: home.to_owned(),
    })
}

fn group_parse(line: &str) -> Option<(String, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    Some((name, fields.nth(1)?.parse().ok()?))
}

fn id_parse(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tables_are_read_and_others_passed_over() {
        let user = user_parse("app:x:1000:100:App,,,:/home/app:/bin/sh").unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_str()), (1000, 100, "/home/app"));
        assert_eq!(user_parse("# nothing"), None);
        assert_eq!(user_parse("app:x:many:100::/:"), None);
        assert_eq!(group_parse("staff:x:50:a,b"), Some(("staff".to_owned(), 50)));
        assert_eq!(group_parse("staff"), None);
    }
}
