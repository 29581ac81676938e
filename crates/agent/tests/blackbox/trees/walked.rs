//! What a tree is, as far as programs can tell: two walks are equal where the trees are.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use rustix::fs::{lgetxattr, llistxattr};

/// All that is below a folder, by path.
pub(super) type Walked = BTreeMap<Vec<u8>, Found>;

/// One file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) modified: (i64, i64),
    /// Content of a file, target of a link.
    pub(super) content: Vec<u8>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first path of the same file.
    pub(super) same_as: Option<Vec<u8>>,
}

pub(super) fn walked(folder: &Path) -> Walked {
    let mut found = Walked::new();
    let mut numbers = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let mut paths: Vec<_> = fs::read_dir(&current).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort_unstable();
        for path in paths {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(folder).unwrap().as_os_str().as_bytes().to_vec();
            let content = if metadata.is_file() {
                fs::read(&path).unwrap()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else {
                Vec::new()
            };
            let first = numbers.entry(metadata.ino()).or_insert_with(|| name.clone()).clone();
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.insert(
                name.clone(),
                Found {
                    mode: metadata.mode(),
                    owner: (metadata.uid(), metadata.gid()),
                    modified: (metadata.mtime(), metadata.mtime_nsec()),
                    content,
                    attributes: attributes(&path),
                    same_as: (first != name).then_some(first),
                },
            );
        }
    }
    found
}

fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = vec![0; 64 << 10];
    let length = llistxattr(path, &mut list).unwrap_or(0);
    let names = list[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let mut attributes: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = lgetxattr(path, name, &mut value).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect();
    attributes.sort_unstable();
    attributes
}
