//! What offers may cost: one that no browser makes is refused in words before a shard is asked, and
//! a client that sends many waits for its turn while others do not.

use serde_json::json;
use shardcast_link::Command;

use crate::server::{Server, client_at, offer, publish, shard::Shard};

fn offer_with(stream: &str, sdp: &str) -> serde_json::Value {
    json!({"command": "takeConfiguration", "streamId": stream, "type": "offer", "sdp": sdp})
}

#[tokio::test]
async fn an_offer_that_no_browser_makes_never_reaches_the_shard() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    for line in ["a=ssrc:1 cname:x\r\n", "m=video 9 X 96\r\n", "a=x\r\n"] {
        let sdp = format!("v=0\r\n{}", line.repeat(1_024));
        let refused = client.ask(offer_with("s1", &sdp)).await;
        assert_eq!(
            refused["definition"], "notSetRemoteDescription",
            "{refused}"
        );
        let reason = refused["message"].as_str().unwrap();
        assert!(reason.contains("the SDP offer has more than"), "{reason}");
    }
    // The session is still there, and takes a good one: the first thing that the shard hears of.
    client.send(offer("s1")).await;
    shard.take_publish().await;
}

#[tokio::test]
async fn a_flood_of_offers_waits_its_turn_and_holds_up_nobody_else() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let mut flood = client_at(&server, "203.0.113.1").await;
    for n in 0..32 {
        flood.ask(publish(&format!("flood{n}"))).await;
        flood.send(offer(&format!("flood{n}"))).await;
    }
    let mut honest = client_at(&server, "203.0.113.2").await;
    honest.ask(publish("honest")).await;
    honest.send(offer("honest")).await;
    let mut before = 0;
    loop {
        match shard.next().await {
            Command::Publish { broadcast, .. } if broadcast.stream() == "honest" => break,
            Command::Publish { .. } => before += 1,
            _ => {}
        }
    }
    // The burst, and what a slow machine let pass in the meantime.
    assert!(before < 32, "{before}");
    for _ in before..32 {
        while !matches!(shard.next().await, Command::Publish { .. }) {}
    }
}
