//! Messages over data channels: REST hands a text to the shard of a live broadcast, and the application's settings
//! reach it.

use serde_json::json;
use shardcast_link::{BroadcastId, Command, DATA_MESSAGE_BYTES_MAX, DataFromViewers};

use crate::server::{Server, broadcasts, offer, publish, request, shard::Shard};

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

/// Posts `text` as the message, without a type as `curl --data-binary` never does but clients do.
async fn post(server: &Server, text: &[u8]) -> (u16, serde_json::Value) {
    let path = broadcasts("s1/data");
    let reply = request(server.http(), "POST", &path, &[], text).await;
    (reply.status, reply.json())
}

#[tokio::test]
async fn a_text_reaches_the_shard_of_a_live_broadcast_as_it_is() {
    let server = Server::start().await;
    server.create("s1").await;
    let mut shard = Shard::join(&server).await;
    let (status, answer) = post(&server, b"early").await;
    assert_eq!((status, &answer["success"]), (200, &json!(false)));
    let _publisher = shard.live(server.http(), &id()).await;
    let text = "{\"cue\": \"Grüße\"}";
    let (status, answer) = post(&server, text.as_bytes()).await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)));
    let (broadcast, text) = (id(), text.to_owned());
    assert_eq!(shard.next().await, Command::Data { broadcast, text });
}

#[tokio::test]
async fn what_no_client_could_be_sent_is_refused_with_the_reason() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let _publisher = shard.live(server.http(), &id()).await;
    assert_eq!(post(&server, b"").await.1["success"], json!(false));
    let (status, answer) = post(&server, &[0xff, 0xfe]).await;
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().contains("UTF-8"));
    let path = broadcasts("s1/data");
    let long = vec![b'x'; DATA_MESSAGE_BYTES_MAX + 1];
    let reply = request(server.http(), "POST", &path, &[], &long).await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn the_settings_of_the_application_reach_the_shard() {
    let file = "[ant_media]\ndataChannelEnabled = false\n\
        dataChannelPlayerDistribution = \"publisher\"\n";
    let server = Server::start_with_file(file).await;
    let mut shard = Shard::join(&server).await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    let Command::Want { broadcast } = shard.next().await else {
        panic!("not a want");
    };
    assert!(!broadcast.data.is_enabled);
    assert_eq!(broadcast.data.from_viewers, DataFromViewers::Publisher);
    let (_, answer) = post(&server, b"news").await;
    assert_eq!(answer["message"], "dataChannelEnabled is off");
}
