//! How webhooks reach their receiver: in the order of each stream, again until they are taken,
//! signed, over a kill of this process too, and without one receiver keeping another waiting.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command as Process, Stdio},
};

use crate::server::{
    Server, broadcasts,
    receiver::{Call, Receiver},
    request,
    shard::{Shard, live},
    until,
};
use aws_lc_rs::hmac;
use serde_json::{Value, json};
use shardcast_link::{BroadcastId, ShardStatus};

fn id(stream: &str) -> BroadcastId {
    BroadcastId::new("StreamLick", stream).unwrap()
}

async fn start(receiver: &Receiver, more: &str) -> (Server, Shard) {
    let url = receiver.url();
    let text = format!("listenerHookURL = \"{url}\"\nwebhookRetryDelay = 20\n{more}\nshards = 1\n");
    let server = Server::start_with_file(&text).await;
    let shard = Shard::join(&server).await;
    (server, shard)
}

async fn metric(http: SocketAddr, name: &str) -> u64 {
    let text = request(http, "GET", "/metrics", &[], b"").await.text();
    let row = text.lines().find_map(|line| line.strip_prefix(name));
    row.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn calls_of_a_stream_keep_their_order_though_the_receiver_fails_in_between() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "webhookRetryCount = 100").await;
    server.create("s1").await;
    receiver.answer(503);
    let (_client, _) = shard.live(server.http(), &id("s1")).await;
    let first = receiver.next().await;
    assert!(server.post_empty(&broadcasts("s1/stop")).await.success());
    // It fails again while the second waits behind the first.
    let again = receiver.next().await;
    receiver.answer(200);
    let (started, ended) = (receiver.next_taken().await, receiver.next_taken().await);
    for call in [&first, &again, &started] {
        assert_eq!(call.action(), "liveStreamStarted");
        assert_eq!(delivery(call), delivery(&first), "one delivery");
        assert_eq!(call.body, first.body);
    }
    assert_eq!(ended.action(), "liveStreamEnded");
    assert_ne!(delivery(&ended), delivery(&first));
    assert_eq!(
        metric(server.http(), "shardcast_webhook_dropped_total").await,
        0
    );
}

fn delivery(call: &Call) -> &str {
    call.header("x-shardcast-delivery")
}

#[tokio::test]
async fn a_receiver_can_check_who_has_called_it_and_when() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "webhook_secret = \"hush\"").await;
    let (_client, _) = shard.live(server.http(), &id("s1")).await;
    let call = receiver.next().await;
    let digits = call.header("x-shardcast-signature").strip_prefix("sha256=");
    let tag: Vec<u8> = digits
        .unwrap()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let mut signed = call.header("x-shardcast-timestamp").as_bytes().to_vec();
    signed.push(b'.');
    signed.extend(&call.body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"hush");
    hmac::verify(&key, &signed, &tag).unwrap();
    signed.push(b' ');
    hmac::verify(&key, &signed, &tag).unwrap_err();
}

#[tokio::test]
async fn without_a_secret_a_call_is_not_signed() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "").await;
    let (_client, _) = shard.live(server.http(), &id("s1")).await;
    let call = receiver.next().await;
    assert!(call.headers.get("x-shardcast-signature").is_none());
    assert_eq!(call.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_redirect_is_a_refusal_and_what_is_refused_too_often_is_given_up() {
    let mut receiver = Receiver::start().await;
    let (server, mut shard) = start(&receiver, "webhookRetryCount = 2").await;
    server.create("s1").await;
    receiver.answer(307);
    let (_client, _) = shard.live(server.http(), &id("s1")).await;
    for _ in 0..3 {
        let call = receiver.next().await;
        assert_eq!(
            (call.path.as_str(), call.action().as_str()),
            ("/hooks?token=hush", "liveStreamStarted")
        );
    }
    until("it is given up", async || {
        let given_up = metric(server.http(), "shardcast_webhook_given_up_total").await;
        (given_up == 1).then_some(())
    })
    .await;
    receiver.answer(200);
    assert!(server.post_empty(&broadcasts("s1/stop")).await.success());
    assert_eq!(receiver.next().await.action(), "liveStreamEnded");
    assert_eq!(
        metric(server.http(), "shardcast_webhook_failures_total").await,
        3
    );
}

#[tokio::test]
async fn a_receiver_that_hangs_keeps_no_other_stream_waiting() {
    let mut hanging = Receiver::start().await;
    hanging.hang();
    let mut well = Receiver::start().await;
    let (server, mut shard) = start(&well, "").await;
    // More streams than calls may be under way to one receiver, or to all together.
    for n in 0..80 {
        let stream = format!("dead-{n}");
        let body = json!({"streamId": stream, "listenerHookURL": hanging.url()});
        server.post(&broadcasts("create"), body).await;
        let status = live(&id(&stream), &shardcast_link::SessionId(format!("x-{n}")));
        shard.say(shardcast_link::Event::Status(status)).await;
        let session = shardcast_link::SessionId(format!("x-{n}"));
        let broadcast = id(&stream);
        shard
            .say(shardcast_link::Event::Publishing { session, broadcast })
            .await;
    }
    hanging.next().await;
    let (_client, _) = shard.live(server.http(), &id("well")).await;
    assert_eq!(well.next().await.json()["id"], "well");
    assert!(metric(server.http(), "shardcast_webhooks_waiting").await >= 79);
}

/// A `shardcast control` process that is killed with the test.
struct Control(Child);

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Control {
    async fn start(data_dir: &Path, receiver: SocketAddr) -> (Self, SocketAddr) {
        let url = format!("http://{receiver}/");
        let child = Process::new(env!("CARGO_BIN_EXE_shardcast"))
            .args(["control", "--bind", "127.0.0.1", "--shards", "1"])
            .args(["--http-port", "0", "--https-port", "0"])
            .args(["--listener-hook-url", &url, "--webhook-retry-delay", "20"])
            .arg("--data-dir")
            .arg(data_dir)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        let process = Self(child);
        let http = until("runtime.json", async || {
            let text = std::fs::read(data_dir.join("runtime.json")).ok()?;
            let runtime: Value = serde_json::from_slice(&text).unwrap();
            (runtime["pid"] == pid).then(|| runtime["http"].as_str().unwrap().parse().unwrap())
        })
        .await;
        (process, http)
    }
}

#[tokio::test]
async fn what_was_not_delivered_survives_kill_9_and_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let away = Receiver::start().await;
    let address = away.address;
    away.answer(503);
    let (control, http) = Control::start(folder.path(), address).await;
    let mut shard = Shard::listen(folder.path());
    shard.accept(ShardStatus::default()).await;
    let (_client, session) = shard.live(http, &id("s1")).await;
    until("an attempt has failed", async || {
        let failed = metric(http, "shardcast_webhook_failures_total").await;
        (failed > 0).then_some(())
    })
    .await;
    drop(control);
    drop(away);
    until("the port is free", async || {
        let listener = tokio::net::TcpListener::bind(address).await;
        listener.is_ok().then_some(())
    })
    .await;
    let mut receiver = Receiver::start_on(address).await;
    let (_control, http) = Control::start(folder.path(), address).await;
    shard.accept(live(&id("s1"), &session)).await;
    assert_eq!(receiver.next().await.action(), "liveStreamStarted");
    let stopped = request(http, "POST", &broadcasts("s1/stop"), &[], b"").await;
    assert!(stopped.success(), "{}", stopped.text());
    assert_eq!(receiver.next().await.action(), "liveStreamEnded");
    until("nothing is owed", async || {
        (metric(http, "shardcast_webhooks_waiting").await == 0).then_some(())
    })
    .await;
}
