//! The image that destinations are sent while the publisher is away, at `/{id}/slate`. Ant Media
//! Server has nothing like it, so failures have codes of their own beside the `Result`.
//!
//! It is decoded here once, to refuse what the engine could not show, and then kept as it came.

use std::{io::Cursor, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use image::{ImageFormat, ImageReader, Limits};
use rand::{Rng, distr::Alphanumeric};
use shardcast_link::BroadcastId;

use super::{
    application::{Application, StreamPath},
    responses::{Outcome, answer},
};
use crate::{
    body::{self, BodyError},
    limits, slates,
    state::Control,
    store::{SlateRecord, Transaction},
    wants,
};

/// A slate that is not taken. The client's fault, but for [`SlateError::Full`], where the operator
/// or another client can help.
#[derive(Debug, thiserror::Error)]
enum SlateError {
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("a slate is image/png or image/jpeg: send the file as it is, with its Content-Type")]
    ContentType,
    #[error("the body is no {0} file, though its Content-Type says so")]
    Kind(&'static str),
    #[error("the picture is damaged: {0}")]
    Damaged(String),
    #[error(
        "the picture has {width}×{height} pixels; each side must have from {} to {}",
        limits::SLATE_SIDE_MIN,
        limits::SLATE_SIDE_MAX
    )]
    Size { width: u32, height: u32 },
    #[error("broadcast does not exist")]
    Unknown,
    #[error(
        "the slates of all broadcasts would be over {} bytes: delete some, or send a smaller file",
        limits::SLATES_BYTES_MAX
    )]
    Full,
}

impl IntoResponse for SlateError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Body(BodyError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, Json(Outcome::failed(self.to_string()))).into_response()
    }
}

/// PUT `/{id}/slate`: the body is the file.
pub(super) async fn put(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match store(&control, application.broadcast(&stream), &headers, body).await {
        Ok(stored) => stored,
        Err(error) => error.into_response(),
    }
}

async fn store(
    control: &Control,
    id: Option<BroadcastId>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, SlateError> {
    let image = body::collect(body, limits::SLATE_BYTES_MAX).await?.freeze();
    let format = format_of(headers)?;
    check(&image, format)?;
    let id = id.ok_or(SlateError::Unknown)?;
    try_decoding(control, image.clone(), format).await?;
    let slate = SlateRecord {
        broadcast: id.clone(),
        name: random_name(),
        content_type: format.to_mime_type().to_owned(),
        image,
    };
    let name = slate.name.clone();
    let (inserted, durable) = control.catalog.change_now(|t| insert(t, slate));
    inserted?;
    tracing::info!(broadcast = %id, name, "slate set");
    changed_at_shard(control, &id);
    Ok(answer(durable, Outcome::added(name)).await)
}

fn insert(t: &mut Transaction<'_>, slate: SlateRecord) -> Result<(), SlateError> {
    if t.broadcast(&slate.broadcast).is_none() {
        return Err(SlateError::Unknown);
    }
    let others = t.slate_bytes_beside(&slate.broadcast);
    if others + slate.image.len() > limits::SLATES_BYTES_MAX {
        return Err(SlateError::Full);
    }
    t.put_slate(slate);
    Ok(())
}

/// The shard of `id`, if it has one, hears of the change at once.
fn changed_at_shard(control: &Control, id: &BroadcastId) {
    wants::again(control, id);
    if let Some(shard) = control.shards.assignment(id) {
        slates::bring(control, shard);
    }
}

fn format_of(headers: &HeaderMap) -> Result<ImageFormat, SlateError> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    match ImageFormat::from_mime_type(kind.unwrap_or_default().trim().to_ascii_lowercase()) {
        Some(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => Ok(format),
        _ => Err(SlateError::ContentType),
    }
}

/// Whether the file has the format of its Content-Type, and a size that can be shown.
fn check(file: &[u8], format: ImageFormat) -> Result<(), SlateError> {
    if image::guess_format(file).ok() != Some(format) {
        return Err(SlateError::Kind(format.to_mime_type()));
    }
    let size = ImageReader::with_format(Cursor::new(file), format).into_dimensions();
    let (width, height) = size.map_err(|error| SlateError::Damaged(error.to_string()))?;
    let range = limits::SLATE_SIDE_MIN..=limits::SLATE_SIDE_MAX;
    if !range.contains(&width) || !range.contains(&height) {
        return Err(SlateError::Size { width, height });
    }
    Ok(())
}

/// Whether the whole of the file can be shown. On a thread of its own: large ones take a second.
async fn try_decoding(
    control: &Control,
    file: Bytes,
    format: ImageFormat,
) -> Result<(), SlateError> {
    // A semaphore that is never closed never fails. The thread keeps the place for as long as it
    // works, though the client may be gone.
    let place = Arc::clone(&control.slate_decoding).acquire_owned().await;
    let decoded = tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut reader = ImageReader::with_format(Cursor::new(file), format);
        let mut bounds = Limits::default();
        bounds.max_alloc = Some(limits::SLATE_DECODED_BYTES_MAX);
        reader.limits(bounds);
        reader.decode().map(drop)
    });
    match decoded.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(SlateError::Damaged(error.to_string())),
        Err(_) => Err(SlateError::Damaged("it cannot be decoded".to_owned())),
    }
}

/// GET `/{id}/slate`: the file as it came; 404 with an empty body when there is none.
pub(super) async fn get(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Response {
    let id = application.broadcast(&stream);
    match id.and_then(|id| control.catalog.slate(&id)) {
        Some(slate) => {
            let kind = [(header::CONTENT_TYPE, slate.content_type.clone())];
            (kind, slate.image.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// DELETE `/{id}/slate`: the last frame is shown again.
pub(super) async fn delete(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Response {
    let Some(id) = application.broadcast(&stream) else {
        return SlateError::Unknown.into_response();
    };
    let (removed, durable) = control.catalog.change_now(|t| {
        let exists = t.broadcast(&id).is_some();
        exists.then(|| t.remove_slate(&id))
    });
    match removed {
        None => SlateError::Unknown.into_response(),
        Some(false) => Outcome::failed("the broadcast has no slate").into_response(),
        Some(true) => {
            wants::again(&control, &id);
            answer(durable, Outcome::done()).await
        }
    }
}

fn random_name() -> String {
    let random = rand::rng().sample_iter(Alphanumeric);
    random.take(16).map(char::from).collect()
}
