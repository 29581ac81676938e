//! Which name servers a sandbox asks: the host's, as far as they can be reached from another network.
//!
//! It reads resolv.conf(5) files and renders one. It must not know networks: whether the addresses can be
//! reached is up to the rules that the launcher sets.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// The C library reads no more than this many (`MAXNS`, resolv.conf(5)).
const NAMESERVERS_MAX: usize = 3;

/// The host's files, in the order in which they are asked. The second is where systemd-resolved keeps the
/// real name servers when the first names only its own loopback address (systemd-resolved.service(8)).
const HOST_FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Options that concern the asking side alone. `trust-ad` is not among them: it vouches for the path to a name
/// server on the same machine. `edns0` and the like are.
const OPTIONS: [&str; 10] = [
    "attempts",
    "edns0",
    "inet6",
    "ndots",
    "no-aaaa",
    "no-tld-query",
    "rotate",
    "single-request",
    "single-request-reopen",
    "timeout",
];

/// What a sandbox's `/etc/resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// The name servers, at most three, none of them on loopback. Empty: names are not resolved.
    pub nameservers: Vec<IpAddr>,
    /// Domains that short names are tried in.
    pub search: Vec<String>,
    /// Options of resolv.conf(5).
    pub options: Vec<String>,
    /// Where the name servers are from.
    pub source: ResolverSource,
}

/// Where name servers are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResolverSource {
    /// The operator's configuration.
    Configured,
    /// A file of the host.
    HostFile(PathBuf),
    /// Nowhere: the host has none that another network could reach.
    #[default]
    None,
}

/// The host's name servers could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the name servers in {path}")]
pub struct ResolverError {
    /// The file.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// The resolver for sandboxes: the name servers that the operator `configured`, if there are any, else the
/// host's. Loopback addresses are left out, a sandbox's loopback being its own.
///
/// # Errors
/// [`ResolverError`] when a file exists and cannot be read.
pub fn resolver_find(configured: &[IpAddr]) -> Result<Resolver, ResolverError> {
    resolver_choose(configured, &HOST_FILES.map(Path::new))
}

fn resolver_choose(configured: &[IpAddr], files: &[&Path]) -> Result<Resolver, ResolverError> {
    let mut first = None;
    for &path in files {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(ResolverError { path: path.to_owned(), source }),
        };
        let found = Resolver { source: ResolverSource::HostFile(path.to_owned()), ..parse(&text) };
        if configured.is_empty() && !found.nameservers.is_empty() {
            return Ok(found);
        }
        first = first.or(Some(found));
    }
    let mut resolver = first.unwrap_or_default();
    resolver.nameservers = reachable(configured.iter().copied());
    resolver.source =
        if resolver.nameservers.is_empty() { ResolverSource::None } else { ResolverSource::Configured };
    Ok(resolver)
}

impl Resolver {
    /// The text of `/etc/resolv.conf`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        if self.nameservers.is_empty() {
            text.push_str("# The host has no name server that a sandbox could reach.\n");
        }
        for server in &self.nameservers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        for (keyword, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                text.push_str(&format!("{keyword} {}\n", words.join(" ")));
            }
        }
        text
    }

    /// What the operator should know, if anything.
    #[must_use]
    pub fn note(&self) -> Option<&'static str> {
        self.nameservers.is_empty().then_some(
            "the host's name servers are on loopback, where no sandbox reaches them: \
             names will not resolve in sandboxes until `dns` is configured",
        )
    }
}

/// Reads resolv.conf(5). What is not understood is passed over, as the C library does.
fn parse(text: &str) -> Resolver {
    let mut addresses = Vec::new();
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        match words.next() {
            Some("nameserver") => addresses.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
            // The last one of `search` and `domain` wins.
            Some("search") => resolver.search = words.map(str::to_owned).collect(),
            Some("domain") => resolver.search = words.take(1).map(str::to_owned).collect(),
            Some("options") => resolver.options.extend(words.filter(is_known_option).map(str::to_owned)),
            _ => {}
        }
    }
    resolver.nameservers = reachable(addresses);
    resolver
}

fn is_known_option(word: &&str) -> bool {
    let name = word.split(':').next().unwrap_or(word);
    OPTIONS.contains(&name)
}

/// An unspecified address means the asking machine itself, too.
fn reachable(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let remote = addresses.into_iter().filter(|address| {
        let address = address.to_canonical();
        !address.is_loopback() && !address.is_unspecified()
    });
    remote.take(NAMESERVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUB: &str =
        "# systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch corp.example\n";

    fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn files_are_parsed_and_rendered() {
        let text = "; comment\n# nameserver 9.9.9.9\nnameserver\t10.0.0.2\nnameserver 2001:db8::1\n\
                    nameserver fe80::1%eth0\nnameserver nonsense\ndomain old.example\nsearch a.example b.example\n\
                    options ndots:2 timeout:1 trust-ad debug\nsortlist 10.0.0.0\n";
        assert_eq!(
            parse(text).render(),
            "nameserver 10.0.0.2\nnameserver 2001:db8::1\nsearch a.example b.example\noptions ndots:2 timeout:1\n"
        );
    }

    #[test]
    fn loopback_is_nobodys_name_server() {
        for address in ["127.0.0.1", "127.0.0.53", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
            assert_eq!(parse(&format!("nameserver {address}\n")).nameservers, [] as [IpAddr; 0], "{address}");
        }
    }

    #[test]
    fn no_more_than_three_are_taken() {
        let text: String = (1..9).map(|n| format!("nameserver 10.0.0.{n}\n")).collect();
        assert_eq!(parse(&text).nameservers.len(), 3);
    }

    #[test]
    fn the_stub_leads_to_the_real_file() {
        let temp = tempfile::tempdir().unwrap();
        let stub = file(temp.path(), "stub", STUB);
        let real = file(temp.path(), "real", "nameserver 192.0.2.7\nsearch corp.example\n");
        let found = resolver_choose(&[], &[&stub, &real]).unwrap();
        assert_eq!(found.render(), "nameserver 192.0.2.7\nsearch corp.example\n");
        assert_eq!(found.source, ResolverSource::HostFile(real));
        assert_eq!(found.note(), None);
    }

    #[test]
    fn what_the_operator_configured_wins() {
        let temp = tempfile::tempdir().unwrap();
        let host = file(temp.path(), "host", "nameserver 192.0.2.7\nsearch corp.example\n");
        let found = resolver_choose(&["198.51.100.1".parse().unwrap()], &[&host]).unwrap();
        assert_eq!(found.render(), "nameserver 198.51.100.1\nsearch corp.example\n");
        assert_eq!(found.source, ResolverSource::Configured);
    }

    #[test]
    fn with_nothing_reachable_it_says_so() {
        let temp = tempfile::tempdir().unwrap();
        let stub = file(temp.path(), "stub", STUB);
        let found = resolver_choose(&[], &[&stub, Path::new("/no/such/file")]).unwrap();
        assert_eq!(found.source, ResolverSource::None);
        assert!(found.render().starts_with("# The host has no name server"));
        assert!(found.note().is_some());
    }
}
