//! Images: what a client may say of one, finding and pulling them, and what an image gives the programs in it.
//!
//! What an image says of itself is a stranger's words: it counts inside of sandboxes only. It must not know where
//! images are kept, nor what a registry is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub(crate) use protocol::image::ImageName;
pub use protocol::image::{ImageFailure, ImageFailureKind, PullProgress, RegistryLogin};
use protocol::{
    GuestPath,
    image::{ImageDigest, ImageFacts},
};
use tokio::sync::watch;

use crate::{
    Engine, Error, ErrorKind, Result, RuntimeError,
    agent::{self, AgentError, Connection},
    engine::Inner,
    program::{WORK_FOLDER, sandbox_ended},
};

/// The image of a sandbox, as a client asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImageSpec {
    /// The host's own `/usr`.
    #[default]
    Host,
    /// An image that was imported, or that a registry holds.
    Reference {
        /// As the client wrote it: `debian:12`, `ghcr.io/team/tool@sha256:…`.
        reference: String,
        /// What to show the registry if the image is not here yet.
        login: Option<RegistryLogin>,
    },
}

/// An image that is here, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// What it is called by, for ever: a name may mean another one tomorrow.
    pub digest: ImageDigest,
    /// What it is for: `linux/amd64`.
    pub platform: String,
    /// The program, with its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program where there is no entry point.
    pub cmd: Vec<String>,
    /// Its variables.
    pub env: Vec<(String, String)>,
    /// User, and group after a colon, each by name or number; none for root.
    pub user: Option<String>,
    /// The folder that programs start in.
    pub workdir: GuestPath,
}

/// How long an agent may take to make a folder.
const AGENT_PATIENCE: Duration = Duration::from_secs(60);
/// Where programs of an image are that says nothing of it, as elsewhere.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl ResolvedImage {
    fn of(facts: ImageFacts) -> Self {
        let variable = |text: String| {
            let (name, value) = text.split_once('=')?;
            let is_good = !name.is_empty() && !text.contains('\0');
            is_good.then(|| (name.to_owned(), value.to_owned()))
        };
        Self {
            digest: facts.digest,
            platform: facts.platform,
            entrypoint: facts.entrypoint,
            cmd: facts.cmd,
            env: facts.env.into_iter().filter_map(variable).collect(),
            user: Some(facts.user).filter(|user| !user.is_empty()),
            workdir: GuestPath::root().join_below(&facts.workdir).unwrap_or_else(|_| GuestPath::root()),
        }
    }

    /// What the image starts if it is not told what: entry point and arguments. Empty if it says none.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.cmd).cloned().collect()
    }
}

/// What a sandbox's image gives the programs in it.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// Environment; what the client says goes before it.
    pub(crate) env: Vec<(String, String)>,
    /// Where programs start.
    pub(crate) cwd: GuestPath,
    /// Whose they are, by the sandbox's own table; root's if there is none.
    pub(crate) user: Option<String>,
    /// Whether the folder they start in may be missing.
    cwd_may_be_missing: bool,
}

