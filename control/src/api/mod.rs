//! Shardcast's own API, for its pages and for operators.
//!
//! `GET /api/v1/status`: the state of shards and broadcasts.
//!
//! ```json
//! {
//!   "version": "0.1.0", "instance": "…", "uptime_s": 12, "ready": true,
//!   "shards": [{
//!     "shard": 0, "connected": true, "engine": "…", "udp_port": 50000, "capacity": 100,
//!     "weight": 100, "draining": false,
//!     "cpu_permille": 12, "datagrams_received": 1, "datagrams_sent": 1, "datagrams_unknown": 0,
//!     "tcp_peers": {"connections": 1, "refused": 0, "dropped": 0},
//!     "codec": {"capacity_permille": 800, "used_permille": 210, "…": 0},
//!     "work": {"sleeps": 1, "turns": 1, "…": 0}
//!   }],
//!   "broadcasts": [{
//!     "application": "StreamLick", "stream": "s1", "name": null, "status": "broadcasting",
//!     "zombi": false, "shard": 0, "viewers": 0, "rtmp_viewers": 0, "viewers_problem": null, "data": null,
//!     "holding": false, "hold_until_unix_ms": null, "standing_in": false, "slate": null, "recording": null, "preview_unix_ms": null, "ring_bytes": 0,
//!     "publisher": null, "decoder": null, "renditions": [],
//!     "destinations": []
//!   }],
//!   "uploads": {"waiting": 0, "problem": null},
//!   "rtmps_port": 1936,
//!   "local_sink": {"url_base": "rtmp://127.0.0.1:1935/sink", "streams": []}
//! }
//! ```
//!
//! `codec` is [`shardcast_link::CodecStatus`], `work` is [`shardcast_link::WorkCounters`], `publisher`
//! is [`shardcast_link::PublisherStatus`] or null, `data` is [`shardcast_link::DataStatus`] or null, `recording` is [`shardcast_link::RecordingStatus`] or null, `decoder` is [`shardcast_link::DecoderStatus`] or
//! null, each of `renditions` is [`shardcast_link::RenditionStatus`]; each of `destinations` is
//! [`shardcast_link::DestinationStatus`] with `url` beside it, cut so that no stream key is shown.
//! `rtmps_port` is there while RTMPS is taken, `local_sink` while RTMP is; `streams` are [`SinkStatus`].
//!
//! `GET /api/v1/placement/{app}/{stream}`: which shard has the stream, or would get it.
//!
//! ```json
//! {"application": "StreamLick", "stream": "s1", "shard": 0, "assigned": true, "order": [0, 1]}
//! ```
//!
//! `shard` is null when no shard is reachable; `order` is the hash order of reachable shards.
//!
//! `GET /api/v1/preview/{app}/{stream}`: the newest preview, an image; `preview_unix_ms` of the status says of when it
//! is. No token is asked for.
//!
//! `GET /api/v1/drain`: whether the server drains, and what it waits for. `POST` starts it,
//! `DELETE` cancels it; both give the same as `GET`.
//!
//! ```json
//! {"draining": true, "live_broadcasts": 3}
//! ```
//!
//! `/placements`, `/shards`, `/nodes`, `/doctor`: [`placements`], [`shards`] and [`machine`]. `GET /api/v1/openapi.json` describes
//! them all; a test compares it with the router.

mod machine;
mod placements;
mod shards;

use std::{
    net::Ipv4Addr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, patch},
};
use serde::Deserialize;
use serde_json::{Value, json};
use shardcast_link::{BroadcastId, BroadcastStatus, DestinationState, SinkStatus};

use crate::{
    access, clock, drain, health, lifecycle, limits, recordings, redact,
    state::Control,
    store::{BroadcastRecord, EndpointRecord},
    streams,
};

/// Routes below `/api/v1`.
pub(crate) fn router(control: &Arc<Control>) -> Router<Arc<Control>> {
    let filter = middleware::from_fn_with_state(Arc::clone(control), access::server_filter);
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(filter)
}

/// The document that describes them.
const OPENAPI: &str = include_str!("openapi.json");

