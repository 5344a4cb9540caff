//! The sink measures the stream of a real RTMP client, and produces the faults of its script.

use std::{process::Stdio, sync::Arc, time::Duration};

use shardcast_bench::sink::{
    Answer, ConnectionFaults, ConnectionReport, Ended, FaultAction, FaultScript, FrameLog,
    PlatformProfile, ScheduledFault, Sink, SinkOptions, TestCa,
};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

const TIME_LIMIT: Duration = Duration::from_secs(30);

/// ffmpeg publishes a test pattern with a keyframe each second, and a tone.
///
/// Without `tcp_nodelay` its last command waits for the acknowledgement of the one before, and ffmpeg
/// closes meanwhile: the kernel drops what waits if an answer of the sink is unread.
fn ffmpeg(url: &str, seconds: u32) -> Child {
    let video = format!("testsrc2=size=320x180:rate=30:duration={seconds}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    Command::new("ffmpeg")
        .args([
            "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", &video,
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
            "-tcp_nodelay",
            "1",
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

fn with(faults: ConnectionFaults) -> Sink {
    Sink::with(SinkOptions::with(faults)).unwrap()
}

async fn succeeds(mut ffmpeg: Child) -> bool {
    timeout(TIME_LIMIT, ffmpeg.wait())
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
    let stream = sink.wait("key", "end", TIME_LIMIT, ended).await.unwrap();
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
    assert!(stream.fc_unpublish && stream.delete_stream, "{stream:?}");
    assert_eq!((sink.at_once_max(), sink.at_once_max_of("key")), (1, 1));
    let intervals = stream.keyframe_interval_ms.unwrap();
    assert_eq!(
        (intervals.min, intervals.median, intervals.max),
        (1_000.0, 1_000.0, 1_000.0)
    );
    assert_video(&stream, &sink.log("key"));
    assert!(stream.ended_cleanly(), "{:?}", stream.ended);
    assert!(stream.first_media_ms.is_some());
    assert_eq!(stream.delay_ms, None, "ffmpeg does not stamp its frames");
}

fn assert_video(stream: &ConnectionReport, log: &FrameLog) {
    let video = &stream.video;
    assert_eq!(video.sizes, [(320, 180)]);
    assert_eq!((video.size_changes, video.header_changes), (0, 0));
    let group = video.keyframe_interval_frames.unwrap();
    assert_eq!((group.min, group.max), (30.0, 30.0));
    assert!((video.frames_per_second.unwrap() - 30.0).abs() < 0.1);
    assert!(video.grid_deviation_ms.unwrap() <= 1.5, "{video:?}");
    assert_eq!(log.frames().len(), 90);
    let bytes: u64 = log.frames().iter().map(|f| u64::from(f.bytes)).sum();
    assert!(bytes < stream.bytes, "audio is not counted");
    let bits_per_second = (bytes * 8 / 3) as u32;
    assert_eq!(log.vbv(bits_per_second * 4, 1_000).violations, 0);
    assert!(log.vbv(bits_per_second / 2, 1_000).violations > 0);
}

#[tokio::test]
async fn a_rejected_key_gets_no_media() {
    let answer = Answer::reject("NetStream.Publish.BadName", "no such key");
    let sink = with(ConnectionFaults::on_publish(answer));
    let client = ffmpeg(&sink.url("wrong"), 3);
    assert!(!succeeds(client).await);
    let stream = sink.stream("wrong").unwrap();
    assert_eq!((stream.published_us, stream.video_frames), (None, 0));
}

#[tokio::test]
async fn a_late_answer_delays_the_media() {
    let wait = Duration::from_millis(700);
    let sink = with(ConnectionFaults::on_publish(Answer::AcceptAfter(wait)));
    let _client = ffmpeg(&sink.url("late"), 5);
    let stream = sink.frames("late", 10, TIME_LIMIT).await.unwrap();
    assert!(
        stream.published_us.unwrap() >= stream.connected_us + 700_000,
        "{stream:?}"
    );
}

#[tokio::test]
async fn a_reset_breaks_the_connection_mid_stream() {
    let fault = ScheduledFault::after(Duration::from_secs(1), FaultAction::Reset);
    let sink = with(ConnectionFaults::scheduled(fault));
    let client = ffmpeg(&sink.url("reset"), 20);
    assert!(!succeeds(client).await);
    let stream = sink.stream("reset").unwrap();
    assert!(stream.video_frames > 0 && matches!(stream.ended, Some(Ended::BySink(_))));
}

#[tokio::test]
async fn a_slow_reader_holds_the_client_up() {
    let sink = with(ConnectionFaults {
        read_bytes_per_second: Some(1_000),
        ..ConnectionFaults::default()
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
    let stream = sink.wait("key", "end", TIME_LIMIT, ended).await.unwrap();
    assert!(succeeds(client).await);
    assert!(stream.tls);
    assert_eq!(stream.tls_server_name.as_deref(), Some("localhost"));
    assert_eq!(stream.video_frames, 90, "{stream:?}");
    assert_eq!(stream.faults(), [""; 0]);
}

#[tokio::test]
async fn a_publisher_understands_every_platform_and_interleaved_answers() {
    let platforms = [
        PlatformProfile::Generic,
        PlatformProfile::Nginx,
        PlatformProfile::Youtube,
        PlatformProfile::Facebook,
        PlatformProfile::Twitch,
        PlatformProfile::Kick,
    ];
    for platform in platforms {
        let faults = ConnectionFaults {
            interleaves: platform == PlatformProfile::Youtube,
            ..ConnectionFaults::default()
        };
        let sink = Sink::with(SinkOptions {
            platform,
            ..SinkOptions::with(faults)
        })
        .unwrap();
        assert!(succeeds(ffmpeg(&sink.url("key"), 1)).await, "{platform:?}");
        let ended = |s: &ConnectionReport| s.ended.is_some();
        let stream = sink.wait("key", "end", TIME_LIMIT, ended).await.unwrap();
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
    sink.frames("first", 10, TIME_LIMIT).await.unwrap();
    let second = ffmpeg(&sink.url("second"), 20);
    sink.frames("second", 10, TIME_LIMIT).await.unwrap();
    assert_eq!(sink.at_once_max(), 2);
    assert_eq!(sink.at_once_max_of("first"), 1);
    drop((first, second));
}

#[tokio::test]
async fn nginx_refuses_a_key_that_is_in_use() {
    let sink = Sink::with(SinkOptions {
        platform: PlatformProfile::Nginx,
        ..Default::default()
    })
    .unwrap();
    let first = ffmpeg(&sink.url("key"), 20);
    sink.frames("key", 10, TIME_LIMIT).await.unwrap();
    assert!(!succeeds(ffmpeg(&sink.url("key"), 1)).await);
    let streams = sink.streams("key");
    assert_eq!(streams.len(), 2);
    assert!(streams[0].ended.is_none() && streams[1].published_us.is_none());
    drop(first);
}

#[tokio::test]
async fn a_server_that_was_killed_comes_back_where_it_was_or_elsewhere() {
    let away = Duration::from_millis(300);
    let fault = ScheduledFault::after_frames(10, FaultAction::Restart { away });
    let sink = Sink::with(SinkOptions::with(FaultScript::first(
        1,
        &ConnectionFaults::scheduled(fault),
    )))
    .unwrap();
    assert!(!succeeds(ffmpeg(&sink.url("key"), 20)).await);
    let broken = sink.stream("key").unwrap();
    assert!(
        broken.closed_us.is_some() && broken.video_frames >= 10,
        "{broken:?}"
    );
    assert!(publishes(&sink).await, "at the same address");

    sink.go_away().await;
    let old = sink.address();
    assert!(TcpStream::connect(old).await.is_err(), "the port is closed");
    sink.come_back(Some(([127, 0, 0, 2], 0).into()))
        .await
        .unwrap();
    assert_ne!(sink.address(), old);
    assert!(publishes(&sink).await, "at another address");
    assert_eq!(sink.at_once_max(), 1);
}

/// Publishes until it succeeds: the sink may still be closed.
async fn publishes(sink: &Sink) -> bool {
    for _ in 0..20 {
        if succeeds(ffmpeg(&sink.url("key"), 1)).await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    false
}

#[test]
fn a_report_keeps_its_keys_in_json() {
    let report = serde_json::to_value(ConnectionReport::default()).unwrap();
    for key in ["beside", "first_mark", "last_mark", "picture", "delay_ms"] {
        assert!(report.get(key).is_some(), "{key} is missing: {report}");
    }
}
