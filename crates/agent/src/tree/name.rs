//! Which names and link targets an archive may have. It compares bytes, and must not know files.

pub(super) use protocol::entry_name::{normalise, shown, split};
use protocol::{GuestPath, entry_name::PATH_BYTES_MAX};

/// Folders of an image that programs link to by their absolute path: `python3` of a virtual environment.
const IMAGE_FOLDERS: [&[u8]; 6] = [b"/usr", b"/bin", b"/sbin", b"/lib", b"/lib64", b"/opt"];
/// What dotfiles link to that must stay empty.
const NULL_DEVICE: &[u8] = b"/dev/null";

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

#[cfg(test)]
mod tests {
    use super::*;

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
