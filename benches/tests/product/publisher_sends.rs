//! A receiver that shares no code with the publisher understands it: a WebSocket server with Ant
//! Media's signalling and its own str0m session.

use std::time::Duration;

use crate::receiver::{Receiver, ReceiverFaults};
use shardcast_bench::{
    frame_stamp::FrameStamp,
    publisher::{Pace, Publisher, PublisherOptions, PublisherState},
    test_clip::{TestClip, TestClipFormat},
};

use shardcast_core::is_keyframe;
use shardcast_link::VideoCodec;

const TIME_LIMIT: Duration = Duration::from_secs(30);

fn clip() -> std::sync::Arc<TestClip> {
    TestClip::load(TestClipFormat::small()).unwrap()
}

/// The stamp in an access unit with start codes.
fn stamp(unit: &[u8]) -> Option<FrameStamp> {
    let at = unit.windows(4).position(|window| window == [0, 0, 1, 6])?;
    FrameStamp::read(&unit[at + 3..])
}

fn is_key(unit: &[u8]) -> bool {
    unit.windows(4)
        .any(|window| window[..3] == [0, 0, 1] && window[3] & 0x1f == 5)
}

#[tokio::test]
async fn every_frame_arrives_stamped_and_in_order() {
    let server = Receiver::start(ReceiverFaults::default()).await;
    let options = PublisherOptions {
        number: 7,
        ..PublisherOptions::new(&server.url, "one")
    };
    let publisher = Publisher::start(clip(), options);
    publisher.published(TIME_LIMIT).await.unwrap();
    server
        .wait(TIME_LIMIT, |seen| seen.video.len() >= 100)
        .await;
    let report = publisher.stop().await;
    server
        .wait(TIME_LIMIT, |seen| seen.commands.len() == 4)
        .await;
    let seen = server.seen();

    let stamps: Vec<FrameStamp> = seen.video.iter().map(|unit| stamp(unit).unwrap()).collect();
    let numbers: Vec<u32> = stamps.iter().map(|stamp| stamp.frame).collect();
    assert_eq!(numbers, (0..stamps.len() as u32).collect::<Vec<_>>());
    assert!(stamps.iter().all(|stamp| stamp.publisher == 7));
    assert!(is_key(&seen.video[0]));
    assert!(
        seen.audio_packets > 100,
        "{} audio packets",
        seen.audio_packets
    );
    assert_eq!(
        seen.commands,
        ["publish", "takeConfiguration", "takeCandidate", "stop"]
    );
    assert!(seen.offer.contains("m=audio") && seen.offer.contains("m=application"));
    assert_eq!(
        (report.state, report.attempts),
        (PublisherState::Stopped, 1)
    );
    assert_eq!(report.errors, [""; 0]);
}

#[tokio::test]
async fn every_codec_is_understood_and_begins_with_a_keyframe() {
    for codec in VideoCodec::ALL {
        let server = Receiver::start(ReceiverFaults::default()).await;
        let format = TestClipFormat {
            codec,
            ..TestClipFormat::small()
        };
        let clip = TestClip::load(format).unwrap();
        let options = PublisherOptions {
            pace: Pace::Varying,
            ..PublisherOptions::new(&server.url, codec.name())
        };
        let publisher = Publisher::start(clip, options);
        server.wait(TIME_LIMIT, |seen| seen.video.len() >= 70).await;
        let report = publisher.stop().await;
        assert_eq!((report.attempts, report.errors.len()), (1, 0), "{report:?}");
        let seen = server.seen();
        let keys: Vec<usize> = (0..seen.video.len())
            .filter(|n| match codec {
                VideoCodec::H264 => is_key(&seen.video[*n]),
                _ => is_keyframe(codec, &seen.video[*n]),
            })
            .collect();
        assert_eq!(keys[..2], [0, 60], "{codec:?}");
    }
}

#[tokio::test]
async fn keyframes_come_on_request() {
    let server = Receiver::start(ReceiverFaults {
        ask_keyframe_every: Some(25),
        ..Default::default()
    })
    .await;
    let publisher = Publisher::start(clip(), PublisherOptions::new(&server.url, "keys"));
    server
        .wait(TIME_LIMIT, |seen| seen.video.len() >= 150)
        .await;
    publisher.stop().await;
    let seen = server.seen();
    let keys: Vec<usize> = (0..seen.video.len())
        .filter(|n| is_key(&seen.video[*n]))
        .collect();
    // A keyframe is requested every 25 frames; on a busy machine some are late, none is missing.
    assert!(keys.len() >= 5, "keyframes at {keys:?}");
    assert!(
        keys.windows(2).all(|pair| pair[1] - pair[0] < 50),
        "keyframes at {keys:?}"
    );
}

#[tokio::test]
async fn a_publisher_that_lost_its_socket_comes_back_and_goes_on_counting() {
    let server = Receiver::start(ReceiverFaults {
        drop_first_after: Some(30),
        ..Default::default()
    })
    .await;
    let publisher = Publisher::start(clip(), PublisherOptions::new(&server.url, "back"));
    publisher
        .wait("second start", TIME_LIMIT, |r| r.publish_started == 2)
        .await
        .unwrap();
    server.wait(TIME_LIMIT, |seen| seen.video.len() >= 60).await;
    let report = publisher.stop().await;
    assert_eq!(report.attempts, 2, "{report:?}");
    let seen = server.seen();
    let numbers: Vec<u32> = seen
        .video
        .iter()
        .map(|unit| stamp(unit).unwrap().frame)
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
}

#[tokio::test]
async fn a_server_that_never_answers_is_tried_again_as_the_sdk_does() {
    let server = Receiver::start(ReceiverFaults {
        mute: true,
        ..Default::default()
    })
    .await;
    let publisher = Publisher::start(clip(), PublisherOptions::new(&server.url, "mute"));
    publisher
        .wait("second attempt", TIME_LIMIT, |r| r.attempts == 2)
        .await
        .unwrap();
    server
        .wait(TIME_LIMIT, |seen| seen.commands.len() >= 3)
        .await;
    drop(publisher);
    assert_eq!(server.seen().commands[..3], ["publish", "stop", "publish"]);
}
