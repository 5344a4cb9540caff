//! The sink measures what a real RTMP client sends it, and misbehaves as it is told.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::{process::Stdio, sync::Arc, time::Duration};

use shardcast_bench::sink::{
    Answer, ConnectionReport, Ended, Fate, FrameLog, Manner, Manners, Personality, Sink,
    SinkOptions, TestCa, Turn,
};
use tokio::{
    net::TcpStream,
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

fn with(manner: Manner) -> Sink {
    Sink::with(SinkOptions::with(manner)).unwrap()
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
    assert_eq!(
        (stream.video_headers_distinct, stream.audio_headers_distinct),
        (1, 1)
    );
    assert!((33..=34).contains(&stream.video_gap_ms_max), "{stream:?}");
    assert!((21..=24).contains(&stream.audio_gap_ms_max), "{stream:?}");
    assert!(stream.fc_unpublish && stream.delete_stream);
    assert_eq!((sink.at_once_max(), sink.at_once_max_of("key")), (1, 1));
    let intervals = stream.keyframe_interval_ms.unwrap();
    assert_eq!(
        (intervals.min, intervals.median, intervals.max),
        (1_000.0, 1_000.0, 1_000.0)
    );
    assert_picture(&stream, &sink.log("key"));
    assert!(stream.ended_cleanly(), "{:?}", stream.ended);
    assert!(stream.first_media_ms.is_some());
    assert_eq!(stream.delay_ms, None, "ffmpeg does not mark its frames");
}

fn assert_picture(stream: &ConnectionReport, log: &FrameLog) {
    let picture = &stream.picture;
    assert_eq!(picture.sizes, [(320, 180)]);
    assert_eq!((picture.size_changes, picture.header_changes), (0, 0));
    let group = picture.keyframe_interval_frames.unwrap();
    assert_eq!((group.min, group.max), (30.0, 30.0));
    assert!((picture.frames_per_second.unwrap() - 30.0).abs() < 0.1);
    assert!(picture.grid_deviation_ms.unwrap() <= 1.5, "{picture:?}");
    assert_eq!(log.frames().len(), 90);
    let bytes: u64 = log.frames().iter().map(|f| u64::from(f.bytes)).sum();
    assert!(bytes < stream.bytes, "sound is not counted");
    let bits_per_second = (bytes * 8 / 3) as u32;
    assert_eq!(log.vbv(bits_per_second * 4, 1_000).violations, 0);
    assert!(log.vbv(bits_per_second / 2, 1_000).violations > 0);
}

#[tokio::test]
async fn a_rejected_key_gets_no_media() {
    let answer = Answer::reject("NetStream.Publish.BadName", "no such key");
    let sink = with(Manner::on_publish(answer));
    let client = ffmpeg(&sink.url("wrong"), 3);
    assert!(!succeeds(client).await);
    let stream = sink.stream("wrong").unwrap();
    assert_eq!((stream.published_us, stream.video_frames), (None, 0));
}

#[tokio::test]
async fn a_late_answer_delays_the_media() {
    let wait = Duration::from_millis(700);
    let sink = with(Manner::on_publish(Answer::AcceptAfter(wait)));
    let _client = ffmpeg(&sink.url("late"), 5);
    let stream = sink.frames("late", 10, PATIENCE).await.unwrap();
    assert!(
        stream.published_us.unwrap() >= stream.connected_us + 700_000,
        "{stream:?}"
    );
}

#[tokio::test]
async fn a_reset_breaks_the_connection_mid_stream() {
    let turn = Turn::after(Duration::from_secs(1), Fate::Reset);
    let sink = with(Manner::turning(turn));
    let client = ffmpeg(&sink.url("reset"), 20);
    assert!(!succeeds(client).await);
    let stream = sink.stream("reset").unwrap();
    assert!(stream.video_frames > 0 && matches!(stream.ended, Some(Ended::BySink(_))));
}

#[tokio::test]
async fn a_slow_reader_holds_the_client_up() {
    let sink = with(Manner {
        read_bytes_per_second: Some(1_000),
        ..Manner::default()
    });
    let _client = ffmpeg(&sink.url("slow"), 20);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let stream = sink.stream("slow").unwrap();
    assert!(stream.published_us.is_some());
    assert!(stream.bytes < 20_000, "{} bytes were read", stream.bytes);
}

#[tokio::test]
async fn a_stream_over_tls_is_counted_to_the_frame() {
    let sink = Sink::with(SinkOptions {
        tls: Some(Arc::new(TestCa::new().unwrap())),
        ..Default::default()
    })
    .unwrap();
    let client = ffmpeg(&sink.url_by_name("key"), 3);
    let ended = |s: &ConnectionReport| s.ended.is_some();
    let stream = sink.wait("key", "end", PATIENCE, ended).await.unwrap();
    assert!(succeeds(client).await);
    assert!(stream.tls);
    assert_eq!(stream.tls_server_name.as_deref(), Some("localhost"));
    assert_eq!(stream.video_frames, 90, "{stream:?}");
    assert_eq!(stream.faults(), [""; 0]);
}

#[tokio::test]
async fn a_publisher_understands_every_platform_and_interleaved_answers() {
    let platforms = [
        Personality::Generic,
        Personality::Nginx,
        Personality::Youtube,
        Personality::Facebook,
        Personality::Twitch,
        Personality::Kick,
    ];
    for platform in platforms {
        let manner = Manner {
            interleaves: platform == Personality::Youtube,
            ..Manner::default()
        };
        let sink = Sink::with(SinkOptions {
            platform,
            ..SinkOptions::with(manner)
        })
        .unwrap();
        assert!(succeeds(ffmpeg(&sink.url("key"), 1)).await, "{platform:?}");
        let ended = |s: &ConnectionReport| s.ended.is_some();
        let stream = sink.wait("key", "end", PATIENCE, ended).await.unwrap();
        assert_eq!(stream.video_frames, 30, "{platform:?}");
    }
}

#[tokio::test]
async fn two_connections_at_once_are_seen_and_one_after_the_other_are_not() {
    let sink = Sink::start().unwrap();
    for key in ["once", "once", "first"] {
        assert!(succeeds(ffmpeg(&sink.url(key), 1)).await);
    }
    assert_eq!(sink.at_once_max(), 1);
    let first = ffmpeg(&sink.url("first"), 20);
    sink.frames("first", 10, PATIENCE).await.unwrap();
    let second = ffmpeg(&sink.url("second"), 20);
    sink.frames("second", 10, PATIENCE).await.unwrap();
    assert_eq!(sink.at_once_max(), 2);
    assert_eq!(sink.at_once_max_of("first"), 1);
    drop((first, second));
}

#[tokio::test]
async fn nginx_refuses_a_key_that_is_in_use() {
    let sink = Sink::with(SinkOptions {
        platform: Personality::Nginx,
        ..Default::default()
    })
    .unwrap();
    let first = ffmpeg(&sink.url("key"), 20);
    sink.frames("key", 10, PATIENCE).await.unwrap();
    assert!(!succeeds(ffmpeg(&sink.url("key"), 1)).await);
    let streams = sink.streams("key");
    assert_eq!(streams.len(), 2);
    assert!(streams[0].ended.is_none() && streams[1].published_us.is_none());
    drop(first);
}

#[tokio::test]
async fn a_server_that_was_killed_comes_back_where_it_was_or_elsewhere() {
    let away = Duration::from_millis(300);
    let turn = Turn::after_frames(10, Fate::Restart { away });
    let sink = Sink::with(SinkOptions::with(Manners::first(1, &Manner::turning(turn)))).unwrap();
    assert!(!succeeds(ffmpeg(&sink.url("key"), 20)).await);
    let broken = sink.stream("key").unwrap();
    assert!(
        broken.closed_us.is_some() && broken.video_frames >= 10,
        "{broken:?}"
    );
    assert!(publishes(&sink).await, "at the same address");

    sink.go_away().await;
    let old = sink.address();
    assert!(TcpStream::connect(old).await.is_err(), "nobody listens");
    sink.come_back(Some(([127, 0, 0, 2], 0).into()))
        .await
        .unwrap();
    assert_ne!(sink.address(), old);
    assert!(publishes(&sink).await, "at another address");
    assert_eq!(sink.at_once_max(), 1);
}

/// Until a client gets through: the server may still be away.
async fn publishes(sink: &Sink) -> bool {
    for _ in 0..20 {
        if succeeds(ffmpeg(&sink.url("key"), 1)).await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    false
}
