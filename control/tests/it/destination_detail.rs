//! What is told of a destination that is in trouble: all that its shard knows, in REST and in the
//! metrics.

use crate::server::{
    Server, broadcasts,
    shard::{Shard, destination, live},
    until,
};
use serde_json::{Value, json};
use shardcast_link::{BroadcastId, DestinationState, DestinationStatus, Event};

#[tokio::test]
async fn a_destination_that_takes_nothing_more_is_an_error_with_all_that_is_known_of_it() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let id = BroadcastId::new("StreamLick", "s1").unwrap();
    server.create("s1").await;
    let body = json!({"rtmpUrl": "rtmp://h/a/k", "endpointServiceId": "d1"});
    assert!(
        server
            .post(&broadcasts("s1/endpoint"), body)
            .await
            .success()
    );
    let (_client, session) = shard.live(server.http(), &id).await;
    let mut report = live(&id, &session);
    report.broadcasts[0].destinations = vec![DestinationStatus {
        next_attempt_unix_ms: Some(7),
        platform: "youtube".into(),
        bytes_acked: 900,
        acked_unix_ms: Some(8),
        rtt_us: 1_500,
        unsent_bytes: 64,
        keyframe_interval_ms: 2_000,
        ..destination("d1", DestinationState::Stalled)
    }];
    shard.say(Event::Status(report)).await;
    let endpoint = until("the report", async || {
        let broadcast = server.get(&broadcasts("s1")).await.json();
        let endpoint = broadcast["endPointList"][0].clone();
        (endpoint["status"] == "error").then_some(endpoint)
    })
    .await;
    for (key, value) in [
        ("state", json!("stalled")),
        ("next_attempt_unix_ms", json!(7)),
        ("platform", json!("youtube")),
        ("bytes_acked", json!(900)),
        ("acked_unix_ms", json!(8)),
        ("rtt_us", json!(1_500)),
        ("unsent_bytes", json!(64)),
        ("keyframe_interval_ms", json!(2_000)),
        ("problem", Value::Null),
    ] {
        assert_eq!(endpoint["detail"][key], value, "{key}");
    }
    let metrics = server.get("/metrics").await.text();
    for row in [
        "shardcast_destinations{state=\"stalled\"} 1",
        "shardcast_destination_bytes_acked{shard=\"0\"} 900",
    ] {
        assert!(metrics.contains(row), "{row} is not in {metrics}");
    }
}
