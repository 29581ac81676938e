//! Images: what is here is told, what is not is pulled by a child of its own, so that no sandbox waits.
//!
//! The child keeps the files and sees that layers are unpacked; what strangers wrote is read by the two programs of
//! [`storage::images::ImagePrograms`], which have given up their power before.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use protocol::{
    SandboxId,
    image::{
        FACTS_BYTES_MAX, ImageDigest, ImageFacts, ImageFailure, ImageFailureKind, LOGIN_BYTES_MAX,
        PullProgress, REFERENCE_BYTES_MAX, RegistryLogin,
    },
    launcher::Reply,
};
use rustix::{
    io::Errno,
    process::{Signal, WaitId, WaitIdOptions, getpid, getppid, set_parent_process_death_signal, waitid},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use storage::{
    images::{
        Credentials, HeldImage, Image, ImageError, Reference, image_find, image_get, image_hold, image_pull,
    },
    progress::{Progress, ProgressEvent},
};

use super::{
    LauncherConfig, calls,
    serve::{Launcher, Source},
};
use crate::{
    failure::{Step, StepError},
    sys,
};

/// As many pulls go on at once.
const PULLS_MAX: usize = 8;
/// As often a pull tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// A pull under way.
pub(super) struct Pull {
    number: u64,
    pidfd: OwnedFd,
}

/// How a pull's process ends that has answered.
const ANSWERED: i32 = 0;

impl Launcher {
    /// Holds an image for a launch.
    pub(super) fn image_hold(&self, digest: &ImageDigest) -> Result<HeldImage, StepError> {
        image_hold(&self.config.images, digest).map_err(|error| {
            let errno = match &error {
                ImageError::Unknown { .. } => Errno::NOENT,
                ImageError::Busy => Errno::BUSY,
                ImageError::Io { source, .. } => Errno::from_io_error(source).unwrap_or(Errno::IO),
                _ => Errno::IO,
            };
            StepError::new(format!("take the image: {error}"), errno)
        })
    }

    pub(super) fn image_find(&self, number: u64, reference: &str) {
        let found = reference_parse(reference).and_then(|reference| {
            image_find(&self.config.images, &reference).map_err(|error| failure_of(&error))
        });
        self.image_answer(number, found);
    }

    pub(super) fn image_get(&self, number: u64, digest: &ImageDigest) {
        self.image_answer(number, image_get(&self.config.images, digest).map_err(|error| failure_of(&error)));
    }

    fn image_answer(&self, number: u64, found: Result<Image, ImageFailure>) {
        calls::send(&self.socket, &answer(number, found), None);
    }

    /// Begins a pull. Its process answers.
    pub(super) fn image_pull(&mut self, number: u64, reference: &str, login: Option<RegistryLogin>) {
        let is_long =
            |login: &RegistryLogin| login.username.len().max(login.password.len()) > LOGIN_BYTES_MAX;
        let begun = if login.as_ref().is_some_and(is_long) {
            Err(failure(ImageFailureKind::Reference, "the user name or the password is too long"))
        } else if self.pulls.len() >= PULLS_MAX {
            Err(failure(ImageFailureKind::Busy, "too many images are being pulled; try again"))
        } else {
            reference_parse(reference).and_then(|reference| {
                self.pull_start(number, &reference, login)
                    .map_err(|error| failure(ImageFailureKind::Internal, &error.to_string()))
            })
        };
        if let Err(failure) = begun {
            calls::send(&self.socket, &Reply::ImageFailed { number, failure }, None);
        }
    }

    fn pull_start(
        &mut self,
        number: u64,
        reference: &Reference,
        login: Option<RegistryLogin>,
    ) -> Result<(), StepError> {
        let launcher = getpid();
        match sys::clone_into(0, None).step(|| "fork a pull".to_owned())? {
            sys::Cloned::Child => {
                let _ = rustix::thread::set_name(c"atoll-pull");
                let _ = set_parent_process_death_signal(Some(Signal::KILL));
                // The launcher may have died before it could be told of that.
                if getppid() != Some(launcher) {
                    sys::exit_now(1);
                }
                let pulled = pull(&self.config, &self.host_mounts, &self.socket, number, reference, login);
                calls::send(&self.socket, &answer(number, pulled), None);
                sys::exit_now(ANSWERED)
            }
            sys::Cloned::Parent { pidfd, .. } => {
                // Events are told apart by a sandbox; this is none, and has a name of the same kind.
                let id = SandboxId::random();
                let watched = self.watch_fd(pidfd.as_fd(), id, Source::Pull);
                self.pulls.insert(id, Pull { number, pidfd });
                if let Err(error) = watched {
                    // Then it is waited for here.
                    self.report_error(Err(error));
                    self.pull_ended(id);
                }
                Ok(())
            }
        }
    }

    /// A pull's process has ended.
    pub(super) fn pull_ended(&mut self, id: SandboxId) {
        let Some(Pull { number, pidfd }) = self.pulls.remove(&id) else { return };
        let _ = rustix::event::epoll::delete(&self.epoll, &pidfd);
        let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        let has_answered = ended.ok().flatten().is_some_and(|ended| ended.exit_status() == Some(ANSWERED));
        if !has_answered {
            let failure = failure(ImageFailureKind::Internal, "the process that pulled the image died");
            calls::send(&self.socket, &Reply::ImageFailed { number, failure }, None);
        }
    }
}

/// The whole of a pull, in its own process.
fn pull(
    config: &LauncherConfig,
    host_mounts: &OwnedFd,
    server: &OwnedFd,
    number: u64,
    reference: &Reference,
    login: Option<RegistryLogin>,
) -> Result<Image, ImageFailure> {
    // Name servers and certificates are files that the launcher's own mount namespace may not have.
    move_into_link_name_space(host_mounts.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(|errno| failure(ImageFailureKind::Internal, &format!("enter the host's mounts: {errno}")))?;
    let credentials = login.map(|RegistryLogin { username, password }| Credentials { username, password });
    let mut told = Told { server, number, last: None };
    image_pull(&config.images, reference, credentials.as_ref(), None, config.image_programs, &mut told)
        .map_err(|error| failure_of(&error))
}

/// Tells the server how far a pull is.
struct Told<'a> {
    server: &'a OwnedFd,
    number: u64,
    last: Option<(Instant, bool)>,
}

impl Progress for Told<'_> {
    fn report(&mut self, event: ProgressEvent<'_>) {
        let progress = match event {
            ProgressEvent::Downloading { done_bytes, total_bytes, .. } => {
                PullProgress { unpacking: false, done_bytes, total_bytes }
            }
            ProgressEvent::Unpacking { done_bytes, total_bytes, .. } => {
                PullProgress { unpacking: true, done_bytes, total_bytes }
            }
            ProgressEvent::Waiting { .. } | ProgressEvent::Installed { .. } => return,
        };
        let is_old =
            |(at, unpacking): (Instant, bool)| at.elapsed() >= TELL_EVERY || unpacking != progress.unpacking;
        if self.last.is_none_or(is_old) {
            self.last = Some((Instant::now(), progress.unpacking));
            calls::send(self.server, &Reply::ImageProgress { number: self.number, progress }, None);
        }
    }
}

