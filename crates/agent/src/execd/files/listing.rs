//! Walks through folders in the order of names, and sends what it finds while it goes: the memory that it takes does
//! not grow with the tree.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    rc::Rc,
    vec::IntoIter,
};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use rustix::fs::FileType;

use super::{
    super::types::FileInfo,
    info::{found_at, info_of, type_of},
    path_of,
};
use crate::{
    agent::Agent,
    failure::{failure, failure_os},
    http::{HttpError, Query, Reply, body_stream, json_pieces},
    surroundings::Accounts,
};

/// Names that one step looks at.
const STEP_NAMES: usize = 1024;
/// The longest pattern.
const PATTERN_BYTES_MAX: usize = 4096;

/// `GET /directories/list?path=&depth=`
pub(in crate::execd) async fn directory_list(agent: &Rc<Agent>, query: &Query) -> Result<Reply, HttpError> {
    let path = path_of(query.required("path")?)?;
    let depth = query.parsed::<u32>("depth")?.unwrap_or(1);
    let walk = agent.files.run(move || Walk::open(&path, depth as usize, None)).await?;
    Ok(walk_reply(agent, walk))
}

/// `GET /files/search?path=&pattern=`
pub(in crate::execd) async fn files_search(agent: &Rc<Agent>, query: &Query) -> Result<Reply, HttpError> {
    let path = path_of(query.required("path")?)?;
    let pattern = query.text("pattern").filter(|pattern| !pattern.is_empty()).unwrap_or("**");
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(HttpError::query(format!("the pattern is over {PATTERN_BYTES_MAX} bytes")));
    }
    if let Err(error) = fast_glob::validate(pattern) {
        return Err(HttpError::query(format!("the pattern {pattern:?}: {error}")));
    }
    let pattern = pattern.to_owned();
    let walk = agent.files.run(move || Walk::open(&path, usize::MAX, Some(pattern))).await?;
    Ok(walk_reply(agent, walk))
}

/// Sends a walk's findings as an array.
fn walk_reply(agent: &Rc<Agent>, walk: Walk) -> Reply {
    let (pieces, body) = body_stream(None);
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let (mut walk, mut separator) = (walk, b'[');
        loop {
            let stepped = agent
                .files
                .run(move || {
                    let mut found = Vec::new();
                    let is_done = walk.step(&mut found);
                    Ok((walk, found, is_done))
                })
                .await;
            let Ok((returned, found, is_done)) = stepped else { return pieces.fail().await };
            walk = returned;
            let mut text = Vec::new();
            for info in &found {
                text.push(std::mem::replace(&mut separator, b','));
                // It has no value that JSON lacks.
                let _ = serde_json::to_writer(&mut text, info);
            }
            if is_done {
                text.extend_from_slice(if separator == b'[' { b"[]" } else { b"]" });
            }
            if (!text.is_empty() && pieces.send(text).await.is_err()) || is_done {
                return;
            }
        }
    });
    json_pieces(body)
}

struct Walk {
    accounts: Accounts,
    root: PathBuf,
    depth_max: usize,
    /// Only files whose base name, or with a slash in it whose path from the root, matches.
    pattern: Option<String>,
    /// The folders on the way, each with the names that are left.
    levels: Vec<(PathBuf, IntoIter<OsString>)>,
}

impl Walk {
    fn open(path: &GuestPath, depth_max: usize, pattern: Option<String>) -> Result<Self, Failure> {
        let root = PathBuf::from(path.as_str());
        let found =
            found_at(&root).map_err(|errno| failure_os(format_args!("list {path}"), &errno.into()))?;
        if type_of(&found) != FileType::Directory {
            let message = format!("list {path}: it is not a directory");
            return Err(failure(FailureKind::WrongType, message));
        }
        let names = names_sorted(&root).map_err(|error| failure_os(format_args!("list {path}"), &error))?;
        let levels = if depth_max == 0 { Vec::new() } else { vec![(root.clone(), names)] };
        Ok(Self { accounts: Accounts::read(), root, depth_max, pattern, levels })
    }

    /// Goes on by some names; `true` at the end.
    fn step(&mut self, out: &mut Vec<FileInfo>) -> bool {
        for _ in 0..STEP_NAMES {
            let Some((folder, names)) = self.levels.last_mut() else { return true };
            let Some(name) = names.next() else {
                self.levels.pop();
                continue;
            };
            let path = folder.join(name);
            // Gone since its folder was read.
            let Ok(found) = found_at(&path) else { continue };
            let is_folder = type_of(&found) == FileType::Directory;
            if self.is_wanted(&path, is_folder) {
                out.push(info_of(&self.accounts, &path, &found));
            }
            // A folder that can't be read has nothing to show.
            if is_folder
                && self.levels.len() < self.depth_max
                && let Ok(names) = names_sorted(&path)
            {
                self.levels.push((path, names));
            }
        }
        false
    }

    fn is_wanted(&self, path: &Path, is_folder: bool) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let subject = if pattern.contains('/') {
            path.strip_prefix(&self.root).unwrap_or(path).as_os_str()
        } else {
            path.file_name().unwrap_or_default()
        };
        !is_folder && fast_glob::glob_match(pattern, subject.as_bytes())
    }
}

fn names_sorted(folder: &Path) -> std::io::Result<IntoIter<OsString>> {
    let mut names: Vec<OsString> = fs::read_dir(folder)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort_unstable();
    Ok(names.into_iter())
}
