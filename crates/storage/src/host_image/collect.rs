//! Reads the host by the allow-list and puts what is kept into the plan.
//!
//! It must not know what the entries are for, nor write anything.

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use protocol::GuestPath;

use super::{
    HostImageError,
    allow_list::{EXCEPTIONS, Keep, Rule},
    credentials::{has_credential, has_private_key, lines_without},
    failed,
    plan::{Node, Plan, Stamp, leads_into_usr, resolve},
};

/// Readable by everybody; for a folder, also to be entered.
const READABLE: u32 = 0o004;
const ENTERABLE: u32 = 0o005;
/// What is kept of a mode: no set-user-id, no writing by others.
const MODE_MASK: u32 = 0o755;

/// Collects from the host whose root is `host` (`/`, but in tests).
pub(super) struct Collector<'a> {
    pub(super) host: &'a Path,
    pub(super) plan: &'a mut Plan,
    /// What was left out, and why.
    pub(super) notes: &'a mut Vec<String>,
}

impl Collector<'_> {
    /// Adds what `rule` covers. What the host does not have is passed over.
    pub(super) fn collect(&mut self, rule: &Rule) -> Result<(), HostImageError> {
        let (folder, pattern) = rule.path.rsplit_once('/').unwrap_or_default();
        let Some((before, after)) = pattern.split_once('*') else {
            return self.entry(rule.path, rule.keep);
        };
        let on_host = self.on_host(folder);
        let is_match = |name: &&OsStr| {
            name.to_str().is_some_and(|name| {
                name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            })
        };
        for name in names(&on_host)?.iter().map(|name| name.as_os_str()).filter(is_match) {
            self.entry(&format!("{folder}/{}", name.display()), rule.keep)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, keep: Keep) -> Result<(), HostImageError> {
        if EXCEPTIONS.contains(&path) {
            return Ok(());
        }
        // A name that is no text or too long is nothing that a program looks for.
        let Ok(guest) = GuestPath::absolute(path) else { return Ok(()) };
        let on_host = self.on_host(path);
        let meta = match fs::symlink_metadata(&on_host) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("examine", &on_host)(error)),
        };
        if meta.is_symlink() {
            self.link(guest, &on_host, keep)
        } else if meta.is_dir() && meta.mode() & ENTERABLE == ENTERABLE {
            self.plan.add(guest, Node::Folder { mode: meta.mode() & MODE_MASK });
            for name in names(&on_host)? {
                if let Some(name) = name.to_str() {
                    self.entry(&format!("{path}/{name}"), keep)?;
                }
            }
            Ok(())
        } else if meta.is_file() && meta.mode() & READABLE == READABLE {
            self.file(guest, on_host, &meta, keep)
        } else {
            Ok(())
        }
    }

    fn link(&mut self, guest: GuestPath, on_host: &Path, keep: Keep) -> Result<(), HostImageError> {
        let target = fs::read_link(on_host).map_err(failed("read", on_host))?;
        let Some(target) = target.to_str() else { return Ok(()) };
        if keep == Keep::NoPrivateKeys
            && !leads_into_usr(&guest, target)
            && let Some(resolved) = resolve(&guest, target)
            && resolved.parent() != guest.parent()
        {
            return match self.open_to_all(resolved.as_str()) {
                Some((on_host, meta)) => self.file(guest, on_host, &meta, keep),
                None => Ok(()),
            };
        }
        if keep != Keep::LinksIntoUsr || leads_into_usr(&guest, target) {
            self.plan.add(guest, Node::Link { target: target.to_owned() });
        }
        Ok(())
    }

    fn file(
        &mut self,
        guest: GuestPath,
        on_host: PathBuf,
        meta: &Metadata,
        keep: Keep,
    ) -> Result<(), HostImageError> {
        let mode = meta.mode() & MODE_MASK;
        let node = match keep {
            Keep::LinksIntoUsr => return Ok(()),
            Keep::Everything => {
                let stamp = Stamp {
                    inode: meta.ino(),
                    size_bytes: meta.size(),
                    changed_s: meta.ctime(),
                    changed_ns: meta.ctime_nsec(),
                };
                Node::Copy { mode, from: on_host, stamp }
            }
            Keep::NoPrivateKeys | Keep::NoCredentials | Keep::CleanLines => {
                let bytes = fs::read(&on_host).map_err(failed("read", &on_host))?;
                let text = str::from_utf8(&bytes).unwrap_or_default();
                let bytes = match keep {
                    Keep::CleanLines => lines_without(text).into_bytes(),
                    Keep::NoCredentials if text.is_empty() || has_credential(text) => {
                        self.left_out(&guest, &bytes, "it holds credentials");
                        return Ok(());
                    }
                    _ if has_private_key(&bytes) => {
                        self.left_out(&guest, &bytes, "it holds a private key");
                        return Ok(());
                    }
                    _ => bytes,
                };
                Node::Text { mode, bytes }
            }
        };
        self.plan.add(guest, node);
        Ok(())
    }

    /// An empty file is left out without a word.
    fn left_out(&mut self, guest: &GuestPath, bytes: &[u8], why: &str) {
        if !bytes.is_empty() {
            self.notes.push(format!("{guest} of the host is not in the `host` image: {why}"));
        }
    }

    /// The file at `path` if everybody on the host could read it, by the folders above it, too.
    fn open_to_all(&self, path: &str) -> Option<(PathBuf, Metadata)> {
        let on_host = fs::canonicalize(self.on_host(path)).ok()?;
        let mut above = on_host.ancestors().skip(1).take_while(|folder| folder.starts_with(self.host));
        let is_reachable = on_host.starts_with(self.host)
            && above.all(|folder| {
                folder == self.host || fs::metadata(folder).is_ok_and(|meta| meta.mode() & 0o001 != 0)
            });
        let meta = fs::metadata(&on_host).ok()?;
        let is_readable = meta.is_file() && meta.mode() & READABLE == READABLE;
        (is_reachable && is_readable).then_some((on_host, meta))
    }

    fn on_host(&self, path: &str) -> PathBuf {
        self.host.join(path.trim_start_matches('/'))
    }
}

/// The names in a folder, sorted; none if there is no such folder.
fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>, HostImageError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", folder)(error)),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names: Vec<_> = names.collect::<Result<_, _>>().map_err(failed("list", folder))?;
    names.sort();
    Ok(names)
}
