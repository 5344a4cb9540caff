//! What a backend is told of its streams by webhook: each thing once, in the keys of Ant Media
//! Server, and nothing when nothing has happened.

use crate::server::{
    Server, broadcasts, offer, publish,
    receiver::Receiver,
    shard::{Shard, answer, destination, live},
    stop,
};
use serde_json::{Value, json};
use shardcast_link::{
    BroadcastId, Command, DestinationState, EndReason, Event, SessionId, ViewEndReason,
};

fn id(stream: &str) -> BroadcastId {
    BroadcastId::new("StreamLick", stream).unwrap()
}

/// A server whose streams are told of at `receiver`.
async fn start(receiver: &Receiver, more: &str) -> (Server, Shard) {
    let url = receiver.url();
    let text = format!("[application.StreamLick]\nlistenerHookURL = \"{url}\"\n{more}");
    let server = Server::start_with_file(&text).await;
    let shard = Shard::join(&server).await;
    (server, shard)
}

async fn end(shard: &mut Shard, client: &mut crate::server::Client, session: SessionId) {
    client.send(stop("s1")).await;
    while !matches!(shard.next().await, Command::Unpublish { .. }) {}
    shard.ended(session, &id("s1"), EndReason::Requested).await;
    while !matches!(shard.next().await, Command::Forget { .. }) {}
}

#[tokio::test]
async fn a_start_and_an_end_are_told_once_and_a_publisher_who_comes_back_is_neither() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "").await;
    let body = json!({"streamId": "s1", "name": "Evening", "metaData": "{\"show\": 7}"});
    server.post(&broadcasts("create"), body).await;
    let (mut client, session) = shard.live(server.http(), &id("s1")).await;
    let mut held = live(&id("s1"), &session);
    held.broadcasts[0].holding = true;
    shard.say(Event::Status(held)).await;
    shard.ended(session, &id("s1"), EndReason::Lost).await;
    assert_eq!(client.next().await["definition"], "publish_finished");
    let (mut client, session) = shard.live(server.http(), &id("s1")).await;
    end(&mut shard, &mut client, session).await;
    for action in ["liveStreamStarted", "liveStreamEnded"] {
        let mut reported = receiver.next().await.json();
        let timestamp = reported["timestamp"].take();
        assert!(timestamp.as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000_000);
        let wanted = json!({"id": "s1", "action": action, "streamName": "Evening",
            "app": "StreamLick", "metadata": {"show": 7}, "timestamp": null});
        assert_eq!(reported, wanted);
    }
}

async fn report(shard: &mut Shard, session: &SessionId, state: DestinationState) {
    let status = destination("d1", state);
    let broadcast = id("s1");
    shard
        .say(Event::Destination {
            broadcast,
            status: status.clone(),
        })
        .await;
    let mut whole = live(&id("s1"), session);
    whole.broadcasts[0].destinations = vec![status];
    shard.say(Event::Status(whole.clone())).await;
    shard.say(Event::Status(whole)).await;
}

#[tokio::test]
async fn a_destination_is_told_with_its_address_each_time_that_it_is_given_up() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "").await;
    server.create("s1").await;
    let url = "rtmp://h/a/secret-key";
    let body = json!({"rtmpUrl": url, "endpointServiceId": "d1"});
    server.post(&broadcasts("s1/rtmp-endpoint"), body).await;
    let (mut client, session) = shard.live(server.http(), &id("s1")).await;
    for state in [
        DestinationState::Failed,
        DestinationState::Connecting,
        DestinationState::Failed,
    ] {
        report(&mut shard, &session, state).await;
    }
    end(&mut shard, &mut client, session).await;
    assert_eq!(receiver.next().await.action(), "liveStreamStarted");
    for _ in 0..2 {
        let reported = receiver.next().await.json();
        assert_eq!(reported["action"], "endpointFailed");
        assert_eq!(reported["metadata"], json!({"rtmp-url": url}));
    }
    assert_eq!(receiver.next().await.action(), "liveStreamEnded");
    // In the next broadcast it is news again.
    let (_client, session) = shard.live(server.http(), &id("s1")).await;
    report(&mut shard, &session, DestinationState::Failed).await;
    assert_eq!(receiver.next().await.action(), "liveStreamStarted");
    assert_eq!(receiver.next().await.action(), "endpointFailed");
}

