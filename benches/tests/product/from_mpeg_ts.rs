//! FFmpeg's copy of an MPEG-TS, as a bridge from SRT sends it, is taken and sent on: it describes its AAC once by an
//! empty header and only then by a real one.

use std::process::{Command, Stdio};

use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    sink::Sink,
};

use crate::recordings::{Encoder, TIME_LIMIT, clip, rtmp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ffmpeg_copies_out_of_mpeg_ts_is_sent_on() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &sink.url("a")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stream = folder.path().join("clip.ts");
    let copied = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(clip(folder.path(), 48_000))
        .args(["-c", "copy", "-f", "mpegts"])
        .arg(&stream)
        .status();
    assert!(copied.unwrap().success());
    let encoder = Command::new("ffmpeg")
        .args(["-v", "error", "-re", "-i"])
        .arg(&stream)
        .args(["-c", "copy", "-f", "flv"])
        .arg(format!("{}/StreamLick/show", rtmp(&harness).await))
        .stdin(Stdio::null())
        .spawn();
    let _encoder = Encoder(encoder.unwrap());
    let sent_on = sink.wait("a", "video and audio", TIME_LIMIT, |stream| {
        stream.video_frames >= 60 && stream.audio_frames >= 80
    });
    assert_eq!(sent_on.await.unwrap().faults(), [""; 0]);
}
