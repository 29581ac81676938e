//! What a rule is about: a name, all names below one, or addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name and the longest part of one (RFC 1035).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// What a rule is about. Names are in lower case, without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Target {
    /// This name.
    Name(String),
    /// Every name below this one, and not itself: written `*.name`.
    Below(String),
    /// These addresses.
    Network(Network),
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no name (example.com), wildcard (*.example.com), address or network (192.0.2.0/24): {problem}"
)]
pub struct InvalidTarget {
    text: String,
    problem: &'static str,
}

impl Network {
    /// The first of its addresses.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits they share.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    fn parse(text: &str) -> Option<Result<Self, &'static str>> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address = match address.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) if length.is_some() => return Some(Err("the part before the slash is no address")),
            Err(_) => return None,
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            Some(digits) => match digits.parse::<u8>() {
                Ok(length) if length <= bits && !digits.starts_with('+') => length,
                _ => return Some(Err("the length of the prefix is out of range")),
            },
        };
        Some(Ok(Self { address: masked(address, length), length }))
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.length) == self.address
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(address) => {
            IpAddr::V4((address.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into())
        }
        IpAddr::V6(address) => {
            IpAddr::V6((address.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)).into())
        }
    }
}

impl Target {
    /// Whether it is about this name, which may end with a dot.
    #[must_use]
    pub fn matches_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match self {
            Self::Name(own) => own.eq_ignore_ascii_case(name),
            Self::Below(parent) => {
                let (name, parent) = (name.as_bytes(), parent.as_bytes());
                name.len().checked_sub(parent.len() + 1).is_some_and(|at| {
                    at > 0 && name[at] == b'.' && name[at + 1..].eq_ignore_ascii_case(parent)
                })
            }
            Self::Network(_) => false,
        }
    }

    /// Whether it is about this address.
    #[must_use]
    pub fn matches_address(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(address))
    }
}

/// A name in the form that it is compared in.
fn name(text: &str) -> Result<String, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > NAME_BYTES_MAX {
        return Err("it is longer than a name can be");
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    for label in name.split('.') {
        if label.is_empty() {
            return Err("a part between dots is empty");
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err("a part between dots is longer than 63 bytes");
        }
        if !label.is_ascii() {
            return Err("write international names in their ASCII form (xn--…)");
        }
        if !label.bytes().all(is_letter) {
            return Err("a name has letters, digits, - and _ only");
        }
    }
    // No top-level domain is a number: it is an address that is none.
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("it ends with a number and is no address");
    }
    Ok(name.to_ascii_lowercase())
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let parsed = match (Network::parse(text), text.strip_prefix("*.")) {
            (Some(network), _) => network.map(Self::Network),
            (None, Some(parent)) => name(parent).map(Self::Below),
            (None, None) => name(text).map(Self::Name),
        };
        parsed.map_err(|problem| {
            let text = text.chars().take(NAME_BYTES_MAX).collect();
            InvalidTarget { text, problem }
        })
    }
}

impl TryFrom<String> for Target {
    type Error = InvalidTarget;

    fn try_from(text: String) -> Result<Self, InvalidTarget> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::Below(parent) => write!(out, "*.{parent}"),
            Self::Network(Network { address, length }) => {
                let whole = if address.is_ipv4() { 32 } else { 128 };
                if *length == whole { address.fmt(out) } else { write!(out, "{address}/{length}") }
            }
        }
    }
}
