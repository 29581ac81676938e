//! References of images, as people write them: `debian`, `localhost:5000/team/tool:1.2`, `name@sha256:…`.
//!
//! It must not know what a registry answers.

use std::{fmt, net::IpAddr, str::FromStr};

use super::digest::Digest;

/// The registry of references that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where that one's API is.
const DEFAULT_API: &str = "registry-1.docker.io";
/// The folder of names without one, there.
const DEFAULT_FOLDER: &str = "library";
const DEFAULT_TAG: &str = "latest";
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// A reference, with all that it left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no reference of an image: {why}")]
pub struct ReferenceError {
    text: String,
    why: &'static str,
}

impl Reference {
    /// The registry's host, and its port where one is named.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest, where one is named.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, or else the tag.
    pub(super) fn version(&self) -> String {
        match &self.digest {
            Some(digest) => digest.to_string(),
            None => self.tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned()),
        }
    }

    /// Where the registry's API is.
    pub(super) fn base_url(&self) -> String {
        let host = if self.registry == DEFAULT_REGISTRY { DEFAULT_API } else { &self.registry };
        let scheme = if is_loopback(host) { "http" } else { "https" };
        format!("{scheme}://{host}")
    }
}

/// Whether an authority (`host`, `host:port`) is this machine itself.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = self.registry == DEFAULT_REGISTRY;
        let short = self.repository.strip_prefix("library/").filter(|name| default && !name.contains('/'));
        match short {
            Some(name) => out.write_str(name)?,
            None if default => out.write_str(&self.repository)?,
            None => write!(out, "{}/{}", self.registry, self.repository)?,
        }
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(out, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|why| ReferenceError { text: text.chars().take(NAME_BYTES_MAX).collect(), why })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.contains("://") {
        return Err("it is a URL; leave out `https://`");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse()?)),
        None => (text, None),
    };
    let (rest, tag) = match rest.rsplit_once(':') {
        Some((rest, tag)) if !tag.contains('/') && !tag.ends_with(']') => (rest, Some(tag_check(tag)?)),
        _ => (rest, None),
    };
    let (registry, repository) = match rest.split_once('/') {
        Some((host, name)) if host.contains(['.', ':', '[']) || host == "localhost" => {
            (registry_check(host)?, name.to_owned())
        }
        Some(_) => (DEFAULT_REGISTRY, rest.to_owned()),
        None => (DEFAULT_REGISTRY, rest.to_owned()),
    };
    name_check(&repository)?;
    let needs_folder = registry == DEFAULT_REGISTRY && !repository.contains('/');
    let repository = if needs_folder { format!("{DEFAULT_FOLDER}/{repository}") } else { repository };
    let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
    Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
}

fn registry_check(host: &str) -> Result<&str, &'static str> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err("the port of its registry is not between 1 and 65535");
    }
    let is_address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_label = |label: &str| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            name.split('.').all(is_label)
        }
    };
    match host {
        "index.docker.io" | DEFAULT_API => Ok(DEFAULT_REGISTRY),
        _ if is_address => Ok(host),
        _ => Err("its registry is no host name or address"),
    }
}

/// `[a-z0-9]+` parts between `.`, `_`, `__` or hyphens, in folders: the grammar of the distribution specification.
fn name_check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.split('/').any(str::is_empty) {
        return Err("a part of its name is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return Err("its name is over 255 bytes");
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("its name has capital letters");
    }
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !name.bytes().all(|byte| is_plain(byte) || b"._-/".contains(&byte)) {
        return Err("its name has something else than a-z, 0-9, `.`, `_`, `-` and `/`");
    }
    let is_good = |part: &str| {
        let edges = part.bytes().next().is_some_and(is_plain) && part.bytes().last().is_some_and(is_plain);
        let separators = part.split(|letter: char| is_plain_char(letter)).filter(|text| !text.is_empty());
        let allowed = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
        edges && separators.into_iter().all(allowed)
    };
    if name.split('/').all(is_good) {
        Ok(())
    } else {
        Err("a part of its name begins, ends or is put together with separators that may not be there")
    }
}

fn is_plain_char(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

fn tag_check(tag: &str) -> Result<String, &'static str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let good = tag.bytes().next().is_some_and(is_word)
        && tag.len() <= TAG_BYTES_MAX
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
    if good { Ok(tag.to_owned()) } else { Err("its tag is not 1 to 128 of A-Z, a-z, 0-9, `_`, `.` and `-`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_is_left_out_is_filled_in() {
        for (text, registry, repository, version, shown) in [
            ("debian", "docker.io", "library/debian", "latest", "debian:latest"),
            ("debian:12", "docker.io", "library/debian", "12", "debian:12"),
            ("docker.io/debian", "docker.io", "library/debian", "latest", "debian:latest"),
            ("index.docker.io/a/b", "docker.io", "a/b", "latest", "a/b:latest"),
            ("team/tool:v1.0-rc_1", "docker.io", "team/tool", "v1.0-rc_1", "team/tool:v1.0-rc_1"),
            ("localhost/x", "localhost", "x", "latest", "localhost/x:latest"),
            ("localhost:5000/x:y", "localhost:5000", "x", "y", "localhost:5000/x:y"),
            ("[::1]:5000/x", "[::1]:5000", "x", "latest", "[::1]:5000/x:latest"),
            ("ghcr.io/a/b-c/d__e.f", "ghcr.io", "a/b-c/d__e.f", "latest", "ghcr.io/a/b-c/d__e.f:latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.registry(), reference.repository()), (registry, repository), "{text}");
            assert_eq!(
                (reference.version(), reference.to_string()),
                (version.into(), shown.into()),
                "{text}"
            );
            assert_eq!(shown.parse(), Ok(reference), "{text}");
        }
        let pinned: Reference = format!("debian:12@{DIGEST}").parse().unwrap();
        assert_eq!((pinned.version(), pinned.to_string()), (DIGEST.into(), format!("debian:12@{DIGEST}")));
        let pinned: Reference = format!("h.example/x@{DIGEST}").parse().unwrap();
        assert_eq!(pinned.to_string(), format!("h.example/x@{DIGEST}"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("", "empty"),
            ("https://ghcr.io/x", "URL"),
            ("Debian", "capital"),
            ("a//b", "empty"),
            ("/a", "empty"),
            ("a/", "empty"),
            ("../etc", "host name"),
            ("a/../b", "separators"),
            ("a___b", "separators"),
            ("-a", "separators"),
            ("a b", "something else"),
            ("a\nb", "something else"),
            ("a:", "tag"),
            ("a:.x", "tag"),
            (&format!("a:{}", "x".repeat(129)), "tag"),
            (&"a".repeat(256), "255"),
            ("localhost:0/x", "port"),
            ("localhost:70000/x", "port"),
            ("-x.example/a", "host name"),
            ("[::g]:1/a", "host name"),
            ("a@sha256:12", "64"),
            ("a@md5:00", "sha256"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_encryption() {
        let base = |text: &str| text.parse::<Reference>().unwrap().base_url();
        assert_eq!(base("localhost:5000/x"), "http://localhost:5000");
        assert_eq!(base("127.0.0.2:1/x"), "http://127.0.0.2:1");
        assert_eq!(base("[::1]/x"), "http://[::1]");
        assert_eq!(base("debian"), "https://registry-1.docker.io");
        assert_eq!(base("10.0.0.1:5000/x"), "https://10.0.0.1:5000");
        assert_eq!(base("localhost.example/x"), "https://localhost.example");
        assert_eq!(base("127.0.0.1.example/x"), "https://127.0.0.1.example");
    }
}