#[tokio::test]
async fn a_viewer_is_told_when_its_media_flows_and_when_it_is_gone() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "").await;
    let _publisher = shard.live(server.http(), &id("s1")).await;
    assert_eq!(receiver.next().await.action(), "liveStreamStarted");
    let mut viewer = server.connect().await;
    for media_flows in [false, true] {
        let play =
            json!({"command": "play", "streamId": "s1", "token": "", "subscriberId": "anna"});
        viewer.send(play).await;
        let Command::View { session, .. } = shard.next().await else {
            panic!("not a view");
        };
        let broadcast = id("s1");
        if media_flows {
            shard.say(Event::Viewing { session, broadcast }).await;
            assert_eq!(viewer.next().await["definition"], "play_started");
        }
        assert_eq!(viewer.ask(stop("s1")).await["definition"], "play_finished");
        while !matches!(shard.next().await, Command::EndView { .. }) {}
    }
    for action in ["playStarted", "playStopped"] {
        let mut reported = receiver.next().await.json();
        reported["timestamp"].take();
        let wanted = json!({"id": "s1", "action": action, "app": "StreamLick",
            "subscriberId": "anna", "timestamp": null});
        assert_eq!(reported, wanted);
    }
    // A control process that was started again hears of the end alone.
    let ended = Event::ViewEnded {
        session: SessionId("earlier-1".into()),
        broadcast: id("s1"),
        reason: ViewEndReason::PeerClosed,
    };
    shard.say(ended).await;
    assert_eq!(receiver.next().await.action(), "playStopped");
}

#[tokio::test]
async fn a_publisher_that_brings_no_media_is_told_though_the_stream_was_never_created() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "").await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    let session = shard.take_publish().await;
    shard.say(answer(&session, true)).await;
    shard
        .ended(session, &id("s1"), EndReason::StartTimeout)
        .await;
    let reported = receiver.next().await.json();
    assert_eq!(
        (&reported["action"], &reported["id"], &reported["app"]),
        (
            &json!("publishTimeoutError"),
            &json!("s1"),
            &json!("StreamLick")
        )
    );
}

#[tokio::test]
async fn the_status_of_a_live_stream_is_told_again_and_again_where_it_is_asked_for() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "webhookStreamStatusUpdatePeriodMs = 1000\n").await;
    let (_client, _) = shard.live(server.http(), &id("s1")).await;
    assert_eq!(receiver.next().await.action(), "liveStreamStarted");
    for _ in 0..2 {
        let reported = receiver.next().await.json();
        assert_eq!(reported["action"], "liveStreamStatus");
        assert!(reported["timestamp"].is_u64(), "{reported}");
        for (key, value) in [
            ("width", json!(1280)),
            ("height", json!(720)),
            ("totalByteReceived", json!(1_000_000)),
            ("speed", json!(1.0)),
        ] {
            assert_eq!(reported[key], value, "{key}");
        }
    }
}

#[tokio::test]
async fn a_broadcast_takes_the_address_of_its_application_over_and_may_have_its_own() {
    let shared = Receiver::start().await;
    let mut own = Receiver::start().await;
    let (server, mut shard) = start(&shared, "").await;
    server.create("s1").await;
    let read = server.get(&broadcasts("s1")).await.json();
    assert_eq!(read["listenerHookURL"], shared.url());
    let body = json!({"listenerHookURL": own.url()});
    let reply = server.send_json("PUT", &broadcasts("s1"), &body).await;
    assert!(reply.success(), "{}", reply.text());
    let (mut client, _) = shard.live(server.http(), &id("s1")).await;
    let call = own.next().await;
    assert_eq!(call.path, "/hooks?token=hush");
    assert_eq!(call.action(), "liveStreamStarted");
    // The socket is open to everybody, and an address may hold a secret.
    let object = client
        .ask(json!({"command": "getBroadcastObject", "streamId": "s1"}))
        .await;
    assert!(!object.to_string().contains("hush"), "{object}");
}

#[tokio::test]
async fn an_address_that_can_never_be_called_is_refused() {
    let server = Server::start().await;
    for url in ["nonsense", "ftp://h/", "http://user:password@h/"] {
        let body = json!({"streamId": "s1", "listenerHookURL": url});
        let reply = server.post(&broadcasts("create"), body).await;
        assert_eq!(reply.status, 400, "{url}");
        let text = reply.text();
        assert!(
            text.contains("listenerHookURL") && !text.contains(url),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_call_may_be_a_form() {
    let mut receiver = Receiver::start().await;
    let more = "webhookContentType = \"application/x-www-form-urlencoded\"\n";
    let (server, mut shard) = start(&receiver, more).await;
    let (_client, _) = shard.live(server.http(), &id("s1")).await;
    let call = receiver.next().await;
    assert_eq!(
        call.header("content-type"),
        "application/x-www-form-urlencoded"
    );
    let text = String::from_utf8(call.body).unwrap();
    assert!(text.contains("action=liveStreamStarted"), "{text}");
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_kept() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (_client, _) = shard.live(server.http(), &id("s1")).await;
    let metrics = server.get("/metrics").await.text();
    assert!(
        metrics.contains("shardcast_webhooks_waiting 0"),
        "{metrics}"
    );
    let read: Value = server.get(&broadcasts("s1")).await.json();
    assert_eq!(read["listenerHookURL"], Value::Null);
}
