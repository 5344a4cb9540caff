//! The whole product records: what a browser and an encoder with B-frames publish becomes an ordinary MP4 with every
//! frame at its time; what was recorded before a process was killed is kept up to two seconds before, and
//! finished by itself; a disk that fills costs the show nothing.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use shardcast_bench::{
    harness::{Harness, HarnessOptions, request},
    publisher::{Publisher, PublisherOptions},
    sink::Sink,
    test_clip::{TestClip, TestClipFormat},
};
use tempfile::TempDir;

pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A server that records everything into a folder.
struct Show {
    harness: Harness,
    folder: TempDir,
}

impl Show {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let harness = harness(folder.path()).await;
        harness.create("show").await.unwrap();
        Self { harness, folder }
    }

    fn publish(&self) -> Publisher {
        let clip = TestClip::load(TestClipFormat::small()).unwrap();
        Publisher::start(
            clip,
            PublisherOptions::new(self.harness.signalling(), "show"),
        )
    }

    /// So many recordings that are finished, the oldest first.
    async fn recordings(&self, count: usize) -> Vec<PathBuf> {
        recordings(&self.harness, self.folder.path(), count).await
    }

    async fn stop(&self) {
        let stopped = self.harness.rest("POST", "/broadcasts/show/stop", None);
        stopped.await.unwrap();
    }
}

async fn harness(recordings: &Path) -> Harness {
    let options = HarnessOptions {
        arguments: vec![
            "--mp4-muxing-enabled".to_owned(),
            "--recordings-dir".to_owned(),
            recordings.display().to_string(),
        ],
        ..HarnessOptions::default()
    };
    Harness::start(options).await.unwrap()
}

