//! What pages of other sites can do with the REST of this machine through a visitor's browser:
//! nothing, unless a setting lets them.

use crate::server::{Server, broadcasts, raw, request};

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
