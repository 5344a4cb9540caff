//! Control and a shard: what is asked of it, in which order, and what its reports become. The
//! shard is moved by hand over the real socket.

use crate::server::{
    Server, broadcasts, offer, publish,
    shard::{Shard, answer, destination, live},
    stop, until,
};
use serde_json::{Value, json};
use shardcast_link::{
    BroadcastId, BroadcastStatus, Command, DestinationState, DestinationStatus, EndReason, Event,
    Fault, Problem, SessionId, ShardStatus,
};

fn id(stream: &str) -> BroadcastId {
    BroadcastId::new("StreamLick", stream).unwrap()
}

async fn start() -> (Server, Shard) {
    let server = Server::start().await;
    let shard = Shard::join(&server).await;
    (server, shard)
}

/// A created broadcast that is live on `shard`.
async fn go_live(server: &Server, shard: &mut Shard) -> (crate::server::Client, SessionId) {
    shard.live(server.http(), &id("s1")).await
}

async fn status(server: &Server) -> Value {
    server.get(&broadcasts("s1")).await.json()
}

/// Polls until the broadcast has `word` for its status.
async fn until_status(server: &Server, word: &str) -> Value {
    until(word, async || {
        let read = status(server).await;
        (read["status"] == word).then_some(read)
    })
    .await
}

#[tokio::test]
async fn it_is_not_ready_before_its_shards_are_there() {
    let server = Server::start().await;
    let reply = server.get("/readyz").await;
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("0 of 1 shards"), "{}", reply.text());
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn an_offer_becomes_an_answer_with_candidates_and_media_becomes_publish_started() {
    let (server, mut shard) = start().await;
    server.create("s1").await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    let session = shard.take_publish().await;
    shard.say(answer(&session, true)).await;
    let sdp = client.next().await;
    assert_eq!(
        (&sdp["command"], &sdp["type"]),
        (&json!("takeConfiguration"), &json!("answer"))
    );
    assert!(sdp["sdp"].as_str().unwrap().starts_with("v=0"));
    let candidate = client.next().await;
    assert_eq!(
        (&candidate["label"], &candidate["id"]),
        (&json!(0), &json!("0"))
    );
    assert!(
        candidate["candidate"]
            .as_str()
            .unwrap()
            .starts_with("candidate:1")
    );
    assert_eq!(status(&server).await["status"], "created");
    shard
        .say(Event::Publishing {
            session,
            broadcast: id("s1"),
        })
        .await;
    let started = client.next().await;
    assert_eq!(started["definition"], "publish_started");
    assert_eq!(started["streamId"], "s1");
    assert_eq!(
        status(&server).await["status"],
        "broadcasting",
        "before the client is told"
    );
}

#[tokio::test]
async fn what_the_shard_reports_is_what_rest_shows() {
    let (server, mut shard) = start().await;
    server.create("s1").await;
    let (_client, _) = go_live(&server, &mut shard).await;
    let read = until("the report", async || {
        let read = status(&server).await;
        (read["bitrate"] == 2_500_000).then_some(read)
    })
    .await;
    for (key, value) in [
        ("status", json!("broadcasting")),
        ("publishType", json!("WebRTC")),
        ("width", json!(1280)),
        ("height", json!(720)),
        ("receivedBytes", json!(1_000_000)),
        ("packetsLost", json!(3)),
        ("jitterMs", json!(4)),
        ("rttMs", json!(5)),
        ("remoteIp", json!("203.0.113.5")),
        ("speed", json!(1.0)),
    ] {
        assert_eq!(read[key], value, "{key}");
    }
    assert!(read["startTime"].as_u64().unwrap() > 0);
    let info = server.get(&broadcasts("s1/stream-info")).await.json();
    assert_eq!(info[0]["videoHeight"], 720);
    assert_eq!(
        server
            .get(&broadcasts("active-live-stream-count"))
            .await
            .json()["number"],
        1
    );
}

/// A destination that refuses connections.
fn failing() -> DestinationStatus {
    DestinationStatus {
        last_problem: Some(Problem {
            fault: Fault::Destination,
            message: "rtmp://h/a/secret-key refused the connection".into(),
        }),
        problem_since_unix_ms: Some(1_700_000_000_000),
        ..destination("d1", DestinationState::BackingOff)
    }
}

