//! What is made of a publisher's picture, and which picture each destination is sent and why: told
//! in REST, in the status for pages and in the metrics.

use crate::server::{
    Server, broadcasts,
    shard::{Shard, codec, destination, live, rendition},
    until,
};
use serde_json::{Value, json};
use shardcast_link::{
    BroadcastId, CodecStatus, DecoderStatus, DestinationState, DestinationStatus, Event,
    RenditionSpec, RenditionStatus, SessionId, ShardStatus, VideoCodec, VideoPath,
    VideoSelectionStatus,
};

/// One rendition that is encoded for `d1`, one that is not, and `d2` with the publisher's video.
fn report(id: &BroadcastId, session: &SessionId) -> ShardStatus {
    let mut report = live(id, session);
    report.codec = CodecStatus {
        refused: 2,
        ..codec(800, 310)
    };
    let broadcast = &mut report.broadcasts[0];
    broadcast.decoder = Some(DecoderStatus {
        codec: VideoCodec::Vp8,
        width: 960,
        height: 540,
        frames: 90,
        errors: 1,
        late: 4,
        cpu_us: 70_000,
    });
    broadcast.renditions = vec![
        RenditionStatus {
            width: 1_280,
            height: 720,
            frames: 88,
            repeated: 5,
            dropped: 3,
            encode_us: 500_000,
            scale_us: 40_000,
            ..rendition(RenditionSpec::of_height(720))
        },
        RenditionStatus {
            problem: Some("there is no room".into()),
            ..rendition(RenditionSpec::of_height(480))
        },
    ];
    let sent = |id: &str, path: VideoPath| DestinationStatus {
        video: Some(VideoSelectionStatus {
            path,
            width: 1_280,
            height: 720,
            reason: "the publisher sends VP8".into(),
            switches: 1,
        }),
        ..destination(id, DestinationState::Live)
    };
    broadcast.destinations = vec![
        sent("d1", VideoPath::Rendition),
        sent("d2", VideoPath::Passthrough),
    ];
    report
}

#[tokio::test]
async fn what_is_made_and_who_is_sent_it_is_told_everywhere() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let id = BroadcastId::new("StreamLick", "s1").unwrap();
    server.create("s1").await;
    for name in ["d1", "d2"] {
        let url = format!("rtmp://h/a/{name}");
        let body = json!({"rtmpUrl": url, "endpointServiceId": name});
        let added = server.post(&broadcasts("s1/endpoint"), body).await;
        assert!(added.success());
    }
    let (_client, session) = shard.live(server.http(), &id).await;
    shard.say(Event::Status(report(&id, &session))).await;
    let read = until("the report", async || {
        let read = server.get(&broadcasts("s1")).await.json();
        (read["renditions"].as_array().unwrap().len() == 2).then_some(read)
    })
    .await;
    assert_shown(&read);
    let status = server.get("/api/v1/status").await.json();
    assert_eq!(status["shards"][0]["codec"]["used_permille"], 310);
    assert_eq!(status["broadcasts"][0]["renditions"][0]["repeated"], 5);
    assert_eq!(
        status["broadcasts"][0]["destinations"][1]["picture"]["path"],
        "passthrough"
    );

    let metrics = server.get("/metrics").await.text();
    assert_measured(&metrics);
}

fn assert_shown(read: &Value) {
    assert_eq!(
        read["endPointList"][0]["detail"]["picture"],
        json!({"path": "rendition", "width": 1280, "height": 720,
            "reason": "the publisher sends VP8", "switches": 1})
    );
    let made = &read["renditions"][0];
    assert_eq!(
        made["spec"],
        json!({"height": 720, "videoBitrate": 3_000_000, "frameRate": 30, "gopSeconds": 2.0,
            "preset": "superfast", "profile": "high", "audioBitrate": 128_000})
    );
    for (key, value) in [
        ("width", json!(1_280)),
        ("frames", json!(88)),
        ("repeated", json!(5)),
        ("dropped", json!(3)),
        ("encodeUs", json!(500_000)),
        ("framesPerSecond", json!(30)),
        ("problem", json!(null)),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    assert_eq!(read["renditions"][1]["problem"], "there is no room");
    assert_eq!(
        (&read["decoder"]["codec"], &read["decoder"]["cpuUs"]),
        (&json!("vp8"), &json!(70_000))
    );
    assert_eq!(read["dropFrameCountInEncoding"], 7);
}

fn assert_measured(metrics: &str) {
    for row in [
        "shardcast_codec_capacity_permille{shard=\"0\"} 800",
        "shardcast_codec_used_permille{shard=\"0\"} 310",
        "shardcast_renditions_refused{shard=\"0\"} 2",
        "shardcast_renditions{shard=\"0\"} 1",
        "shardcast_rendition_frames{shard=\"0\"} 88",
        "shardcast_rendition_frames_repeated{shard=\"0\"} 5",
        "shardcast_rendition_frames_dropped{shard=\"0\"} 3",
        "shardcast_decoded_frames_late{shard=\"0\"} 4",
        "shardcast_decode_cpu_us{shard=\"0\"} 70000",
        "shardcast_scale_cpu_us{shard=\"0\"} 40000",
        "shardcast_encode_cpu_us{shard=\"0\"} 500000",
        "shardcast_destinations_by_video{path=\"passthrough\"} 1",
        "shardcast_destinations_by_video{path=\"rendition\"} 1",
    ] {
        assert!(metrics.contains(row), "{row} is not in {metrics}");
    }
}
