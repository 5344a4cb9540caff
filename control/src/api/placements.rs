//! Reservations: `/api/v1/placements`. docs/api.md describes them for clients.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shardcast_link::BroadcastId;

use super::{rows_asked_for, whole_numbers};
use crate::{
    access::IsTls,
    body::JsonBody,
    limits,
    shards::{ExpectedLoad, Placed, PlacementRefusal},
    state::Control,
};

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    application: String,
    stream_id: String,
    #[serde(default)]
    hold_seconds: Option<u64>,
    /// A [`Load`], which is read by itself: serde would take a list for one.
    #[serde(default)]
    load: Option<Map<String, Value>>,
}

/// Of each part null is as good as not given: some clients write their unset fields so.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Load {
    bit_rate_bps: Option<u64>,
    destinations: Option<u64>,
    rendition_heights: Option<Vec<u32>>,
}

impl Load {
    /// # Errors
    /// What is not understood or out of its range, in words.
    fn read(object: Option<Map<String, Value>>) -> Result<ExpectedLoad, String> {
        let load = serde_json::from_value::<Self>(Value::Object(object.unwrap_or_default()));
        load.map_err(|error| format!("load: {error}"))?.checked()
    }

    /// # Errors
    /// What is out of its range, in words.
    fn checked(self) -> Result<ExpectedLoad, String> {
        let usual = ExpectedLoad::default();
        let load = ExpectedLoad {
            bitrate_bps: self.bit_rate_bps.unwrap_or(usual.bitrate_bps),
            destinations: self.destinations.unwrap_or(usual.destinations),
            rendition_heights: self.rendition_heights.unwrap_or_default(),
        };
        let most = limits::EXPECTED_BITRATE_BPS_MAX;
        if load.bitrate_bps > most {
            return Err(format!("bitRateBps is {most} at most"));
        }
        let most = limits::EXPECTED_DESTINATIONS_MAX;
        if load.destinations > most {
            return Err(format!("destinations is {most} at most"));
        }
        let (count, most) = (limits::RENDITIONS_MAX, limits::EXPECTED_HEIGHT_MAX);
        let mut heights = load.rendition_heights.iter();
        if load.rendition_heights.len() > count || !heights.all(|h| (1..=most).contains(h)) {
            return Err(format!(
                "renditionHeights is {count} heights from 1 to {most} at most"
            ));
        }
        Ok(load)
    }
}

/// The query of a list or a what-if.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Listing {
    dry_run: Option<String>,
    application: String,
    stream_id: String,
    bit_rate_bps: Option<u64>,
    destinations: Option<u64>,
    /// Separated by commas.
    rendition_heights: String,
    offset: u32,
    size: u32,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            dry_run: None,
            application: String::new(),
            stream_id: String::new(),
            bit_rate_bps: None,
            destinations: None,
            rendition_heights: String::new(),
            offset: 0,
            size: u32::MAX,
        }
    }
}

impl Listing {
    /// # Errors
    /// What is out of its range, in words.
    fn load(&self) -> Result<ExpectedLoad, String> {
        let heights = self.rendition_heights.split(',').filter(|h| !h.is_empty());
        let heights: Result<Vec<u32>, _> = heights.map(str::parse).collect();
        let Ok(rendition_heights) = heights else {
            return Err("renditionHeights is heights separated by commas".to_owned());
        };
        let load = Load {
            bit_rate_bps: self.bit_rate_bps,
            destinations: self.destinations,
            rendition_heights: Some(rendition_heights),
        };
        load.checked()
    }
}

/// Where clients reach this server: as the request did.
struct Reached {
    host: String,
    is_tls: bool,
}

impl Reached {
    fn by(control: &Control, headers: &HeaderMap, is_tls: IsTls) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let is_plain = |host: &&str| {
            let mut bytes = host.bytes();
            bytes.all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
        };
        let host = text(header::HOST).filter(|host| !host.is_empty());
        let host = host.filter(is_plain).map(str::to_owned);
        let forwarded = headers.get("x-forwarded-proto");
        Self {
            host: host.unwrap_or_else(|| control.settings.public_host()),
            is_tls: is_tls.0 || forwarded.is_some_and(|value| value == "https"),
        }
    }

    fn urls(&self, id: &BroadcastId) -> (String, String) {
        let s = if self.is_tls { "s" } else { "" };
        let (host, app, stream) = (&self.host, id.application(), id.stream());
        (
            format!("ws{s}://{host}/{app}/websocket"),
            format!("http{s}://{host}/{app}/whip/{stream}"),
        )
    }
}

