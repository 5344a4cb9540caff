//! Signalling over a real socket: what answers what, and in which order.

use crate::server::{Client, Server, broadcasts, offer, publish, stop};
use serde_json::json;

#[tokio::test]
async fn a_ping_is_answered_by_a_pong_and_the_ice_servers_are_told() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert_eq!(
        client.ask(json!({"command": "ping"})).await,
        json!({"command": "pong"})
    );
    let config = client.ask(json!({"command": "getIceServerConfig"})).await;
    assert_eq!(config["command"], "iceServerConfig");
    assert!(
        config["stunServerUri"]
            .as_str()
            .unwrap()
            .starts_with("stun:")
    );
    assert_eq!(
        (
            &config["turnServerUsername"],
            &config["turnServerCredential"]
        ),
        (&json!(""), &json!(""))
    );
}

#[tokio::test]
async fn of_several_ice_servers_the_sdk_is_told_one_that_it_knows_and_others_are_told_all() {
    let server = Server::start_with_file(
        "stunServerURI = \"turns:t.example:443, turn:t.example:3478,stun:t.example\"\n\
         turnServerUsername = \"anna\"\nturnServerCredential = \"hush\"\n",
    )
    .await;
    let mut client = server.connect().await;
    let config = client.ask(json!({"command": "getIceServerConfig"})).await;
    assert_eq!(config["stunServerUri"], "turn:t.example:3478");
    let turn = |uri: &str| json!({"urls": uri, "username": "anna", "credential": "hush"});
    let all = json!([turn("turns:t.example:443"), turn("turn:t.example:3478"), {"urls": "stun:t.example"}]);
    assert_eq!(config["iceServers"], all);
}

#[tokio::test]
async fn a_publish_is_started_and_the_same_id_elsewhere_is_in_use() {
    let server = Server::start().await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    let start = first.ask(publish("s1")).await;
    assert_eq!(
        start,
        json!({"command": "start", "streamId": "s1", "subscriberId": ""})
    );
    assert_eq!(first.error(publish("s1")).await, "already_publishing");
    assert_eq!(second.error(publish("s1")).await, "streamIdInUse");
    // Another application is another stream.
    let mut other = Client::connect(server.http(), "LiveApp").await;
    assert_eq!(other.ask(publish("s1")).await["command"], "start");
}

#[tokio::test]
async fn a_stop_frees_the_id_well_within_the_half_second_of_the_retry() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut second = server.connect().await;
    client.ask(publish("s1")).await;
    assert_eq!(
        client.ask(stop("s1")).await["definition"],
        "publish_finished"
    );
    assert_eq!(second.ask(publish("s1")).await["command"], "start");
}

#[tokio::test]
async fn a_new_socket_takes_over_from_a_closed_one_at_once() {
    let server = Server::start().await;
    let mut first = server.connect().await;
    first.ask(publish("s1")).await;
    drop(first);
    let mut second = server.connect().await;
    crate::server::until("the id to be free", async || {
        (second.ask(publish("s1")).await["command"] == "start").then_some(())
    })
    .await;
}

#[tokio::test]
async fn commands_before_publish_are_told_so() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let candidate = json!({"command": "takeCandidate", "streamId": "s1", "label": 0, "candidate": "candidate:1"});
    for message in [offer("s1"), candidate, stop("s1")] {
        assert_eq!(client.error(message).await, "not_initialized_yet");
    }
}

#[tokio::test]
async fn an_offer_without_an_sdp_is_told_so() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    let empty = json!({"command": "takeConfiguration", "streamId": "s1", "type": "offer"});
    assert_eq!(client.error(empty).await, "notSetRemoteDescription");
    let answer = json!({"command": "takeConfiguration", "streamId": "s1", "type": "answer",
        "sdp": "v=0"});
    assert_eq!(client.error(answer).await, "notSetRemoteDescription");
}

#[tokio::test]
async fn what_is_not_live_does_not_exist_for_viewers() {
    let server = Server::start().await;
    server.create("s1").await;
    let mut client = server.connect().await;
    for command in ["play", "getStreamInfo"] {
        let answer = client
            .ask(json!({"command": command, "streamId": "s1"}))
            .await;
        assert_eq!(answer["definition"], "no_stream_exist");
        assert_eq!(answer["error_code"], "404", "a string, as there");
    }
}

#[tokio::test]
async fn the_broadcast_object_is_json_in_a_string_and_shows_no_secrets() {
    let server = Server::start().await;
    server.create("s1").await;
    server
        .post(
            &broadcasts("s1/endpoint"),
            json!({"rtmpUrl": "rtmp://h/a/key-of-one"}),
        )
        .await;
    let mut client = server.connect().await;
    let answer = client
        .ask(json!({"command": "getBroadcastObject", "streamId": "s1"}))
        .await;
    assert_eq!(answer["definition"], "broadcastObject");
    let text = answer["broadcast"].as_str().unwrap();
    assert!(
        text.contains("\"streamId\":\"s1\"") && !text.contains("key-of-one"),
        "{text}"
    );
}

#[tokio::test]
async fn known_commands_that_are_not_built_do_nothing() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for command in [
        "getTrackList",
        "toggleVideo",
        "forceStreamQuality", // Of a stream that this socket does not watch.
        "getDebugInfo",
    ] {
        client
            .send(json!({"command": command, "streamId": "s1"}))
            .await;
    }
    client.nothing_more().await;
}

#[tokio::test]
async fn a_client_that_never_offers_is_timed_out() {
    let server = Server::start_with_file("webRTCClientStartTimeoutMs = 1000").await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    assert_eq!(client.next().await["definition"], "publishTimeoutError");
}

#[tokio::test]
async fn the_other_path_and_unknown_query_keys_reach_the_same_signalling() {
    let server = Server::start().await;
    let url = format!(
        "ws://{}/StreamLick/websocket/signaling?target=edge&x=1",
        server.http()
    );
    let (stream, response) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(response.status(), 101);
    drop(stream);
}
