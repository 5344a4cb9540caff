//! Where webhooks may not go: back to this server, and to addresses that the operator denies.

use serde_json::json;

use crate::server::{Server, broadcasts, receiver::Receiver, request, shard::Shard, until};
use shardcast_link::BroadcastId;

async fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").await.text();
    let row = text.lines().find_map(|line| line.strip_prefix(name));
    row.unwrap().trim().parse().unwrap()
}

/// Gives `s1` the webhook `url` and lets it go live.
async fn go_live(server: &Server, url: &str) {
    let body = json!({"streamId": "s1", "listenerHookURL": url});
    let created = server.post(&broadcasts("create"), body).await;
    assert_eq!(created.status, 200, "{}", created.text());
    let mut shard = Shard::join(server).await;
    let id = BroadcastId::new("StreamLick", "s1").unwrap();
    drop(shard.live(server.http(), &id).await);
    // The shard may go: what matters is owed by now.
}

async fn is_refused(server: &Server) {
    until("the call is refused", async || {
        (metric(server, "shardcast_webhook_failures_total").await > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_leads_back_here_has_no_rights_of_this_machine() {
    let server = Server::start().await;
    let url = format!("http://{}/api/v1/drain", server.http());
    go_live(&server, &url).await;
    is_refused(&server).await;
    let drain = server.get("/api/v1/drain").await.json();
    assert_eq!(drain["draining"], false);
}

#[tokio::test]
async fn a_call_with_the_mark_of_a_webhook_is_refused_everywhere() {
    let server = Server::start().await;
    let headers = [("X-Shardcast-Delivery", "0123")];
    for (method, path) in [
        ("POST", "/api/v1/drain"),
        ("GET", "/metrics"),
        ("POST", "/StreamLick/rest/v2/broadcasts/create"),
        ("GET", "/rest/v2/version"),
        ("GET", "/StreamLick/websocket"),
    ] {
        let reply = request(server.http(), method, path, &headers, b"").await;
        assert_eq!(reply.status, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn a_receiver_that_is_denied_is_not_called_by_address_nor_by_name() {
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let mut receiver = Receiver::start().await;
        let server = Server::start_with_file("webhook_deny = \"127.0.0.0/8,::1\"").await;
        let port = receiver.address.port();
        go_live(&server, &format!("http://{host}:{port}/hook")).await;
        is_refused(&server).await;
        assert!(receiver.is_unheard(), "{host}");
    }
}
