//! An engine that hangs: the server says that it is not ready, and no broadcast is ended before
//! its shard is heard again.

use std::time::Duration;

use crate::server::{
    Server, broadcasts, publish,
    shard::{Shard, live},
    stop, until,
};
use shardcast_link::{BroadcastId, Command, Event, ShardStatus};

#[tokio::test]
async fn a_stop_that_is_said_while_the_shard_hangs_ends_nothing_until_it_is_heard() {
    let server = Server::start_with_file("stop_grace_ms = 0").await;
    server.create("s1").await;
    let id = BroadcastId::new("StreamLick", "s1").unwrap();
    let mut shard = Shard::join(&server).await;
    let (mut client, session) = shard.live(server.http(), &id).await;
    shard.hang();
    until("the silence to be seen", async || {
        let ready = server.get("/readyz").await;
        let text = ready.text();
        (ready.status == 503 && text.contains("shard 0 has not been heard for")).then_some(())
    })
    .await;
    client.send(stop("s1")).await;
    let unpublish = Command::Unpublish {
        session: session.clone(),
    };
    assert_eq!(shard.next().await, unpublish);
    let status = async || server.get(&broadcasts("s1")).await.json()["status"].clone();
    // More than one look at what is due, and one at what is live on paper only.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(status().await, "broadcasting");
    // The shard goes on, and its publisher's retry finds the show as it was.
    shard.say(Event::Status(live(&id, &session))).await;
    // Nor was he told that it is over.
    assert_eq!(client.ask(publish("s1")).await["command"], "start");
    shard.say(Event::Status(ShardStatus::default())).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(status().await, "broadcasting");
}
