//! The accounts of the `host` image: Debian's, the sandbox's own, and the host's system accounts by name and
//! number only.
//!
//! Pure functions over text. No password, no full name, no home folder of the host gets through: dpkg needs
//! the names (`statoverride`, owners of files in packages), nobody needs more.

/// User and group of programs that do not want to run as root.
const SANDBOX_NAME: &str = "sandbox";
const SANDBOX_ID: u32 = 1000;
/// Numbers from here on are people's (`FIRST_UID` of adduser.conf(5)).
const PEOPLE_FROM: u32 = 1000;

struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: &'static str,
    shell: &'static str,
}

struct Group {
    name: String,
    gid: u32,
}

const NO_LOGIN: &str = "/usr/sbin/nologin";
const NO_HOME: &str = "/nonexistent";

/// The fixed accounts, as in Debian's base-passwd: name, uid, gid, home, shell.
const USERS: [(&str, u32, u32, &str, &str); 19] = [
    ("root", 0, 0, "/root", "/bin/bash"),
    ("daemon", 1, 1, "/usr/sbin", NO_LOGIN),
    ("bin", 2, 2, "/bin", NO_LOGIN),
    ("sys", 3, 3, "/dev", NO_LOGIN),
    ("sync", 4, 65534, "/bin", "/bin/sync"),
    ("games", 5, 60, "/usr/games", NO_LOGIN),
    ("man", 6, 12, "/var/cache/man", NO_LOGIN),
    ("lp", 7, 7, "/var/spool/lpd", NO_LOGIN),
    ("mail", 8, 8, "/var/mail", NO_LOGIN),
    ("news", 9, 9, "/var/spool/news", NO_LOGIN),
    ("uucp", 10, 10, "/var/spool/uucp", NO_LOGIN),
    ("proxy", 13, 13, "/bin", NO_LOGIN),
    ("www-data", 33, 33, "/var/www", NO_LOGIN),
    ("backup", 34, 34, "/var/backups", NO_LOGIN),
    ("list", 38, 38, "/var/list", NO_LOGIN),
    ("irc", 39, 39, "/run/ircd", NO_LOGIN),
    ("_apt", 42, 65534, NO_HOME, NO_LOGIN),
    ("nobody", 65534, 65534, NO_HOME, NO_LOGIN),
    (SANDBOX_NAME, SANDBOX_ID, SANDBOX_ID, "/home/sandbox", "/bin/bash"),
];

/// The fixed groups, as in Debian's base-passwd.
const GROUPS: [(&str, u32); 39] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("lp", 7),
    ("mail", 8),
    ("news", 9),
    ("uucp", 10),
    ("man", 12),
    ("proxy", 13),
    ("kmem", 15),
    ("dialout", 20),
    ("fax", 21),
    ("voice", 22),
    ("cdrom", 24),
    ("floppy", 25),
    ("tape", 26),
    ("sudo", 27),
    ("audio", 29),
    ("dip", 30),
    ("www-data", 33),
    ("backup", 34),
    ("operator", 37),
    ("list", 38),
    ("irc", 39),
    ("src", 40),
    ("shadow", 42),
    ("utmp", 43),
    ("video", 44),
    ("sasl", 45),
    ("plugdev", 46),
    ("staff", 50),
    ("games", 60),
    ("users", 100),
    ("nogroup", 65534),
    (SANDBOX_NAME, SANDBOX_ID),
];

/// The three files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accounts {
    pub(super) passwd: String,
    pub(super) group: String,
    /// Every password is `*`: no one can log in with one (shadow(5)).
    pub(super) shadow: String,
}

/// The accounts for an image on a host with these `passwd` and `group` files.
pub(super) fn accounts_for(host_passwd: &str, host_group: &str) -> Accounts {
    let users = users(host_passwd);
    let line =
        |user: &User| format!("{}:x:{}:{}::{}:{}\n", user.name, user.uid, user.gid, user.home, user.shell);
    Accounts {
        passwd: users.iter().map(line).collect(),
        group: groups(host_group).iter().map(|group| format!("{}:x:{}:\n", group.name, group.gid)).collect(),
        shadow: users.iter().map(|user| format!("{}:*:1:0:99999:7:::\n", user.name)).collect(),
    }
}

