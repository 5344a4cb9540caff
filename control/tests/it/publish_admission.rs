//! Who may publish: by address (`allowedPublisherCIDR`) and by the word of the application's backend
//! (`webhookAuthenticateURL`), both in the words of Ant Media Server. Whoever is not let in is told
//! `unauthorized_access`, and a backend that hangs holds up nobody else.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::server::{Client, Server, broadcasts, client_at, publish, receiver::Receiver, stop};

/// What a client that sends `headers` with its handshake is answered when it publishes `s1`.
async fn answer_with(to: SocketAddr, headers: &[(&'static str, &'static str)]) -> Value {
    use futures_util::{SinkExt, StreamExt};
    let url = format!("ws://{to}/StreamLick/websocket");
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(*name, HeaderValue::from_static(value));
    }
    let (mut stream, _) = connect_async(request).await.unwrap();
    let message = Message::text(publish("s1").to_string());
    stream.send(message).await.unwrap();
    loop {
        if let Message::Text(text) = stream.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test]
async fn only_addresses_of_the_list_publish_whoever_they_come_through() {
    let forwarded: [&[(&str, &str)]; 4] = [
        &[],
        &[("x-forwarded-for", "198.51.100.7")],
        &[("x-forwarded-for", "10.1.2.3, 198.51.100.7")],
        &[("forwarded", "for=10.1.2.3")],
    ];
    // For each list: whether each of these gets in.
    let cases = [
        ("127.0.0.1", [true, false, false, false]),
        ("192.0.2.0/24, 127.0.0.0/8", [true, false, false, false]),
        ("127.0.0.1,10.0.0.0/8", [true, false, false, true]),
        ("127.0.0.1,198.51.100.0/24", [true, true, false, false]),
        ("198.51.100.0/24", [false; 4]),
        ("0.0.0.0/0", [true; 4]),
        ("", [true; 4]),
    ];
    for (list, wanted) in cases {
        for place in ["[ant_media]", "[application.StreamLick.ant_media]"] {
            let text = format!("{place}\nallowedPublisherCIDR = \"{list}\"");
            let server = Server::start_with_file(&text).await;
            for (headers, wanted) in forwarded.iter().zip(wanted) {
                let answer = answer_with(server.http(), headers).await;
                let got_in = answer["command"] == "start";
                assert_eq!(got_in, wanted, "{list} {headers:?}: {answer}");
                if !wanted {
                    assert_eq!(answer["definition"], "unauthorized_access");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_list_of_one_application_is_not_anothers() {
    let text = "[application.LiveApp]\nallowedPublisherCIDR = \"192.0.2.0/24\"";
    let server = Server::start_with_file(text).await;
    let mut open = server.connect().await;
    assert_eq!(open.ask(publish("s1")).await["command"], "start");
    let mut closed = Client::connect(server.http(), "LiveApp").await;
    assert_eq!(closed.error(publish("s1")).await, "unauthorized_access");
}

/// A server that asks `backend`.
async fn asking(backend: &Receiver) -> Server {
    let url = backend.url();
    Server::start_with_file(&format!("[ant_media]\nwebhookAuthenticateURL = \"{url}\"")).await
}

#[tokio::test]
async fn the_backend_is_asked_in_the_words_of_ant_media_server_before_anybody_publishes() {
    let mut backend = Receiver::start().await;
    let server = asking(&backend).await;
    let body = json!({"streamId": "s2", "metaData": "stored"});
    assert_eq!(server.post(&broadcasts("create"), body).await.status, 200);
    let mut client = server.connect().await;
    let mut message = publish("s1");
    message["token"] = json!("t-1");
    message["subscriberId"] = json!("sub");
    message["subscriberCode"] = json!("123456");
    message["metaData"] = json!("{\"a\":1}");
    assert_eq!(client.ask(message).await["command"], "start");
    let call = backend.next().await;
    assert_eq!(
        call.json(),
        json!({"appName": "StreamLick", "name": "s1", "streamId": "s1", "mode": "live",
            "token": "t-1", "subscriberId": "sub", "subscriberCode": "123456",
            "metaData": "{\"a\":1}"})
    );
    assert_eq!(call.header("content-type"), "application/json");
    assert_eq!(call.path, "/hooks?token=hush");
    assert!(!call.header("x-shardcast-delivery").is_empty());

    // What is empty is left out; what is stored of the stream stands in.
    assert_eq!(client.ask(publish("s2")).await["command"], "start");
    assert_eq!(
        backend.next().await.json(),
        json!({"appName": "StreamLick", "name": "s2", "streamId": "s2", "mode": "live",
            "metaData": "stored"})
    );
}

#[tokio::test]
async fn anything_but_200_is_a_refusal() {
    let backend = Receiver::start().await;
    let server = asking(&backend).await;
    let mut client = server.connect().await;
    for status in [201, 204, 301, 400, 401, 403, 404, 429, 500, 503] {
        backend.answer(status);
        let definition = client.error(publish("s1")).await;
        assert_eq!(definition, "unauthorized_access", "{status}");
    }
    backend.answer(200);
    assert_eq!(client.ask(publish("s1")).await["command"], "start");
}

#[tokio::test]
async fn a_backend_that_is_not_there_lets_nobody_in() {
    let backend = Receiver::start().await;
    let server = asking(&backend).await;
    drop(backend);
    let mut client = server.connect().await;
    assert_eq!(client.error(publish("s1")).await, "unauthorized_access");
}

#[tokio::test]
async fn what_is_refused_anyhow_is_not_asked() {
    let mut backend = Receiver::start().await;
    let text = format!(
        "acceptOnlyStreamsInDataStore = true\nwebhookAuthenticateURL = \"{}\"",
        backend.url()
    );
    let server = Server::start_with_file(&text).await;
    server.create("known").await;
    let mut client = server.connect().await;
    let definition = client.error(publish("unknown")).await;
    assert_eq!(definition, "not_allowed_unregistered_streams");
    assert_eq!(client.ask(publish("known")).await["command"], "start");
    assert_eq!(backend.next().await.json()["streamId"], "known");
}

#[tokio::test]
async fn a_backend_that_hangs_holds_up_nobody_else_and_is_a_no_in_the_end() {
    let hanging = Receiver::start().await;
    hanging.hang();
    let text = format!(
        "[application.StreamLick]\nwebhookAuthenticateURL = \"{}\"",
        hanging.url()
    );
    let server = Server::start_with_file(&text).await;
    let mut client = server.connect().await;
    client.send(publish("s1")).await;
    // The socket itself goes on, and so do others.
    client.nothing_more().await;
    let mut other = Client::connect(server.http(), "LiveApp").await;
    assert_eq!(other.ask(publish("s1")).await["command"], "start");

    // The SDK takes back what has not been answered, and tries again.
    let finished = client.ask(stop("s1")).await;
    assert_eq!(finished["definition"], "publish_finished");
    client.send(publish("s1")).await;
    client.send(publish("s1")).await;
    assert_eq!(client.next().await["definition"], "unauthorized_access");
    client.nothing_more().await;
}

#[tokio::test]
async fn one_address_that_asks_without_end_locks_nobody_out() {
    let mut hanging = Receiver::start().await;
    hanging.hang();
    let server = asking(&hanging).await;
    let mut floods = Vec::new();
    for _ in 0..3 {
        let mut flood = client_at(&server, "203.0.113.1").await;
        for n in 0..32 {
            flood.send(publish(&format!("flood{n}"))).await;
        }
        floods.push(flood);
    }
    // Beyond its places the flood is refused, and told so.
    let refused = floods[2].next().await;
    assert_eq!(refused["definition"], "highResourceUsage", "{refused}");
    let mut honest = client_at(&server, "203.0.113.2").await;
    honest.send(publish("honest")).await;
    let mut asked = 0;
    while hanging.next().await.json()["streamId"] != "honest" {
        asked += 1;
    }
    assert!(asked <= 8, "{asked} of one address");
}

#[tokio::test]
async fn a_socket_that_publishes_already_is_told_so_though_there_is_a_backend() {
    let mut backend = Receiver::start().await;
    let server = asking(&backend).await;
    let mut client = server.connect().await;
    assert_eq!(client.ask(publish("s1")).await["command"], "start");
    backend.next().await;
    assert_eq!(client.error(publish("s1")).await, "already_publishing");
    assert!(backend.is_unheard());
    assert_eq!(
        client.ask(stop("s1")).await["definition"],
        "publish_finished"
    );
}

#[tokio::test]
async fn what_rest_ends_while_the_backend_thinks_does_not_begin() {
    let mut backend = Receiver::start().await;
    backend.hang();
    let server = asking(&backend).await;
    server.create("s1").await;
    let mut client = server.connect().await;
    client.send(publish("s1")).await;
    backend.next().await;
    assert!(server.delete(&broadcasts("s1")).await.success());
    assert_eq!(client.next().await["definition"], "publish_finished");
    assert_eq!(client.next().await["command"], "stop");
    client.nothing_more().await;
}

#[tokio::test]
async fn what_has_not_begun_in_its_time_is_over_and_stays_created() {
    let server = Server::start().await;
    let now_s = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    // For each: whether it may be published now.
    let cases = [
        (json!({"expireDurationMS": 1}), false),
        (json!({"expireDurationMS": 3_600_000}), true),
        (json!({"expireDurationMS": 0}), true),
        (
            json!({"plannedStartDate": now_s + 900, "plannedEndDate": now_s + 1_800}),
            false,
        ),
        (
            json!({"plannedStartDate": now_s - 1_800, "plannedEndDate": now_s - 900}),
            false,
        ),
        (
            json!({"plannedStartDate": now_s - 900, "plannedEndDate": now_s + 900}),
            true,
        ),
        (json!({"plannedStartDate": now_s + 900}), true),
        (json!({"plannedEndDate": now_s - 900}), true),
    ];
    let mut client = server.connect().await;
    for (n, (mut body, wanted)) in cases.into_iter().enumerate() {
        let stream = format!("s{n}");
        body["streamId"] = json!(stream);
        let created = server.post(&broadcasts("create"), body.clone()).await;
        assert_eq!(created.status, 200, "{body}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let answer = client.ask(publish(&stream)).await;
        assert_eq!(answer["command"] == "start", wanted, "{body}: {answer}");
        if !wanted {
            assert_eq!(answer["definition"], "stream_not_active_or_expired");
            let shown = server.get(&broadcasts(&stream)).await.json();
            assert_eq!(shown["status"], "created", "{body}");
        }
    }
}

#[tokio::test]
async fn what_has_begun_in_its_time_may_come_back_after_it() {
    use crate::server::shard::{Shard, live};
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let id = shardcast_link::BroadcastId::new("StreamLick", "s1").unwrap();
    let body = json!({"streamId": "s1", "expireDurationMS": 3_600_000});
    assert_eq!(server.post(&broadcasts("create"), body).await.status, 200);
    let (first, session) = shard.live(server.http(), &id).await;
    let report = live(&id, &session);
    shard.say(shardcast_link::Event::Status(report)).await;
    let body = json!({"expireDurationMS": 1});
    assert!(
        server
            .send_json("PUT", &broadcasts("s1"), &body)
            .await
            .success()
    );
    drop(first);
    let mut again = server.connect().await;
    crate::server::until("the way back", async || {
        let answer = again.ask(publish("s1")).await;
        assert_ne!(answer["definition"], "stream_not_active_or_expired");
        (answer["command"] == "start").then_some(())
    })
    .await;
}
