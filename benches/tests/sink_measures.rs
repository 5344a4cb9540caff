//! The sink measures what a real RTMP client sends it, and misbehaves as it is told.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::{process::Stdio, time::Duration};

use shardcast_bench::sink::{Answer, ConnectionReport, Ended, Sink, SinkOptions};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// FFmpeg publishes a test picture with a keyframe each second, and a tone.
fn ffmpeg(url: &str, seconds: u32) -> Child {
    let picture = format!("testsrc2=size=320x180:rate=30:duration={seconds}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    Command::new("ffmpeg")
        .args([
            "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", &picture,
        ])
        .args([
            "-f",
            "lavfi",
            "-i",
            &tone,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ])
        .args([
            "-tune",
            "zerolatency",
            "-g",
            "30",
            "-c:a",
            "aac",
            "-f",
            "flv",
            url,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn succeeds(mut ffmpeg: Child) -> bool {
    timeout(PATIENCE, ffmpeg.wait())
        .await
        .unwrap()
        .unwrap()
        .success()
}

#[tokio::test]
async fn a_stream_of_ffmpeg_is_counted_to_the_frame() {
    let sink = Sink::start().unwrap();
    let client = ffmpeg(&sink.url("key"), 3);
    let ended = |s: &ConnectionReport| s.ended.is_some();
    let stream = sink.wait("key", "end", PATIENCE, ended).await.unwrap();
    assert!(succeeds(client).await);

    assert_eq!(stream.application, "live");
    assert_eq!(
        (stream.video_frames, stream.keyframes),
        (90, 3),
        "{stream:?}"
    );
    let audio = stream.audio_frames as i64;
    assert!(
        (audio - 3 * 48_000 / 1_024).abs() <= 3,
        "{audio} audio frames"
    );
    assert_eq!((stream.video_headers, stream.audio_headers), (1, 1));
    assert_eq!(stream.announced_size, Some((320.0, 180.0)));
    assert_eq!(stream.faults(), [""; 0]);
    let intervals = stream.keyframe_interval_ms.unwrap();
    assert_eq!(
        (intervals.min, intervals.median, intervals.max),
        (1_000.0, 1_000.0, 1_000.0)
    );
    assert!(stream.ended_cleanly(), "{:?}", stream.ended);
    assert!(stream.first_media_ms.is_some());
    assert_eq!(stream.delay_ms, None, "ffmpeg does not mark its frames");
}

#[tokio::test]
async fn a_rejected_key_gets_no_media() {
    let answer = Answer::Reject {
        code: "NetStream.Publish.BadName".to_owned(),
        description: "no such key".to_owned(),
    };
    let sink = Sink::with(SinkOptions {
        answer,
        ..Default::default()
    })
    .unwrap();
    let client = ffmpeg(&sink.url("wrong"), 3);
    assert!(!succeeds(client).await);
    let stream = sink.stream("wrong").unwrap();
    assert_eq!((stream.published_us, stream.video_frames), (None, 0));
}

#[tokio::test]
async fn a_late_answer_delays_the_media() {
    let wait = Duration::from_millis(700);
    let options = SinkOptions {
        answer: Answer::AcceptAfter(wait),
        ..Default::default()
    };
    let sink = Sink::with(options).unwrap();
    let _client = ffmpeg(&sink.url("late"), 5);
    let stream = sink.frames("late", 10, PATIENCE).await.unwrap();
    assert!(
        stream.published_us.unwrap() >= stream.connected_us + 700_000,
        "{stream:?}"
    );
}

#[tokio::test]
async fn a_reset_breaks_the_connection_mid_stream() {
    let options = SinkOptions {
        reset_after: Some(Duration::from_secs(1)),
        ..Default::default()
    };
    let sink = Sink::with(options).unwrap();
    let client = ffmpeg(&sink.url("reset"), 20);
    assert!(!succeeds(client).await);
    let stream = sink.stream("reset").unwrap();
    assert!(stream.video_frames > 0 && matches!(stream.ended, Some(Ended::Broken(_))));
}

#[tokio::test]
async fn a_slow_reader_holds_the_client_up() {
    let options = SinkOptions {
        read_bytes_per_second: Some(1_000),
        ..Default::default()
    };
    let sink = Sink::with(options).unwrap();
    let _client = ffmpeg(&sink.url("slow"), 20);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let stream = sink.stream("slow").unwrap();
    assert!(stream.published_us.is_some());
    assert!(stream.bytes < 20_000, "{} bytes were read", stream.bytes);
}
