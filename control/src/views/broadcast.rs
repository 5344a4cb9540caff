//! `Broadcast` as clients read it: the stored profile, the shard's report and computed fields.

use std::{collections::BTreeSet, sync::LazyLock, time::Instant};

use serde::Serialize;
use serde_json::{Value, json};
use shardcast_link::{BroadcastId, BroadcastStatus, PublisherStatus};

use super::{
    endpoint::Endpoint,
    renditions::{self, Decoder, Rendition},
};
use crate::{
    clock, lifecycle, source,
    state::Control,
    store::{BroadcastRecord, Lifecycle, Profile, RecordingRecord},
};

/// Everything but the profile's fields.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Computed {
    stream_id: String,
    status: &'static str,
    publish_type: Option<&'static str>,
    zombi: bool,
    date: u64,
    start_time: u64,
    update_time: u64,
    absolute_start_time_ms: u64,
    duration: u64,
    end_point_list: Option<Vec<Endpoint>>,
    #[serde(rename = "rtmpURL")]
    rtmp_url: String,
    origin_adress: String,
    remote_ip: Option<String>,
    user_agent: &'static str,
    speed: f64,
    bitrate: u64,
    received_bytes: u64,
    width: u32,
    height: u32,
    pending_packet_size: u32,
    encoder_queue_size: u32,
    drop_packet_count_in_ingestion: u64,
    drop_frame_count_in_encoding: u64,
    packets_lost: u64,
    packet_lost_ratio: f64,
    jitter_ms: u32,
    rtt_ms: u32,
    hls_viewer_count: u32,
    dash_viewer_count: u32,
    #[serde(rename = "webRTCViewerCount")]
    webrtc_viewer_count: u32,
    rtmp_viewer_count: u32,
    /// The three names that the StreamLick guide reads and that never existed there.
    #[serde(rename = "rtmpUrl")]
    rtmp_url_alias: String,
    /// Where it can be watched by HLS.
    hls_url: Option<String>,
    rtmp_endpoint_list: Option<Vec<String>>,
    /// Not in Ant Media Server: whether the publisher is waited for, and what is shown meanwhile.
    hold: Option<Hold>,
    /// Name of the image that `PUT /{id}/slate` has set.
    slate: Option<String>,
    /// Not in Ant Media Server: the renditions of the publisher's video, and its decoder.
    renditions: Vec<Rendition>,
    decoder: Option<Decoder>,
    /// Not in Ant Media Server: why viewers are sent the publisher's video though a rendition would suit some
    /// of them better.
    viewers_problem: Option<String>,
    /// Not in Ant Media Server: what is being recorded.
    recording: Option<Recording>,
    /// Not in Ant Media Server: why the publisher's video cannot be used.
    video_problem: Option<String>,
}

/// A recording that is being made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Recording {
    vod_id: String,
    /// Unix milliseconds.
    since: u64,
    /// Of the file that is being written: bytes on the disk, and milliseconds of the show.
    bytes: u64,
    duration: u64,
    /// Why nothing is recorded, or parts are left out.
    problem: Option<String>,
}

impl Recording {
    fn new(record: &RecordingRecord, live: Option<&BroadcastStatus>) -> Self {
        let live = live.and_then(|live| live.recording.clone());
        let live = live.filter(|live| live.id == record.vod_id);
        let live = live.unwrap_or_default();
        Self {
            vod_id: record.vod_id.clone(),
            since: record.since_unix_ms,
            bytes: live.bytes,
            duration: live.duration_ms,
            problem: live.problem.map(|problem| problem.message),
        }
    }
}

/// What the shard says of a publisher that is away, under the names of [`BroadcastStatus`].
#[derive(Debug, Serialize)]
struct Hold {
    holding: bool,
    until_unix_ms: Option<u64>,
    standing_in: bool,
    /// Name of the slate that the shard has; the same as the broadcast's once it is there.
    slate: Option<String>,
}

impl Hold {
    fn new(live: &BroadcastStatus) -> Self {
        Self {
            holding: live.holding,
            until_unix_ms: live.hold_until_unix_ms,
            standing_in: live.filler,
            slate: live.slate.clone(),
        }
    }
}

#[derive(Serialize)]
struct Broadcast<'a> {
    #[serde(flatten)]
    computed: Computed,
    #[serde(flatten)]
    profile: &'a Profile,
}

/// Names of all fields: what a body may hold.
pub(crate) static BROADCAST_FIELDS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let whole = Broadcast {
        computed: Computed::default(),
        profile: &Profile::default(),
    };
    let value = serde_json::to_value(whole).unwrap_or_default();
    value
        .as_object()
        .map(|object| object.keys().cloned().collect())
        .unwrap_or_default()
});

/// `record` as REST shows it.
pub(crate) fn broadcast(control: &Control, record: &BroadcastRecord) -> Value {
    let live = control.shards.broadcast(&record.id);
    let computed = compute(control, record, live.as_ref());
    let whole = Broadcast {
        computed,
        profile: &record.profile,
    };
    serde_json::to_value(whole).unwrap_or_default()
}

/// `record` for clients of the signalling socket: without stream keys, passwords and addresses.
pub(crate) fn public_broadcast(control: &Control, record: &BroadcastRecord) -> Value {
    let mut value = broadcast(control, record);
    const PRIVATE: [&str; 8] = [
        "endPointList",
        "rtmpEndpointList",
        "username",
        "password",
        "streamUrl",
        "ipAddr",
        "remoteIp",
        "listenerHookURL",
    ];
    if let Some(object) = value.as_object_mut() {
        for key in PRIVATE {
            object.insert(key.to_owned(), Value::Null);
        }
    }
    value
}

