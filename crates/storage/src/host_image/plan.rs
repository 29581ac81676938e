//! The image as data: every folder, file and link of it, before anything is written.
//!
//! It must not know where entries come from or where they go.

use std::{collections::BTreeMap, path::PathBuf};

use protocol::GuestPath;
use sha2::{Digest as _, Sha256};

/// One entry of the image. All belong to root. Modes have no set-user-id bit and are not writable by others,
/// sticky folders aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder {
        mode: u32,
    },
    Text {
        mode: u32,
        bytes: Vec<u8>,
    },
    /// A file of the host, copied when the image is written.
    Copy {
        mode: u32,
        from: PathBuf,
        stamp: Stamp,
    },
    Link {
        target: String,
    },
}

/// What changes when a file of the host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    pub(super) size_bytes: u64,
    pub(super) changed_s: i64,
    pub(super) changed_ns: i64,
}

/// The image, by path. A folder comes before what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    nodes: BTreeMap<GuestPath, Node>,
}

impl Plan {
    /// Adds an entry, in the place of another at the same path. Folders above it are added where missing.
    pub(super) fn add(&mut self, path: GuestPath, node: Node) {
        let mut above = path.parent();
        while let Some(folder) = above {
            above = folder.parent();
            self.nodes.entry(folder).or_insert(Node::Folder { mode: 0o755 });
        }
        self.nodes.insert(path, node);
    }

    /// What is at `path`.
    #[cfg(test)]
    pub(super) fn get(&self, path: &GuestPath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// All entries, folders before what is in them.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&GuestPath, &Node)> {
        self.nodes.iter()
    }

    /// Removes the links that would lead nowhere: neither into `/usr` nor to an entry of the plan.
    pub(super) fn drop_dangling_links(&mut self) {
        // A link may lead to one that goes.
        loop {
            let dangling: Vec<GuestPath> = self
                .entries()
                .filter(|entry| self.is_dangling(*entry))
                .map(|(path, _)| path.clone())
                .collect();
            if dangling.is_empty() {
                return;
            }
            for path in dangling {
                self.nodes.remove(&path);
            }
        }
    }

    fn is_dangling(&self, (path, node): (&GuestPath, &Node)) -> bool {
        let Node::Link { target } = node else { return false };
        !leads_into_usr(path, target)
            && !resolve(path, target).is_some_and(|target| self.nodes.contains_key(&target))
    }

    /// A digest of everything that the written image depends on.
    pub(super) fn fingerprint(&self, salt: &str) -> String {
        let mut digest = Sha256::new();
        let mut feed = |bytes: &[u8]| {
            digest.update(bytes.len().to_le_bytes());
            digest.update(bytes);
        };
        feed(salt.as_bytes());
        for (path, node) in &self.nodes {
            feed(path.as_str().as_bytes());
            match node {
                Node::Folder { mode } => feed(format!("folder {mode:o}").as_bytes()),
                Node::Link { target } => feed(format!("link {target}").as_bytes()),
                Node::Copy { mode, from, stamp } => {
                    feed(format!("copy {mode:o} {} {stamp:?}", from.display()).as_bytes());
                }
                Node::Text { mode, bytes } => {
                    feed(format!("text {mode:o}").as_bytes());
                    feed(bytes);
                }
            }
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Where the link at `path` leads, by its text alone; `None` if that is above `/` or no path.
pub(super) fn resolve(path: &GuestPath, target: &str) -> Option<GuestPath> {
    if target.starts_with('/') {
        return GuestPath::absolute(target).ok();
    }
    let folder = path.parent()?;
    GuestPath::absolute(&format!("{}/{target}", folder.as_str())).ok()
}

/// Whether the link at `path` leads into `/usr`, also through `/bin`, `/lib` and the like.
pub(super) fn leads_into_usr(path: &GuestPath, target: &str) -> bool {
    resolve(path, target).is_some_and(|target| {
        let first = target.as_str().split('/').nth(1);
        first == Some("usr") || first.is_some_and(|first| super::USR_LINKS.contains(&first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> GuestPath {
        GuestPath::absolute(text).unwrap()
    }

    fn link(target: &str) -> Node {
        Node::Link { target: target.to_owned() }
    }

    #[test]
    fn folders_above_are_added_and_come_first() {
        let mut plan = Plan::default();
        plan.add(path("/etc/ssl/certs/a"), link("/usr/a"));
        plan.add(path("/etc"), Node::Folder { mode: 0o700 });
        let order: Vec<&str> = plan.entries().map(|(path, _)| path.as_str()).collect();
        assert_eq!(order, ["/", "/etc", "/etc/ssl", "/etc/ssl/certs", "/etc/ssl/certs/a"]);
        assert_eq!(plan.get(&path("/etc")), Some(&Node::Folder { mode: 0o700 }));
    }

    #[test]
    fn links_are_followed_by_their_text() {
        let at = path("/etc/alternatives/awk");
        assert!(leads_into_usr(&at, "/usr/bin/mawk"));
        assert!(leads_into_usr(&at, "../../usr/bin/mawk"));
        assert!(leads_into_usr(&at, "/bin/nc.traditional"));
        assert!(!leads_into_usr(&at, "/usr/../etc/shadow"));
        assert!(!leads_into_usr(&at, "../../../usr/bin/mawk"));
        assert!(!leads_into_usr(&at, "/usrlocal/x"));
        assert!(!leads_into_usr(&at, "/opt/java/bin/java"));
    }

    #[test]
    fn links_that_lead_nowhere_go_and_those_to_them() {
        let mut plan = Plan::default();
        plan.add(path("/etc/a"), link("b"));
        plan.add(path("/etc/b"), link("/root/secret"));
        plan.add(path("/etc/c"), link("d"));
        plan.add(path("/etc/d"), link("/usr/d"));
        plan.drop_dangling_links();
        let order: Vec<&str> = plan.entries().map(|(path, _)| path.as_str()).collect();
        assert_eq!(order, ["/", "/etc", "/etc/c", "/etc/d"]);
    }

    #[test]
    fn the_fingerprint_depends_on_everything() {
        let stamp = Stamp { inode: 1, size_bytes: 2, changed_s: 3, changed_ns: 4 };
        let node = |mode, stamp| Node::Copy { mode, from: "/etc/x".into(), stamp };
        let nodes = [
            node(0o644, stamp),
            node(0o600, stamp),
            node(0o644, Stamp { changed_ns: 5, ..stamp }),
            Node::Text { mode: 0o644, bytes: b"a".to_vec() },
            Node::Text { mode: 0o644, bytes: b"b".to_vec() },
            Node::Folder { mode: 0o755 },
            link("a"),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for node in nodes {
            let mut plan = Plan::default();
            plan.add(path("/etc/x"), node);
            assert!(seen.insert(plan.fingerprint("boot")));
            assert!(seen.insert(plan.fingerprint("other boot")));
        }
    }
}
