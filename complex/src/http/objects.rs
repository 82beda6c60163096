//! Objects by GUID: programs and inputs come in, outputs go out.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use isos_base::api::{Problem, ProblemCode};
use isos_base::capability::Right;
use isos_base::{Bytes, Guid, limits};
use tokio_util::io::ReaderStream;

use super::extract::Path;
use super::openapi::Raw;
use super::{Answer, AppState, Failure, UPLOADS_MAX, Who, internal, not_found, usage};
use crate::checked::Checked;
use crate::clock;
use crate::objects::blocking;

fn guid(text: &str) -> Answer<Guid> {
    text.parse().map_err(|error: isos_base::ids::ParseIdError| usage(error.to_string()))
}

/// Sends the bytes of an object.
///
/// `HEAD` asks only whether it is here.
#[utoipa::path(
    get,
    path = "/v1/objects/{guid}",
    operation_id = "getObject",
    tag = "objects",
    params(("guid" = Guid, Path, description = "BLAKE3 hash of the bytes")),
    responses(
        (
            status = 200,
            body = Raw,
            content_type = "application/octet-stream",
            description = "The bytes",
        ),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn get(
    State(shared): AppState,
    who: Who,
    Path(name): Path<String>,
) -> Answer<Response> {
    who.may_look()?;
    let guid = guid(&name)?;
    if shared.shelf.need(&guid, clock::now()).is_none() {
        return Err(not_found(format!("object {name}")));
    }
    let shelf = shared.shelf.clone();
    let opened = blocking(move || shelf.open_object(&guid)).await.map_err(io)?;
    let (file, size) = opened.map_err(|error| shelf_failure(&error))?;
    let file = Checked::new(shared.shelf.clone(), guid, file, size.0);
    let body = Body::from_stream(ReaderStream::with_capacity(file, 64 << 10));
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, size.0.to_string()),
    ];
    Ok((headers, body).into_response())
}

/// Keeps an object: a program, or an input.
///
/// The bytes must have the hash that the path says.
#[utoipa::path(
    put,
    path = "/v1/objects/{guid}",
    operation_id = "putObject",
    tag = "objects",
    params(("guid" = Guid, Path, description = "BLAKE3 hash of the bytes")),
    request_body(
        content = Raw,
        content_type = "application/octet-stream",
        description = "The bytes, with their length",
    ),
    responses(
        (status = 200, description = "It is kept, or was already"),
        (status = 400, response = Failure),
        (status = 409, response = Failure),
        (status = 422, response = Failure),
    ),
)]
pub(super) async fn put(
    State(shared): AppState,
    who: Who,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<StatusCode> {
    who.needs(Right::Submit)?;
    let guid = guid(&name)?;
    if shared.shelf.need(&guid, clock::now()).is_some() {
        // What a host left here without naming it is the client's from now on.
        shared.store.unclaimed.settle(&guid);
        return Ok(StatusCode::OK);
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let Some(size) = length.and_then(|text| text.parse::<u64>().ok()) else {
        return Err(usage("an upload needs its Content-Length"));
    };
    if size > limits::OBJECT_BYTES_MAX.0 {
        let max = limits::OBJECT_BYTES_MAX;
        return Err(usage(format!("{} is too large, an object has at most {max}", Bytes(size))));
    }
    let share = shared.door.upload(who.0.account, Bytes(size));
    let _share = share.map_err(|refused| Failure(refused.into()))?;
    let Ok(_place) = shared.uploads.try_acquire() else {
        shared.metrics.upload_refused();
        let message =
            format!("{UPLOADS_MAX} uploads are under way, no more: try again in a moment");
        return Err(Failure(Problem::new(ProblemCode::Busy, message)));
    };
    let (store, account) = (shared.store.clone(), who.0.account);
    let begun = blocking(move || {
        let shelved = store.stock.reserve(&store.shelf, account, Bytes(size))?;
        let writer =
            store.shelf.writer(guid, Bytes(size)).map_err(|error| shelf_failure(&error))?;
        Ok::<_, Failure>((writer, shelved))
    });
    let (mut writer, shelved) = begun.await.map_err(io)??;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| usage(format!("the upload broke off: {error}")))?;
        // Pieces go to the page cache: short enough to write in place.
        writer.write(&piece).map_err(|error| shelf_failure(&error))?;
    }
    let finished = blocking(move || writer.finish()).await.map_err(io)?;
    finished.map_err(|error| shelf_failure(&error))?;
    shelved.keep(guid);
    shared.store.unclaimed.settle(&guid);
    Ok(StatusCode::OK)
}

fn io(error: std::io::Error) -> Failure {
    Failure(internal(&format!("a disk thread ended: {error}")))
}

fn shelf_failure(error: &isos_disk::ShelfError) -> Failure {
    use isos_disk::ShelfError as E;
    let code = match error {
        E::TooLarge { .. } => ProblemCode::Usage,
        E::WrongBytes { .. } | E::WrongSize { .. } | E::Damaged { .. } => ProblemCode::Verification,
        E::Missing { .. } => ProblemCode::NotFound,
        _ => ProblemCode::Refused,
    };
    Failure(Problem::new(code, crate::core::report(error)))
}
