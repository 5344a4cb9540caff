//! The main task: one publisher and several destinations, each with all video and audio in sync, while
//! destinations are added and removed.

use std::time::Duration;

use shardcast_bench::{
    clock,
    harness::{Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    sink::{ConnectionReport, Sink},
    test_clip::{TestClip, TestClipFormat},
};

const TIME_LIMIT: Duration = Duration::from_secs(30);

async fn publish(harness: &Harness, stream_id: &str) -> Publisher {
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let publisher = Publisher::start(clip, PublisherOptions::new(harness.signalling(), stream_id));
    publisher.published(TIME_LIMIT).await.unwrap();
    publisher
}

fn assert_good(stream: &ConnectionReport) {
    assert_eq!(stream.faults(), [""; 0], "{stream:?}");
    assert_eq!(
        stream.video_headers, 1,
        "the parameter sets never changed: {stream:?}"
    );
    let intervals = stream.keyframe_interval_ms.unwrap();
    assert!(
        intervals.max <= 2_200.0,
        "keyframes are too far apart: {intervals:?}"
    );
    let sync = stream.sync_ms.unwrap();
    assert!(
        sync.median.abs() <= 40.0,
        "audio and video are not in sync: {sync:?}"
    );
    assert_eq!(stream.announced_size, Some((320.0, 180.0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_destinations_get_everything_and_a_clean_end() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sinks = [
        Sink::start().unwrap(),
        Sink::start().unwrap(),
        Sink::start().unwrap(),
    ];
    harness.create("show").await.unwrap();
    for (n, sink) in sinks.iter().enumerate() {
        harness
            .add("show", &sink.url(&format!("key{n}")))
            .await
            .unwrap();
    }
    let publisher = publish(&harness, "show").await;
    for (n, sink) in sinks.iter().enumerate() {
        sink.frames(&format!("key{n}"), 300, TIME_LIMIT)
            .await
            .unwrap();
    }
    let sent = publisher.stop().await;
    for (n, sink) in sinks.iter().enumerate() {
        let key = format!("key{n}");
        let ended = |stream: &ConnectionReport| stream.ended.is_some();
        let stream = sink.wait(&key, "end", TIME_LIMIT, ended).await.unwrap();
        assert_good(&stream);
        assert!(stream.ended_cleanly(), "{:?}", stream.ended);
        assert_eq!(
            sink.streams(&key).len(),
            1,
            "one connection for the whole show"
        );
        // The stream reaches from the first keyframe to the last frame that was sent.
        let last = sent.frames_sent as u32 - 1;
        assert!(
            stream.last_stamp.unwrap() + 2 >= last,
            "ended at {:?} of {last}",
            stream.last_stamp
        );
        assert!(
            stream.first_stamp.unwrap() < 60,
            "began at {:?}",
            stream.first_stamp
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_added_while_live_starts_and_a_removed_one_ends_and_the_others_miss_nothing()
{
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &sink.url("stays")).await.unwrap();
    let leaves = harness.add("show", &sink.url("leaves")).await.unwrap();
    let publisher = publish(&harness, "show").await;
    sink.frames("stays", 90, TIME_LIMIT).await.unwrap();

    let asked_us = clock::now_us();
    let joins = harness.add("show", &sink.url("joins")).await.unwrap();
    let joined = sink.frames("joins", 60, TIME_LIMIT).await.unwrap();
    let waited_ms = (joined.first_video_us.unwrap() - asked_us) / 1_000;
    assert!(
        waited_ms < 5_000,
        "the first frame was received after {waited_ms} ms"
    );
    assert!(joined.starts_on_keyframe, "{joined:?}");
    let status = harness.endpoint("show", &joins).await.unwrap();
    assert_eq!(status["status"], "broadcasting", "{status}");

    harness.remove("show", &leaves).await.unwrap();
    let ended = |stream: &ConnectionReport| stream.ended.is_some();
    let left = sink.wait("leaves", "end", TIME_LIMIT, ended).await.unwrap();
    assert!(left.ended_cleanly(), "{:?}", left.ended);

    let before = sink.stream("stays").unwrap().video_frames;
    let stays = sink.frames("stays", before + 60, TIME_LIMIT).await.unwrap();
    assert_eq!(stays.faults(), [""; 0]);
    assert!(stays.ended.is_none() && sink.streams("stays").len() == 1);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_without_audio_gets_silence() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("mute").await.unwrap();
    harness.add("mute", &sink.url("mute")).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let options = PublisherOptions {
        audio: false,
        ..PublisherOptions::new(harness.signalling(), "mute")
    };
    let publisher = Publisher::start(clip, options);
    let stream = sink.frames("mute", 150, TIME_LIMIT).await.unwrap();
    publisher.stop().await;
    assert_eq!(stream.faults(), [""; 0]);
    assert_eq!(stream.audio_headers, 1);
    let expected = stream.video_frames as i64 * 48_000 / 1_024 / 30;
    let audio = stream.audio_frames as i64;
    assert!(
        (audio - expected).abs() <= expected / 4,
        "{audio} audio frames, expected {expected}"
    );
}
