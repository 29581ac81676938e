//! Files written into an existing sandbox.

use axum::{Json, extract::State};
use engine::Engine;

use super::{
    convert,
    error::ServiceError,
    types::{FileBody, FilesWrittenBody},
};
use crate::{
    caller::Asker,
    error::ErrorBody,
    extract::{IdPath, JsonList},
};

/// Writes files into a sandbox. They are there for its next run.
#[utoipa::path(
    post,
    path = "/sandbox/{id}/files",
    tag = "sandbox-service",
    params(("id" = Uuid, Path, description = "The sandbox")),
    request_body = Vec<FileBody>,
    responses(
        (status = 200, description = "All are written", body = FilesWrittenBody),
        (status = 400, description = "The text names the file", body = ErrorBody),
        (status = 404, description = "There is no such sandbox", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (
            status = 503,
            description = "The server holds as many large bodies as it may",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
    )
)]
pub(super) async fn files_write(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    IdPath(id): IdPath,
    JsonList(files): JsonList<FileBody>,
) -> Result<Json<FilesWrittenBody>, ServiceError> {
    engine.files_write(&caller, id, convert::program_files(files)?).await?;
    Ok(Json(FilesWrittenBody { message: "Files uploaded successfully", sandbox_id: id }))
}
