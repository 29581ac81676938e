//! Directories: made with those above, listed, deleted with all that is below.

use std::{ffi::OsString, path::Path, rc::Rc};

use protocol::{GuestPath, agent::Failure};
use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, open, unlinkat},
    io::Errno,
};
use std::os::unix::ffi::OsStringExt;

use super::{
    files::{done, open_failed},
    told,
    types::{Entries, ErrorReply, PathRequest},
    value_of,
};
use crate::{
    agent::Agent,
    failure::failure_os,
    files::{FOLDER_MODE, folders_make_or_why},
    http::{HttpError, Incoming, Reply, json},
    surroundings::owner,
    tree::folder_remove,
};

/// `POST /make_dir`
pub(super) async fn make(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let PathRequest { path } = value_of(request).await?;
    let made = match owner(agent).await {
        Ok(owner) => {
            let make = move || {
                folders_make_or_why(Path::new(&path), FOLDER_MODE, owner)
                    .map_err(|(errno, _)| failure_os(format_args!("mkdir {path}"), &errno.into()))
            };
            agent.files.run(make).await
        }
        Err(failure) => Err(failure),
    };
    Ok(done(made))
}

/// `POST /delete_dir`
pub(super) async fn delete(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let PathRequest { path } = value_of(request).await?;
    let named = path.clone();
    let removed = match agent.files.run(move || file_remove(&named)).await {
        Ok(true) => Ok(()),
        Ok(false) => match absolute(&path) {
            Ok(folder) => folder_remove(&agent.files, folder).await,
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
    };
    Ok(done(removed))
}

/// Removes what is no directory; whether nothing is there now.
fn file_remove(path: &str) -> Result<bool, Failure> {
    match unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) if !path.is_empty() => Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        Err(errno) => Err(remove_failed(path, errno)),
    }
}

fn absolute(path: &str) -> Result<GuestPath, Failure> {
    let own = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let joined = own.join(path);
    GuestPath::absolute(joined.to_str().unwrap_or_default()).map_err(|_| remove_failed(path, Errno::INVAL))
}

fn remove_failed(path: &str, errno: Errno) -> Failure {
    failure_os(format_args!("remove {path}"), &errno.into())
}

/// `POST /list_dir`
pub(super) async fn list(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let PathRequest { path } = value_of(request).await?;
    Ok(match agent.files.run(move || names_of(&path)).await {
        Ok(entries) => json(&Entries { entries }),
        Err(failure) => json(&ErrorReply { error: told(failure) }),
    })
}

fn names_of(path: &str) -> Result<Vec<String>, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(path, flags, Mode::empty()).map_err(|errno| open_failed(path, errno))?;
    let read_failed = |errno: Errno| failure_os(format_args!("read {path}"), &errno.into());
    let mut names = Vec::new();
    for entry in Dir::new(folder).map_err(read_failed)? {
        let name = entry.map_err(read_failed)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| OsString::from_vec(name).to_string_lossy().into_owned()).collect())
}
