//! A user of a sandbox, looked up in its own table. What the table says is its own affair: it counts inside only.

use protocol::GuestPath;

use super::operation::AGENT_PATIENCE;
use crate::{
    Error, ErrorKind, Result,
    agent::{self, AgentError, Connection},
    images::{Base, with},
    program::sandbox_ended,
};

/// A user, by numbers of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Name and home; of root they are in the environment already.
    account: Option<(String, String)>,
}

/// Ids that a sandbox has.
const IDS: u32 = 65_536;

impl User {
    /// Where users are listed: passwd(5).
    pub(super) const TABLE: &'static str = "/etc/passwd";
    /// Where groups are listed: group(5).
    pub(super) const GROUPS: &'static str = "/etc/group";
    /// More than a table of 65,536 users needs.
    pub(super) const TABLE_BYTES_MAX: u64 = 4 << 20;

    pub(super) fn root() -> Self {
        Self { uid: 0, gid: 0, account: None }
    }

    /// The same with the group that is named after a colon, if one is.
    fn find_with_group(users: &str, groups: &str, wanted: &str) -> Option<Self> {
        let Some((user, group)) = wanted.split_once(':') else { return Self::find(users, wanted) };
        let number = group.parse::<u32>().ok();
        let listed = groups.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, _] = fields[..] else { return None };
            if name == group { gid.parse().ok() } else { None }
        });
        let gid = listed.or(number).filter(|gid| *gid < IDS)?;
        Some(Self { gid, ..Self::find(users, user)? })
    }

    /// The user of this name or number. A number need not be in the table.
    pub(super) fn find(table: &str, wanted: &str) -> Option<Self> {
        let number = wanted.parse::<u32>().ok();
        let listed = table.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, _] = fields[..] else { return None };
            let (uid, gid): (u32, u32) = (uid.parse().ok()?, gid.parse().ok()?);
            let fits = name == wanted || number == Some(uid);
            fits.then(|| Self { uid, gid, account: Some((name.to_owned(), home.to_owned())) })
        });
        let unlisted = || number.map(|id| Self { uid: id, gid: id, account: None });
        let root = || (wanted == "root").then(Self::root);
        let user = listed.or_else(unlisted).or_else(root)?;
        if user.uid == 0 && user.gid == 0 {
            return Some(Self::root());
        }
        (user.uid < IDS && user.gid < IDS).then_some(user)
    }

    /// The environment of this user's programs: the image's, its own, and over them the sandbox's.
    pub(crate) fn environment(&self, base: &Base, sandbox: &[(String, String)]) -> Vec<(String, String)> {
        let own = match (self.uid, &self.account) {
            (0, _) => Vec::new(),
            (_, Some((name, home))) => {
                vec![("HOME", home.clone()), ("USER", name.clone()), ("LOGNAME", name.clone())]
            }
            (_, None) => vec![("HOME", base.cwd.to_string())],
        };
        let own: Vec<(String, String)> =
            own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        // What an image says goes before what its user's account says; elsewhere the account is the one asked for.
        let both = if base.user.is_some() { with(&own, &base.env) } else { with(&base.env, &own) };
        with(&both, sandbox)
    }
}

/// A user of a sandbox, as its own tables say; its root if none is wanted.
pub(crate) async fn user_look(connection: &mut Connection, wanted: Option<&str>) -> Result<User> {
    let Some(wanted) = wanted else { return Ok(User::root()) };
    let users = table_read(connection, User::TABLE).await?;
    let groups =
        if wanted.contains(':') { table_read(connection, User::GROUPS).await? } else { String::new() };
    User::find_with_group(&users, &groups, wanted).ok_or_else(|| {
        let text = format!("The sandbox has no user {wanted:?} to run commands as");
        Error::new(ErrorKind::Unavailable, text)
    })
}

/// Whose what runs in a sandbox is, as its image says.
pub(crate) async fn image_user_look(connection: &mut Connection, base: &Base) -> Result<User> {
    user_look(connection, base.user.as_deref()).await.map_err(|error| match (error.kind(), &base.user) {
        (ErrorKind::Unavailable, Some(user)) => {
            Error::invalid("image", format!("its programs are to run as {user:?}, who is not in its tables"))
        }
        _ => error,
    })
}

async fn table_read(connection: &mut Connection, path: &str) -> Result<String> {
    let path = GuestPath::absolute(path).map_err(Error::internal)?;
    let read = agent::file_read(connection, path, User::TABLE_BYTES_MAX);
    match tokio::time::timeout(AGENT_PATIENCE, read).await {
        Ok(Ok(table)) => Ok(String::from_utf8_lossy(&table).into_owned()),
        // A number needs no table.
        Ok(Err(AgentError::Failed(_))) => Ok(String::new()),
        Ok(Err(error)) => Err(sandbox_ended(error)),
        Err(_) => Err(Error::new(ErrorKind::TimedOut, "The sandbox does not answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::WORK_FOLDER;

    const TABLE: &str = "root:x:0:0::/root:/bin/bash\nbroken\nbuild:x:1000:100::/home/build:/bin/sh\n\
        far:x:70000:70000::/:/bin/sh\n";

    fn ids(wanted: &str) -> Option<(u32, u32)> {
        User::find(TABLE, wanted).map(|user| (user.uid, user.gid))
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(ids("build"), Some((1000, 100)));
        assert_eq!(ids("1000"), Some((1000, 100)), "with the group that the table says");
        assert_eq!(ids("1001"), Some((1001, 1001)), "a number need not be listed");
        assert_eq!((ids("root"), ids("0")), (Some((0, 0)), Some((0, 0))));
        assert_eq!(User::find("", "root"), Some(User::root()), "also without a table");
        for none in ["nobody-knows", "", "-1", "70000", "far", "broken", "build:x"] {
            assert_eq!(ids(none), None, "{none}");
        }
    }

    #[test]
    fn a_group_may_be_named_as_well() {
        let ids = |wanted| {
            User::find_with_group(TABLE, "root:x:0:\nstaff:x:50:build\n", wanted)
                .map(|user| (user.uid, user.gid))
        };
        assert_eq!(ids("build"), Some((1000, 100)));
        assert_eq!((ids("build:staff"), ids("1000:50")), (Some((1000, 50)), Some((1000, 50))));
        assert_eq!((ids("0:50"), ids("7:0")), (Some((0, 50)), Some((7, 0))));
        assert_eq!((ids("build:none"), ids("build:70000"), ids(":")), (None, None, None));
    }

    #[test]
    fn the_environment_is_the_users() {
        let base = Base::for_test(&[("PATH", "/bin"), ("HOME", "/root")], WORK_FOLDER);
        let of = |wanted: &str| {
            let user = User::find(TABLE, wanted).unwrap();
            let env = user.environment(&base, &[("A".to_owned(), "b".to_owned())]);
            env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(of("root"), ["PATH=/bin", "HOME=/root", "A=b"]);
        assert_eq!(of("build"), ["PATH=/bin", "HOME=/home/build", "USER=build", "LOGNAME=build", "A=b"]);
        assert_eq!(of("7"), ["PATH=/bin", "HOME=/sandbox", "A=b"]);
    }
}
