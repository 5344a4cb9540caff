//! Invalid input from the network costs a live broadcast no frame.

use std::time::Duration;

use serde_json::json;
use shardcast_bench::{
    harness::{Harness, HarnessOptions, request},
    publisher::{Publisher, PublisherOptions, ServerMessage, Signalling},
    sink::Sink,
    test_clip::{TestClip, TestClipFormat},
};
use tokio_tungstenite::tungstenite::Message;

const TIME_LIMIT: Duration = Duration::from_secs(30);

struct Show {
    harness: Harness,
    sink: Sink,
    publisher: Publisher,
}

async fn live() -> Show {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &sink.url("good")).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let publisher = Publisher::start(clip, PublisherOptions::new(harness.signalling(), "show"));
    sink.frames("good", 30, TIME_LIMIT).await.unwrap();
    Show {
        harness,
        sink,
        publisher,
    }
}

impl Show {
    /// The broadcast goes on, and no frame was lost.
    async fn assert_unharmed(self) {
        let before = self.sink.stream("good").unwrap().video_frames;
        let stream = self
            .sink
            .frames("good", before + 30, TIME_LIMIT)
            .await
            .unwrap();
        assert_eq!(stream.faults(), [""; 0], "{stream:?}");
        assert_eq!(self.sink.streams("good").len(), 1);
        let ready = request(self.harness.http(), "GET", "/readyz", None)
            .await
            .unwrap();
        assert_eq!(ready.status, 200);
        let report = self.publisher.stop().await;
        assert_eq!(report.attempts, 1, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_of_garbage_get_an_error() {
    let show = live().await;
    let offers = [
        String::new(),
        "garbage".to_owned(),
        "v=0\r\n".to_owned(),
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
            .to_owned(),
        "m=".repeat(200_000),
        "\u{0}\u{1}é".repeat(1_000),
    ];
    for (n, offer) in offers.iter().enumerate() {
        let mut socket = Signalling::connect(&show.harness.signalling())
            .await
            .unwrap();
        let stream_id = format!("bad{n}");
        socket
            .publish(&stream_id, None, (true, true))
            .await
            .unwrap();
        socket.offer(&stream_id, offer).await.unwrap();
        let error = async {
            loop {
                match socket.next().await {
                    ServerMessage::Error(definition) => return definition,
                    ServerMessage::Closed => return "closed".to_owned(),
                    _ => {}
                }
            }
        };
        let error = tokio::time::timeout(TIME_LIMIT, error).await;
        assert!(
            error.is_ok_and(|error| !error.is_empty()),
            "offer {n} got no error"
        );
    }
    show.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_none_and_out_of_order() {
    let show = live().await;
    let mut socket = Signalling::connect(&show.harness.signalling())
        .await
        .unwrap();
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{\"command\":7}",
        "{\"command\":\"dance\"}",
    ] {
        socket.send_raw(Message::text(text)).await.unwrap();
    }
    let early = json!({"command": "takeCandidate", "streamId": "x", "label": 0, "candidate": "?"});
    socket.send(&early).await.unwrap();
    socket.stop("never-started").await.unwrap();
    socket.send(&json!({"command": "publish"})).await.unwrap();
    let mut answers = Vec::new();
    while !answers.contains(&ServerMessage::Error("noStreamNameSpecified".to_owned())) {
        let answer = tokio::time::timeout(TIME_LIMIT, socket.next()).await;
        answers.push(answer.unwrap_or_else(|_| panic!("only {answers:?} came")));
        assert!(!answers.contains(&ServerMessage::Closed), "{answers:?}");
    }
    // A socket cannot stop the stream of another publisher, nor send an offer for it.
    socket.stop("show").await.unwrap();
    socket.offer("show", "v=0").await.unwrap();
    show.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_or_binary_frame_closes_its_own_socket() {
    let show = live().await;
    for frame in [
        Message::text("x".repeat(8 << 20)),
        Message::binary(vec![0xff; 1_000]),
    ] {
        let mut socket = Signalling::connect(&show.harness.signalling())
            .await
            .unwrap();
        // The server may close before all of it is sent.
        let _ = socket.send_raw(frame).await;
        let closed = async { while socket.next().await != ServerMessage::Closed {} };
        tokio::time::timeout(TIME_LIMIT, closed).await.unwrap();
    }
    show.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_body_is_refused() {
    let show = live().await;
    let body = json!({"streamId": "big", "metaData": "x".repeat(10 << 20)});
    let answer = show
        .harness
        .rest("POST", "/broadcasts/create", Some(&body))
        .await;
    // The server may close before all of it is sent.
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 413, "{}", answer.text);
    }
    show.assert_unharmed().await;
}
