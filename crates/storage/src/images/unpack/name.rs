//! Which names the entries of a layer may have, and which of them are whiteouts. It compares bytes.

/// The longest name of a file (`NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;
/// The longest path (`PATH_MAX`, its NUL not counted).
const PATH_BYTES_MAX: usize = 4095;
/// How many folders deep a layer may be.
const DEPTH_MAX: usize = 256;
const SHOWN_CHARS: usize = 200;

/// What a name with this in front says is gone (OCI image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// Says that nothing of the layers below shows in its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other marks of the file system that whiteouts come from.
const MARK: &[u8] = b".wh..wh.";

/// What an entry's last name makes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// What it is called.
    Plain,
    /// This name is gone.
    Gone(&'a [u8]),
    /// The layers below do not show in its folder.
    Opaque,
    /// Nothing.
    Nothing,
}

/// The normal form of an entry's name: without `.`, empty parts and a closing slash. Empty for the root itself.
///
/// # Errors
/// Why the name is refused.
pub(super) fn normalise(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("it has no name");
    }
    if name.contains(&0) {
        return Err("its name has a NUL byte");
    }
    if name.starts_with(b"/") {
        return Err("its name is absolute");
    }
    let parts = name.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let parts: Vec<&[u8]> = parts.collect();
    if parts.contains(&&b".."[..]) {
        return Err("its name has `..`");
    }
    if parts.iter().any(|part| part.len() > NAME_BYTES_MAX) {
        return Err("a part of its name is over 255 bytes");
    }
    if parts.len() > DEPTH_MAX {
        return Err("it is below more than 256 folders");
    }
    // A mark in the middle would be a folder of that name: it means nothing, and hides what is below.
    let above = parts.split_last().map_or(&[][..], |(_, above)| above);
    if above.iter().any(|part| part.starts_with(WHITEOUT)) {
        return Err("it is below a whiteout");
    }
    let path = parts.join(&b'/');
    if path.len() > PATH_BYTES_MAX { Err("its name is over 4095 bytes") } else { Ok(path) }
}

/// What the last name of a path says.
///
/// # Errors
/// Why it is refused.
pub(super) fn meaning(path: &[u8]) -> Result<Meaning<'_>, &'static str> {
    let (_, name) = split(path);
    if name == OPAQUE {
        return Ok(Meaning::Opaque);
    }
    if name.starts_with(MARK) {
        return Ok(Meaning::Nothing);
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Plain),
        Some(b"" | b"." | b"..") => Err("it is a whiteout of no name"),
        Some(gone) => Ok(Meaning::Gone(gone)),
    }
}

/// The folder and the last part of a path in normal form.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A name for a message: readable, on one line, not too long.
pub(super) fn shown(name: &[u8]) -> String {
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
        assert!(normalise(&b"a/".repeat(DEPTH_MAX)).is_ok());
        let deep = b"a/".repeat(DEPTH_MAX + 1);
        for name in [&b""[..], b"/a", b"//a", b"a/../b", b"..", b"a\0b", &b"x".repeat(256), &deep, b".wh.a/b"]
        {
            assert!(normalise(name).is_err(), "{}", shown(name));
        }
    }

    #[test]
    fn whiteouts_are_told_from_names() {
        assert_eq!(meaning(b"a/b.wh.c"), Ok(Meaning::Plain));
        assert_eq!(meaning(b".whx"), Ok(Meaning::Plain));
        assert_eq!(meaning(b"a/.wh.b"), Ok(Meaning::Gone(b"b")));
        assert_eq!(meaning(b".wh...x"), Ok(Meaning::Gone(b"..x")));
        assert_eq!(meaning(b"a/.wh..wh..opq"), Ok(Meaning::Opaque));
        assert_eq!(meaning(b".wh..wh.plnk"), Ok(Meaning::Nothing));
        for name in [&b".wh."[..], b"a/.wh.", b".wh..", b".wh..."] {
            assert!(meaning(name).is_err(), "{}", shown(name));
        }
    }
}
