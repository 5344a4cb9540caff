//! Numbers of viewers and of what arrives.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use shardcast_link::BroadcastId;

use super::{
    application::{Application, StreamPath},
    lists,
    types::Statistics,
};
use crate::{
    limits,
    state::{Control, ViewerRow},
    views,
};

/// GET `/{id}/broadcast-statistics`: never 404, an unknown stream has -1 everywhere.
pub(super) async fn one(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Json<Statistics> {
    let id = application.broadcast(&stream);
    let known = id.filter(|id| control.catalog.broadcast(id).is_some());
    let Some(id) = known else {
        return Json(Statistics {
            rtmp: -1,
            hls: -1,
            webrtc: -1,
            dash: -1,
        });
    };
    Json(Statistics {
        rtmp: players(&control, &id),
        hls: hls_viewers(&control, &id),
        webrtc: viewers(&control, &id),
        // There is no playing by it.
        dash: 0,
    })
}

/// Those of the last report.
fn viewers(control: &Control, id: &BroadcastId) -> i64 {
    let live = control.shards.broadcast(id);
    live.map_or(0, |live| live.viewers.into())
}

/// Those that play by RTMP, of the last report.
fn players(control: &Control, id: &BroadcastId) -> i64 {
    let live = control.shards.broadcast(id);
    live.map_or(0, |live| live.rtmp_viewers.into())
}

/// Those that have asked for a playlist of late.
fn hls_viewers(control: &Control, id: &BroadcastId) -> i64 {
    control.hls.watchers(Instant::now(), id).into()
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
    let sum = |count: fn(&Control, &BroadcastId) -> i64| {
        let counts = of_application.clone().map(|it| count(&control, &it.id));
        counts.sum()
    };
    let statistics = Statistics {
        // Always, in Ant Media Server.
        rtmp: -1,
        hls: sum(hls_viewers),
        webrtc: sum(viewers),
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

/// GET `/{id}/webrtc-client-stats/{offset}/{size}`: a row for each viewer, at most
/// [`limits::VIEWER_ROWS_MAX`].
pub(super) async fn clients(
    State(control): State<Arc<Control>>,
    application: Application,
    Path((stream, offset, size)): Path<(String, String, String)>,
) -> Response {
    let Some(page) = lists::Page::read(&offset, &size) else {
        return lists::not_a_page();
    };
    let id = application.broadcast(&stream);
    let rows = id.map_or_else(Vec::new, |id| control.viewers.of(Instant::now(), &id));
    let page = page.of(rows).take(limits::VIEWER_ROWS_MAX);
    Json(page.map(|row| client(&row)).collect::<Vec<_>>()).into_response()
}

/// `WebRTCClientStats`, and below it what Ant Media Server does not have. -1 is unknown.
fn client(row: &ViewerRow) -> Value {
    let report = &row.report;
    let or_unknown = |value: Option<u64>| value.map_or(json!(-1), |value| json!(value));
    let apart_ms = |a_second: u32| match a_second {
        0 => 0.0,
        a_second => 1_000.0 / f64::from(a_second),
    };
    json!({
        "clientId": row.number,
        "clientIp": address(&report.remote),
        "clientInfo": "",
        "measuredBitrate": or_unknown(report.estimate_bps),
        "sendBitrate": report.video_bps + report.audio_bps,
        "videoFrameSendPeriod": apart_ms(report.frames_per_second),
        "audioFrameSendPeriod": apart_ms(report.audio_packets_per_second),
        "videoPacketCount": report.video_packets,
        "audioPacketCount": report.audio_packets,
        "videoSentStats": {
            "videoFramesEncoded": report.frames,
            "videoFramesEncodedPerSecond": report.frames_per_second,
            "videoPacketsSentPerSecond": report.video_packets_per_second,
            "videoBytesSentPerSecond": report.video_bps / 8,
            "timeMs": report.watched_ms,
        },
        "audioSentStats": {
            "audioPacketsSent": report.audio_packets,
            "audioBytesSent": report.audio_bytes,
            "audioPacketsPerSecond": report.audio_packets_per_second,
            "audioBytesSentPerSecond": report.audio_bps / 8,
            "timeMs": report.watched_ms,
        },
        "session": row.session.0,
        "packetsLost": report.packets_lost,
        "packetLostRatio": report.loss_permille.map(|permille| f64::from(permille) / 1_000.0),
        "jitterMs": or_unknown(report.jitter_ms.map(u64::from)),
        "rttMs": or_unknown(report.rtt_ms.map(u64::from)),
        "nackCount": report.nacks,
        "pliCount": report.plis,
    })
}

/// `address:port` without the port.
fn address(remote: &str) -> String {
    let parsed = remote.parse::<SocketAddr>();
    parsed.map_or_else(|_| String::new(), |remote| remote.ip().to_string())
}
