//! A page that publishes may offer again: the shard that has the session is asked, and the session goes on
//! whatever it answers.

use serde_json::json;
use shardcast_link::{BroadcastId, Command, EndReason, Event, Fault, Problem, SessionId};

use crate::server::{
    Server, offer,
    shard::{Shard, answer},
    until,
};

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

async fn take_renegotiate(shard: &mut Shard) -> (SessionId, String) {
    match shard.next().await {
        Command::Renegotiate { session, sdp } => (session, sdp),
        other => panic!("not a renegotiation: {other:?}"),
    }
}

fn refusal(session: &SessionId) -> Event {
    let problem = Problem {
        fault: Fault::Publisher,
        message: "not like this".into(),
    };
    Event::NotRenegotiated {
        session: session.clone(),
        problem,
    }
}

#[tokio::test]
async fn an_offer_of_a_session_that_publishes_is_answered_in_the_same_session() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (mut client, session) = shard.live(server.http(), &id()).await;
    for n in 0..3 {
        let mut again = offer("s1");
        again["sdp"] = json!(format!("v=0 number {n}"));
        client.send(again).await;
        let asked = take_renegotiate(&mut shard).await;
        assert_eq!(asked, (session.clone(), format!("v=0 number {n}")));
        // What sends nothing more is no mistake of a page that removed its tracks.
        shard.say(answer(&session, n < 2)).await;
        let answered = client.next().await;
        assert_eq!(answered["command"], "takeConfiguration");
        assert_eq!(answered["type"], "answer");
        assert_eq!(client.next().await["command"], "takeCandidate");
    }
    // One answer more than there were offers goes nowhere.
    shard.say(answer(&session, true)).await;
    assert_eq!(
        client.ask(json!({"command": "ping"})).await["command"],
        "pong"
    );
}

#[tokio::test]
async fn one_that_is_refused_is_told_so_and_the_session_goes_on() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (mut client, session) = shard.live(server.http(), &id()).await;
    client.send(offer("s1")).await;
    take_renegotiate(&mut shard).await;
    shard.say(refusal(&session)).await;
    let notice = client.next().await;
    assert_eq!(notice["definition"], "notSetRemoteDescription");
    assert_eq!(notice["message"], "not like this");
    let empty = json!({"command": "takeConfiguration", "streamId": "s1", "type": "offer"});
    assert_eq!(client.error(empty).await, "notSetRemoteDescription");
    client.send(offer("s1")).await;
    take_renegotiate(&mut shard).await;
    shard.say(answer(&session, true)).await;
    assert_eq!(client.next().await["command"], "takeConfiguration");
}

#[tokio::test]
async fn one_more_before_the_first_answer_or_after_the_end_is_an_error() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let mut client = server.connect().await;
    client.ask(crate::server::publish("s1")).await;
    client.send(offer("s1")).await;
    let session = shard.take_publish().await;
    assert_eq!(client.error(offer("s1")).await, "already_publishing");
    shard.go_live(&session, &id()).await;
    for wanted in ["takeConfiguration", "takeCandidate", "notification"] {
        assert_eq!(client.next().await["command"], wanted);
    }
    shard.ended(session, &id(), EndReason::Lost).await;
    assert_eq!(client.next().await["definition"], "publish_finished");
    assert_eq!(client.error(offer("s1")).await, "not_initialized_yet");
}

#[tokio::test]
async fn so_many_within_ten_seconds_are_passed_on_and_no_more() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (mut client, session) = shard.live(server.http(), &id()).await;
    for _ in 0..5 {
        client.send(offer("s1")).await;
        take_renegotiate(&mut shard).await;
        shard.say(answer(&session, true)).await;
        client.next().await;
        client.next().await;
    }
    assert_eq!(client.error(offer("s1")).await, "highResourceUsage");
}

#[tokio::test]
async fn while_the_engine_is_away_the_page_is_told_to_offer_again() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let (mut client, _) = shard.live(server.http(), &id()).await;
    shard.cut();
    until("the shard to be missed", async || {
        let text = server.get("/readyz").await.text();
        text.contains("0 of 1 shards").then_some(())
    })
    .await;
    assert_eq!(client.error(offer("s1")).await, "server_error_check_logs");
}
