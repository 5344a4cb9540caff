//! Who may take over a show whose publisher cannot answer for itself: control has been started
//! again and knows its media from the shard alone. The shard says that it comes from 203.0.113.5;
//! clients of these tests come from 127.0.0.1, or from where a trusted proxy says.

use std::time::Duration;

use shardcast_link::{BroadcastId, Command, SessionId};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::server::{
    Client, Server, offer, publish,
    shard::{Shard, live},
    stop,
};

const PUBLISHER: &str = "203.0.113.5";
const STRANGER: &str = "203.0.113.6";

/// Control that finds a show of an earlier process on its shard.
async fn restarted() -> (Server, Shard) {
    let id = BroadcastId::new("StreamLick", "s1").unwrap();
    let server = Server::start().await;
    server.create("s1").await;
    let media = live(&id, &SessionId("earlier-1".into()));
    let shard = Shard::join_with(&server, media).await;
    (server, shard)
}

async fn connect_from(server: &Server, address: &str) -> Client {
    let url = format!("ws://{}/StreamLick/websocket", server.http());
    let mut request = url.into_client_request().unwrap();
    let address = address.parse().unwrap();
    request.headers_mut().insert("x-forwarded-for", address);
    Client::connect_with(request).await
}

#[tokio::test]
async fn a_show_that_runs_over_a_restart_is_taken_over_from_its_own_address_alone() {
    let (server, mut shard) = restarted().await;
    let mut stranger = connect_from(&server, STRANGER).await;
    assert_eq!(stranger.error(publish("s1")).await, "streamIdInUse");
    let mut publisher = connect_from(&server, PUBLISHER).await;
    assert_eq!(publisher.ask(publish("s1")).await["command"], "start");
    publisher.send(offer("s1")).await;
    loop {
        match shard.next().await {
            Command::Publish { .. } => break,
            Command::Want { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stop_without_media_ends_no_show() {
    let (server, _shard) = restarted().await;
    let mut publisher = connect_from(&server, PUBLISHER).await;
    publisher.ask(publish("s1")).await;
    let stopped = publisher.ask(stop("s1")).await;
    assert_eq!(stopped["definition"], "publish_finished");
    // Beyond `stop_grace_ms`.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = server.get("/api/v1/status").await.json();
    assert_eq!(
        status["broadcasts"][0]["status"], "broadcasting",
        "{status}"
    );
}