fn routes() -> [(&'static str, MethodRouter<Arc<Control>>); 11] {
    [
        ("/status", get(status)),
        ("/placement/{app}/{stream}", get(placement)),
        ("/preview/{app}/{stream}", get(preview)),
        (
            "/drain",
            get(drain_state).post(drain_start).delete(drain_cancel),
        ),
        (
            "/placements",
            get(placements::list).post(placements::reserve),
        ),
        (
            "/placements/{id}",
            get(placements::show).delete(placements::cancel),
        ),
        ("/shards", get(shards::list)),
        ("/shards/{shard}", patch(shards::change)),
        ("/nodes", get(shards::nodes)),
        ("/doctor", get(machine::doctor)),
        ("/openapi.json", get(openapi)),
    ]
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// Which broadcasts the status shows.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
struct StatusPage {
    offset: u32,
    size: u32,
}

impl Default for StatusPage {
    fn default() -> Self {
        Self {
            offset: 0,
            size: u32::MAX,
        }
    }
}

/// Where a list begins, and how many rows it has at most.
fn rows_asked_for(offset: u32, size: u32) -> (usize, usize) {
    let rows = |number| usize::try_from(number).unwrap_or(usize::MAX);
    (rows(offset), rows(size).min(limits::STATUS_ROWS_MAX))
}

async fn status(
    State(control): State<Arc<Control>>,
    Query(page): Query<StatusPage>,
) -> Json<Value> {
    let mut shards = Vec::new();
    let mut connected = false;
    let mut sinks: Vec<SinkStatus> = Vec::new();
    let rooms = control.shards.rooms(Instant::now());
    control.shards.each(|shard, view| {
        let room = rooms.get(&shard);
        connected |= view.is_connected();
        sinks.extend(view.status.sinks.iter().cloned());
        shards.push(json!({
            "shard": shard,
            "connected": view.is_connected(),
            "engine": view.hello.engine,
            "udp_port": view.hello.udp_port,
            "capacity": view.hello.capacity,
            "weight": room.map(|room| room.weight),
            "draining": room.is_some_and(|room| room.draining),
            "cpu_permille": view.status.cpu_permille,
            "datagrams_received": view.status.datagrams_received,
            "datagrams_sent": view.status.datagrams_sent,
            "datagrams_unknown": view.status.datagrams_unknown,
            "tcp_peers": view.status.tcp_peers,
            "codec": view.status.codec,
            "work": view.status.work,
        }));
    });
    let (offset, size) = rows_asked_for(page.offset, page.size);
    let (records, stored) = control.catalog.page_of_broadcasts(offset, size);
    let broadcasts: Vec<Value> = records
        .iter()
        .map(|record| broadcast(&control, record))
        .collect();
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instance": control.instance,
        "node": control.node,
        "uptime_s": (clock::unix_ms().saturating_sub(control.started_unix_ms)) / 1000,
        "ready": health::is_ready(&control),
        "shards_expected": control.shards_expected.load(Ordering::Relaxed),
        "shards": shards,
        "broadcasts": broadcasts,
        "broadcasts_stored": stored,
        "uploads": uploads(&control),
    });
    if let (Some(rtmps), Some(object)) = (control.rtmps_addr.get(), status.as_object_mut()) {
        object.insert("rtmps_port".to_owned(), json!(rtmps.port()));
    }
    let sink = connected.then(|| local_sink(&control, &sinks)).flatten();
    if let (Some(sink), Some(object)) = (sink, status.as_object_mut()) {
        object.insert("local_sink".to_owned(), sink);
    }
    Json(status)
}

/// The test sink, while RTMP is taken.
fn local_sink(control: &Control, sinks: &[SinkStatus]) -> Option<Value> {
    // This machine alone may use it.
    let mut address = *control.rtmp_addr.get()?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let url_base = format!("rtmp://{address}/sink");
    Some(json!({"url_base": url_base, "streams": sinks}))
}

fn broadcast(control: &Control, record: &BroadcastRecord) -> Value {
    let live = control.shards.broadcast(&record.id);
    let endpoints = record.endpoints().iter();
    let destinations = endpoints.map(|endpoint| destination(endpoint, live.as_ref()));
    json!({
        "application": record.id.application(),
        "stream": record.id.stream(),
        "name": record.profile.name,
        "status": lifecycle::status_word(control, record),
        "zombi": record.zombi,
        "shard": control.shards.assignment(&record.id),
        "viewers": live.as_ref().map_or(0, |live| live.viewers),
        "rtmp_viewers": live.as_ref().map_or(0, |live| live.rtmp_viewers),
        "viewers_problem": live.as_ref().and_then(|live| live.viewers_problem.as_ref()),
        "data": live.as_ref().map(|live| live.data),
        "holding": live.as_ref().is_some_and(|live| live.holding),
        "hold_until_unix_ms": live.as_ref().and_then(|live| live.hold_until_unix_ms),
        "standing_in": live.as_ref().is_some_and(|live| live.filler),
        "slate": live.as_ref().and_then(|live| live.slate.as_ref()),
        "recording": live.as_ref().and_then(|live| live.recording.as_ref()),
        "preview_unix_ms": preview_unix_ms(control, record),
        "ring_bytes": live.as_ref().map_or(0, |live| live.ring_bytes),
        "publisher": live.as_ref().and_then(|live| live.publisher.as_ref()),
        "decoder": live.as_ref().and_then(|live| live.decoder.as_ref()),
        "renditions": live.as_ref().map_or(&[][..], |live| &live.renditions),
        "destinations": destinations.collect::<Vec<_>>(),
    })
}

