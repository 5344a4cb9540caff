//! A server that says that it takes Opus is sent the publisher's own, in step with the video and without a
//! gap, also while the publisher is away; and a show with such servers alone codes no audio.

use std::time::Duration;

use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    sink::{ConnectionReport, Sink, SinkOptions},
    test_clip::{TestClip, TestClipFormat},
};
use shardcast_link::WorkCounters;

const TIME_LIMIT: Duration = Duration::from_secs(30);
/// An Opus packet of a browser, in milliseconds.
const PACKET_MS: u32 = 20;

fn sink(takes_opus: bool) -> Sink {
    Sink::with(SinkOptions {
        takes_opus,
        ..SinkOptions::default()
    })
    .unwrap()
}

async fn publish(harness: &Harness, number: u32) -> Publisher {
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let options = PublisherOptions {
        number,
        ..PublisherOptions::new(harness.signalling(), "show")
    };
    let publisher = Publisher::start(clip, options);
    publisher.published(TIME_LIMIT).await.unwrap();
    publisher
}

/// What the only shard has done so far, of a report that is younger than now.
async fn work(harness: &Harness) -> WorkCounters {
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    harness.status().await.unwrap().shards[0].work.unwrap()
}

fn assert_good(stream: &ConnectionReport) {
    assert_eq!(stream.faults(), [""; 0], "{stream:?}");
    assert_eq!(stream.audio_headers, 1, "{stream:?}");
    let sync = stream.sync_ms.unwrap();
    assert!(
        sync.median.abs() <= 40.0,
        "audio and video are not in sync: {sync:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_show_for_servers_that_take_opus_codes_no_audio() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sinks = [sink(true), sink(true)];
    harness.create("show").await.unwrap();
    for sink in &sinks {
        harness.add("show", &sink.url("key")).await.unwrap();
    }
    let publisher = publish(&harness, 0).await;
    for sink in &sinks {
        let stream = sink.frames("key", 300, TIME_LIMIT).await.unwrap();
        assert_good(&stream);
        assert_eq!(stream.opus_packets, stream.audio_frames, "{stream:?}");
        let expected = stream.video_frames as i64 * 50 / 30;
        let packets = stream.opus_packets as i64;
        assert!(
            (packets - expected).abs() <= expected / 4,
            "{packets} packets, expected {expected}"
        );
        // Those between lost ones, if there are any, have a place of their own.
        assert!(stream.audio_gap_ms_max <= PACKET_MS + 1, "{stream:?}");
    }
    let work = work(&harness).await;
    assert_eq!((work.opus_us, work.aac_us), (0, 0), "{work:?}");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_take_aac_and_opus_get_each_its_own_through_an_absence() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let (opus, aac) = (sink(true), sink(false));
    harness.create("show").await.unwrap();
    harness.add("show", &opus.url("key")).await.unwrap();
    harness.add("show", &aac.url("key")).await.unwrap();
    let first = publish(&harness, 0).await;
    for sink in [&opus, &aac] {
        sink.frames("key", 150, TIME_LIMIT).await.unwrap();
    }
    drop(first);
    let audio = opus.stream("key").unwrap().opus_packets;
    let silence = |stream: &ConnectionReport| stream.opus_packets > audio + 250;
    opus.wait("key", "silence", TIME_LIMIT, silence)
        .await
        .unwrap();
    let second = publish(&harness, 1).await;
    for (sink, is_opus) in [(&opus, true), (&aac, false)] {
        let frames = sink.stream("key").unwrap().video_frames;
        let stream = sink.frames("key", frames + 150, TIME_LIMIT).await.unwrap();
        assert_good(&stream);
        let packets = if is_opus { stream.audio_frames } else { 0 };
        assert_eq!(stream.opus_packets, packets, "{stream:?}");
        assert!(stream.audio_gap_ms_max <= 22, "{stream:?}");
        assert_eq!(sink.streams("key").len(), 1, "one connection");
    }
    let work = work(&harness).await;
    assert!(work.opus_us > 0 && work.aac_us > 0, "{work:?}");
    second.stop().await;
}
