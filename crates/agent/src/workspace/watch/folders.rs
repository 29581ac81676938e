//! The folders that are watched, and what the kernel says of them.
//!
//! A folder that comes to be is listed after it is watched: what was made in between is found then. Where the same
//! thing is told twice, [`super::merge`] tells it once.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, OwnedFd},
};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use rustix::{
    fs::{
        Dir, FileType, Mode, OFlags,
        inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    },
    io::Errno,
};

use super::merge::Changes;
use crate::{
    failure::{failure, failure_os},
    files::{is_draft, is_draft_of_new},
    workspace::{
        list::{FOLDER, joined},
        place,
    },
};

/// How many folders one watch has, and how many bytes of paths.
const FOLDERS_MAX: usize = 65_536;
const PATHS_BYTES_MAX: usize = 8 << 20;
/// Folders that one step goes into.
const STEP_FOLDERS: usize = 256;
/// Room for events that are read at once.
const EVENTS_BYTES: usize = 16 << 10;

/// What is wanted to be known of each folder.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);
/// The same of the folder that all others are below.
const ROOT_EVENTS: WatchFlags = EVENTS.union(WatchFlags::DELETE_SELF).union(WatchFlags::MOVE_SELF);

/// A folder that is watched with all below it.
pub(super) struct Watcher {
    inotify: OwnedFd,
    /// Not open: an open folder is not gone when it is removed, and nothing would tell.
    root: GuestPath,
    paths: HashMap<i32, Vec<u8>>,
    paths_bytes: usize,
    /// Folders to go into, and whether what is in them is news.
    found: VecDeque<(Vec<u8>, bool)>,
    /// Those that were met, while all are looked through anew.
    met: Option<HashSet<i32>>,
    /// What was moved away and has not come elsewhere yet.
    moving: Option<Moving>,
    pub(super) changes: Changes,
    /// Some folder is not watched.
    pub(super) is_blind: bool,
    /// The folder itself is not there any more.
    pub(super) is_gone: bool,
}

struct Moving {
    cookie: u32,
    from: Vec<u8>,
    is_folder: bool,
}

/// One event, taken out of the kernel's buffer.
struct Happened {
    wd: i32,
    flags: ReadFlags,
    cookie: u32,
    name: Option<Vec<u8>>,
}

impl Watcher {
    /// Begins to watch a folder; [`Self::step`] goes on with those below.
    ///
    /// # Errors
    /// A [`Failure`] when there is none, or no more can be watched at all.
    pub(super) fn open(root: &GuestPath) -> Result<Self, Failure> {
        let failed = |errno: Errno| failure_os(format_args!("watch {root}"), &errno.into());
        place::root_open(root)?;
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(failed)?;
        let mut watcher = Self {
            inotify,
            root: root.clone(),
            paths: HashMap::new(),
            paths_bytes: 0,
            found: VecDeque::new(),
            met: None,
            moving: None,
            changes: Changes::default(),
            is_blind: false,
            is_gone: false,
        };
        watcher.folder_add(Vec::new(), false).map_err(|errno| match errno {
            // inotify(7): the limit of watches, not a disk's.
            Errno::NOSPC => failure(
                FailureKind::LimitReached,
                format!("watch {root}: no more folders can be watched (fs.inotify.max_user_watches)"),
            ),
            errno => failed(errno),
        })?;
        Ok(watcher)
    }

    /// What is readable when something has happened.
    ///
    /// # Errors
    /// When there are too many descriptors.
    pub(super) fn events_fd(&self) -> io::Result<OwnedFd> {
        self.inotify.try_clone()
    }

    /// Whether folders wait to be gone into.
    pub(super) fn has_more(&self) -> bool {
        !self.found.is_empty() || self.met.is_some()
    }

    /// Goes into some of the folders that were found.
    pub(super) fn step(&mut self) {
        for _ in 0..STEP_FOLDERS {
            let Some((path, is_news)) = self.found.pop_front() else {
                self.unmet_drop();
                return;
            };
            self.paths_bytes -= path.len();
            match self.folder_add(path, is_news) {
                // It is gone again, is no folder any more, or is another's: what is mounted, or can't be read.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
                Err(_) => self.blind(),
            }
        }
    }