impl Base {
    fn of(image: &ResolvedImage) -> Self {
        let user =
            image.user.clone().filter(|user| !matches!(user.as_str(), "root" | "0" | "0:0" | "root:root"));
        let mut default = vec![("PATH".to_owned(), PATH.to_owned())];
        if user.is_none() {
            default.push(("HOME".to_owned(), "/root".to_owned()));
        }
        Self {
            env: with(&default, &image.env),
            cwd: image.workdir.clone(),
            user,
            cwd_may_be_missing: image.workdir != GuestPath::root(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(env: &[(&str, &str)], cwd: &str) -> Self {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let cwd = GuestPath::absolute(cwd).unwrap();
        Self { env, cwd, user: None, cwd_may_be_missing: false }
    }

    /// The environment of a sandbox's programs, root's.
    pub(crate) fn environment(&self, own: &[(String, String)]) -> Vec<(String, String)> {
        with(&self.env, own)
    }

    /// Sees that programs can start in a sandbox that was just launched.
    pub(crate) async fn prepare(&self, connection: &mut Connection) -> Result<()> {
        if !self.cwd_may_be_missing {
            return Ok(());
        }
        let made = agent::folder_create(connection, self.cwd.clone());
        match tokio::time::timeout(AGENT_PATIENCE, made).await {
            // Whatever starts there says what is wrong with it.
            Ok(Ok(()) | Err(AgentError::Failed(_))) => Ok(()),
            Ok(Err(error)) => Err(sandbox_ended(error)),
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "The sandbox does not answer")),
        }
    }
}

/// Variables, each once, over others.
pub(crate) fn with(base: &[(String, String)], own: &[(String, String)]) -> Vec<(String, String)> {
    let hidden = |name: &String| own.iter().any(|(other, _)| other == name);
    base.iter().filter(|(name, _)| !hidden(name)).chain(own).cloned().collect()
}

/// What was asked of images that are here. One that has a digest never changes.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<ImageDigest, Arc<Base>>>);

/// Images whose words are kept; more are asked for again.
const KNOWN_MAX: usize = 256;

impl Known {
    fn get(&self, digest: &ImageDigest) -> Option<Arc<Base>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn insert(&self, digest: ImageDigest, base: Arc<Base>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(digest, base);
    }
}

impl Inner {
    /// What an image that is on record gives its programs.
    pub(crate) async fn image_base(&self, image: &str) -> Result<Arc<Base>> {
        let digest = match image_name(image)? {
            ImageName::Host => {
                return Ok(Arc::new(Base {
                    env: self.settings.environment.clone(),
                    cwd: GuestPath::absolute(WORK_FOLDER).map_err(Error::internal)?,
                    user: None,
                    cwd_may_be_missing: false,
                }));
            }
            ImageName::Oci(digest) => digest,
        };
        if let Some(base) = self.images.get(&digest) {
            return Ok(base);
        }
        let facts = self.runtime.image_get(digest).await.map_err(image_error)?;
        let base = Arc::new(Base::of(&ResolvedImage::of(facts)));
        self.images.insert(digest, Arc::clone(&base));
        Ok(base)
    }
}

/// The image that a record names.
pub(crate) fn image_name(image: &str) -> Result<ImageName> {
    // It may have been made from one that could not be had.
    image
        .parse()
        .map_err(|error| Error::new(ErrorKind::Conflict, "The sandbox has no image").caused_by(error))
}

impl Engine {
    /// The image that is called so here. It may be had from its registry when it is not: [`Self::image_pull`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it is not here; [`ErrorKind::Invalid`] when the text is no reference.
    pub async fn image_resolve(&self, reference: &str) -> Result<ResolvedImage> {
        self.inner.image_resolve(reference).await
    }

    /// Downloads an image and unpacks it. Whoever listens to `progress` learns how far it is. It goes on when the
    /// caller goes away; several who want the same wait for one download.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the reference is none, the image does not exist, is private, is for other platforms,
    /// is not what its digest says, or is hostile; [`ErrorKind::Unavailable`] when the registry can't be reached or
    /// there is no room; [`ErrorKind::Busy`]. [`Error::image_failure`] tells them apart.
    pub async fn image_pull(
        &self,
        reference: &str,
        login: Option<RegistryLogin>,
        progress: Option<watch::Sender<PullProgress>>,
    ) -> Result<ResolvedImage> {
        self.inner.image_pull(reference, login, progress).await
    }

    /// The image that is called so: as it is here, or else pulled.
    ///
    /// # Errors
    /// Those of [`Self::image_pull`].
    pub async fn image_ensure(
        &self,
        reference: &str,
        login: Option<RegistryLogin>,
        progress: Option<watch::Sender<PullProgress>>,
    ) -> Result<ResolvedImage> {
        match self.image_resolve(reference).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.image_pull(reference, login, progress).await
            }
            resolved => resolved,
        }
    }
}

impl Inner {
    async fn image_resolve(&self, reference: &str) -> Result<ResolvedImage> {
        let found = self.runtime.image_find(reference.to_owned()).await;
        found.map(ResolvedImage::of).map_err(image_error)
    }

