//! Publish tokens: who has none stays out, who has one may come back with it.

use crate::server::{Server, broadcasts, publish, stop};
use serde_json::{Value, json};

const TOKENS_ON: &str = "[application.StreamLick]\npublishTokenControlEnabled = true\n";
/// The year 2100, in seconds.
const FAR: u64 = 4_102_444_800;

async fn token(server: &Server, stream: &str, expire: u64, kind: &str) -> String {
    let path = broadcasts(&format!("{stream}/token?expireDate={expire}&type={kind}"));
    let reply = server.get(&path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["tokenId"].as_str().unwrap().to_owned()
}

fn publish_with(stream: &str, token: &str) -> Value {
    let mut message = publish(stream);
    message["token"] = json!(token);
    message
}

#[tokio::test]
async fn a_token_has_the_fields_of_the_original() {
    let server = Server::start().await;
    let path = broadcasts(&format!("s1/token?expireDate={FAR}&type=play&roomId=r"));
    let token = server.get(&path).await.json();
    assert_eq!(token["streamId"], "s1");
    assert_eq!(token["expireDate"], FAR);
    assert_eq!(
        (&token["type"], &token["roomId"]),
        (&json!("play"), &json!("r"))
    );
}

#[tokio::test]
async fn without_a_valid_token_publishing_is_unauthorized() {
    let server = Server::start_with_file(TOKENS_ON).await;
    let mut client = server.connect().await;
    let mut missing = publish("s1");
    missing.as_object_mut().unwrap().remove("token");
    let elsewhere = token(&server, "s2", FAR, "publish").await;
    let to_play = token(&server, "s1", FAR, "play").await;
    let expired = token(&server, "s1", 1_000_000_000, "publish").await;
    for message in [
        missing,
        publish("s1"),
        publish_with("s1", "guessed"),
        publish_with("s1", &elsewhere),
        publish_with("s1", &to_play),
        publish_with("s1", &expired),
    ] {
        assert_eq!(client.error(message).await, "unauthorized_access");
    }
}

#[tokio::test]
async fn the_same_token_is_good_for_every_retry() {
    let server = Server::start_with_file(TOKENS_ON).await;
    let token = token(&server, "s1", FAR, "publish").await;
    for _ in 0..3 {
        let mut client = server.connect().await;
        for _ in 0..3 {
            let answer = client.ask(publish_with("s1", &token)).await;
            assert_eq!(answer["command"], "start", "{answer}");
            assert_eq!(
                client.ask(stop("s1")).await["definition"],
                "publish_finished"
            );
        }
    }
}

#[tokio::test]
async fn an_application_without_token_control_asks_for_none() {
    let server = Server::start_with_file(TOKENS_ON).await;
    let mut client = crate::server::Client::connect(server.http(), "LiveApp").await;
    assert_eq!(client.ask(publish("s1")).await["command"], "start");
}

#[tokio::test]
async fn validating_over_rest_consumes_the_token() {
    let server = Server::start().await;
    let token = token(&server, "s1", FAR, "publish").await;
    let body = json!({"tokenId": token, "streamId": "s1", "type": "publish"});
    let wrong = json!({"tokenId": token, "streamId": "s2", "type": "publish"});
    let path = broadcasts("validate-token");
    assert!(!server.post(&path, wrong).await.success());
    assert!(server.post(&path, body.clone()).await.success());
    assert!(!server.post(&path, body).await.success());
}

#[tokio::test]
async fn tokens_of_a_stream_are_listed_and_revoked_together() {
    let server = Server::start_with_file(TOKENS_ON).await;
    let first = token(&server, "s1", FAR, "publish").await;
    token(&server, "s1", FAR, "play").await;
    let other = token(&server, "s2", FAR, "publish").await;
    let list = server.get(&broadcasts("s1/tokens/list/0/10")).await.json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert!(server.delete(&broadcasts("s1/tokens")).await.success());
    let mut client = server.connect().await;
    assert_eq!(
        client.error(publish_with("s1", &first)).await,
        "unauthorized_access"
    );
    assert_eq!(
        client.ask(publish_with("s2", &other)).await["command"],
        "start"
    );
}

#[tokio::test]
async fn only_created_streams_are_let_in_where_that_is_set() {
    let server = Server::start_with_file("acceptOnlyStreamsInDataStore = true").await;
    let mut client = server.connect().await;
    assert_eq!(
        client.error(publish("s1")).await,
        "not_allowed_unregistered_streams"
    );
    server.create("s1").await;
    assert_eq!(client.ask(publish("s1")).await["command"], "start");
}