#[tokio::test]
async fn destinations_added_while_live_are_wanted_at_once_and_their_states_are_told_in_words() {
    let (server, mut shard) = start().await;
    server.create("s1").await;
    let (_client, _) = go_live(&server, &mut shard).await;
    let body = json!({"rtmpUrl": "rtmp://h/a/secret-key", "endpointServiceId": "d1"});
    let added = server.post(&broadcasts("s1/rtmp-endpoint"), body).await;
    assert!(added.success());
    let Command::Want { broadcast } = shard.next().await else {
        panic!("not a Want")
    };
    assert_eq!(broadcast.destinations[0].url, "rtmp://h/a/secret-key");
    let mut failing = failing();
    shard
        .say(Event::Destination {
            broadcast: id("s1"),
            status: failing.clone(),
        })
        .await;
    let endpoint = until("the failure", async || {
        let endpoint = status(&server).await["endPointList"][0].clone();
        (endpoint["status"] == "failed").then_some(endpoint)
    })
    .await;
    assert_eq!(endpoint["detail"]["state"], "backing_off");
    let problem = endpoint["detail"]["problem"].as_str().unwrap();
    assert!(problem.contains("refused the connection") && !problem.contains("secret-key"));
    let times = |detail: &Value| {
        let since = detail["problem_since_unix_ms"].as_u64();
        (since, detail["problem_until_unix_ms"].as_u64())
    };
    assert_eq!(times(&endpoint["detail"]), (Some(1_700_000_000_000), None));
    // Well again: the problem is told as one that was.
    failing.state = DestinationState::Live;
    failing.problem_until_unix_ms = Some(1_700_000_030_000);
    shard
        .say(Event::Destination {
            broadcast: id("s1"),
            status: failing,
        })
        .await;
    let endpoint = until("the end of the failure", async || {
        let endpoint = status(&server).await["endPointList"][0].clone();
        (endpoint["status"] == "broadcasting").then_some(endpoint)
    })
    .await;
    let detail = &endpoint["detail"];
    assert_eq!(
        times(detail),
        (Some(1_700_000_000_000), Some(1_700_000_030_000))
    );
    assert_eq!(detail["problem"].as_str(), Some(problem));
    let removed = broadcasts("s1/rtmp-endpoint?endpointServiceId=d1");
    assert!(server.delete(&removed).await.success());
    let Command::Want { broadcast } = shard.next().await else {
        panic!("not a Want")
    };
    assert!(broadcast.destinations.is_empty());
}

#[tokio::test]
async fn a_stop_ends_the_broadcast_and_a_created_one_stays_finished() {
    let (server, mut shard) = start().await;
    server.create("s1").await;
    let (mut client, session) = go_live(&server, &mut shard).await;
    client.send(stop("s1")).await;
    let unpublish = Command::Unpublish {
        session: session.clone(),
    };
    assert_eq!(shard.next().await, unpublish);
    let broadcast = id("s1");
    shard
        .say(Event::Ended {
            session,
            broadcast,
            reason: EndReason::Requested,
        })
        .await;
    assert_eq!(client.next().await["definition"], "publish_finished");
    assert_eq!(
        shard.next().await,
        Command::Forget {
            broadcast: id("s1")
        }
    );
    let read = until_status(&server, "finished").await;
    assert_eq!(read["bitrate"], 0);
}

