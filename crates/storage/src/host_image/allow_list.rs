//! What is taken from the host into the `host` image, besides `/usr`. Nothing that is not in this table is.
//!
//! A file must also be readable by everybody on the host: what the host keeps from its own users is no
//! business of a sandbox. It must not know how entries are read or written.

/// What is kept of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// All of it.
    Everything,
    /// Symbolic links into `/usr`, nothing else.
    LinksIntoUsr,
    /// Files without a private key. A link that leads out of `/usr` is replaced by what it leads to.
    NoPrivateKeys,
    /// Files without credentials.
    NoCredentials,
    /// The lines without credentials.
    CleanLines,
}

/// One entry of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Where it is, on the host and in the image. A folder is taken with all that is in it. One `*` may stand
    /// in the last name.
    pub(super) path: &'static str,
    /// What is kept of it.
    pub(super) keep: Keep,
}

/// Left out although a rule covers it: the self-signed certificate carries the host's name.
pub(super) const EXCEPTIONS: [&str; 1] = ["/etc/ssl/certs/ssl-cert-snakeoil.pem"];

const fn rule(path: &'static str, keep: Keep) -> Rule {
    Rule { path, keep }
}

/// The configuration that programs of the host's `/usr` need.
pub(super) const CONFIGURATION: [Rule; 50] = [
    // The dynamic linker: without its cache, libraries outside of the default folders are not found.
    rule("/etc/ld.so.cache", Keep::Everything),
    rule("/etc/ld.so.conf", Keep::Everything),
    rule("/etc/ld.so.conf.d", Keep::Everything),
    // Half of the commands in /usr/bin are links through here: awk, vi, java, c++ …
    rule("/etc/alternatives", Keep::LinksIntoUsr),
    // Local time is the host's.
    rule("/etc/localtime", Keep::Everything),
    rule("/etc/timezone", Keep::Everything),
    // Numbers and names: getservbyname(3), getprotobyname(3), getrpcbyname(3), address preference of
    // getaddrinfo(3).
    rule("/etc/services", Keep::Everything),
    rule("/etc/protocols", Keep::Everything),
    rule("/etc/rpc", Keep::Everything),
    rule("/etc/gai.conf", Keep::Everything),
    // Types of files: mimetypes of Python, file(1).
    rule("/etc/mime.types", Keep::Everything),
    rule("/etc/magic", Keep::Everything),
    rule("/etc/magic.mime", Keep::Everything),
    // Terminals and shells.
    rule("/etc/inputrc", Keep::Everything),
    rule("/etc/terminfo", Keep::Everything),
    rule("/etc/shells", Keep::Everything),
    rule("/etc/locale.alias", Keep::Everything),
    // Which distribution this is: installers ask.
    rule("/etc/debian_version", Keep::Everything),
    rule("/etc/os-release", Keep::Everything),
    rule("/etc/lsb-release", Keep::Everything),
    // Where packages come from. auth.conf is not here: it exists to hold passwords.
    rule("/etc/apt/sources.list", Keep::NoCredentials),
    rule("/etc/apt/sources.list.d", Keep::NoCredentials),
    rule("/etc/apt/preferences", Keep::NoCredentials),
    rule("/etc/apt/preferences.d", Keep::NoCredentials),
    rule("/etc/apt/apt.conf", Keep::NoCredentials),
    rule("/etc/apt/apt.conf.d", Keep::NoCredentials),
    // Who signs packages.
    rule("/etc/apt/trusted.gpg", Keep::NoPrivateKeys),
    rule("/etc/apt/trusted.gpg.d", Keep::NoPrivateKeys),
    rule("/etc/apt/keyrings", Keep::NoPrivateKeys),
    // What the scripts of packages call: dpkg, debconf, ucf, adduser, useradd.
    rule("/etc/dpkg", Keep::Everything),
    rule("/etc/debconf.conf", Keep::CleanLines),
    rule("/etc/ucf.conf", Keep::Everything),
    rule("/etc/adduser.conf", Keep::Everything),
    rule("/etc/deluser.conf", Keep::Everything),
    rule("/etc/login.defs", Keep::Everything),
    // Whom TLS trusts, with the operator's own authorities. Not /etc/ssl/private.
    rule("/etc/ssl/certs", Keep::NoPrivateKeys),
    rule("/etc/ssl/openssl.cnf", Keep::NoPrivateKeys),
    rule("/etc/ca-certificates", Keep::Everything),
    rule("/etc/ca-certificates.conf", Keep::Everything),
    // Languages that keep a part of themselves in /etc; /usr has links to it.
    rule("/etc/python3", Keep::Everything),
    rule("/etc/python3.*", Keep::Everything),
    rule("/etc/perl", Keep::Everything),
    rule("/etc/java", Keep::Everything),
    rule("/etc/java-*", Keep::Everything),
    rule("/etc/maven/m2.conf", Keep::Everything),
    rule("/etc/maven/logging", Keep::Everything),
    // fontconfig: charts and PDFs need text.
    rule("/etc/fonts", Keep::Everything),
    // Mirrors and certificates that the operator set for the package clients.
    rule("/etc/pip.conf", Keep::NoCredentials),
    rule("/etc/npmrc", Keep::CleanLines),
    rule("/etc/bunfig.toml", Keep::NoCredentials),
];

/// The database of installed packages: without it `apt-get install` would install the whole system again.
/// Left out are locks, backups, and the lists of what could be installed (`apt-get update` fetches those).
pub(super) const PACKAGE_DATABASE: [Rule; 8] = [
    rule("/var/lib/dpkg/status", Keep::Everything),
    rule("/var/lib/dpkg/info", Keep::Everything),
    rule("/var/lib/dpkg/alternatives", Keep::Everything),
    rule("/var/lib/dpkg/diversions", Keep::Everything),
    rule("/var/lib/dpkg/statoverride", Keep::Everything),
    rule("/var/lib/dpkg/triggers", Keep::Everything),
    rule("/var/lib/dpkg/arch", Keep::Everything),
    rule("/var/lib/apt/extended_states", Keep::Everything),
];
