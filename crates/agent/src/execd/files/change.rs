//! Makes and removes, and sets who may do what.

use std::{collections::BTreeMap, path::Path, rc::Rc};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, Uid, chmod, chownat, unlinkat},
    io::Errno,
};

use super::{super::types::Permission, info::mode_of, path_of};
use crate::{
    agent::Agent,
    failure::{failure, failure_os},
    files::{FOLDER_MODE, folders_make_for},
    http::{HttpError, Incoming, Query, Reply, empty, json_object},
    surroundings::{Accounts, owner},
    tree::folder_remove,
};

/// `DELETE /files?path=…`
pub(in crate::execd) async fn files_remove(agent: &Rc<Agent>, query: &Query) -> Result<Reply, HttpError> {
    for name in query.all("path")? {
        let path = path_of(&name)?;
        agent.files.run(move || file_remove(&path)).await?;
    }
    Ok(empty())
}

fn file_remove(path: &GuestPath) -> Result<(), Failure> {
    match unlinkat(CWD, path.as_str(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failure_os(format_args!("remove {path}"), &errno.into())),
    }
}

/// `POST /files/permissions`
pub(in crate::execd) async fn permissions_set(
    agent: &Rc<Agent>,
    request: Incoming,
) -> Result<Reply, HttpError> {
    let wanted: BTreeMap<String, Permission> = json_object(request).await?;
    for (name, permission) in wanted {
        let (path, change) = (path_of(&name)?, Change::of(permission)?);
        agent.files.run(move || change.apply(&path)).await?;
    }
    Ok(empty())
}

/// `POST /directories`
pub(in crate::execd) async fn directories_create(
    agent: &Rc<Agent>,
    request: Incoming,
) -> Result<Reply, HttpError> {
    let wanted: BTreeMap<String, Permission> = json_object(request).await?;
    let owner = owner(agent).await?;
    for (name, permission) in wanted {
        let (path, change) = (path_of(&name)?, Change::of(permission)?);
        let make = move || {
            folders_make_for(Path::new(path.as_str()), FOLDER_MODE, owner)?;
            change.apply(&path)
        };
        agent.files.run(make).await?;
    }
    Ok(empty())
}

/// `DELETE /directories?path=…`
pub(in crate::execd) async fn directories_remove(
    agent: &Rc<Agent>,
    query: &Query,
) -> Result<Reply, HttpError> {
    for name in query.all("path")? {
        folder_remove(&agent.files, path_of(&name)?).await?;
    }
    Ok(empty())
}

/// Permissions that were checked, but for names that only the sandbox knows.
pub(super) struct Change {
    owner: Option<String>,
    group: Option<String>,
    mode: Option<u32>,
}

impl Change {
    /// # Errors
    /// 400 for a mode that is none.
    pub(super) fn of(permission: Permission) -> Result<Self, HttpError> {
        let is_said = |name: &String| !name.is_empty();
        let mode = match permission.mode {
            None | Some(0) => None,
            Some(digits) => Some(mode_of(digits).ok_or_else(|| {
                HttpError::body(format!("the mode {digits} has not one to four octal digits, as 644 has"))
            })?),
        };
        Ok(Self { owner: permission.owner.filter(is_said), group: permission.group.filter(is_said), mode })
    }

    pub(super) fn mode(&self) -> Option<u32> {
        self.mode
    }

    /// Whether something besides the mode is to change.
    pub(super) fn has_owner(&self) -> bool {
        self.owner.is_some() || self.group.is_some()
    }

    /// Changes what is at the path; where it is a link, what that leads to.
    pub(super) fn apply(&self, path: &GuestPath) -> Result<(), Failure> {
        if self.has_owner() {
            let accounts = Accounts::read();
            let id_of = |name: &Option<String>, id: &dyn Fn(&str) -> Option<u32>, what| match name {
                None => Ok(None),
                Some(name) => id(name).map(Some).ok_or_else(|| {
                    failure(FailureKind::Invalid, format!("change {path}: there is no {what} {name:?}"))
                }),
            };
            let uid = id_of(&self.owner, &|name| accounts.user_id(name), "user")?.map(Uid::from_raw);
            let gid = id_of(&self.group, &|name| accounts.group_id(name), "group")?.map(Gid::from_raw);
            chownat(CWD, path.as_str(), uid, gid, AtFlags::empty())
                .map_err(|errno| failure_os(format_args!("change the owner of {path}"), &errno.into()))?;
        }
        // Last: a change of owner takes away bits.
        if let Some(mode) = self.mode {
            chmod(path.as_str(), Mode::from_raw_mode(mode))
                .map_err(|errno| failure_os(format_args!("change the mode of {path}"), &errno.into()))?;
        }
        Ok(())
    }
}