/// A system account of the host takes the place of a fixed one of the same name: files in `/usr` have its
/// number.
fn users(host_passwd: &str) -> Vec<User> {
    let mut users: Vec<User> = USERS
        .iter()
        .map(|&(name, uid, gid, home, shell)| User { name: name.to_owned(), uid, gid, home, shell })
        .collect();
    for line in host_passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields.as_slice() else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>()) else { continue };
        if uid == 0 || uid >= PEOPLE_FROM || !is_name(name) {
            continue;
        }
        match users.iter_mut().find(|user| user.name == *name) {
            Some(user) => (user.uid, user.gid) = (uid, gid),
            None => {
                users.push(User { name: (*name).to_owned(), uid, gid, home: NO_HOME, shell: NO_LOGIN });
            }
        }
    }
    users
}

fn groups(host_group: &str) -> Vec<Group> {
    let mut groups: Vec<Group> =
        GROUPS.iter().map(|&(name, gid)| Group { name: name.to_owned(), gid }).collect();
    for line in host_group.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, ..] = fields.as_slice() else { continue };
        let Ok(gid) = gid.parse::<u32>() else { continue };
        if gid == 0 || gid >= PEOPLE_FROM || !is_name(name) {
            continue;
        }
        match groups.iter_mut().find(|group| group.name == *name) {
            Some(group) => group.gid = gid,
            None => groups.push(Group { name: (*name).to_owned(), gid }),
        }
    }
    groups
}

/// A name that useradd(8) would take: NIS entries (`+`) and the like are passed over.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:The Boss,Room 1:/root:/usr/bin/zsh\n\
        _apt:x:105:65534::/nonexistent:/usr/sbin/nologin\n\
        postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash\n\
        alice:$6$salt$hash:1000:1000:Alice Liddell:/home/alice:/bin/bash\n\
        toor:x:0:0::/root:/bin/sh\n+nis::::::\nbroken\n";
    const GROUP: &str = "root:x:0:\nssl-cert:x:103:postgres,alice\nalice:x:1000:\nshadow:x:15:\n";

    fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        text.lines().find(|line| line.split(':').next() == Some(name))
    }

    #[test]
    fn system_accounts_come_by_name_and_number_only() {
        let accounts = accounts_for(PASSWD, GROUP);
        let user = line(&accounts.passwd, "postgres");
        assert_eq!(user, Some("postgres:x:101:104::/nonexistent:/usr/sbin/nologin"));
        assert_eq!(line(&accounts.passwd, "_apt"), Some("_apt:x:105:65534::/nonexistent:/usr/sbin/nologin"));
        assert_eq!(line(&accounts.passwd, "root"), Some("root:x:0:0::/root:/bin/bash"));
        assert_eq!(line(&accounts.group, "ssl-cert"), Some("ssl-cert:x:103:"));
        assert_eq!(line(&accounts.group, "shadow"), Some("shadow:x:15:"));
        for hidden in ["alice", "Alice", "Boss", "zsh", "hash", "toor", "nis"] {
            assert!(!format!("{accounts:?}").contains(hidden), "{hidden}");
        }
    }

    #[test]
    fn nobody_can_log_in_and_every_user_has_a_group() {
        let accounts = accounts_for("", "");
        assert_eq!(accounts.shadow.lines().count(), USERS.len());
        assert!(accounts.shadow.lines().all(|line| line.split(':').nth(1) == Some("*")));
        for (name, _, gid, ..) in USERS {
            assert!(GROUPS.iter().any(|group| group.1 == gid), "{name}");
        }
        assert!(line(&accounts.passwd, "sandbox").is_some_and(|line| line.contains(":1000:1000:")));
    }
}
