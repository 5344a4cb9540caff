//! A destination that is broken in any way a platform or a network can be broken does not cost its
//! siblings one frame, and its status says in words what happened.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::time::{Duration, Instant};

use serde_json::Value;
use shardcast_bench::{
    clip::{Clip, ClipFormat},
    harness::{Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    sink::{Answer, BlackHole, Entry, Fate, Manner, Sink, SinkOptions, Turn, refusing_url},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// The broken destination is there for so many frames: five seconds.
const FRAMES: u64 = 150;

/// Publishes to two good destinations, adds the bad one while live, and gives its status once it
/// tells of a problem. The good ones are checked to the frame.
async fn beside(bad_url: &str) -> Value {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    for key in ["good-a", "good-b"] {
        harness.add("show", &sink.url(key)).await.unwrap();
    }
    let clip = Clip::load(ClipFormat::small()).unwrap();
    let options = PublisherOptions::new(harness.signalling(), "show");
    let publisher = Publisher::start(clip, options);
    sink.frames("good-a", 30, PATIENCE).await.unwrap();
    let bad = harness.add("show", bad_url).await.unwrap();
    let status = problem(&harness, &bad).await;
    sink.frames("good-a", 30 + FRAMES, PATIENCE).await.unwrap();

    let sent = publisher.stop().await;
    for key in ["good-a", "good-b"] {
        let good = sink
            .wait(key, "end", PATIENCE, |s| s.ended.is_some())
            .await
            .unwrap();
        assert_eq!(good.faults(), [""; 0], "{key}: {good:?}");
        assert_eq!(sink.streams(key).len(), 1, "{key} was connected again");
        let last = good.last_mark.unwrap();
        assert!(
            u64::from(last) + 3 >= sent.frames_sent,
            "{key}: {last} of {}",
            sent.frames_sent
        );
        assert!(good.ended_cleanly(), "{key}: {:?}", good.ended);
    }
    status
}

/// A server that treats everybody like this.
fn bad(manner: Manner) -> Sink {
    Sink::with(SinkOptions::with(manner)).unwrap()
}

/// The status of a destination once it has words for what went wrong.
async fn problem(harness: &Harness, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = harness.endpoint("show", id).await.unwrap();
        if !words(&status).is_empty() {
            return status;
        }
        assert!(Instant::now() < deadline, "no problem was told: {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the status says of the last problem.
fn words(status: &Value) -> String {
    status["detail"]["problem"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn assert_words(status: &Value, expected: &[&str]) {
    let words = words(status);
    let lower = words.to_lowercase();
    assert!(
        expected.iter().any(|one| lower.contains(one)),
        "'{words}' has none of {expected:?}"
    );
    assert!(!words.contains("secret-key"), "the key is shown: {words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_refuses_the_connection() {
    let status = beside(&refusing_url("secret-key").unwrap()).await;
    assert_words(&status, &["refused"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_name_does_not_resolve() {
    let status = beside("rtmp://no-such-host.invalid/live/secret-key").await;
    assert_words(&status, &["resolve", "name", "address"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_swallows_packets() {
    let server = BlackHole::open().await.unwrap();
    let status = beside(&server.url("secret-key")).await;
    assert_words(&status, &["no answer", "within", "in time"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_says_a_word() {
    let server = bad(Manner::entry(Entry::Silent));
    let status = beside(&server.url("secret-key")).await;
    assert_words(&status, &["did not answer", "within"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_closes_at_once() {
    let server = bad(Manner::entry(Entry::ClosesAtOnce));
    let status = beside(&server.url("secret-key")).await;
    assert_words(&status, &["closed", "reset"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_answers_with_garbage() {
    let server = bad(Manner::entry(Entry::Garbage));
    let status = beside(&server.url("secret-key")).await;
    assert!(!words(&status).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_announces_absurd_messages() {
    let server = bad(Manner::entry(Entry::GarbageAfterHandshake));
    let status = beside(&server.url("secret-key")).await;
    assert!(!words(&status).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_rejects_the_key() {
    let answer = Answer::reject("NetStream.Publish.BadName", "no such key");
    let sink = bad(Manner::on_publish(answer));
    let status = beside(&sink.url("secret-key")).await;
    assert_words(&status, &["no such key", "badname"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_resets_mid_stream() {
    let turn = Turn::after(Duration::from_secs(1), Fate::Reset);
    let sink = bad(Manner::turning(turn));
    let status = beside(&sink.url("secret-key")).await;
    assert_words(&status, &["reset", "closed"]);
    let streams = sink.streams("secret-key");
    assert!(
        streams.len() >= 2,
        "it was not tried again: {} connections",
        streams.len()
    );
    assert!(
        streams.iter().all(|stream| stream.faults().is_empty()),
        "{streams:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_reads_a_kilobyte_a_second() {
    let sink = bad(Manner {
        read_bytes_per_second: Some(1_000),
        ..Manner::default()
    });
    let status = beside(&sink.url("secret-key")).await;
    assert_words(&status, &["slow", "keep", "drop"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_answers_late_still_gets_the_stream() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let late = bad(Manner::on_publish(Answer::AcceptAfter(
        Duration::from_secs(2),
    )));
    let prompt = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &prompt.url("prompt")).await.unwrap();
    harness.add("show", &late.url("late")).await.unwrap();
    let clip = Clip::load(ClipFormat::small()).unwrap();
    let options = PublisherOptions::new(harness.signalling(), "show");
    let publisher = Publisher::start(clip, options);
    let stream = late.frames("late", 60, PATIENCE).await.unwrap();
    publisher.stop().await;
    assert_eq!(stream.faults(), [""; 0]);
    assert_eq!(prompt.stream("prompt").unwrap().faults(), [""; 0]);
}
