//! Which names the entries of a layer may have, and which of them are whiteouts. It compares bytes.

use protocol::entry_name;
pub(super) use protocol::entry_name::{shown, split};

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

/// The normal form of an entry's name, as [`entry_name::normalise`]; and not below a whiteout.
///
/// # Errors
/// Why the name is refused.
pub(super) fn normalise(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    let path = entry_name::normalise(name)?;
    // A mark in the middle would be a folder of that name: it means nothing, and hides what is below.
    if split(&path).0.split(|&byte| byte == b'/').any(|part| part.starts_with(WHITEOUT)) {
        return Err("it is below a whiteout");
    }
    Ok(path)
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

#[cfg(test)]
mod tests {
    use protocol::entry_name::DEPTH_MAX;

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
