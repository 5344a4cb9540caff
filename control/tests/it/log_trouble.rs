//! A log that cannot be written costs lines and nothing else: links are made again, publishers and
//! REST are answered, and `/readyz` tells the truth.

use std::{
    fs::File,
    io::{PipeReader, Read, pipe},
    net::SocketAddr,
    process::Stdio,
    time::Duration,
};

use crate::server::{
    Client, broadcasts, offer,
    process::Process,
    publish, request,
    shard::{Shard, answer},
    until,
};
use serde_json::json;
use shardcast_link::{BroadcastId, Event, Fault, Problem, SessionId, ShardStatus};

/// Where the log of a process goes.
enum Reader {
    /// Its process was killed.
    Gone,
    /// Its disk is full.
    Full,
    /// It does not read.
    Stalled(PipeReader),
}

impl Reader {
    fn all() -> [(Self, Stdio); 3] {
        let (_, gone) = pipe().unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (stalled, write) = pipe().unwrap();
        [
            (Self::Gone, gone.into()),
            (Self::Full, full.into()),
            (Self::Stalled(stalled), write.into()),
        ]
    }
}

async fn wait_for_ready(http: SocketAddr, code: u16) {
    until("readyz", async || {
        let ready = request(http, "GET", "/readyz", &[], b"").await;
        (ready.status == code).then_some(())
    })
    .await;
}

/// Enough lines to fill any pipe: an offer is refused in long words, again and again.
async fn flood(http: SocketAddr, shard: &mut Shard) {
    let filler = "x".repeat(10_000);
    for n in 0..30 {
        let stream = format!("flood{n}");
        let mut client = Client::connect(http, "StreamLick").await;
        client.ask(publish(&stream)).await;
        client.send(offer(&stream)).await;
        let session = shard.take_publish().await;
        let problem = Problem {
            fault: Fault::Publisher,
            message: filler.clone(),
        };
        shard.say(Event::Refused { session, problem }).await;
        assert_eq!(client.next().await["command"], "error");
    }
    // One line for each.
    for n in 0..400 {
        let headers = [("Content-Type", "application/json")];
        let body = json!({"streamId": format!("made{n}"), "endPointList": [
            {"rtmpUrl": "rtmp://h/a/some-key"}]});
        let body = body.to_string();
        let path = broadcasts("create");
        let made = request(http, "POST", &path, &headers, body.as_bytes()).await;
        assert_eq!(made.status, 200, "{}", made.text());
        let body = json!({"rtmpUrl": "rtmp://h/a/another-key"}).to_string();
        let path = broadcasts(&format!("made{n}/rtmp-endpoint"));
        let added = request(http, "POST", &path, &headers, body.as_bytes()).await;
        assert_eq!(added.status, 200, "{}", added.text());
    }
}

#[tokio::test]
async fn control_goes_on_whatever_becomes_of_its_log() {
    for (reader, log) in Reader::all() {
        let folder = tempfile::tempdir().unwrap();
        let mut shard = Shard::listen(folder.path());
        let (_process, http) = Process::start_with(folder.path(), log).await;
        shard.accept(ShardStatus::default()).await;
        wait_for_ready(http, 200).await;
        flood(http, &mut shard).await;
        // Its link goes down and comes back: a task that logs each time.
        shard.die();
        wait_for_ready(http, 503).await;
        shard.accept(ShardStatus::default()).await;
        wait_for_ready(http, 200).await;
        let mut client = Client::connect(http, "StreamLick").await;
        client.ask(publish("after")).await;
        client.send(offer("after")).await;
        let session = shard.take_publish().await;
        shard.say(answer(&session, true)).await;
        assert_eq!(client.next().await["command"], "takeConfiguration");
        if let Reader::Stalled(mut reader) = reader {
            // What waited comes once it reads, the last "added" too.
            let mut text = String::new();
            while !text.contains("made399") {
                let mut piece = [0; 4_096];
                let read = reader.read(&mut piece).unwrap();
                text.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        }
    }
}

#[tokio::test]
async fn what_outsiders_say_is_cut_in_the_log_and_their_refusals_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut shard = Shard::listen(folder.path());
    let log = folder.path().join("log");
    let file = File::create(&log).unwrap();
    let (_process, http) = Process::start_with(folder.path(), file.into()).await;
    shard.accept(ShardStatus::default()).await;
    wait_for_ready(http, 200).await;
    let id = BroadcastId::new("StreamLick", "s1").unwrap();
    for _ in 0..100 {
        let mut client = Client::connect(http, "StreamLick").await;
        client.ask(publish(id.stream())).await;
        client.send(offer(id.stream())).await;
        let session = shard.take_publish().await;
        let problem = Problem {
            fault: Fault::Publisher,
            message: format!("\x1b[31m{}", "y".repeat(100_000)),
        };
        shard.say(Event::Refused { session, problem }).await;
        assert_eq!(client.next().await["command"], "error");
    }
    for _ in 0..100 {
        let problem = Problem {
            fault: Fault::Publisher,
            message: format!("\x1b[31m{}", "y".repeat(1_000)),
        };
        let session = SessionId("s".into());
        shard.say(Event::NotRenegotiated { session, problem }).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let text = until("the lines", async || {
        let text = std::fs::read_to_string(&log).unwrap();
        let is_there = text.contains("a further offer was refused");
        is_there.then_some(text)
    })
    .await;
    assert!(!text.contains('\x1b') && !text.contains(&"y".repeat(200)));
    let refused = text.matches("an offer was refused").count();
    assert!(
        (20..60).contains(&refused),
        "{refused} lines for 100 refusals"
    );
    let further = text.matches("a further offer was refused").count();
    assert!((1..60).contains(&further), "{further} lines for 100");
}
