//! A file that is uploaded as a form. It is held in memory until its path is known, which may come after it.

use std::io;

use axum::{
    Json,
    extract::{FromRequest, Request, State},
    http::header,
};
use bytes::Bytes;
use engine::Engine;
use futures::{Stream, stream::try_unfold};
use multer::{Field, Multipart};
use tokio::io::AsyncBufReadExt;

use super::{
    error::SessionsError,
    session::{Session, required, workspace, wrong},
    types::{SUCCESS, SuccessBody, UploadForm},
};
use crate::{
    body_reader::{BodyReader, body_stream},
    error::ErrorBody,
    reject::Rejection,
};

/// The largest file.
const FILE_BYTES_MAX: usize = 10 << 20;
/// The longest path.
const PATH_BYTES_MAX: usize = 4095;
/// What a form has around the file.
const FORM_BYTES_MAX: usize = 64 << 10;
/// Its file and its path must be there.
const REQUIRED: &str = "File and target path are required";

/// What the form had.
pub(super) struct Upload {
    path: String,
    file: Vec<u8>,
}

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = SessionsError;

    async fn from_request(request: Request, _: &S) -> Result<Self, SessionsError> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = multer::parse_boundary(content_type.unwrap_or_default())
            .map_err(|_| wrong(format!("{REQUIRED}, as multipart/form-data")))?;
        let length_max = (FILE_BYTES_MAX + FORM_BYTES_MAX) as u64;
        let body = body_stream(request, length_max, FILE_BYTES_MAX).await;
        let (reader, trouble) = body.map_err(|rejection| match rejection {
            Rejection::BodyTooLarge { .. } => too_large(),
            rejection => rejection.into(),
        })?;
        let mut form = Multipart::new(pieces(reader), boundary);
        form_read(&mut form).await.map_err(|error| match trouble.take() {
            Some(rejection) => rejection.into(),
            None => error,
        })
    }
}

/// A body as a stream, read no faster than it is taken.
fn pieces(reader: BodyReader) -> impl Stream<Item = io::Result<Bytes>> + Send {
    try_unfold(reader, |mut reader| async {
        let piece = Bytes::copy_from_slice(reader.fill_buf().await?);
        reader.consume(piece.len());
        Ok((!piece.is_empty()).then_some((piece, reader)))
    })
}

async fn form_read(form: &mut Multipart<'_>) -> Result<Upload, SessionsError> {
    let (mut path, mut file) = (None, None);
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        match field.name() {
            Some("path") => {
                let text = field_read(field, PATH_BYTES_MAX, || wrong("path: is too long")).await?;
                path = Some(String::from_utf8(text).map_err(|_| wrong("path: is no UTF-8"))?);
            }
            Some("file") => file = Some(field_read(field, FILE_BYTES_MAX, too_large).await?),
            _ => drop(field_read(field, FORM_BYTES_MAX, too_large).await?),
        }
    }
    let path = required(path.as_deref(), REQUIRED)?.to_owned();
    Ok(Upload { path, file: file.ok_or_else(|| wrong(REQUIRED))? })
}

async fn field_read(
    mut field: Field<'_>,
    bytes_max: usize,
    refusal: impl Fn() -> SessionsError,
) -> Result<Vec<u8>, SessionsError> {
    let mut content = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|error| broken(&error))? {
        if piece.len() > bytes_max - content.len() {
            return Err(refusal());
        }
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

fn too_large() -> SessionsError {
    SessionsError::TooLarge(format!("The file is larger than the maximum of {} MB", FILE_BYTES_MAX >> 20))
}

fn broken(error: &multer::Error) -> SessionsError {
    wrong(format!("The form can't be read: {error}"))
}

/// Uploads a file. A session takes 100 MB an hour.
#[utoipa::path(
    post,
    path = "/api/files/{session_id}/upload",
    tag = "sessions",
    params(("session_id" = String, Path, description = "The session")),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "Written", body = SuccessBody),
        (status = 400, description = "No file or path, or not a path of a file", body = ErrorBody),
        (status = 404, description = "There is no such session", body = ErrorBody),
        (status = 409, description = "It has ended", body = ErrorBody),
        (status = 413, description = "The file is over 10 MB", body = ErrorBody),
        (
            status = 429,
            description = "Too many requests, or too much in an hour",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
    )
)]
pub(super) async fn file_upload(
    State(engine): State<Engine>,
    session: Result<Session, SessionsError>,
    upload: Result<Upload, SessionsError>,
) -> Result<Json<SuccessBody>, SessionsError> {
    let Upload { path, file } = upload?;
    let session = session?;
    let standing = session.rates.upload(session.id(), file.len() as u64);
    if !standing.allowed {
        let text = "Too much was uploaded: a session may have 100 MB an hour";
        return Err(SessionsError::TooMany { text, retry_after_s: standing.reset_s });
    }
    let _in_use = session.awake(&engine).await?;
    engine.workspace_write(&session.caller, session.id(), workspace()?, path.as_bytes(), &file).await?;
    Ok(Json(SUCCESS))
}
