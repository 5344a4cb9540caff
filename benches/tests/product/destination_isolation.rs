//! A faulty destination costs the other destinations of its broadcast no frame, whatever its fault is,
//! and its status says what happened.

use std::time::{Duration, Instant};

use serde_json::Value;
use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    sink::{
        Answer, BlackHole, ConnectionFaults, FaultAction, NonRtmpAnswer, RefusedPort,
        ScheduledFault, Sink, SinkOptions,
    },
    test_clip::{TestClip, TestClipFormat},
};

const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Frames while the faulty destination is there: five seconds.
const FRAMES: u64 = 150;

/// Publishes to two healthy destinations, adds the faulty one while live, and returns its status once
/// it has a problem. The healthy ones are checked to the frame.
async fn status_next_to(bad_url: &str) -> Value {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    for key in ["good-a", "good-b"] {
        harness.add("show", &sink.url(key)).await.unwrap();
    }
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let options = PublisherOptions::new(harness.signalling(), "show");
    let publisher = Publisher::start(clip, options);
    sink.frames("good-a", 30, TIME_LIMIT).await.unwrap();
    let bad = harness.add("show", bad_url).await.unwrap();
    let status = problem(&harness, &bad).await;
    sink.frames("good-a", 30 + FRAMES, TIME_LIMIT)
        .await
        .unwrap();

    let sent = publisher.stop().await;
    for key in ["good-a", "good-b"] {
        let good = sink
            .wait(key, "end", TIME_LIMIT, |s| s.ended.is_some())
            .await
            .unwrap();
        assert_eq!(good.faults(), [""; 0], "{key}: {good:?}");
        assert_eq!(sink.streams(key).len(), 1, "{key} was connected again");
        let last = good.last_stamp.unwrap();
        assert!(
            u64::from(last) + 3 >= sent.frames_sent,
            "{key}: {last} of {}",
            sent.frames_sent
        );
        assert!(good.ended_cleanly(), "{key}: {:?}", good.ended);
    }
    status
}

/// A server with these faults on every connection.
fn bad(faults: ConnectionFaults) -> Sink {
    Sink::with(SinkOptions::with(faults)).unwrap()
}

/// The status of a destination once it has a problem.
async fn problem(harness: &Harness, id: &str) -> Value {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let status = harness.endpoint("show", id).await.unwrap();
        if !problem_text(&status).is_empty() {
            return status;
        }
        assert!(
            Instant::now() < deadline,
            "no problem was reported: {status}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The last problem in the status.
fn problem_text(status: &Value) -> String {
    status["detail"]["problem"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn assert_problem(status: &Value, expected: &[&str]) {
    let text = problem_text(status);
    let lower = text.to_lowercase();
    assert!(
        expected.iter().any(|one| lower.contains(one)),
        "'{text}' has none of {expected:?}"
    );
    assert!(!text.contains("secret-key"), "the key is shown: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_refuses_the_connection() {
    let port = RefusedPort::open().unwrap();
    let status = status_next_to(&port.url("secret-key")).await;
    assert_problem(&status, &["refused"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_name_does_not_resolve() {
    let status = status_next_to("rtmp://no-such-host.invalid/live/secret-key").await;
    assert_problem(&status, &["resolve", "name", "address"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_answers_a_syn() {
    let server = BlackHole::open().await.unwrap();
    let status = status_next_to(&server.url("secret-key")).await;
    assert_problem(&status, &["no answer", "within", "in time"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_sends_a_byte() {
    let server = bad(ConnectionFaults::non_rtmp(NonRtmpAnswer::Silent));
    let status = status_next_to(&server.url("secret-key")).await;
    assert_problem(&status, &["did not answer", "within"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_closes_at_once() {
    let server = bad(ConnectionFaults::non_rtmp(NonRtmpAnswer::ClosesAtOnce));
    let status = status_next_to(&server.url("secret-key")).await;
    assert_problem(&status, &["closed", "reset"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_answers_with_garbage() {
    let server = bad(ConnectionFaults::non_rtmp(NonRtmpAnswer::Garbage));
    let status = status_next_to(&server.url("secret-key")).await;
    assert!(!problem_text(&status).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_announces_huge_messages() {
    let server = bad(ConnectionFaults::non_rtmp(
        NonRtmpAnswer::GarbageAfterHandshake,
    ));
    let status = status_next_to(&server.url("secret-key")).await;
    assert!(!problem_text(&status).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_rejects_the_key() {
    let answer = Answer::reject("NetStream.Publish.BadName", "no such key");
    let sink = bad(ConnectionFaults::on_publish(answer));
    let status = status_next_to(&sink.url("secret-key")).await;
    assert_problem(&status, &["no such key", "badname"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_resets_mid_stream() {
    let fault = ScheduledFault::after(Duration::from_secs(1), FaultAction::Reset);
    let sink = bad(ConnectionFaults::scheduled(fault));
    let status = status_next_to(&sink.url("secret-key")).await;
    assert_problem(&status, &["reset", "closed"]);
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
    let sink = bad(ConnectionFaults {
        read_bytes_per_second: Some(1_000),
        ..ConnectionFaults::default()
    });
    let status = status_next_to(&sink.url("secret-key")).await;
    assert_problem(&status, &["slow", "keep", "drop"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_answers_late_still_gets_the_stream() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let late = bad(ConnectionFaults::on_publish(Answer::AcceptAfter(
        Duration::from_secs(2),
    )));
    let prompt = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &prompt.url("prompt")).await.unwrap();
    harness.add("show", &late.url("late")).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let options = PublisherOptions::new(harness.signalling(), "show");
    let publisher = Publisher::start(clip, options);
    let stream = late.frames("late", 60, TIME_LIMIT).await.unwrap();
    publisher.stop().await;
    assert_eq!(stream.faults(), [""; 0]);
    assert_eq!(prompt.stream("prompt").unwrap().faults(), [""; 0]);
}
