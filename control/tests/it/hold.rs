//! What happens between the loss of a publisher and the end of its broadcast: how long it is held
//! can be set for each broadcast, REST shows it, and `stop` ends it after a time of its own.

use crate::server::{
    Server, broadcasts, offer, publish,
    shard::{Shard, destination, live},
    stop, until,
};
use serde_json::{Value, json};
use shardcast_link::{BroadcastId, Command, DestinationState, Event, SessionId, WantedBroadcast};

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

/// A live broadcast `s1`, created with `body`, and what the shard was told of it.
async fn go_live(
    settings: &str,
    body: Value,
) -> (
    Server,
    Shard,
    crate::server::Client,
    SessionId,
    WantedBroadcast,
) {
    let server = Server::start_with_file(settings).await;
    assert_eq!(server.post(&broadcasts("create"), body).await.status, 200);
    let mut shard = Shard::join(&server).await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    let Command::Want { broadcast } = shard.next().await else {
        panic!("not a Want")
    };
    let Command::Publish { session, .. } = shard.next().await else {
        panic!("not a Publish")
    };
    shard.go_live(&session, &id()).await;
    for wanted in ["takeConfiguration", "takeCandidate", "notification"] {
        assert_eq!(client.next().await["command"], wanted);
    }
    shard.say(Event::Status(live(&id(), &session))).await;
    (server, shard, client, session, broadcast)
}

async fn hold_wanted(shard: &mut Shard) -> u64 {
    match shard.next().await {
        Command::Want { broadcast } => broadcast.hold_ms,
        other => panic!("not a Want: {other:?}"),
    }
}

#[tokio::test]
async fn a_broadcast_is_held_as_long_as_it_says_or_its_application() {
    let body = json!({"streamId": "s1", "holdMs": 7_200_000});
    let (server, mut shard, _client, _, wanted) = go_live("hold_ms = 1000", body).await;
    assert_eq!(wanted.hold_ms, 7_200_000);
    let path = broadcasts("s1");
    assert_eq!(server.get(&path).await.json()["holdMs"], 7_200_000);
    for (sent, told, shown) in [
        (json!(0), 0, json!(0)),
        (json!(86_400_000), 86_400_000, json!(86_400_000)),
        (json!(-1), 1_000, Value::Null),
    ] {
        let change = json!({"holdMs": sent});
        let reply = server.send_json("PUT", &path, &change).await;
        assert!(reply.success(), "{}", reply.text());
        assert_eq!(hold_wanted(&mut shard).await, told);
        assert_eq!(server.get(&path).await.json()["holdMs"], shown);
    }
}

#[tokio::test]
async fn a_hold_of_more_than_a_day_is_refused() {
    let server = Server::start().await;
    let body = |hold_ms: i64| json!({"streamId": "s1", "holdMs": hold_ms});
    for wrong in [86_400_001, -2] {
        let reply = server.post(&broadcasts("create"), body(wrong)).await;
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
    server.create("s1").await;
    let reply = server
        .send_json("PUT", &broadcasts("s1"), &json!({"holdMs": 86_400_001}))
        .await;
    assert!(!reply.success() && reply.text().contains("a day"));
}

#[tokio::test]
async fn a_broadcast_that_waits_for_its_publisher_says_so_and_is_still_broadcasting() {
    let body = json!({"streamId": "s1", "endPointList": [
        {"rtmpUrl": "rtmp://h/a/k", "endpointServiceId": "d1"}]});
    let (server, mut shard, _client, session, _) = go_live("", body).await;
    let mut report = live(&id(), &session);
    report.broadcasts[0].holding = true;
    report.broadcasts[0].hold_until_unix_ms = Some(1_700_000_060_000);
    report.broadcasts[0].filler = true;
    // Away for longer than what Ant Media Server calls an unexpected end.
    if let Some(publisher) = &mut report.broadcasts[0].publisher {
        publisher.media_age_ms = 30_000;
    }
    report.broadcasts[0].destinations = vec![destination("d1", DestinationState::Holding)];
    shard.say(Event::Status(report)).await;
    let read = until("the hold", async || {
        let read = server.get(&broadcasts("s1")).await.json();
        (read["hold"]["holding"] == true).then_some(read)
    })
    .await;
    assert_eq!(read["status"], "broadcasting");
    assert_eq!(
        read["hold"],
        json!({"holding": true, "until_unix_ms": 1_700_000_060_000_u64,
            "standing_in": true, "slate": null})
    );
    assert_eq!(read["endPointList"][0]["status"], "broadcasting");
    let status = server.get("/api/v1/status").await.json();
    let shown = &status["broadcasts"][0];
    assert_eq!(shown["hold_until_unix_ms"], 1_700_000_060_000_u64);
    assert_eq!(shown["standing_in"], true);
}

#[tokio::test]
async fn without_a_grace_a_stop_ends_the_broadcast_at_once() {
    let body = json!({"streamId": "s1"});
    let (server, mut shard, mut client, session, _) = go_live("stop_grace_ms = 0", body).await;
    client.send(stop("s1")).await;
    assert_eq!(shard.next().await, Command::Unpublish { session });
    let forget = Command::Forget { broadcast: id() };
    assert_eq!(shard.next().await, forget);
    assert_eq!(
        server.get(&broadcasts("s1")).await.json()["status"],
        "finished"
    );
}

#[tokio::test]
async fn with_a_long_grace_a_stopped_broadcast_may_be_published_again() {
    let body = json!({"streamId": "s1"});
    let settings = "stop_grace_ms = 60000";
    let (server, mut shard, mut client, session, _) = go_live(settings, body).await;
    client.send(stop("s1")).await;
    assert_eq!(shard.next().await, Command::Unpublish { session });
    assert_eq!(client.ask(publish("s1")).await["command"], "start");
    client.send(offer("s1")).await;
    shard.take_publish().await;
    assert_eq!(
        server.get(&broadcasts("s1")).await.json()["status"],
        "broadcasting"
    );
}
