//! `/metrics` in the text format of Prometheus (exposition format 0.0.4).

mod hls;
mod machine;
mod placement;
mod uploads;
mod work;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use serde::Serialize;
use shardcast_link::{BroadcastStatus, CodecStatus, DataStatus, TcpPeersStatus};

use crate::{drain, health, lifecycle, state::Control};

/// Counts each response.
pub(crate) async fn count(
    State(control): State<Arc<Control>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let class = usize::from(response.status().as_u16() / 100).saturating_sub(1);
    if let Some(counter) = control.counters.responses.get(class) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    response
}

pub(crate) async fn metrics(State(control): State<Arc<Control>>) -> impl IntoResponse {
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (StatusCode::OK, kind, Text::of(&control))
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn of(control: &Control) -> String {
        let mut text = Self::default();
        text.process(control);
        text.webhooks(control);
        text.broadcasts(control);
        text.shards(control);
        text.placement(control);
        text.hls(control);
        text.uploads(control);
        text.machine(control);
        text.0
    }

    fn process(&mut self, control: &Control) {
        self.family(
            "shardcast_ready",
            "gauge",
            "1 when this server takes publishers",
        );
        self.row("shardcast_ready", "", u64::from(health::is_ready(control)));
        self.family(
            "shardcast_draining",
            "gauge",
            "1 while draining: no new broadcasts are taken",
        );
        self.row("shardcast_draining", "", u64::from(control.drain.is_on()));
        self.family(
            "shardcast_live_broadcasts",
            "gauge",
            "live broadcasts, which a drain waits for",
        );
        let live = drain::live_broadcasts(control);
        self.row("shardcast_live_broadcasts", "", live as u64);
        self.family(
            "shardcast_http_responses_total",
            "counter",
            "HTTP responses by class",
        );
        for (class, counter) in (1..).zip(&control.counters.responses) {
            let labels = format!("{{class=\"{class}xx\"}}");
            let value = counter.load(Ordering::Relaxed);
            self.row("shardcast_http_responses_total", &labels, value);
        }
        self.family(
            "shardcast_signalling_sockets",
            "gauge",
            "open signalling sockets",
        );
        let sockets = control.lock_hub().socket_count();
        self.row("shardcast_signalling_sockets", "", sockets as u64);
        self.family(
            "shardcast_engine_starts_total",
            "counter",
            "times the engine was started",
        );
        let starts = control.counters.engine_starts.load(Ordering::Relaxed);
        self.row("shardcast_engine_starts_total", "", starts);
    }

    fn webhooks(&mut self, control: &Control) {
        let counters = &control.counters.webhooks;
        for (name, help, counter) in [
            (
                "shardcast_webhook_deliveries_total",
                "webhooks that their receiver has taken",
                &counters.delivered,
            ),
            (
                "shardcast_webhook_failures_total",
                "attempts that the receiver has not taken",
                &counters.failures,
            ),
            (
                "shardcast_webhook_given_up_total",
                "webhooks given up after their last attempt",
                &counters.given_up,
            ),
            (
                "shardcast_webhook_dropped_total",
                "webhooks dropped because too many waited",
                &counters.dropped,
            ),
        ] {
            self.family(name, "counter", help);
            self.row(name, "", counter.load(Ordering::Relaxed));
        }
        self.family("shardcast_webhooks_waiting", "gauge", "webhooks owed now");
        let waiting = control.catalog.hook_count() + control.data_messages.len();
        self.row("shardcast_webhooks_waiting", "", waiting as u64);
    }

    fn broadcasts(&mut self, control: &Control) {
        self.family(
            "shardcast_broadcasts",
            "gauge",
            "stored broadcasts by status",
        );
        let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for (application, idle) in control.catalog.idle_counts() {
            for (word, count) in [("created", idle.created), ("finished", idle.finished)] {
                if count > 0 {
                    counts.insert((application.clone(), word), count as u64);
                }
            }
        }
        for record in control.catalog.live_broadcasts() {
            let word = lifecycle::status_word(control, &record);
            *counts
                .entry((record.id.application().to_owned(), word))
                .or_default() += 1;
        }
        for ((application, word), count) in counts {
            let labels = format!("{{application=\"{application}\",status=\"{word}\"}}");
            self.row("shardcast_broadcasts", &labels, count);
        }
    }

    fn shards(&mut self, control: &Control) {
        let mut sums: BTreeMap<u16, Sums> = BTreeMap::new();
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        let mut paths: BTreeMap<String, u64> = BTreeMap::new();
        let mut work = Vec::new();
        control.shards.each(|shard, view| {
            let sum = sums.entry(shard).or_default();
            sum.connected = u64::from(view.is_connected());
            sum.cpu_permille = u64::from(view.status.cpu_permille);
            sum.datagrams_received = view.status.datagrams_received;
            sum.datagrams_sent = view.status.datagrams_sent;
            sum.datagrams_unknown = view.status.datagrams_unknown;
            sum.tcp_peers = view.status.tcp_peers;
            sum.codec(&view.status.codec);
            work.push((shard, view.status.work));
            for broadcast in view.broadcasts.values() {
                sum.broadcast(broadcast);
                for destination in &broadcast.destinations {
                    *states.entry(word(destination.state)).or_default() += 1;
                    if let Some(video) = &destination.video {
                        *paths.entry(word(video.path)).or_default() += 1;
                    }
                }
            }
        });
        self.family(
            "shardcast_destinations",
            "gauge",
            "destinations of live broadcasts by state",
        );
        for (state, count) in states {
            self.row(
                "shardcast_destinations",
                &format!("{{state=\"{state}\"}}"),
                count,
            );
        }
        self.family(
            "shardcast_destinations_by_video",
            "gauge",
            "destinations that are sent media, by where their video comes from",
        );
        for (path, count) in paths {
            let labels = format!("{{path=\"{path}\"}}");
            self.row("shardcast_destinations_by_video", &labels, count);
        }
        for (name, help, value) in SUMS {
            self.family(name, "gauge", help);
            for (shard, sum) in &sums {
                self.row(name, &format!("{{shard=\"{shard}\"}}"), value(sum));
            }
        }
        self.work(&work);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn row(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// What one shard has. Sums over broadcasts fall when a broadcast ends, so they are gauges.
#[derive(Debug, Default)]
struct Sums {
    connected: u64,
    cpu_permille: u64,
    datagrams_received: u64,
    datagrams_sent: u64,
    datagrams_unknown: u64,
    tcp_peers: TcpPeersStatus,
    publishers: u64,
    viewers: u64,
    data: DataStatus,
    bytes_received: u64,
    packets_lost: u64,
    frames: u64,
    bytes_sent: u64,
    bytes_acked: u64,
    frames_sent: u64,
    frames_dropped: u64,
    ring_bytes: u64,
    codec_capacity_permille: u64,
    codec_used_permille: u64,
    codec_refused: u64,
    renditions: u64,
    rendition_frames: u64,
    rendition_frames_repeated: u64,
    rendition_frames_dropped: u64,
    decoded_frames: u64,
    decoded_frames_late: u64,
    decode_us: u64,
    scale_us: u64,
    encode_us: u64,
}

impl Sums {
    fn codec(&mut self, codec: &CodecStatus) {
        self.codec_capacity_permille = u64::from(codec.capacity_permille);
        self.codec_used_permille = u64::from(codec.used_permille);
        self.codec_refused = codec.refused;
    }

    fn broadcast(&mut self, broadcast: &BroadcastStatus) {
        self.renditions(broadcast);
        self.ring_bytes += broadcast.ring_bytes;
        self.viewers += u64::from(broadcast.viewers + broadcast.rtmp_viewers);
        self.data.received += broadcast.data.received;
        self.data.delivered += broadcast.data.delivered;
        self.data.refused += broadcast.data.refused;
        self.data.lost += broadcast.data.lost;
        self.data.unreported += broadcast.data.unreported;
        if let Some(publisher) = &broadcast.publisher {
            self.publishers += u64::from(!broadcast.holding);
            self.bytes_received += publisher.bytes_received;
            self.packets_lost += publisher.packets_lost;
            self.frames += publisher.video.as_ref().map_or(0, |video| video.frames);
        }
        for destination in &broadcast.destinations {
            self.bytes_sent += destination.bytes_sent;
            self.bytes_acked += destination.bytes_acked;
            self.frames_sent += destination.video_frames;
            self.frames_dropped += destination.frames_dropped;
        }
    }

    fn renditions(&mut self, broadcast: &BroadcastStatus) {
        if let Some(decoder) = &broadcast.decoder {
            self.decoded_frames += decoder.frames;
            self.decoded_frames_late += decoder.late;
            self.decode_us += decoder.cpu_us;
        }
        for rendition in &broadcast.renditions {
            self.renditions += u64::from(rendition.problem.is_none());
            self.rendition_frames += rendition.frames;
            self.rendition_frames_repeated += rendition.repeated;
            self.rendition_frames_dropped += rendition.dropped;
            self.scale_us += rendition.scale_us;
            self.encode_us += rendition.encode_us;
        }
    }
}

/// The word that JSON has for a value without fields.
fn word(value: impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or("unknown").to_owned()
}

type Row = (&'static str, &'static str, fn(&Sums) -> u64);

const SUMS: [Row; 35] = [
    (
        "shardcast_shard_connected",
        "1 when the shard can be reached",
        |s| s.connected,
    ),
    (
        "shardcast_shard_cpu_permille",
        "CPU of the shard's thread, in thousandths of a core",
        |s| s.cpu_permille,
    ),
    (
        "shardcast_shard_datagrams_received",
        "datagrams received since its start",
        |s| s.datagrams_received,
    ),
    (
        "shardcast_shard_datagrams_sent",
        "datagrams sent since its start",
        |s| s.datagrams_sent,
    ),
    (
        "shardcast_shard_datagrams_unknown",
        "datagrams that belonged to no session, since its start",
        |s| s.datagrams_unknown,
    ),
    (
        "shardcast_shard_tcp_peers",
        "TCP connections of publishers and viewers",
        |s| s.tcp_peers.connections,
    ),
    (
        "shardcast_shard_tcp_peers_refused",
        "such connections refused since its start, or closed because they were of no session",
        |s| s.tcp_peers.refused,
    ),
    (
        "shardcast_shard_tcp_peers_dropped",
        "datagrams dropped since its start because a client on TCP read too slowly",
        |s| s.tcp_peers.dropped,
    ),
    ("shardcast_publishers", "publishers with media", |s| {
        s.publishers
    }),
    (
        "shardcast_viewers",
        "viewers whose media flows, over WebRTC and RTMP",
        |s| s.viewers,
    ),
    (
        "shardcast_data_messages_received",
        "messages over data channels that were taken",
        |s| s.data.received,
    ),
    (
        "shardcast_data_messages_delivered",
        "of them, each for each client that was sent it",
        |s| s.data.delivered,
    ),
    (
        "shardcast_data_messages_refused",
        "messages that were refused for a limit or by the settings",
        |s| s.data.refused,
    ),
    (
        "shardcast_data_messages_lost",
        "messages that clients took too slowly to be sent them",
        |s| s.data.lost,
    ),
    (
        "shardcast_data_messages_unreported",
        "messages that were too many bytes a second for dataChannelWebHookURL",
        |s| s.data.unreported,
    ),
    (
        "shardcast_publisher_bytes",
        "payload bytes of the present publishers",
        |s| s.bytes_received,
    ),
    (
        "shardcast_publisher_packets_lost",
        "RTP packets lost of the present publishers",
        |s| s.packets_lost,
    ),
    (
        "shardcast_publisher_video_frames",
        "video frames received of the present publishers",
        |s| s.frames,
    ),
    (
        "shardcast_destination_bytes",
        "bytes sent to the present destinations",
        |s| s.bytes_sent,
    ),
    (
        "shardcast_destination_bytes_acked",
        "bytes acknowledged by the present destinations",
        |s| s.bytes_acked,
    ),
    (
        "shardcast_destination_video_frames",
        "video frames sent to the present destinations",
        |s| s.frames_sent,
    ),
    (
        "shardcast_destination_frames_dropped",
        "video frames dropped because destinations were too slow",
        |s| s.frames_dropped,
    ),
    (
        "shardcast_ring_bytes",
        "bytes of media kept for consumers",
        |s| s.ring_bytes,
    ),
    (
        "shardcast_codec_capacity_permille",
        "CPU that codecs may use, in thousandths of a core; 0 where nothing is re-encoded",
        |s| s.codec_capacity_permille,
    ),
    (
        "shardcast_codec_used_permille",
        "CPU that codecs use, with what is reserved, in thousandths of a core",
        |s| s.codec_used_permille,
    ),
    (
        "shardcast_renditions_refused",
        "renditions refused for lack of capacity, since its start",
        |s| s.codec_refused,
    ),
    ("shardcast_renditions", "renditions that are encoded", |s| {
        s.renditions
    }),
    (
        "shardcast_rendition_frames",
        "frames encoded for the present renditions",
        |s| s.rendition_frames,
    ),
    (
        "shardcast_rendition_frames_repeated",
        "frames that repeat the one before, because the publisher sent too few",
        |s| s.rendition_frames_repeated,
    ),
    (
        "shardcast_rendition_frames_dropped",
        "frames not encoded, because encoding was late",
        |s| s.rendition_frames_dropped,
    ),
    (
        "shardcast_decoded_frames",
        "frames decoded for the present renditions",
        |s| s.decoded_frames,
    ),
    (
        "shardcast_decoded_frames_late",
        "frames decoded too late to be encoded",
        |s| s.decoded_frames_late,
    ),
    (
        "shardcast_decode_cpu_us",
        "CPU time of decoding, in microseconds",
        |s| s.decode_us,
    ),
    (
        "shardcast_scale_cpu_us",
        "CPU time of scaling, in microseconds",
        |s| s.scale_us,
    ),
    (
        "shardcast_encode_cpu_us",
        "CPU time of encoding, in microseconds",
        |s| s.encode_us,
    ),
];
