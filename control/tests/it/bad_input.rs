//! Bad input gets its exact answer, and the server goes on.

use crate::server::{Server, broadcasts, publish, raw, request};
use serde_json::json;
use tokio_tungstenite::tungstenite::{
    Bytes, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const TEXT: (&str, &str) = ("Content-Type", "text/plain");

/// Headers, body, and the status they get.
type Case = (&'static [(&'static str, &'static str)], &'static [u8], u16);

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be_have_their_codes() {
    let server = Server::start().await;
    let path = broadcasts("create");
    let cases: [Case; 9] = [
        (&[JSON], b"{", 400),
        (&[JSON], b"[1]", 400),
        (&[JSON], b"\"s1\"", 400),
        (&[JSON], b"\xff\xfe", 400),
        (&[JSON], b"{\"nonsense\": 1}", 400),
        (&[JSON], b"{\"plannedStartDate\": \"soon\"}", 400),
        (&[TEXT], b"{}", 415),
        (&[], b"{}", 415),
        (
            &[("Content-Type", "application/json; charset=utf-8")],
            b"{}",
            200,
        ),
    ];
    for (headers, body, status) in cases {
        let reply = request(server.http(), "POST", &path, headers, body).await;
        let shown = String::from_utf8_lossy(body).into_owned();
        assert_eq!(
            reply.status,
            status,
            "{headers:?} {shown}: {}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn an_unknown_field_is_named_in_plain_text() {
    let server = Server::start().await;
    let reply = server
        .post(&broadcasts("create"), json!({"nonsense": 1}))
        .await;
    assert!(reply.header("content-type").starts_with("text/plain"));
    assert!(reply.text().contains("\"nonsense\""), "{}", reply.text());
    server.create("s1").await;
    let reply = server
        .post(
            &broadcasts("s1/rtmp-endpoint"),
            json!({"url": "rtmp://h/a/k"}),
        )
        .await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_413_and_the_answer_arrives() {
    let server = Server::start().await;
    let body = vec![b' '; 10 << 20];
    let reply = request(server.http(), "POST", &broadcasts("create"), &[JSON], &body).await;
    assert_eq!(reply.status, 413);
    server.create("s1").await;
}

#[tokio::test]
async fn wrong_ids_are_400_with_a_result() {
    let server = Server::start().await;
    let long = "x".repeat(256);
    for id in ["a b", "../../etc/passwd", "ä", "a/b", ".", long.as_str()] {
        let reply = server
            .post(&broadcasts("create"), json!({"streamId": id}))
            .await;
        assert_eq!((reply.status, reply.success()), (400, false), "{id}");
    }
    let folder = json!({"streamId": "s1", "subFolder": "../up"});
    assert_eq!(server.post(&broadcasts("create"), folder).await.status, 400);
    let pull = json!({"streamId": "s1", "type": "streamSource", "streamUrl": "nothing"});
    assert_eq!(server.post(&broadcasts("create"), pull).await.status, 400);
}

#[tokio::test]
async fn methods_and_paths_that_do_not_exist_are_405_and_404() {
    let server = Server::start().await;
    let cases = [
        ("GET", "/StreamLick/rest/v2/broadcasts", 405),
        ("GET", "/StreamLick/rest/v2/broadcasts/create", 405),
        ("PATCH", "/StreamLick/rest/v2/broadcasts/s1", 405),
        ("GET", "/StreamLick/rest/v2/nothing", 404),
        ("GET", "/StreamLick/rest/v2/broadcasts/a/b/c", 404),
        ("GET", "/StreamLick/rest/v2/broadcasts/list/a/b", 404),
        ("GET", "/StreamLick/rest/v1/broadcasts/s1", 404),
        ("GET", "/Nobody/rest/v2/broadcasts/s1", 404),
        ("GET", "/Nobody/websocket", 404),
        ("GET", "/StreamLick/websocket", 426),
        ("GET", "/rest/v2/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/placement/StreamLick/a%20b", 404),
        ("GET", "/nothing", 404),
        ("POST", "/", 405),
    ];
    for (method, path, status) in cases {
        let reply = request(server.http(), method, path, &[], b"").await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_are_400_and_nothing_else_suffers() {
    let server = Server::start().await;
    let reply = raw(server.http(), &[b"\x16\x03\x01 hello\r\n\r\n"]).await;
    assert_eq!(reply.status, 400);
    assert_eq!(server.get("/healthz").await.text(), "ok\n");
}

#[tokio::test]
async fn a_huge_message_closes_its_socket_with_1009() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.send_frame(Message::text("x".repeat(10 << 20))).await;
    assert_eq!(client.close_code().await, 1009);
    assert_eq!(
        server.connect().await.ask(json!({"command": "ping"})).await["command"],
        "pong"
    );
}

#[tokio::test]
async fn a_binary_message_closes_its_socket_with_1003() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client
        .send_frame(Message::Binary(Bytes::from_static(b"\x00\x01")))
        .await;
    assert_eq!(client.close_code().await, 1003);
}

#[tokio::test]
async fn a_flood_of_messages_closes_its_socket_with_1008() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for _ in 0..2_000 {
        client.send(json!({"command": "publish"})).await;
    }
    let code = loop {
        match client.next_frame().await {
            Message::Close(Some(frame)) => break u16::from(frame.code),
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 1008);
}

#[tokio::test]
async fn texts_that_are_no_messages_get_a_word_and_the_socket_stays() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for (text, word) in [
        ("", "invalid_message"),
        ("not json", "invalid_message"),
        ("[]", "invalid_message"),
        ("{\"command\":\"publish\"}", "noStreamNameSpecified"),
        (
            "{\"command\":\"stop\",\"streamId\":\"\"}",
            "noStreamNameSpecified",
        ),
        (
            "{\"command\":\"publish\",\"streamId\":\"a b\"}",
            "invalidStreamName",
        ),
        (
            "{\"command\":\"fly\",\"streamId\":\"a\"}",
            "unknown_command",
        ),
    ] {
        client.send_frame(Message::text(text.to_owned())).await;
        let answer = client.next().await;
        assert_eq!(answer["definition"], word, "{text}: {answer}");
    }
    assert_eq!(client.ask(publish("s1")).await["command"], "start");
}

#[tokio::test]
async fn dates_and_types_of_tokens_that_are_none_are_400_with_a_result() {
    let server = Server::start().await;
    for query in [
        "",
        "type=publish",
        "expireDate=0&type=publish",
        "expireDate=-5&type=publish",
        "expireDate=soon&type=publish",
        "expireDate=4102444800",
        "expireDate=4102444800&type=Publish",
        "expireDate=4102444800&type=watch",
    ] {
        let reply = server.get(&broadcasts(&format!("s1/token?{query}"))).await;
        assert_eq!((reply.status, reply.success()), (400, false), "{query}");
    }
    let reply = server
        .get(&broadcasts("a%20b/token?expireDate=4102444800&type=play"))
        .await;
    assert_eq!((reply.status, reply.success()), (400, false));
}

#[tokio::test]
async fn an_endless_text_in_empty_fragments_closes_its_socket_with_1008() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let fragment = |code| Message::Frame(Frame::message(Bytes::new(), OpCode::Data(code), false));
    client.send_frame(fragment(Data::Text)).await;
    // Six bytes each.
    for _ in 0..400_000 {
        client.feed_frame(fragment(Data::Continue)).await;
    }
    assert_eq!(client.close_code().await, 1008);
}
