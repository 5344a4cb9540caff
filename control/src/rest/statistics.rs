//! Numbers of viewers and of what arrives.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};

use super::{
    application::{Application, StreamPath},
    lists,
    types::Statistics,
};
use crate::{state::Control, views};

/// GET `/{id}/broadcast-statistics`: never 404, an unknown stream has -1 everywhere.
pub(super) async fn one(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Json<Statistics> {
    let id = application.broadcast(&stream);
    // Viewers are not served yet, so a known stream has none.
    let count = match id.and_then(|id| control.catalog.broadcast(&id)) {
        Some(_) => 0,
        None => -1,
    };
    Json(Statistics {
        rtmp: count,
        hls: count,
        webrtc: count,
        dash: count,
    })
}

/// GET `/total-broadcast-statistics`
pub(super) async fn total(
    State(control): State<Arc<Control>>,
    application: Application,
) -> Json<Value> {
    let statistics = Statistics {
        rtmp: -1,
        hls: 0,
        webrtc: 0,
        dash: 0,
    };
    let mut value = json!(statistics);
    if let Some(object) = value.as_object_mut() {
        let live = lists::live_count(&control, &application.name);
        object.insert("activeLiveStreamCount".to_owned(), json!(live));
    }
    Json(value)
}

/// GET `/{id}/stream-info`
pub(super) async fn stream_info(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Json<Value> {
    let id = application.broadcast(&stream);
    let live = id.and_then(|id| control.shards.broadcast(&id));
    Json(live.as_ref().map_or_else(|| json!([]), views::stream_info))
}

/// GET `/{id}/webrtc-client-stats/{offset}/{size}`: one row per viewer, of which there are none.
pub(super) async fn clients(_: Application) -> Json<Value> {
    Json(json!([]))
}
