//! Placement by HTTP over the real router: a reservation says where a broadcast will live, the publish
//! goes there, and a shard that drains is given nothing new. What is said of a shard survives control.

use serde_json::json;
use shardcast_control::{Settings, serve};
use shardcast_link::{BroadcastId, EndReason, ShardStatus};

use crate::server::{Server, publish, request, shard::Shard, until};

const PLACEMENTS: &str = "/api/v1/placements";

fn wanted(stream: &str) -> serde_json::Value {
    json!({"application": "StreamLick", "streamId": stream})
}

#[tokio::test]
async fn a_reservation_says_where_and_how_long_and_can_be_given_up() {
    let server = Server::start().await;
    let refused = server.post(PLACEMENTS, wanted("s1")).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json()["reason"], "no_shard");

    let mut shard = Shard::join(&server).await;
    let what_if = "?dryRun&application=StreamLick&streamId=s1&renditionHeights=";
    let what_if = server.get(&format!("{PLACEMENTS}{what_if}")).await;
    assert_eq!(what_if.json()["shard"], 0, "{}", what_if.text());
    assert_eq!(server.get(PLACEMENTS).await.json()["total"], 0);

    let reply = server.post(PLACEMENTS, wanted("s1")).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let placed = reply.json();
    let at = reply.header("location").to_owned();
    let host = server.http();
    assert_eq!(placed["shard"], 0);
    assert_eq!(placed["udpPort"], 50_000);
    let url = format!("ws://{host}/StreamLick/websocket");
    assert_eq!(placed["signallingUrl"], url);
    assert_eq!(
        placed["whipUrl"],
        format!("http://{host}/StreamLick/whip/s1")
    );
    assert!(placed["node"].as_str().is_some_and(|node| !node.is_empty()));
    assert_eq!(placed["state"], "reserved");
    assert!(placed["untilUnixMs"].as_u64().is_some());
    // The same again, for as long again.
    let again = server.post(PLACEMENTS, wanted("s1")).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &placed["id"]));
    assert_eq!(server.get(&at).await.json()["id"], placed["id"]);

    let (_client, session) = shard
        .live(host, &BroadcastId::new("StreamLick", "s1").unwrap())
        .await;
    let there = server.get(&at).await.json();
    assert_eq!(there["state"], "assigned");
    assert_eq!(there["untilUnixMs"], json!(null));
    drop(session);

    server.post(PLACEMENTS, wanted("s2")).await;
    assert_eq!(server.get(PLACEMENTS).await.json()["total"], 2);
    assert_eq!(server.delete(&at).await.status, 204);
    assert_eq!(server.delete(&at).await.status, 404);
    assert_eq!(server.get(&at).await.status, 404);
    let metrics = server.get("/metrics").await.text();
    for row in [
        "shardcast_placements_reserved_total 2",
        "shardcast_placements_refused_total{reason=\"no_shard\"} 1",
        "shardcast_reservations 1",
        "shardcast_shard_weight{shard=\"0\"} 100",
    ] {
        assert!(metrics.contains(row), "{row} is not in {metrics}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let server = Server::start().await;
    let _shard = Shard::join(&server).await;
    for (body, status, words) in [
        (json!({"application": "StreamLick"}), 400, "streamId"),
        (
            json!({"application": "StreamLick", "streamId": "a/b"}),
            400,
            "streamId",
        ),
        (
            json!({"application": "none", "streamId": "s1"}),
            404,
            "application",
        ),
        (
            json!({"application": "StreamLick", "streamId": "s1", "hold": 1}),
            400,
            "hold",
        ),
        (
            json!({"application": "StreamLick", "streamId": "s1", "holdSeconds": 0}),
            400,
            "holdSeconds",
        ),
        (
            json!({"application": "StreamLick", "streamId": "s1", "holdSeconds": -1}),
            400,
            "-1",
        ),
        (
            json!({"application": "StreamLick", "streamId": "s1",
            "load": {"bitRateBps": 1e12 as u64}}),
            400,
            "bitRateBps",
        ),
        (
            json!({"application": "StreamLick", "streamId": "s1",
            "load": {"renditionHeights": [0]}}),
            400,
            "renditionHeights",
        ),
    ] {
        let reply = server.post(PLACEMENTS, body.clone()).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        assert!(reply.text().contains(words), "{body}: {}", reply.text());
    }
}

#[tokio::test]
async fn null_is_as_good_as_not_given() {
    let server = Server::start().await;
    let _shard = Shard::join(&server).await;
    for load in [
        json!(null),
        json!({"bitRateBps": null, "destinations": null, "renditionHeights": null}),
    ] {
        let body = json!({"application": "StreamLick", "streamId": "s1", "holdSeconds": null,
            "load": load});
        let reply = server.post(PLACEMENTS, body).await;
        assert!([200, 201].contains(&reply.status), "{}", reply.text());
    }
    let nothing = json!({"weight": null, "draining": null});
    let row = server
        .send_json("PATCH", "/api/v1/shards/0", &nothing)
        .await;
    assert_eq!(row.json()["weight"], 100, "{}", row.text());
    let body = json!({"application": "StreamLick", "streamId": null});
    assert_eq!(server.post(PLACEMENTS, body).await.status, 400);
}

#[tokio::test]
async fn what_cannot_be_had_or_may_not_be_changed_is_refused() {
    let server = Server::start().await;
    let _shard = Shard::join(&server).await;
    // A shard without codecs has no room to re-encode.
    let mut body = wanted("s1");
    body["load"] = json!({"renditionHeights": [720]});
    let full = server.post(PLACEMENTS, body).await;
    assert_eq!((full.status, &full.json()["reason"]), (503, &json!("full")));
    for path in [
        "/api/v1/shards/1",
        "/api/v1/shards/x",
        "/api/v1/shards/70000",
    ] {
        let reply = server
            .send_json("PATCH", path, &json!({"draining": true}))
            .await;
        assert_eq!(reply.status, 404);
    }
    let reply = server
        .send_json("PATCH", "/api/v1/shards/0", &json!({"weight": -1}))
        .await;
    assert_eq!(reply.status, 400);
    let headers = [("Origin", "https://elsewhere.example")];
    let reply = request(server.http(), "PATCH", "/api/v1/shards/0", &headers, b"{}").await;
    assert_eq!(reply.status, 403);
}

#[tokio::test]
async fn a_draining_shard_takes_nothing_new_and_whoever_comes_back() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let id = BroadcastId::new("StreamLick", "s1").unwrap();
    let (client, session) = shard.live(server.http(), &id).await;
    let drain = json!({"draining": true});
    let row = server
        .send_json("PATCH", "/api/v1/shards/0", &drain)
        .await
        .json();
    assert_eq!(
        (&row["draining"], &row["weight"]),
        (&json!(true), &json!(100))
    );
    let status = server.get("/api/v1/status").await.json();
    let shown = &status["shards"][0];
    assert_eq!(
        (&shown["draining"], &shown["weight"]),
        (&json!(true), &json!(100))
    );
    let refused = server.post(PLACEMENTS, wanted("s2")).await;
    assert_eq!(refused.json()["reason"], "shards_draining");
    assert_eq!(server.post(PLACEMENTS, wanted("s1")).await.status, 201);
    let mut other = server.connect().await;
    assert_eq!(other.error(publish("s2")).await, "highResourceUsage");
    drop(client);
    shard.ended(session, &id, EndReason::Lost).await;
    until("the publisher may come back", async || {
        let answer = other.ask(publish("s1")).await;
        (answer["command"] == "start").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_said_of_a_shard_is_kept_when_control_starts_again() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let change = json!({"draining": true, "weight": 40});
    let reply = server.send_json("PATCH", "/api/v1/shards/0", &change).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let Server { handle, folder } = server;
    handle.stop().await;
    // The store is closed when the last task of the first has ended.
    let handle = until("control starts again", async || {
        serve(Settings::in_folder(folder.path())).await.ok()
    })
    .await;
    let server = Server { handle, folder };
    shard.accept(ShardStatus::default()).await;
    let row = until("the shard is back", async || {
        let shards = server.get("/api/v1/shards").await.json();
        let row = shards["shards"].get(0).cloned();
        row.filter(|row| row["connected"] == true)
    })
    .await;
    assert_eq!(
        (&row["draining"], &row["weight"]),
        (&json!(true), &json!(40))
    );
    assert_eq!(
        server.get("/api/v1/nodes").await.json()["nodes"][0]["node"],
        row["node"]
    );
}
