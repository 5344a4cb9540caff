//! Numbers of viewers and of what arrives.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};
use shardcast_link::BroadcastId;

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
    let known = id.filter(|id| control.catalog.broadcast(id).is_some());
    // Viewers over WebRTC are the only ones that are served.
    let (others, webrtc) = match known {
        Some(id) => (0, viewers(&control, &id)),
        None => (-1, -1),
    };
    Json(Statistics {
        rtmp: others,
        hls: others,
        webrtc,
        dash: others,
    })
}

/// Those of the last report.
fn viewers(control: &Control, id: &BroadcastId) -> i64 {
    let live = control.shards.broadcast(id);
    live.map_or(0, |live| live.viewers.into())
}

/// GET `/total-broadcast-statistics`
pub(super) async fn total(
    State(control): State<Arc<Control>>,
    application: Application,
) -> Json<Value> {
    let live = control.catalog.live_broadcasts();
    let of_application = live
        .iter()
        .filter(|record| record.id.application() == application.name);
    let statistics = Statistics {
        rtmp: -1,
        hls: 0,
        webrtc: of_application
            .map(|record| viewers(&control, &record.id))
            .sum(),
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

/// GET `/{id}/webrtc-client-stats/{offset}/{size}`: viewers are counted and not measured one by one, so
/// there are no rows.
pub(super) async fn clients(_: Application) -> Json<Value> {
    Json(json!([]))
}