    /// Takes all that has happened.
    pub(super) fn read(&mut self) {
        let mut buffer = [const { MaybeUninit::uninit() }; EVENTS_BYTES];
        loop {
            let mut happened = Vec::new();
            let mut is_last = false;
            {
                let mut reader = Reader::new(&self.inotify, &mut buffer);
                loop {
                    match reader.next() {
                        Ok(event) => happened.push(Happened {
                            wd: event.wd(),
                            flags: event.events(),
                            cookie: event.cookie(),
                            name: event.file_name().map(|name: &CStr| name.to_bytes().to_vec()),
                        }),
                        Err(Errno::INTR) => continue,
                        // There is nothing more.
                        Err(_) => is_last = true,
                    }
                    if is_last || reader.is_buffer_empty() {
                        break;
                    }
                }
            }
            for event in happened {
                self.take(event);
            }
            if is_last {
                break;
            }
        }
        self.moving_settle();
    }

    fn take(&mut self, event: Happened) {
        let Happened { wd, flags, cookie, name } = event;
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.look_anew();
            return;
        }
        if flags.contains(ReadFlags::IGNORED) {
            self.forget(wd);
            return;
        }
        let Some(folder) = self.paths.get(&wd) else { return };
        let Some(name) = name else {
            // Of the others, the folder above tells it.
            self.is_gone |= flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF);
            return;
        };
        let is_folder = flags.contains(ReadFlags::ISDIR);
        let path = joined(folder, &name);
        if self
            .moving
            .as_ref()
            .is_some_and(|moving| !flags.contains(ReadFlags::MOVED_TO) || moving.cookie != cookie)
        {
            self.moving_settle();
        }
        if flags.contains(ReadFlags::MOVED_FROM) {
            self.moving = Some(Moving { cookie, from: path, is_folder });
        } else if flags.contains(ReadFlags::MOVED_TO) {
            self.arrived(path, is_folder);
        } else if is_draft(&name) {
            // Nobody's file until it has its name.
        } else if flags.contains(ReadFlags::CREATE) {
            self.changes.created(path.clone(), is_folder);
            if is_folder {
                self.found_add(path, true);
            }
        } else if flags.contains(ReadFlags::DELETE) {
            self.changes.deleted(path, is_folder);
        } else {
            self.changes.changed(path, is_folder);
        }
    }

    /// Something has got a name here.
    fn arrived(&mut self, path: Vec<u8>, is_folder: bool) {
        match self.moving.take() {
            Some(Moving { from, .. }) if is_draft(last(&from)) => {
                if is_draft_of_new(last(&from)) {
                    self.changes.created(path.clone(), is_folder);
                } else {
                    self.changes.changed(path.clone(), is_folder);
                }
            }
            Some(Moving { from, .. }) => {
                if is_folder {
                    self.paths_rename(&from, &path);
                    self.changes.folder_moved(&from, Some(&path));
                }
                self.changes.moved(from, path.clone(), is_folder);
            }
            None => self.changes.created(path.clone(), is_folder),
        }
        if is_folder {
            // Also one that has moved: it may have been made a moment ago, and not be watched yet.
            self.found_add(path, true);
        }
    }

    /// What was moved away did not come elsewhere below the folder.
    fn moving_settle(&mut self) {
        let Some(Moving { from, is_folder, .. }) = self.moving.take() else { return };
        if is_folder {
            let below = |path: &[u8]| is_at_or_below(path, &from);
            let gone: Vec<i32> =
                self.paths.iter().filter(|(_, path)| below(path)).map(|(wd, _)| *wd).collect();
            for wd in gone {
                let _ = inotify::remove_watch(&self.inotify, wd);
                self.forget(wd);
            }
            self.changes.folder_moved(&from, None);
        }
        if !is_draft(last(&from)) {
            self.changes.deleted(from, is_folder);
        }
    }

    /// Watches a folder, then lists it unless it was watched already.
    fn folder_add(&mut self, path: Vec<u8>, is_news: bool) -> Result<(), Errno> {
        let root = rustix::fs::open(self.root.as_str(), place::PLACE | OFlags::CLOEXEC, Mode::empty())?;
        let folder = place::open_below(root, &path, FOLDER, Mode::empty())?;
        let events = if path.is_empty() { ROOT_EVENTS } else { EVENTS };
        // The open folder and no other that has its name by now.
        let wd = match inotify::add_watch(
            &self.inotify,
            format!("/proc/self/fd/{}", folder.as_raw_fd()),
            events,
        ) {
            Err(Errno::NOSPC | Errno::NOMEM) if !path.is_empty() => {
                self.blind();
                return Ok(());
            }
            added => added?,
        };
        let is_met = self.met.as_mut().is_none_or(|met| !met.insert(wd));
        let known = self.paths.insert(wd, path.clone());
        self.paths_bytes += path.len();
        if let Some(known) = &known {
            self.paths_bytes -= known.len();
        }
        if is_met && known.as_ref() == Some(&path) {
            return Ok(());
        }
        for found in Dir::new(folder)?.flatten() {
            let name = found.file_name().to_bytes();
            if matches!(name, b"." | b"..") || is_draft(name) {
                continue;
            }
            let path = joined(&path, name);
            let is_folder = match found.file_type() {
                FileType::Unknown => true,
                kind => kind.is_dir(),
            };
            if is_news {
                self.changes.created(path.clone(), is_folder);
            }
            if is_folder {
                self.found_add(path, is_news);
            }
        }
        Ok(())
    }

    /// Has a folder gone into, if there is room for it.
    fn found_add(&mut self, path: Vec<u8>, is_news: bool) {
        if self.is_full(&path) {
            self.blind();
            return;
        }
        self.paths_bytes += path.len();
        self.found.push_back((path, is_news));
    }

    fn is_full(&self, path: &[u8]) -> bool {
        self.paths.len() + self.found.len() >= FOLDERS_MAX
            || self.paths_bytes + path.len() > PATHS_BYTES_MAX
            || protocol::entry_name::normalise(path).is_err()
    }

    /// Something can't be watched: what happens there is not known.
    fn blind(&mut self) {
        self.is_blind = true;
        self.changes.everything();
    }

    /// The kernel has dropped events: folders that nobody was told of are looked for.
    fn look_anew(&mut self) {
        self.moving = None;
        self.changes.everything();
        self.paths_bytes -= self.found.drain(..).map(|(path, _)| path.len()).sum::<usize>();
        self.found.push_back((Vec::new(), false));
        self.met = Some(HashSet::new());
    }

    /// All was looked through anew: what was not met is gone.
    fn unmet_drop(&mut self) {
        let Some(met) = self.met.take() else { return };
        let gone: Vec<i32> = self.paths.keys().filter(|wd| !met.contains(wd)).copied().collect();
        for wd in gone {
            let _ = inotify::remove_watch(&self.inotify, wd);
            self.forget(wd);
        }
    }

    fn forget(&mut self, wd: i32) {
        if let Some(path) = self.paths.remove(&wd) {
            self.paths_bytes -= path.len();
        }
    }

    /// A folder has another name, and all below it.
    fn paths_rename(&mut self, from: &[u8], to: &[u8]) {
        let watched = self.paths.values_mut();
        let waiting = self.found.iter_mut().map(|(path, _)| path);
        let mut bytes = 0_isize;
        for path in watched.chain(waiting).filter(|path| is_at_or_below(path, from)) {
            bytes += to.len().cast_signed() - from.len().cast_signed();
            path.splice(..from.len(), to.iter().copied());
        }
        self.paths_bytes = self.paths_bytes.saturating_add_signed(bytes);
    }
}

fn is_at_or_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The last part of a path.
fn last(path: &[u8]) -> &[u8] {
    protocol::entry_name::split(path).1
}
