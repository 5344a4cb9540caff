//! A disk that takes nothing for some seconds costs the show nothing: its destination gets every frame, the recording's
//! fault is told while it lasts, and the file has what came before and behind it, with its times.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    sink::Sink,
};

use crate::recordings::{Encoder, TIME_LIMIT, recorded, recordings, rtmp, tracks};

/// The library that makes a disk slow, built from C.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("slow_disk.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/product/slow_disk.c");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status();
    assert!(status.unwrap().success());
    library
}

/// About 25 Mbit/s, so that the 8 MiB that may wait for a disk are there in three seconds.
fn clip(folder: &Path) -> PathBuf {
    let path = folder.join("clip.flv");
    let video = "testsrc2=s=640x360:r=25:d=6,noise=alls=80:allf=t,format=yuv420p";
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", video])
        .args(["-f", "lavfi", "-i", "sine=f=440:r=48000:d=6"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "25"])
        .args(["-b:v", "25M", "-maxrate", "25M", "-bufsize", "5M"])
        .args(["-c:a", "aac", "-ac", "2"])
        .arg(&path)
        .status();
    assert!(status.unwrap().success());
    path
}

/// Waits until the recording of the show has a problem, or none, and gives it. The show is on air all the time.
async fn problem(harness: &Harness, is_wanted: bool) -> Value {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let broadcast = harness.broadcast("show").await.unwrap();
        assert_eq!(broadcast["status"], "broadcasting", "{broadcast}");
        let problem = &broadcast["recording"]["problem"];
        if problem.is_string() == is_wanted {
            return problem.clone();
        }
        assert!(Instant::now() < deadline, "{broadcast}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_for_some_time_costs_the_show_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = tempfile::tempdir().unwrap();
    let flag = folder.path().join("slow");
    let text = |path: &Path| path.display().to_string();
    let variable = |name: &str, path: &Path| (name.to_owned(), text(path));
    let options = HarnessOptions {
        arguments: vec![
            "--mp4-muxing-enabled".to_owned(),
            "--recordings-dir".to_owned(),
            text(disk.path()),
        ],
        environment: vec![
            variable("LD_PRELOAD", &library(folder.path())),
            variable("SLOW_DISK_FOLDER", disk.path()),
            variable("SLOW_DISK_FLAG", &flag),
        ],
        ..HarnessOptions::default()
    };
    let harness = Harness::start(options).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &sink.url("a")).await.unwrap();
    let encoder = Command::new("ffmpeg")
        .args(["-v", "error", "-stream_loop", "-1", "-re", "-i"])
        .arg(clip(folder.path()))
        .args(["-c", "copy", "-f", "flv"])
        .arg(format!("{}/StreamLick/show", rtmp(&harness).await))
        .stdin(Stdio::null())
        .spawn();
    let encoder = Encoder(encoder.unwrap());

    let before = recorded(&harness, 2_000).await;
    assert_eq!(before["recording"]["problem"], Value::Null);
    std::fs::write(&flag, "").unwrap();
    let words = problem(&harness, true).await;
    assert!(words.as_str().unwrap().contains("more slowly"), "{words}");
    // The destination is sent on while nothing is written.
    let sent = sink.stream("a").unwrap().video_frames;
    sink.frames("a", sent + 50, TIME_LIMIT).await.unwrap();
    std::fs::remove_file(&flag).unwrap();
    problem(&harness, false).await;
    let again = harness.broadcast("show").await.unwrap();
    let duration_ms = again["recording"]["duration"].as_u64().unwrap();
    recorded(&harness, duration_ms + 2_000).await;
    let stopped = harness.rest("POST", "/broadcasts/show/stop", None);
    stopped.await.unwrap();
    drop(encoder);

    let files = recordings(&harness, disk.path(), 1).await;
    let (video, audio) = tracks(&files[0]);
    for track in [&video, &audio] {
        let steps = track.dts.windows(2).map(|two| two[1] - two[0]);
        let gaps: Vec<f64> = steps.filter(|step| *step > 0.3).collect();
        // Whole fragments are left out until half of what waited is on the disk, and most of the show is there.
        assert!((1..5).contains(&gaps.len()), "{}: {gaps:?}", track.kind);
        let left_out: f64 = gaps.iter().sum();
        let (first, last) = (track.dts[0], track.dts[track.dts.len() - 1]);
        assert!(left_out < 0.7 * (last - first), "{}: {gaps:?}", track.kind);
    }
    let streams = sink.streams("a");
    assert_eq!(streams.len(), 1, "the destination was connected again");
    assert_eq!(streams[0].faults(), [""; 0]);
}
