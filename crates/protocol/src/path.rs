//! Paths, as two types: one inside a sandbox, one on the host. Nothing converts one into the other.

use std::{fmt, path::Path, path::PathBuf};

use serde::{Deserialize, Serialize};

/// The longest path that Linux takes, in bytes, the closing NUL not counted (`PATH_MAX`, limits.h).
const PATH_BYTES_MAX: usize = 4095;
/// The longest name of one path component, in bytes (`NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

/// An absolute path inside a sandbox. It means something only to that sandbox's agent.
///
/// It has no NUL, no empty, `.` or `..` component and no trailing slash (but for `/` itself), so two
/// equal paths are equal strings. Symbolic links are *not* resolved: the agent does that, inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestPath(String);

/// Why a text is not a [`GuestPath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGuestPath {
    /// The text is empty.
    #[error("the path is empty")]
    Empty,
    /// The text contains a NUL byte.
    #[error("the path contains a NUL byte")]
    Nul,
    /// `..` would leave the folder that the path is relative to.
    #[error("the path leaves its folder through `..`")]
    Escapes,
    /// An absolute path was given where only one below the folder is allowed.
    #[error("the path is absolute and not below {0}")]
    Outside(String),
    /// A component is over 255 bytes, or the whole over 4095.
    #[error("the path or one of its names is too long")]
    TooLong,
}

impl GuestPath {
    /// The root folder, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Takes an absolute path and normalises it: repeated slashes, `.` and `..` are folded away.
    ///
    /// # Errors
    /// [`InvalidGuestPath`] when it is empty, relative, too long, has a NUL, or `..` goes above `/`.
    pub fn absolute(text: &str) -> Result<Self, InvalidGuestPath> {
        match text.as_bytes().first() {
            None => Err(InvalidGuestPath::Empty),
            Some(b'/') => normalise("", text),
            Some(_) => Err(InvalidGuestPath::Outside("/".to_owned())),
        }
    }

    /// Joins `text` to this folder. A relative text stays below the folder; an absolute one is taken only
    /// if it already lies below it.
    ///
    /// # Errors
    /// [`InvalidGuestPath`] when the result would lie outside of this folder, or the text is no path.
    pub fn join_below(&self, text: &str) -> Result<Self, InvalidGuestPath> {
        let joined = match text.as_bytes().first() {
            None => return Err(InvalidGuestPath::Empty),
            Some(b'/') => Self::absolute(text)?,
            Some(_) => normalise(self.0.trim_end_matches('/'), text)?,
        };
        if joined.is_below(self) { Ok(joined) } else { Err(InvalidGuestPath::Outside(self.0.clone())) }
    }

    /// Whether this path lies strictly below `folder`.
    #[must_use]
    pub fn is_below(&self, folder: &Self) -> bool {
        let prefix = folder.0.trim_end_matches('/');
        self.0.len() > prefix.len() + 1
            && self.0.starts_with(prefix)
            && self.0.as_bytes().get(prefix.len()) == Some(&b'/')
    }

    /// The path as text, absolute.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component; `None` for `/`.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The folder that holds it; `None` for `/`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (folder, name) = self.0.rsplit_once('/')?;
        if name.is_empty() {
            None
        } else if folder.is_empty() {
            Some(Self::root())
        } else {
            Some(Self(folder.to_owned()))
        }
    }
}

/// Folds `text` onto `base` (empty for `/`), never above `base`.
fn normalise(base: &str, text: &str) -> Result<GuestPath, InvalidGuestPath> {
    if text.contains('\0') {
        return Err(InvalidGuestPath::Nul);
    }
    let mut names: Vec<&str> = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop().ok_or(InvalidGuestPath::Escapes)?;
            }
            name if name.len() > NAME_BYTES_MAX => return Err(InvalidGuestPath::TooLong),
            name => names.push(name),
        }
    }
    let mut path = base.to_owned();
    for name in names {
        path.push('/');
        path.push_str(name);
    }
    if path.is_empty() {
        path.push('/');
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(InvalidGuestPath::TooLong);
    }
    Ok(GuestPath(path))
}

/// Names joined by single slashes, without `.`; `None` if one, or the whole, is longer than Linux takes. `..` is a name
/// like any other here.
pub(crate) fn names_folded(text: &str) -> Option<String> {
    let names: Vec<&str> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    let path = names.join("/");
    (path.len() <= PATH_BYTES_MAX && names.iter().all(|name| name.len() <= NAME_BYTES_MAX)).then_some(path)
}

impl TryFrom<String> for GuestPath {
    type Error = InvalidGuestPath;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::absolute(&text)
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> Self {
        path.0
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A path on the host. It never crosses into a sandbox and is never made from a client's text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostPath(PathBuf);

impl HostPath {
    /// Wraps a path that the operator or Atoll itself chose.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// This path with one more component.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> Self {
        Self(self.0.join(name))
    }

    /// The path for the standard library.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for HostPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workdir() -> GuestPath {
        GuestPath::absolute("/sandbox").unwrap()
    }

    #[test]
    fn relative_paths_stay_below_their_folder() {
        assert_eq!(workdir().join_below("a//b/./c").unwrap().as_str(), "/sandbox/a/b/c");
        assert_eq!(workdir().join_below("a/../b").unwrap().as_str(), "/sandbox/b");
        assert_eq!(workdir().join_below("/sandbox/x").unwrap().as_str(), "/sandbox/x");
        assert_eq!(GuestPath::root().join_below("etc").unwrap().as_str(), "/etc");
    }

    #[test]
    fn paths_that_leave_are_refused() {
        assert_eq!(workdir().join_below("../etc"), Err(InvalidGuestPath::Escapes));
        assert_eq!(workdir().join_below("a/../../etc"), Err(InvalidGuestPath::Escapes));
        assert_eq!(workdir().join_below("/etc/passwd"), Err(InvalidGuestPath::Outside("/sandbox".into())));
        assert_eq!(workdir().join_below("/sandboxes/x"), Err(InvalidGuestPath::Outside("/sandbox".into())));
        assert_eq!(workdir().join_below("/sandbox"), Err(InvalidGuestPath::Outside("/sandbox".into())));
        assert_eq!(workdir().join_below("."), Err(InvalidGuestPath::Outside("/sandbox".into())));
        assert_eq!(workdir().join_below("a\0b"), Err(InvalidGuestPath::Nul));
        assert_eq!(workdir().join_below(""), Err(InvalidGuestPath::Empty));
        assert_eq!(workdir().join_below(&"x".repeat(256)), Err(InvalidGuestPath::TooLong));
        assert_eq!(workdir().join_below(&"x/".repeat(3000)), Err(InvalidGuestPath::TooLong));
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(workdir().parent(), Some(GuestPath::root()));
        assert_eq!(GuestPath::root().parent(), None);
        assert_eq!(workdir().file_name(), Some("sandbox"));
        assert_eq!(GuestPath::root().file_name(), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_accepted_is_below_and_normal(text in "[a-z./\u{0}]{0,40}") {
            if let Ok(path) = workdir().join_below(&text) {
                assert!(path.is_below(&workdir()));
                assert!(!path.as_str().split('/').skip(1).any(|name| matches!(name, "" | "." | "..")));
                assert_eq!(GuestPath::absolute(path.as_str()), Ok(path));
            }
        }
    }
}
