//! Previews below `/{app}/previews/`: `{id}.png` while the broadcast is live, `{id}_finished.png` afterwards, as in Ant
//! Media Server. Who may watch by HLS may see them.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use shardcast_link::{BroadcastId, PreviewFormat};

use super::{refusal::Refusal, visitor::Visitor};
use crate::{lifecycle, previews::Picture, state::Control};

/// Behind the id of a broadcast that is over.
const FINISHED: &str = "_finished";

/// Answers a request for a preview.
pub(super) async fn serve(
    State(control): State<Arc<Control>>,
    Path((application, file)): Path<(String, String)>,
    Query(mut parameters): Query<HashMap<String, String>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    if control.application(&application).is_none() {
        return Err(Refusal::not_found("there is no such application"));
    }
    let visitor = Visitor::of(&control, &parts, &mut parameters)?;
    let (name, format) = named(&file).ok_or_else(absent)?;
    let id = |stream: &str| {
        BroadcastId::new(&application, stream).map_err(|error| Refusal::bad(error.to_string()))
    };
    let whole = id(name)?;
    // A broadcast may be called `something_finished`.
    let (id, wants_live) = match name.strip_suffix(FINISHED) {
        Some(stream) if control.catalog.broadcast(&whole).is_none() => (id(stream)?, false),
        _ => (whole, true),
    };
    visitor.admit(&control, &id)?;
    let picture = match (live_since_unix_ms(&control, &id), wants_live) {
        (Some(since), true) => control.previews.since(&id, since),
        (None, false) => control.previews.get(&id),
        (Some(_), false) | (None, true) => None,
    };
    let picture = picture.filter(|it| it.format == format);
    Ok(answer(&picture.ok_or_else(absent)?, &parts.headers))
}

fn absent() -> Refusal {
    Refusal::not_found(
        "there is no preview: {stream}.png is there while a stream is live and generatePreview is on, and \
         {stream}_finished.png afterwards",
    )
}

fn named(file: &str) -> Option<(&str, PreviewFormat)> {
    let (name, extension) = file.rsplit_once('.')?;
    let mut formats = [PreviewFormat::Png, PreviewFormat::Jpg].into_iter();
    Some((name, formats.find(|it| it.extension() == extension)?))
}

fn live_since_unix_ms(control: &Control, id: &BroadcastId) -> Option<u64> {
    let record = control.catalog.broadcast(id)?;
    lifecycle::live_since_unix_ms(control, &record)
}

/// A preview as it is sent.
pub(crate) fn answer(picture: &Picture, headers: &HeaderMap) -> Response {
    let tag = format!("\"{:x}-{:x}\"", picture.at_unix_ms, picture.file.len());
    let caching = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = match picture.format {
        PreviewFormat::Png => "image/png",
        PreviewFormat::Jpg => "image/jpeg",
    };
    let kind = [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (caching, kind, picture.file.clone()).into_response()
}
