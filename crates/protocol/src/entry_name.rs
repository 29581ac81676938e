//! Names of entries in archives, as the agent and the host's unpacker of images read them. It compares bytes, and must
//! not know files.

/// How many folders deep an archive may be.
pub const DEPTH_MAX: usize = 256;
/// The longest name of a file (`NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;
/// The longest path (`PATH_MAX`, its NUL not counted).
pub const PATH_BYTES_MAX: usize = 4095;
/// How much of a name a message shows.
const SHOWN_CHARS: usize = 200;

/// The normal form of an entry's name: without `.`, empty parts and a closing slash. Empty for the root itself.
///
/// # Errors
/// Why the name is refused.
pub fn normalise(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("it has no name");
    }
    if name.contains(&0) {
        return Err("its name has a NUL byte");
    }
    if name.starts_with(b"/") {
        return Err("its name is absolute");
    }
    let mut path = Vec::with_capacity(name.len());
    let mut depth = 0;
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err("its name has `..`"),
            part if part.len() > NAME_BYTES_MAX => return Err("a part of its name is over 255 bytes"),
            _ => {}
        }
        if depth > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(part);
        depth += 1;
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("its name is over 4095 bytes");
    }
    if depth > DEPTH_MAX {
        return Err("it is below more than 256 folders");
    }
    Ok(path)
}

/// The folder and the last part of a path in normal form.
#[must_use]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A name for a message: readable, on one line, not too long.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normal_or_refused() {
        assert_eq!(normalise(b"./a//b/./c/").unwrap(), b"a/b/c");
        assert_eq!(normalise(b"./").unwrap(), b"");
        assert_eq!(normalise(b"\xff/..x").unwrap(), b"\xff/..x");
        let deep = b"a/".repeat(DEPTH_MAX);
        assert!(normalise(&deep).is_ok());
        let long = b"x".repeat(256);
        for name in [&b""[..], b"/a", b"a/../b", b"..", b"a\0b", &long, &b"a/".repeat(DEPTH_MAX + 1)] {
            assert!(normalise(name).is_err(), "{}", shown(name));
        }
    }
}