/// Recordings that are not uploaded yet, and why one is not.
fn uploads(control: &Control) -> Value {
    json!({
        "waiting": recordings::uploads_waiting(control),
        "problem": control.recordings.uploads.any_problem(),
    })
}

/// Of when the newest preview of a live broadcast is.
fn preview_unix_ms(control: &Control, record: &BroadcastRecord) -> Option<u64> {
    let since = lifecycle::live_since_unix_ms(control, record)?;
    let preview = control.previews.since(&record.id, since);
    preview.map(|it| it.at_unix_ms)
}

fn destination(endpoint: &EndpointRecord, live: Option<&BroadcastStatus>) -> Value {
    let live = live.and_then(|live| live.destinations.iter().find(|d| d.id == endpoint.id));
    let last = endpoint.last.as_ref().map(|last| &last.status);
    let mut value = match live.or(last) {
        Some(status) => {
            let mut status = status.clone();
            if let Some(problem) = &mut status.last_problem {
                problem.message = redact::text(&problem.message);
            }
            json!(status)
        }
        None => json!({"id": endpoint.id, "state": DestinationState::Idle}),
    };
    if let Some(object) = value.as_object_mut() {
        object.insert("url".to_owned(), json!(redact::url(&endpoint.url)));
    }
    value
}

async fn placement(
    State(control): State<Arc<Control>>,
    Path((application, stream)): Path<(String, String)>,
) -> Response {
    let id = BroadcastId::new(&application, &stream).ok();
    let Some(id) = id.filter(|id| control.application(id.application()).is_some()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (assigned, order) = control.shards.preference(&id);
    Json(json!({
        "node": control.node,
        "application": application,
        "stream": stream,
        "shard": assigned.or_else(|| control.shards.would_take(&id)),
        "assigned": assigned.is_some(),
        "order": order,
    }))
    .into_response()
}

async fn preview(
    State(control): State<Arc<Control>>,
    Path((application, stream)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let id = BroadcastId::new(&application, &stream).ok();
    match id.and_then(|id| control.previews.get(&id)) {
        Some(picture) => streams::preview_answer(&picture, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn drain_state(State(control): State<Arc<Control>>) -> Json<Value> {
    Json(drain::report(&control))
}

async fn drain_start(State(control): State<Arc<Control>>) -> Json<Value> {
    drain::start(&control);
    Json(drain::report(&control))
}

async fn drain_cancel(State(control): State<Arc<Control>>) -> Json<Value> {
    drain::cancel(&control);
    Json(drain::report(&control))
}

/// 2^53: up to here each whole number is one of a double-precision float.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// `value` with whole numbers where it says `1.0`: to JSON Schema that is an integer (2020-12, 6.1.1), and
/// some clients write it. The JSON reader bounds the depth.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float)
                if number.is_f64() && float.fract() == 0.0 && (0.0..EXACT_MAX).contains(&float) =>
            {
                Value::from(float as u64)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(object) => object
            .into_iter()
            .map(|(key, value)| (key, whole_numbers(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_that_is_whole_is_an_integer_and_no_other_is() {
        let read =
            whole_numbers(json!({"a": [1.0, 1.5, -1.0, 1e300], "b": {"c": 4304.0, "d": "1.0"}}));
        assert_eq!(
            read,
            json!({"a": [1, 1.5, -1.0, 1e300], "b": {"c": 4304, "d": "1.0"}})
        );
    }

    #[test]
    fn each_route_is_described() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let described = document["paths"].as_object().unwrap();
        let routed: Vec<_> = routes().iter().map(|(path, _)| *path).collect();
        for path in &routed {
            assert!(described.contains_key(*path), "{path}");
        }
        assert_eq!(described.len(), routed.len());
    }
}
