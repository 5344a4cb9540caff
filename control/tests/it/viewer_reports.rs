//! How the media of viewers arrives, by REST and by the SDK's `bitrateMeasurement`: what their shard reports, under
//! Ant Media Server's keys, and nothing that nobody has measured.

use serde_json::json;
use shardcast_link::{BroadcastId, Command, Event, SessionId, ViewEndReason, ViewerReport};

use crate::server::{Server, broadcasts, shard::Shard, until};

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

fn report() -> ViewerReport {
    ViewerReport {
        remote: "203.0.113.7:4000".into(),
        watched_ms: 3_000,
        video_packets: 900,
        video_bytes: 900_000,
        audio_packets: 150,
        audio_bytes: 15_000,
        frames: 90,
        video_bps: 2_400_000,
        audio_bps: 40_000,
        video_packets_per_second: 300,
        audio_packets_per_second: 50,
        frames_per_second: 25,
        packets_lost: 9,
        loss_permille: Some(10),
        jitter_ms: Some(4),
        rtt_ms: Some(30),
        nacks: 2,
        plis: 1,
        estimate_bps: None,
    }
}

async fn say(shard: &mut Shard, session: &SessionId, report: ViewerReport) {
    let event = Event::ViewerReport {
        session: session.clone(),
        broadcast: id(),
        report,
    };
    shard.say(event).await;
}

async fn rows(server: &Server, page: &str) -> Vec<serde_json::Value> {
    let path = broadcasts(&format!("s1/webrtc-client-stats/{page}"));
    let rows = server.get(&path).await.json();
    rows.as_array().unwrap().clone()
}

#[tokio::test]
async fn each_viewer_has_a_row_until_it_is_gone_also_one_of_an_earlier_process() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    assert!(rows(&server, "0/50").await.is_empty());
    let sessions = ["earlier-1", "earlier-2"].map(|name| SessionId(name.into()));
    for session in &sessions {
        say(&mut shard, session, report()).await;
    }
    let all = until("two rows", async || {
        let rows = rows(&server, "0/50").await;
        (rows.len() == 2).then_some(rows)
    })
    .await;
    let wanted = json!({
        "clientId": 1, "clientIp": "203.0.113.7", "clientInfo": "", "measuredBitrate": -1,
        "sendBitrate": 2_440_000, "videoFrameSendPeriod": 40.0, "audioFrameSendPeriod": 20.0,
        "videoPacketCount": 900, "audioPacketCount": 150,
        "videoSentStats": {"videoFramesEncoded": 90, "videoFramesEncodedPerSecond": 25,
            "videoPacketsSentPerSecond": 300, "videoBytesSentPerSecond": 300_000, "timeMs": 3_000},
        "audioSentStats": {"audioPacketsSent": 150, "audioBytesSent": 15_000,
            "audioPacketsPerSecond": 50, "audioBytesSentPerSecond": 5_000, "timeMs": 3_000},
        "session": "earlier-1", "packetsLost": 9, "packetLostRatio": 0.01, "jitterMs": 4,
        "rttMs": 30, "nackCount": 2, "pliCount": 1});
    assert_eq!(all[0], wanted);
    assert_eq!(rows(&server, "1/50").await[0]["clientId"], 2);
    assert!(rows(&server, "0/0").await.is_empty());
    let path = broadcasts("s1/webrtc-client-stats/0/all");
    assert_eq!(server.get(&path).await.status, 404);
    let ended = Event::ViewEnded {
        session: sessions[0].clone(),
        broadcast: id(),
        reason: ViewEndReason::Lost,
    };
    shard.say(ended).await;
    until("one row", async || {
        (rows(&server, "0/50").await.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_viewer_is_told_its_bit_rates_where_its_way_is_estimated_and_not_before() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    let mut client = server.connect().await;
    let play = json!({"command": "play", "streamId": "s1", "token": ""});
    client.send(play).await;
    let Command::View { session, .. } = shard.next().await else {
        panic!("not a view");
    };
    say(&mut shard, &session, report()).await;
    let estimated = ViewerReport {
        estimate_bps: Some(5_000_000),
        ..report()
    };
    say(&mut shard, &session, estimated).await;
    let told = client.next().await;
    let wanted = json!({"command": "notification", "definition": "bitrateMeasurement",
        "streamId": "s1", "targetBitrate": 5_000_000, "videoBitrate": 2_400_000,
        "audioBitrate": 40_000});
    assert_eq!(told, wanted);
}
