//! Which names and link targets an archive may have. It compares bytes, and must not know files.

use protocol::GuestPath;

use super::DEPTH_MAX;

/// The longest name of a file (`NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;
/// The longest path (`PATH_MAX`, its NUL not counted).
const PATH_BYTES_MAX: usize = 4095;
/// How much of a name a message shows.
const SHOWN_CHARS: usize = 200;

/// Folders of an image that programs link to by their absolute path: `python3` of a virtual environment.
const IMAGE_FOLDERS: [&[u8]; 6] = [b"/usr", b"/bin", b"/sbin", b"/lib", b"/lib64", b"/opt"];
/// What dotfiles link to that must stay empty.
const NULL_DEVICE: &[u8] = b"/dev/null";

/// The normal form of an entry's name: without `.`, empty parts and a closing slash. Empty for the tree's
/// folder itself.
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

/// Checks that a symbolic link at `path` leads nowhere but into the tree at `folder` or a folder of the
/// image.
///
/// `..` counts only at the front. The folders above an entry are never links, so there it climbs as far as
/// it looks; after a name, which may be a link, it could climb further.
///
/// # Errors
/// Why the target is refused.
pub(super) fn symlink_check(path: &[u8], target: &[u8], folder: &GuestPath) -> Result<(), &'static str> {
    if target.is_empty() || target.contains(&0) || target.len() > PATH_BYTES_MAX {
        return Err("it is a link to no possible path");
    }
    let mut parts = target.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    if target.starts_with(b"/") {
        let folder = folder.as_str().as_bytes();
        let is_allowed = target == NULL_DEVICE
            || is_at_or_below(target, folder)
            || IMAGE_FOLDERS.iter().any(|folder| is_at_or_below(target, folder));
        return if is_allowed && parts.all(|part| part != b"..") {
            Ok(())
        } else {
            Err("it is a link out of the tree")
        };
    }
    let folders_above = path.iter().filter(|&&byte| byte == b'/').count();
    let mut climbed = 0;
    let mut has_name = false;
    for part in parts {
        if part != b".." {
            has_name = true;
        } else if has_name {
            return Err("it is a link with `..` after a name, which could lead out of the tree");
        } else {
            climbed += 1;
        }
    }
    if climbed > folders_above { Err("it is a link out of the tree") } else { Ok(()) }
}

fn is_at_or_below(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => folder.ends_with(b"/") || rest.is_empty() || rest.starts_with(b"/"),
        None => false,
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
        let deep = b"a/".repeat(DEPTH_MAX);
        assert!(normalise(&deep).is_ok());
        let long = b"x".repeat(256);
        for name in [&b""[..], b"/a", b"a/../b", b"..", b"a\0b", &long, &b"a/".repeat(DEPTH_MAX + 1)] {
            assert!(normalise(name).is_err(), "{}", shown(name));
        }
    }

    #[test]
    fn links_stay_in_the_tree_or_lead_into_the_image() {
        let folder = GuestPath::absolute("/sandbox").unwrap();
        let check = |path: &str, target: &str| symlink_check(path.as_bytes(), target.as_bytes(), &folder);
        for (path, target) in [
            ("a", "b"),
            ("a", "."),
            ("x/y/a", "../../b/c"),
            ("a", "/usr/bin/python3"),
            ("a", "/usr"),
            ("a", "/sandbox/b"),
            ("a", "/dev/null"),
            ("a", "..x"),
        ] {
            assert_eq!(check(path, target), Ok(()), "{path} -> {target}");
        }
        for (path, target) in [
            ("a", ".."),
            ("a", "../etc"),
            ("x/a", "../../etc"),
            ("x/a", "b/../c"),
            ("a", "/etc/passwd"),
            ("a", "/"),
            ("a", "/usrx"),
            ("a", "/usr/../etc/passwd"),
            ("a", "/sandboxes"),
            ("a", "/dev/null/x"),
            ("a", ""),
            ("a", "b\0"),
        ] {
            assert!(check(path, target).is_err(), "{path} -> {target}");
        }
    }
}