fn reference_parse(text: &str) -> Result<Reference, ImageFailure> {
    if text.len() > REFERENCE_BYTES_MAX {
        return Err(failure(ImageFailureKind::Reference, "the reference of the image is too long"));
    }
    text.parse::<Reference>().map_err(|error| failure(ImageFailureKind::Reference, &error.to_string()))
}

fn answer(number: u64, found: Result<Image, ImageFailure>) -> Reply {
    match found.and_then(facts_of) {
        Ok(facts) => Reply::Image { number, facts },
        Err(failure) => Reply::ImageFailed { number, failure },
    }
}

fn facts_of(image: Image) -> Result<ImageFacts, ImageFailure> {
    let internal = |error: &dyn std::fmt::Display| failure(ImageFailureKind::Internal, &error.to_string());
    let Image { digest, platform, config, name, .. } = image;
    let facts = ImageFacts {
        digest: digest.image_digest().map_err(|error| internal(&error))?,
        platform: platform.to_string(),
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        env: config.env,
        user: config.user,
        workdir: config.workdir,
    };
    let bytes = postcard::to_stdvec(&facts).map_err(|error| internal(&error))?.len();
    if bytes > FACTS_BYTES_MAX {
        let text = format!("the image {name} is not taken: its environment and commands are too long");
        return Err(failure(ImageFailureKind::Content, &text));
    }
    Ok(facts)
}

fn failure(kind: ImageFailureKind, text: &str) -> ImageFailure {
    ImageFailure { kind, text: text.to_owned() }
}

/// An error in the words of clients: what is wrong on the host is the log's.
fn failure_of(error: &ImageError) -> ImageFailure {
    let kind = match error {
        ImageError::Transport { .. } | ImageError::Answer { .. } => ImageFailureKind::Unreachable,
        ImageError::NotFound { .. } => ImageFailureKind::NotFound,
        ImageError::Denied { logged_in, image, registry } => {
            let why =
                if *logged_in { "the login is wrong, or has no right to it" } else { "it wants a login" };
            let text = format!("{registry} does not give {image}: it is private, or there is none; {why}");
            return failure(ImageFailureKind::Denied, &text);
        }
        ImageError::Manifest { .. } | ImageError::Layer { .. } => ImageFailureKind::Content,
        ImageError::Platform { .. } => ImageFailureKind::Platform,
        ImageError::Digest { .. } => ImageFailureKind::Digest,
        ImageError::Unknown { name } => {
            return failure(ImageFailureKind::NotHere, &format!("there is no image {name} here"));
        }
        ImageError::Busy => ImageFailureKind::Busy,
        ImageError::InUse { .. } => ImageFailureKind::Internal,
        ImageError::Io { source, .. } => {
            let is_full = matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            );
            super::tell(format_args!("{error}: {source}"));
            return if is_full {
                failure(ImageFailureKind::NoRoom, "the storage has no room for the image")
            } else {
                failure(ImageFailureKind::Internal, "the image could not be kept; see the server's log")
            };
        }
    };
    failure(kind, &error.to_string())
}