#[tokio::test]
async fn a_stream_that_was_never_created_is_gone_after_its_end() {
    let (server, mut shard) = start().await;
    let (mut client, session) = go_live(&server, &mut shard).await;
    assert_eq!(status(&server).await["zombi"], true);
    client.send(stop("s1")).await;
    shard.next().await;
    let broadcast = id("s1");
    shard
        .say(Event::Ended {
            session,
            broadcast,
            reason: EndReason::Requested,
        })
        .await;
    until("gone", async || {
        (server.get(&broadcasts("s1")).await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rest_can_stop_and_delete_what_is_live() {
    for deletes in [false, true] {
        let (server, mut shard) = start().await;
        server.create("s1").await;
        let (mut client, _) = go_live(&server, &mut shard).await;
        if deletes {
            let reply = server.delete(&broadcasts("s1")).await;
            assert!(
                reply.success() && reply.text().contains("stopped"),
                "{}",
                reply.text()
            );
            assert_eq!(server.get(&broadcasts("s1")).await.status, 404);
        } else {
            assert!(server.post_empty(&broadcasts("s1/stop")).await.success());
            assert_eq!(status(&server).await["status"], "finished");
        }
        assert_eq!(client.next().await["definition"], "publish_finished");
        // Without it the SDK publishes again after some seconds.
        assert_eq!(
            client.next().await,
            json!({"command": "stop", "streamId": "s1"})
        );
        assert_eq!(
            shard.next().await,
            Command::Forget {
                broadcast: id("s1")
            }
        );
    }
}

#[tokio::test]
async fn an_offer_without_media_is_told_why() {
    let (server, mut shard) = start().await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    let session = shard.take_publish().await;
    shard.say(answer(&session, false)).await;
    client.next().await;
    client.next().await;
    let error = client.next().await;
    assert_eq!(error["definition"], "no_media_offered");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("mediaManager.localStream"),
        "{error}"
    );
    let broadcast = id("s1");
    shard
        .say(Event::Ended {
            session,
            broadcast,
            reason: EndReason::NoMediaOffered,
        })
        .await;
    assert_eq!(client.next().await["definition"], "publishTimeoutError");
}

#[tokio::test]
async fn a_refused_offer_is_told_in_the_words_of_the_shard() {
    let (server, mut shard) = start().await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    let session = shard.take_publish().await;
    let problem = Problem {
        fault: Fault::Publisher,
        message: "this is no SDP".into(),
    };
    shard.say(Event::Refused { session, problem }).await;
    let error = client.next().await;
    assert_eq!(error["definition"], "notSetRemoteDescription");
    assert_eq!(error["message"], "this is no SDP");
}

#[tokio::test]
async fn an_offer_waits_for_an_engine_that_is_just_starting() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    client.nothing_more().await;
    let mut shard = Shard::listen(server.link_dir());
    shard.accept(ShardStatus::default()).await;
    shard.take_publish().await;
}

#[tokio::test]
async fn a_shard_is_told_what_it_shall_have_of_what_it_has() {
    let server = Server::start().await;
    server.create("s1").await;
    server
        .post(
            &broadcasts("s1/endpoint"),
            json!({"rtmpUrl": "rtmp://h/a/k"}),
        )
        .await;
    let mut shard = Shard::listen(server.link_dir());
    let held = |stream: &str| BroadcastStatus::new(id(stream));
    let broadcasts = vec![held("s1"), held("stranger")];
    shard
        .accept(ShardStatus {
            broadcasts,
            ..ShardStatus::default()
        })
        .await;
    let Command::Want { broadcast } = shard.next().await else {
        panic!("not a Want")
    };
    assert_eq!((broadcast.id, broadcast.destinations.len()), (id("s1"), 1));
    assert_eq!(
        shard.next().await,
        Command::Forget {
            broadcast: id("stranger")
        }
    );
}

#[tokio::test]
async fn publishers_of_an_engine_that_died_are_called_to_the_new_one() {
    let (server, mut shard) = start().await;
    server.create("s1").await;
    let (mut client, _) = go_live(&server, &mut shard).await;
    shard.die();
    shard.accept(ShardStatus::default()).await;
    assert_eq!(client.next().await["definition"], "server_will_stop");
    assert_eq!(client.close_code().await, 1012);
    // Its destinations are not given up: the SDK is on its way.
    assert_eq!(status(&server).await["status"], "broadcasting");
    let mut client = server.connect().await;
    assert_eq!(client.ask(publish("s1")).await["command"], "start");
    client.send(offer("s1")).await;
    shard.take_publish().await;
}

#[tokio::test]
async fn the_placement_is_told_over_http_and_sticks() {
    let (server, mut shard) = start().await;
    let path = "/api/v1/placement/StreamLick/s1";
    let before = server.get(path).await.json();
    assert_eq!(
        (&before["shard"], &before["assigned"]),
        (&json!(0), &json!(false))
    );
    let nodes = server.get("/api/v1/nodes").await.json();
    assert_eq!(before["node"], nodes["nodes"][0]["node"]);
    let (_client, _) = go_live(&server, &mut shard).await;
    let after = server.get(path).await.json();
    assert_eq!(
        (&after["shard"], &after["assigned"]),
        (&json!(0), &json!(true))
    );
}

#[tokio::test]
async fn metrics_count_what_is_live() {
    let (server, mut shard) = start().await;
    let (_client, _) = go_live(&server, &mut shard).await;
    until("the metric", async || {
        let text = server.get("/metrics").await.text();
        text.contains("shardcast_publishers{shard=\"0\"} 1")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_an_attempt_without_media_left_at_the_shard_is_forgotten() {
    let (server, mut shard) = start().await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    let session = shard.take_publish().await;
    let broadcast = id("s1");
    let reason = EndReason::StartTimeout;
    shard
        .say(Event::Ended {
            session: session.clone(),
            broadcast,
            reason,
        })
        .await;
    assert_eq!(client.next().await["definition"], "publishTimeoutError");
    let mut left = live(&id("s1"), &session);
    left.broadcasts[0].publisher = None;
    shard.say(Event::Status(left)).await;
    assert_eq!(
        shard.next().await,
        Command::Forget {
            broadcast: id("s1")
        }
    );
}

#[tokio::test]
async fn a_stop_that_the_shard_could_not_hear_is_told_when_it_is_back() {
    let (server, mut shard) = start().await;
    server.create("s1").await;
    let (_client, session) = go_live(&server, &mut shard).await;
    shard.cut();
    until("the link to be seen as down", async || {
        (server.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    assert!(server.post_empty(&broadcasts("s1/stop")).await.success());
    shard.accept(live(&id("s1"), &session)).await;
    assert_eq!(
        shard.next().await,
        Command::Forget {
            broadcast: id("s1")
        }
    );
    assert_eq!(status(&server).await["status"], "finished");
}

#[tokio::test]
async fn a_publisher_that_is_lost_is_held_and_then_finished() {
    let (server, mut shard) = start().await;
    server.create("s1").await;
    let (client, session) = go_live(&server, &mut shard).await;
    drop(client);
    let unpublish = Command::Unpublish {
        session: session.clone(),
    };
    assert_eq!(shard.next().await, unpublish, "after a grace");
    let mut report = live(&id("s1"), &session);
    report.broadcasts[0].holding = true;
    shard.say(Event::Status(report.clone())).await;
    assert_eq!(status(&server).await["status"], "broadcasting");
    report.broadcasts[0].holding = false;
    report.broadcasts[0].publisher = None;
    shard.say(Event::Status(report)).await;
    until_status(&server, "finished").await;
}