/// POST
pub(super) async fn reserve(
    State(control): State<Arc<Control>>,
    Extension(is_tls): Extension<IsTls>,
    headers: HeaderMap,
    body: JsonBody,
) -> Response {
    let wanted = match body.object_with_nulls() {
        Ok(object) => {
            serde_json::from_value::<Wanted>(whole_numbers(json!(object.unwrap_or_default())))
        }
        Err(error) => return error.into_response(),
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return bad(&error.to_string()),
    };
    let hold_s = wanted.hold_seconds.unwrap_or(limits::RESERVATION_HOLD_S);
    let most = limits::RESERVATION_HOLD_S_MAX;
    if !(1..=most).contains(&hold_s) {
        return bad(&format!("holdSeconds is from 1 to {most}"));
    }
    let id = match named(&control, &wanted.application, &wanted.stream_id) {
        Ok(id) => id,
        Err(refused) => return *refused,
    };
    let load = match Load::read(wanted.load) {
        Ok(load) => load,
        Err(words) => return bad(&words),
    };
    let reserved = admitted(&control, &id).and_then(|()| {
        let hold = Duration::from_secs(hold_s);
        control.shards.reserve(Instant::now(), &id, load, hold)
    });
    match reserved {
        Ok((placed, is_first)) => {
            let status = if is_first {
                let reserved = &control.counters.placements_reserved;
                reserved.fetch_add(1, Ordering::Relaxed);
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            let reached = Reached::by(&control, &headers, is_tls);
            let location = format!("/api/v1/placements/{}", placed.reservation.id);
            let answer = Json(view(&control, &reached, &placed));
            (status, [(header::LOCATION, location)], answer).into_response()
        }
        Err(refusal) => {
            let counters = &control.counters.placements_refused;
            if let Some(counter) = counters.get(refusal.index()) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            refused(&control, refusal)
        }
    }
}

/// GET: the reservations, or with `dryRun` what POST would answer.
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Extension(is_tls): Extension<IsTls>,
    headers: HeaderMap,
    query: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => return bad(&error.body_text()),
    };
    let load = match query.load() {
        Ok(load) => load,
        Err(words) => return bad(&words),
    };
    let reached = Reached::by(&control, &headers, is_tls);
    match query.dry_run.as_deref() {
        None | Some("false") => {}
        Some("" | "true") => return what_if(&control, &reached, &query, &load),
        Some(_) => return bad("dryRun is true or false"),
    }
    let (offset, size) = rows_asked_for(query.offset, query.size);
    let (page, total) = control.shards.reservations(Instant::now(), offset, size);
    let rows: Vec<Value> = page
        .iter()
        .map(|placed| view(&control, &reached, placed))
        .collect();
    Json(json!({"node": control.node, "placements": rows, "total": total})).into_response()
}

fn what_if(control: &Control, reached: &Reached, query: &Listing, load: &ExpectedLoad) -> Response {
    let id = match named(control, &query.application, &query.stream_id) {
        Ok(id) => id,
        Err(refused) => return *refused,
    };
    let shard =
        admitted(control, &id).and_then(|()| control.shards.what_if(Instant::now(), &id, load));
    match shard {
        Ok((shard, udp_port)) => {
            let (signalling, whip) = reached.urls(&id);
            Json(json!({
                "node": control.node,
                "application": id.application(),
                "streamId": id.stream(),
                "shard": shard,
                "udpPort": udp_port,
                "signallingUrl": signalling,
                "whipUrl": whip,
            }))
            .into_response()
        }
        Err(refusal) => refused(control, refusal),
    }
}

/// GET of one
pub(super) async fn show(
    State(control): State<Arc<Control>>,
    Extension(is_tls): Extension<IsTls>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let reached = Reached::by(&control, &headers, is_tls);
    match control.shards.reservation(Instant::now(), &id) {
        Some(placed) => Json(view(&control, &reached, &placed)).into_response(),
        None => unknown("there is no such placement, or its time is over"),
    }
}

/// DELETE
pub(super) async fn cancel(
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Response {
    if control.shards.cancel(Instant::now(), &id) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        unknown("there is no such placement, or its time is over")
    }
}

fn view(control: &Control, reached: &Reached, placed: &Placed) -> Value {
    let reservation = &placed.reservation;
    let (signalling, whip) = reached.urls(&reservation.broadcast);
    json!({
        "id": reservation.id,
        "node": control.node,
        "application": reservation.broadcast.application(),
        "streamId": reservation.broadcast.stream(),
        "shard": reservation.shard,
        "udpPort": placed.udp_port,
        "signallingUrl": signalling,
        "whipUrl": whip,
        "state": if placed.is_assigned { "assigned" } else { "reserved" },
        "untilUnixMs": (!placed.is_assigned).then_some(reservation.until_unix_ms),
    })
}

/// Whether this server takes `id` at all: one that is on a shard may come back to a server that drains.
fn admitted(control: &Control, id: &BroadcastId) -> Result<(), PlacementRefusal> {
    let is_here = control.shards.assignment(id).is_some();
    if control.drain.is_on() && !is_here || control.stopping.load(Ordering::Relaxed) {
        return Err(PlacementRefusal::Draining);
    }
    Ok(())
}

/// The broadcast of this name, if there is such an application.
fn named(control: &Control, application: &str, stream: &str) -> Result<BroadcastId, Box<Response>> {
    let id = BroadcastId::new(application, stream)
        .map_err(|error| Box::new(bad(&format!("application and streamId: {error}"))))?;
    if control.application(application).is_none() {
        return Err(Box::new(unknown("there is no such application")));
    }
    Ok(id)
}

pub(super) fn bad(message: &str) -> Response {
    let body = json!({"reason": "bad_request", "message": message});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

pub(super) fn unknown(message: &str) -> Response {
    let body = json!({"reason": "unknown", "message": message});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

fn refused(control: &Control, refusal: PlacementRefusal) -> Response {
    let wait_s = refusal.retry_after().as_secs_f64().ceil();
    let body = json!({
        "node": control.node,
        "reason": refusal.word(),
        "message": refusal.to_string(),
    });
    let retry = [(header::RETRY_AFTER, format!("{wait_s}"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry, Json(body)).into_response()
}
