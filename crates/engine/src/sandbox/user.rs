//! A user of a sandbox, looked up in its own table. What the table says is its own affair: it counts inside only.

use crate::program::WORK_FOLDER;

/// A user, by numbers of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Name and home; of root they are in the environment already.
    account: Option<(String, String)>,
}

/// Ids that a sandbox has.
const IDS: u32 = 65_536;

impl User {
    /// Where users are listed: passwd(5).
    pub(super) const TABLE: &'static str = "/etc/passwd";
    /// More than a table of 65,536 users needs.
    pub(super) const TABLE_BYTES_MAX: u64 = 4 << 20;

    pub(super) fn root() -> Self {
        Self { uid: 0, gid: 0, account: None }
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

    /// The image's environment as this user has it.
    pub(super) fn environment<'a>(
        &self,
        base: &'a [(String, String)],
    ) -> impl Iterator<Item = (String, String)> + use<'a> {
        let own = match (self.uid, &self.account) {
            (0, _) => Vec::new(),
            (_, Some((name, home))) => {
                vec![("HOME", home.clone()), ("USER", name.clone()), ("LOGNAME", name.clone())]
            }
            (_, None) => vec![("HOME", WORK_FOLDER.to_owned())],
        };
        let own: Vec<(String, String)> =
            own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let names: Vec<String> = own.iter().map(|(name, _)| name.clone()).collect();
        base.iter().filter(move |(name, _)| !names.contains(name)).cloned().chain(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_environment_is_the_users() {
        let base =
            [("PATH", "/bin"), ("HOME", "/root")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let of = |wanted: &str| {
            let user = User::find(TABLE, wanted).unwrap();
            user.environment(&base).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(of("root"), ["PATH=/bin", "HOME=/root"]);
        assert_eq!(of("build"), ["PATH=/bin", "HOME=/home/build", "USER=build", "LOGNAME=build"]);
        assert_eq!(of("7"), ["PATH=/bin", "HOME=/sandbox"]);
    }
}
