//! What pages can do through a visitor's browser: those of other sites nothing with REST, unless a
//! setting lets them, and what this server's own status page is given.

use crate::server::{Server, broadcasts, raw, request, shard::Shard};
use shardcast_link::BroadcastId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const EVIL: [(&str, &str); 1] = [("Origin", "https://evil.example")];

#[tokio::test]
async fn a_page_of_another_site_is_refused_everywhere_and_told_the_setting() {
    let server = Server::start().await;
    server.create("s1").await;
    let (stop, read) = (broadcasts("s1/stop"), broadcasts("s1"));
    let calls = [
        ("POST", stop.as_str()),
        ("DELETE", read.as_str()),
        ("GET", "/metrics"),
        ("GET", "/api/v1/status"),
        ("GET", "/rest/v2/version"),
    ];
    for (method, path) in calls {
        let reply = request(server.http(), method, path, &EVIL, b"").await;
        assert_eq!(reply.status, 403, "{path}");
        assert!(reply.text().contains("allowed_origins"), "{}", reply.text());
    }
    assert_eq!(server.get(&read).await.status, 200, "it is still there");
}

#[tokio::test]
async fn a_picture_on_a_page_of_another_site_mints_no_token() {
    let server = Server::start().await;
    server.create("s1").await;
    let path = broadcasts("s1/token?expireDate=4000000000&type=publish");
    let headers = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "no-cors"),
    ];
    let reply = request(server.http(), "GET", &path, &headers, b"").await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    let tokens = server.get(&broadcasts("s1/tokens/list/0/50")).await;
    assert_eq!(tokens.json(), serde_json::json!([]));
}

#[tokio::test]
async fn an_answer_names_the_origin_that_was_let_in_and_no_other() {
    let server = Server::start_with_file("allowed_origins = [\"https://studio.example\"]").await;
    for (origin, named) in [
        ("https://studio.example", "https://studio.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("", ""),
    ] {
        let headers = [("Origin", origin)];
        let headers = if origin.is_empty() {
            &[]
        } else {
            headers.as_slice()
        };
        let path = broadcasts("count");
        let reply = request(server.http(), "GET", &path, headers, b"").await;
        assert_eq!(reply.status, 200, "{origin}");
        assert_eq!(reply.header("access-control-allow-origin"), named);
        assert!(reply.header("vary").contains("origin"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_listed_may_call() {
    let server = Server::start_with_file("allowed_origins = [\"https://evil.example\"]").await;
    let reply = request(server.http(), "GET", "/metrics", &EVIL, b"").await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_name_that_was_pointed_at_this_machine_is_refused_unless_it_is_the_servers() {
    let server = Server::start_with_file("server_name = \"live.example\"").await;
    for (host, wanted) in [
        ("evil.example", 403),
        ("live.example", 200),
        ("localhost", 200),
    ] {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let reply = raw(server.http(), &[head.as_bytes()]).await;
        assert_eq!(reply.status, wanted, "{host}");
    }
}

#[tokio::test]
async fn a_proxy_on_this_machine_does_not_let_everybody_in() {
    let server = Server::start().await;
    for (address, wanted) in [("203.0.113.9", 403), ("127.0.0.1", 200)] {
        let headers = [("X-Forwarded-For", address)];
        let reply = request(server.http(), "GET", "/metrics", &headers, b"").await;
        assert_eq!(reply.status, wanted, "{address}");
    }
}

#[tokio::test]
async fn signalling_is_open_to_every_page_until_some_are_listed() {
    let connect = async |server: &Server, origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        let mut head = format!(
            "GET /StreamLick/websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n",
            server.http()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(server.http()).await.unwrap();
        stream
            .write_all(format!("{head}\r\n").as_bytes())
            .await
            .unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        String::from_utf8_lossy(&status[9..]).into_owned()
    };
    let open = Server::start().await;
    assert_eq!(connect(&open, "https://evil.example").await, "101");
    let closed = Server::start_with_file("publisher_origins = [\"https://studio.example\"]").await;
    assert_eq!(connect(&closed, "https://evil.example").await, "403");
    assert_eq!(connect(&closed, "https://studio.example").await, "101");
    // Clients that are no browsers.
    closed.connect().await.nothing_more().await;
}

#[tokio::test]
async fn the_status_has_pages_and_shows_what_is_live_first() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    for stream in ["a", "b", "z"] {
        server.create(stream).await;
    }
    let id = BroadcastId::new("StreamLick", "z").unwrap();
    let _publisher = shard.live(server.http(), &id).await;
    for (query, wanted) in [
        ("", vec!["z", "a", "b"]),
        ("?size=1", vec!["z"]),
        ("?offset=1&size=1", vec!["a"]),
        ("?offset=3", vec![]),
        ("?size=1000000", vec!["z", "a", "b"]),
    ] {
        let path = format!("/api/v1/status{query}");
        let status = server.get(&path).await.json();
        let shown = status["broadcasts"].as_array().unwrap().iter();
        let shown: Vec<_> = shown.map(|one| one["stream"].as_str().unwrap()).collect();
        assert_eq!(
            (shown, &status["broadcasts_stored"]),
            (wanted, &3.into()),
            "{query}"
        );
    }
}
