//! Takes files from a multipart body: pairs of `metadata` and `file`, streamed to where they belong.

use std::{
    error::Error as _,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::Stream;
use hyper::{body::Body, header};
use multer::{Field, Multipart};
use protocol::GuestPath;

use super::{super::types::FileMetadata, change::Change, path_of};
use crate::{
    agent::Agent,
    files::{Owner, Writing},
    http::{HttpError, Incoming, Reply, RequestBody, empty},
    surroundings::owner,
};

/// The largest metadata of one file.
const METADATA_BYTES_MAX: usize = 64 << 10;
/// What may come without being content: the heads of parts, and what is before the first.
const OVERHEAD_BYTES_MAX: usize = 1 << 20;

/// `POST /files/upload`
pub(in crate::execd) async fn files_upload(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = multer::parse_boundary(content_type.unwrap_or_default())
        .map_err(|error| HttpError::body(format!("the body must be multipart/form-data: {error}")))?;
    let fed = Arc::new(AtomicUsize::new(0));
    let parts = Parts { body: request.into_body(), fed: Arc::clone(&fed), is_resting: false };
    files_take(agent, &mut Multipart::new(parts, boundary), &fed).await.map(|()| empty())
}

async fn files_take(
    agent: &Agent,
    multipart: &mut Multipart<'_>,
    fed: &AtomicUsize,
) -> Result<(), HttpError> {
    let owner = owner(agent).await?;
    let mut target: Option<(GuestPath, Change)> = None;
    let mut files = 0;
    while let Some(mut field) = multipart.next_field().await.map_err(broken)? {
        fed.store(0, Ordering::Relaxed);
        match (field.name(), target.take()) {
            (Some("metadata"), None) => target = Some(metadata_take(&mut field, fed).await?),
            (Some("file"), Some((path, change))) => {
                file_take(agent, &mut field, fed, (path, owner), change).await?;
                files += 1;
            }
            (name, expected) => {
                let expected = if expected.is_some() { "file" } else { "metadata" };
                let name = name.unwrap_or_default();
                let message = format!("the part {name:?} came where `{expected}` was expected");
                return Err(HttpError::body(message));
            }
        }
    }
    match target {
        None if files > 0 => Ok(()),
        None => Err(HttpError::body("there is no part `metadata`")),
        Some((path, _)) => {
            Err(HttpError::body(format!("there is no part `file` after the metadata of {path}")))
        }
    }
}

async fn metadata_take(field: &mut Field<'_>, fed: &AtomicUsize) -> Result<(GuestPath, Change), HttpError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        fed.store(0, Ordering::Relaxed);
        bytes.extend_from_slice(&chunk);
        if bytes.len() > METADATA_BYTES_MAX {
            return Err(HttpError::body(format!(
                "the metadata of a file is over {METADATA_BYTES_MAX} bytes"
            )));
        }
    }
    let metadata: FileMetadata = serde_json::from_slice(&bytes).map_err(|error| {
        HttpError::body(format!("the metadata of a file is not as it should be: {error}"))
    })?;
    Ok((path_of(&metadata.path)?, Change::of(metadata.permission)?))
}

async fn file_take(
    agent: &Agent,
    field: &mut Field<'_>,
    fed: &AtomicUsize,
    (path, owner): (GuestPath, Option<Owner>),
    change: Change,
) -> Result<(), HttpError> {
    let writing = Writing::new(&agent.files, agent.execs.none_runs(), path.clone(), change.mode());
    let mut writing = writing.owned_by(owner);
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        fed.store(0, Ordering::Relaxed);
        writing.push(&chunk).await;
    }
    writing.finish().await?;
    if change.has_owner() {
        agent.files.run(move || change.apply(&path)).await?;
    }
    Ok(())
}

fn broken(error: multer::Error) -> HttpError {
    let reason = error.source().map_or(String::new(), |reason| format!(": {reason}"));
    HttpError::body(format!("the multipart body is not as it should be: {error}{reason}"))
}

/// The bytes of a body, for a parser that would otherwise take all that there is before it looks at any.
struct Parts {
    body: RequestBody,
    /// Bytes since the parser last made something of them.
    fed: Arc<AtomicUsize>,
    is_resting: bool,
}

impl Stream for Parts {
    type Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.is_resting) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let bytes = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            if bytes.is_empty() {
                continue;
            }
            self.is_resting = true;
            if self.fed.fetch_add(bytes.len(), Ordering::Relaxed) > OVERHEAD_BYTES_MAX {
                return Poll::Ready(Some(Err("the head of a part does not end".into())));
            }
            return Poll::Ready(Some(Ok(bytes)));
        }
    }
}