    async fn image_pull(
        &self,
        reference: &str,
        login: Option<RegistryLogin>,
        progress: Option<watch::Sender<PullProgress>>,
    ) -> Result<ResolvedImage> {
        let pulled = self.runtime.image_pull(reference.to_owned(), login, progress).await;
        pulled.map(ResolvedImage::of).map_err(image_error)
    }

    /// The image of a sandbox that is made from this, or what it is called if it is not here.
    pub(crate) async fn image_here(
        &self,
        spec: &ImageSpec,
    ) -> Result<std::result::Result<ImageName, String>> {
        let ImageSpec::Reference { reference, .. } = spec else { return Ok(Ok(ImageName::Host)) };
        match self.image_resolve(reference).await {
            Ok(image) => Ok(Ok(ImageName::Oci(image.digest))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Err(reference.clone())),
            Err(error) => Err(error),
        }
    }

    /// The image of a sandbox that is made from this, pulled if it is not here.
    pub(crate) async fn image_of(&self, spec: &ImageSpec) -> Result<ImageName> {
        match (self.image_here(spec).await?, spec) {
            (Ok(name), _) => Ok(name),
            (Err(_), ImageSpec::Host) => Ok(ImageName::Host),
            (Err(reference), ImageSpec::Reference { login, .. }) => {
                let image = self.image_pull(&reference, login.clone(), None).await?;
                Ok(ImageName::Oci(image.digest))
            }
        }
    }
}

impl Error {
    /// Why there is no such image, if that is what is wrong.
    #[must_use]
    pub fn image_failure(&self) -> Option<&ImageFailure> {
        std::error::Error::source(self)?.downcast_ref()
    }
}

fn image_error(error: RuntimeError) -> Error {
    let RuntimeError::Image(failure) = error else { return Error::internal(error) };
    let text = failure.text.clone();
    let error = match failure.kind {
        ImageFailureKind::NotHere => Error::new(ErrorKind::NotFound, text),
        ImageFailureKind::Reference
        | ImageFailureKind::NotFound
        | ImageFailureKind::Denied
        | ImageFailureKind::Platform
        | ImageFailureKind::Digest
        | ImageFailureKind::Content => Error::invalid("image", text),
        ImageFailureKind::NoRoom | ImageFailureKind::Unreachable => Error::new(ErrorKind::Unavailable, text),
        ImageFailureKind::Busy => Error::new(ErrorKind::Busy { retry_after_s: 5 }, text),
        ImageFailureKind::Internal => Error::new(ErrorKind::Internal, "Internal error"),
    };
    error.caused_by(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(env: &[&str], user: &str, workdir: &str) -> ImageFacts {
        ImageFacts {
            digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
            platform: "linux/amd64".to_owned(),
            entrypoint: vec!["/bin/tool".to_owned()],
            cmd: vec!["--serve".to_owned()],
            env: env.iter().map(|text| (*text).to_owned()).collect(),
            user: user.to_owned(),
            workdir: workdir.to_owned(),
        }
    }

    #[test]
    fn the_clients_environment_is_over_the_images_and_that_over_the_usual() {
        let image = ResolvedImage::of(facts(&["HOME=/srv", "A=image", "B=image", "broken", "=x"], "", ""));
        assert_eq!(image.command(), ["/bin/tool", "--serve"]);
        let base = Base::of(&image);
        let own = [("A".to_owned(), "client".to_owned())];
        let env: Vec<String> =
            base.environment(&own).iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(env, [&format!("PATH={PATH}"), "HOME=/srv", "B=image", "A=client"]);
    }

    #[test]
    fn what_an_image_says_stays_inside() {
        for (said, is) in
            [("", "/"), ("/app", "/app"), ("app/x", "/app/x"), ("../../etc", "/"), ("/a/../..", "/")]
        {
            assert_eq!(ResolvedImage::of(facts(&[], "", said)).workdir.as_str(), is, "{said}");
        }
        assert_eq!(ResolvedImage::of(facts(&[], "1000:50", "")).user.as_deref(), Some("1000:50"));
    }
}