pub(crate) async fn recordings(harness: &Harness, folder: &Path, count: usize) -> Vec<PathBuf> {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let path = "/vods/list/0/50?sort_by=date&order_by=asc";
        let rows = harness.rest("GET", path, None).await.unwrap().json();
        let rows = rows.as_array().unwrap();
        let are_finished = rows.iter().all(|row| row["processStatus"] == "finished");
        if rows.len() == count && are_finished {
            let files = rows.iter().map(|row| row["filePath"].as_str().unwrap());
            return files.map(|it| folder.join("StreamLick").join(it)).collect();
        }
        assert!(
            Instant::now() < deadline,
            "{} of {count} recordings; {}",
            rows.len(),
            harness.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until so much of the show is on the disk, and gives what REST says of the broadcast.
pub(crate) async fn recorded(harness: &Harness, ms: u64) -> Value {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let broadcast = harness.broadcast("show").await.unwrap();
        let recording = &broadcast["recording"];
        if recording["duration"].as_u64().is_some_and(|it| it >= ms) {
            return broadcast;
        }
        assert!(Instant::now() < deadline, "{broadcast}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What ffprobe reads of one track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) kind: String,
    /// Presentation times in seconds, in the order of decoding.
    pts: Vec<f64>,
    pub(crate) dts: Vec<f64>,
    seconds: f64,
}

fn probe(path: &Path) -> Vec<Track> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json"])
        .args(["-show_entries", "stream=index,codec_type,duration"])
        .args(["-show_entries", "packet=stream_index,pts_time,dts_time"])
        .arg(path)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(words, "", "{}", path.display());
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let track = |stream: &Value| {
        let packets = read["packets"].as_array().unwrap().iter();
        let packets: Vec<&Value> = packets
            .filter(|it| it["stream_index"] == stream["index"])
            .collect();
        let times = |key: &str| packets.iter().map(|it| number(&it[key])).collect();
        Track {
            kind: stream["codec_type"].as_str().unwrap().to_owned(),
            pts: times("pts_time"),
            dts: times("dts_time"),
            // FLV does not say.
            seconds: stream["duration"]
                .as_str()
                .map_or(0.0, |it| it.parse().unwrap()),
        }
    };
    read["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(track)
        .collect()
}

/// The video and the audio of a file that FFmpeg decodes to its end without a word, and in which nothing is out of
/// order.
pub(crate) fn tracks(path: &Path) -> (Track, Track) {
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-i"])
        .arg(path)
        // Else FFmpeg puts pictures at its own distances, and complains of two that come in one of them.
        .args(["-fps_mode", "passthrough", "-enc_time_base", "-1"])
        .args(["-f", "null", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");
    let mut tracks = probe(path).into_iter();
    let (video, audio) = (tracks.next().unwrap(), tracks.next().unwrap());
    assert_eq!((&*video.kind, &*audio.kind), ("video", "audio"));
    for track in [&video, &audio] {
        assert!(track.dts.windows(2).all(|two| two[0] < two[1]), "{track:?}");
        let shown_before = track
            .pts
            .iter()
            .zip(&track.dts)
            .filter(|(pts, dts)| pts < dts);
        assert_eq!(shown_before.count(), 0);
    }
    (video, audio)
}

/// Both begin together and end together, and audio has no gap.
fn assert_together(video: &Track, audio: &Track) {
    let least = |times: &[f64]| times.iter().copied().fold(f64::MAX, f64::min);
    let apart = least(&video.pts) - least(&audio.pts);
    assert!(apart.abs() < 0.06, "they begin {apart} s apart");
    let apart = video.seconds - audio.seconds;
    assert!(apart.abs() < 1.2, "they end {apart} s apart");
    let gaps = audio.pts.windows(2).map(|two| two[1] - two[0]);
    let widest = gaps.fold(0.0, f64::max);
    assert!(widest < 0.06, "a gap of {widest} s in the audio");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_browser_publishes_is_an_ordinary_file_with_every_frame() {
    let show = Show::start().await;
    let publisher = show.publish();
    recorded(&show.harness, 8_000).await;
    show.stop().await;
    let files = show.recordings(1).await;
    let sent = publisher.report().frames_sent;
    publisher.stop().await;
    let (video, audio) = tracks(&files[0]);
    assert_together(&video, &audio);
    let frames = video.pts.len() as u64;
    // What was sent behind the stop, and what its last fragment had not yet.
    assert!(frames + 120 >= sent && frames >= 200, "{frames} of {sent}");
    let steps: Vec<f64> = video.pts.windows(2).map(|two| two[1] - two[0]).collect();
    let longest = steps.iter().copied().fold(0.0, f64::max);
    assert!(longest < 0.3, "a frame is missing: {longest} s");
    // It is fetched in ranges, as players do.
    let path = "/StreamLick/streams/show.mp4";
    let fetched = request(show.harness.http(), "HEAD", path, None)
        .await
        .unwrap();
    assert_eq!(fetched.status, 200);
}

/// FFmpeg or another program, killed when dropped.
pub(crate) struct Encoder(pub(crate) Child);

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Shorter than the ten seconds after which the clock of an encoder is followed: on a busy machine the first message
/// comes late, and from then on its place would be moved by two milliseconds a second.
pub(crate) fn clip(folder: &Path, sample_rate: u32) -> PathBuf {
    let path = folder.join("clip.flv");
    let sound = format!("sine=f=440:r={sample_rate}:d=8");
    let inputs = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=320x180:r=25:d=8",
        "-f",
        "lavfi",
        "-i",
        &sound,
    ];
    let video = [
        "-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-bf", "2", "-pix_fmt", "yuv420p",
    ];
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(inputs)
        .args(video)
        .args(["-c:a", "aac", "-ac", "2", "-shortest"])
        .arg(&path)
        .status();
    assert!(status.unwrap().success());
    path
}

pub(crate) async fn rtmp(harness: &Harness) -> String {
    let status = request(harness.http(), "GET", "/api/v1/status", None);
    let status = status.await.unwrap().json();
    let sink = status["local_sink"]["url_base"].as_str().unwrap();
    sink.strip_suffix("/sink").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ffmpeg_sends_with_b_frames_is_in_the_file_with_its_times() {
    let clips = tempfile::tempdir().unwrap();
    for sample_rate in [44_100, 48_000] {
        let clip = clip(clips.path(), sample_rate);
        let show = Show::start().await;
        let url = format!("{}/StreamLick/show", rtmp(&show.harness).await);
        let mut encoder = Encoder(
            Command::new("ffmpeg")
                .args(["-v", "error", "-re", "-i"])
                .arg(&clip)
                .args(["-c", "copy", "-f", "flv", &url])
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        );
        encoder.0.wait().unwrap();
        // All that it has sent has been read when its end is known.
        let deadline = Instant::now() + TIME_LIMIT;
        while show.harness.broadcast("show").await.unwrap()["hold"]["holding"] != true {
            assert!(Instant::now() < deadline, "its end is not known");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        show.stop().await;
        let files = show.recordings(1).await;
        let (video, audio) = tracks(&files[0]);
        assert_together(&video, &audio);
        let sent = probe(&clip);
        assert!(
            video.pts.len() + 3 >= sent[0].pts.len(),
            "{}",
            video.pts.len()
        );
        assert!(
            audio.pts.len() + 3 >= sent[1].pts.len(),
            "{}",
            audio.pts.len()
        );
        // RTMP has milliseconds.
        for (n, (sent, recorded)) in [(&sent[0], &video), (&sent[1], &audio)].iter().enumerate() {
            let (first_sent, first) = (sent.pts[0], recorded.pts[0]);
            let times = sent
                .pts
                .iter()
                .zip(&recorded.pts)
                .take(recorded.pts.len().min(190));
            for (sent, recorded) in times {
                let apart = (recorded - first) - (sent - first_sent);
                // Audio frames are next to each other within the 20 ms that encoders round.
                let most = if n == 0 { 0.0015 } else { 0.021 };
                assert!(apart.abs() <= most, "track {n}: {apart} s at {sent}");
            }
        }
        let in_clip = sent[0].pts[0] - sent[1].pts[0];
        let in_file = video.pts[0] - audio.pts[0];
        // What is heard before the first picture is left out.
        assert!(
            (in_file - in_clip).abs() < 0.045,
            "{in_clip} s apart became {in_file}"
        );
        assert!(video.pts.iter().zip(&video.dts).any(|(pts, dts)| pts > dts));
    }
}

/// Of the synthetic publisher.
const FRAMES_PER_SECOND: u64 = 30;

/// How often the engine is killed: `SHARDCAST_KILLS=20 cargo test -p shardcast-bench --test product each_kill -- --nocapture`
/// says for each what it cost.
fn kills() -> u64 {
    let asked = std::env::var("SHARDCAST_KILLS").ok();
    asked.and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kill_of_the_engine_costs_two_seconds_of_the_file_at_most() {
    let mut show = Show::start().await;
    let publisher = show.publish();
    let mut sent_before = 0;
    let mut wanted = Vec::new();
    let kills = kills();
    for kill in 1..=kills {
        recorded(&show.harness, 2_000 + kill * 700 % 2_900).await;
        let sent = publisher.report().frames_sent;
        show.harness.kill_engine().unwrap();
        wanted.push((sent - sent_before).saturating_sub(2 * FRAMES_PER_SECOND));
        show.harness.wait_new_engine(TIME_LIMIT).await.unwrap();
        let starts = publisher.report().publish_started;
        publisher
            .wait("return", TIME_LIMIT, |it| it.publish_started > starts)
            .await
            .unwrap();
        sent_before = publisher.report().frames_sent;
    }
    let files = show.recordings(wanted.len()).await;
    for (file, wanted) in files.iter().zip(&wanted) {
        let (video, audio) = tracks(file);
        assert_together(&video, &audio);
        let frames = video.pts.len() as u64;
        assert!(frames >= *wanted, "{frames} of {wanted} frames");
        println!(
            "{} frames were lost",
            (wanted + 2 * FRAMES_PER_SECOND).saturating_sub(frames)
        );
    }
    recorded(&show.harness, 2_000).await;
    show.stop().await;
    let files = show.recordings(wanted.len() + 1).await;
    tracks(&files[wanted.len()]);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_both_processes_left_is_finished_at_the_next_start() {
    let mut show = Show::start().await;
    let publisher = show.publish();
    recorded(&show.harness, 4_000).await;
    let sent = publisher.report().frames_sent;
    show.harness.kill_control().unwrap();
    show.harness.kill_engine().unwrap();
    publisher.stop().await;
    show.harness.restart_control().await.unwrap();
    let files = show.recordings(1).await;
    let (video, audio) = tracks(&files[0]);
    assert_together(&video, &audio);
    assert!(
        video.pts.len() as u64 + 60 >= sent,
        "{} of {sent}",
        video.pts.len()
    );
}

/// A disk of a few megabytes, unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(bytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .status();
        assert!(
            status.unwrap().success(),
            "a tmpfs is mounted by root alone"
        );
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_in_mid_show_costs_the_show_nothing() {
    let disk = SmallDisk::mount(3 << 20);
    let harness = harness(disk.0.path()).await;
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &sink.url("a")).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let publisher = Publisher::start(clip, PublisherOptions::new(harness.signalling(), "show"));
    let before = recorded(&harness, 2_000).await;
    assert_eq!(before["recording"]["problem"], Value::Null);
    // Somebody else takes what is left but for half a megabyte.
    let size = std::fs::metadata(disk.0.path())
        .map(|_| 3_u64 << 20)
        .unwrap();
    let taken = before["recording"]["bytes"].as_u64().unwrap();
    let others = vec![1; usize::try_from(size - taken - (700 << 10)).unwrap()];
    std::fs::write(disk.0.path().join("others"), &others).unwrap();
    let deadline = Instant::now() + TIME_LIMIT;
    let problem = loop {
        let broadcast = harness.broadcast("show").await.unwrap();
        assert_eq!(broadcast["status"], "broadcasting", "{broadcast}");
        if let Some(problem) = broadcast["recording"]["problem"].as_str() {
            break problem.to_owned();
        }
        assert!(Instant::now() < deadline, "{broadcast}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(problem.contains("No space left"), "{problem}");
    // The file up to there is finished while the show goes on.
    let files = recordings(&harness, disk.0.path(), 1).await;
    let (video, audio) = tracks(&files[0]);
    assert_together(&video, &audio);
    assert!(video.pts.len() > 50);
    // With room again it is recorded again.
    std::fs::remove_file(disk.0.path().join("others")).unwrap();
    let deadline = Instant::now() + TIME_LIMIT;
    while harness.broadcast("show").await.unwrap()["recording"]["problem"] != Value::Null {
        assert!(Instant::now() < deadline, "it is not tried again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let streams = sink.streams("a");
    assert_eq!(streams.len(), 1, "the destination was connected again");
    assert_eq!(streams[0].faults(), [""; 0]);
    publisher.stop().await;
}
