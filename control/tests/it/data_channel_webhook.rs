//! What clients send over data channels is posted to `dataChannelWebHookURL` as Ant Media Server posts it: as a form, one
//! message a call, in the order of its stream, again until it is taken, and within the operator's rules of addresses.

use serde_json::json;
use shardcast_link::{BroadcastId, Command, DataMessage, DataSender, Event};

use crate::server::{
    Server, broadcasts, offer, publish,
    receiver::{Call, Receiver},
    shard::Shard,
    until,
};

fn id() -> BroadcastId {
    BroadcastId::new("StreamLick", "s1").unwrap()
}

async fn start(receiver: &Receiver, more: &str) -> (Server, Shard) {
    let url = receiver.url();
    let text =
        format!("webhookRetryDelay = 20\n{more}\n[ant_media]\ndataChannelWebHookURL = \"{url}\"\n");
    let server = Server::start_with_file(&text).await;
    let shard = Shard::join(&server).await;
    (server, shard)
}

/// Says that a client has sent `text`.
async fn sent(shard: &mut Shard, text: &str) {
    let message = DataMessage::Text { text: text.into() };
    say(shard, DataSender::Viewer, message).await;
}

async fn say(shard: &mut Shard, sender: DataSender, message: DataMessage) {
    let event = Event::DataMessage {
        broadcast: id(),
        sender,
        message,
    };
    shard.say(event).await;
}

/// The parts of a form (RFC 7578): name, type and value of each.
fn parts(call: &Call) -> Vec<(String, String, Vec<u8>)> {
    let kind = call.header("content-type");
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let text: String = call.body.iter().map(|byte| char::from(*byte)).collect();
    let text = text.strip_suffix(&format!("\r\n--{boundary}--\r\n"));
    let between = format!("\r\n--{boundary}\r\n");
    let text = text.unwrap().strip_prefix(&between[2..]).unwrap();
    let part = |part: &str| {
        let (head, value) = part.split_once("\r\n\r\n").unwrap();
        let (name, kind) = head.split_once("\r\nContent-Type: ").unwrap();
        let name = name.strip_prefix("Content-Disposition: form-data; name=\"");
        let name = name.unwrap().strip_suffix('"').unwrap().to_owned();
        let value = value.chars().map(|byte| byte as u8).collect();
        (name, kind.to_owned(), value)
    };
    text.split(&between).map(part).collect()
}

fn data(call: &Call) -> String {
    let (name, _, value) = parts(call).swap_remove(0);
    assert_eq!(name, "data");
    String::from_utf8(value).unwrap()
}

async fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").await.text();
    let row = text.lines().find_map(|line| line.strip_prefix(name));
    row.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_message_is_posted_as_a_form_that_says_whose_it_is() {
    let mut receiver = Receiver::start().await;
    let (_server, mut shard) = start(&receiver, "webhook_secret = \"hush\"").await;
    let text = "{\"cue\": \"Grüße\"}\r\n--x";
    sent(&mut shard, text).await;
    let bytes = DataMessage::Binary {
        base64: "/wA=".to_owned(),
    };
    say(&mut shard, DataSender::Publisher, bytes).await;
    let plain = "text/plain; charset=UTF-8";
    for (value, kind, sender) in [
        (text.as_bytes(), plain, "viewer"),
        (
            [0xff_u8, 0].as_slice(),
            "application/octet-stream",
            "publisher",
        ),
    ] {
        let call = receiver.next().await;
        assert_eq!(call.path, "/hooks?token=hush");
        assert!(call.header("x-shardcast-signature").starts_with("sha256="));
        let mut parts = parts(&call);
        let (name, _, timestamp) = parts.pop().unwrap();
        assert_eq!(name, "timestamp");
        let timestamp: u64 = String::from_utf8(timestamp).unwrap().parse().unwrap();
        assert!(timestamp > 1_700_000_000_000);
        let wanted = [
            ("data", kind, value),
            ("id", plain, b"s1".as_slice()),
            ("app", plain, b"StreamLick".as_slice()),
            ("sender", plain, sender.as_bytes()),
        ];
        let owned = |(name, kind, value): (&str, &str, &[u8])| {
            (name.to_owned(), kind.to_owned(), value.to_vec())
        };
        assert_eq!(parts, wanted.map(owned));
    }
}

#[tokio::test]
async fn messages_keep_their_order_though_the_receiver_fails_in_between() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "webhookRetryCount = 100").await;
    receiver.answer(503);
    for n in 0..3 {
        sent(&mut shard, &format!("message {n}")).await;
    }
    let first = receiver.next().await;
    let again = receiver.next().await;
    let delivery = |call: &Call| call.header("x-shardcast-delivery").to_owned();
    assert_eq!(delivery(&again), delivery(&first));
    receiver.answer(200);
    for n in 0..3 {
        assert_eq!(data(&receiver.next_taken().await), format!("message {n}"));
    }
    until("none waits", async || {
        (metric(&server, "shardcast_webhooks_waiting").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_too_often_is_given_up_and_the_next_one_is_posted() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "webhookRetryCount = 1").await;
    receiver.answer(307);
    sent(&mut shard, "lost").await;
    for _ in 0..2 {
        assert_eq!(data(&receiver.next().await), "lost");
    }
    until("it is given up", async || {
        (metric(&server, "shardcast_webhook_given_up_total").await == 1).then_some(())
    })
    .await;
    receiver.answer(200);
    sent(&mut shard, "next").await;
    assert_eq!(data(&receiver.next().await), "next");
}

#[tokio::test]
async fn messages_for_a_receiver_that_hangs_are_bounded() {
    let mut receiver = Receiver::start().await;
    receiver.hang();
    let (server, mut shard) = start(&receiver, "").await;
    for n in 0..1_500 {
        sent(&mut shard, &format!("message {n}")).await;
    }
    assert_eq!(data(&receiver.next().await), "message 0");
    until("the oldest are dropped", async || {
        let dropped = metric(&server, "shardcast_webhook_dropped_total").await;
        (dropped == 1_500 - 1_024).then_some(())
    })
    .await;
    assert_eq!(metric(&server, "shardcast_webhooks_waiting").await, 1_024);
}

#[tokio::test]
async fn a_receiver_that_is_denied_is_not_called() {
    let mut receiver = Receiver::start().await;
    let denied = "webhook_deny = \"127.0.0.0/8,::1\"";
    let (server, mut shard) = start(&receiver, denied).await;
    sent(&mut shard, "news").await;
    until("the call is refused", async || {
        (metric(&server, "shardcast_webhook_failures_total").await > 0).then_some(())
    })
    .await;
    assert!(receiver.is_unheard());
}

#[tokio::test]
async fn a_shard_is_asked_for_messages_where_there_is_a_receiver_and_else_none_are_kept() {
    for (file, reported) in [
        ("", false),
        ("data_channel_webhook_url = \"http://127.0.0.1:9/\"", true),
    ] {
        let server = Server::start_with_file(file).await;
        let mut shard = Shard::join(&server).await;
        let mut client = server.connect().await;
        client.ask(publish("s1")).await;
        client.send(offer("s1")).await;
        let Command::Want { broadcast } = shard.next().await else {
            panic!("not a want");
        };
        assert_eq!(broadcast.data.reported, reported);
        if !reported {
            sent(&mut shard, "news").await;
            let body = json!({"streamId": "s2"});
            server.post(&broadcasts("create"), body).await;
            assert_eq!(metric(&server, "shardcast_webhooks_waiting").await, 0);
        }
    }
}