fn compute(
    control: &Control,
    record: &BroadcastRecord,
    live: Option<&BroadcastStatus>,
) -> Computed {
    let status = lifecycle::status_word(control, record);
    let rtmp_url = rtmp_url(control, &record.id);
    let mut computed = Computed {
        stream_id: record.id.stream().to_owned(),
        status,
        zombi: record.zombi,
        date: record.created_unix_ms,
        update_time: lifecycle::update_unix_ms(control, record),
        end_point_list: end_point_list(record, live),
        rtmp_endpoint_list: record.endpoints.as_ref().map(|endpoints| {
            endpoints
                .iter()
                .map(|endpoint| endpoint.url.clone())
                .collect()
        }),
        hls_url: hls_url(control, &record.id),
        hls_viewer_count: control.hls.watchers(Instant::now(), &record.id),
        rtmp_url_alias: rtmp_url.clone(),
        rtmp_url,
        origin_adress: control.settings.public_host(),
        user_agent: "N/A",
        hold: live.map(Hold::new),
        slate: control
            .catalog
            .slate(&record.id)
            .map(|slate| slate.name.clone()),
        recording: record.recording.as_ref().map(|it| Recording::new(it, live)),
        ..Computed::default()
    };
    show(&mut computed, record);
    if let Some(live) = live {
        computed.webrtc_viewer_count = live.viewers;
        computed.rtmp_viewer_count = live.rtmp_viewers;
        computed.renditions = renditions::of(live);
        computed.viewers_problem.clone_from(&live.viewers_problem);
        computed.decoder = live.decoder.map(Decoder::from);
        computed.drop_frame_count_in_encoding = live.frames_left_out();
        let publisher = live.publisher.as_ref().filter(|_| !live.holding);
        if let Some(publisher) = publisher {
            ingest(&mut computed, publisher);
            (computed.width, computed.height) = source::size(live).unwrap_or_default();
        }
    }
    computed
}

/// When the last show began and how long it lasted, and which way it came.
fn show(computed: &mut Computed, record: &BroadcastRecord) {
    let publish_type = if record.by_rtmp { "RTMP" } else { "WebRTC" };
    match record.lifecycle {
        Lifecycle::Created => {}
        Lifecycle::Finished {
            since_unix_ms,
            ended_unix_ms,
        } => {
            computed.publish_type = Some(publish_type);
            computed.start_time = since_unix_ms;
            computed.duration = ended_unix_ms.saturating_sub(since_unix_ms);
        }
        Lifecycle::Live { since_unix_ms } => {
            computed.publish_type = Some(publish_type);
            computed.start_time = since_unix_ms;
            computed.duration = clock::unix_ms().saturating_sub(since_unix_ms);
        }
    }
    computed.absolute_start_time_ms = computed.start_time;
}

/// What arrives now.
fn ingest(computed: &mut Computed, publisher: &PublisherStatus) {
    let video = publisher.video.clone().unwrap_or_default();
    computed.speed = if publisher.media_age_ms < 2_000 {
        1.0
    } else {
        0.0
    };
    computed.bitrate = publisher.bitrate_bps;
    computed.received_bytes = publisher.bytes_received;
    computed.packets_lost = publisher.packets_lost;
    computed.drop_packet_count_in_ingestion = video.frames_damaged;
    computed.video_problem = video.problem;
    computed.jitter_ms = publisher.jitter_ms;
    computed.rtt_ms = publisher.rtt_ms;
    // A packet is about 1,100 bytes of payload; the shard counts bytes and losses.
    let packets = publisher.bytes_received as f64 / 1_100.0;
    if publisher.packets_lost > 0 {
        let lost = publisher.packets_lost as f64;
        computed.packet_lost_ratio = lost / (lost + packets);
    }
    let remote = publisher.remote.parse::<std::net::SocketAddr>();
    computed.remote_ip = remote.ok().map(|remote| remote.ip().to_string());
}

fn end_point_list(
    record: &BroadcastRecord,
    live: Option<&BroadcastStatus>,
) -> Option<Vec<Endpoint>> {
    let endpoints = record.endpoints.as_ref()?.iter().map(|endpoint| {
        let status = live.and_then(|live| {
            live.destinations
                .iter()
                .find(|status| status.id == endpoint.id)
        });
        Endpoint::new(endpoint, record.lifecycle, status)
    });
    Some(endpoints.collect())
}

fn rtmp_url(control: &Control, id: &BroadcastId) -> String {
    format!("rtmp://{}/{}", control.settings.public_host(), id)
}

/// `None` where HLS is off. The port is the configured one; a proxy in front may have another.
fn hls_url(control: &Control, id: &BroadcastId) -> Option<String> {
    let application = control.application(id.application());
    application.filter(|it| it.hls.enabled)?;
    let (host, port) = (control.settings.public_host(), control.settings.http_port);
    let (application, stream) = (id.application(), id.stream());
    Some(format!(
        "http://{host}:{port}/{application}/streams/{stream}.m3u8"
    ))
}

/// `streamInfo` rows of what arrives.
pub(crate) fn stream_info(live: &BroadcastStatus) -> Value {
    let Some(publisher) = &live.publisher else {
        return json!([]);
    };
    let video = publisher.video.as_ref();
    let (width, height) = source::size(live).unwrap_or_default();
    json!([{
        "videoHeight": height,
        "videoWidth": width,
        "videoBitrate": source::video_bitrate(publisher),
        "audioBitrate": source::audio_bitrate(publisher),
        "videoCodec": video.map_or("", |video| &video.codec),
    }])
}
