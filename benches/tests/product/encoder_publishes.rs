//! A real encoder publishes by RTMP: what FFmpeg sends, with B-frames and AAC at 44.1 kHz, reaches a destination to
//! the byte, with its times; the broadcast is held while the encoder is away, goes on when it returns, and with
//! it when control is killed; who may not publish is told so. FFmpeg plays the same from there, and who may not play
//! is told that. The same over TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use shardcast_bench::harness::{Harness, HarnessOptions};
use shardcast_core::rtmp::{ServerConfig, ServerOutput, ServerSession, message::type_id};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const TIME_LIMIT: Duration = Duration::from_secs(40);

/// An FLV tag, or an RTMP message: its kind, its time in milliseconds and its body.
type Tag = (u8, u32, Vec<u8>);

/// A clip of FFmpeg's with B-frames and a keyframe each second.
fn clip(folder: &Path, b_frames: u32, sample_rate: u32) -> PathBuf {
    let path = folder.join("clip.flv");
    let status = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x180:r=25:d=30",
        ])
        .args([
            "-f",
            "lavfi",
            "-i",
            &format!("sine=f=440:r={sample_rate}:d=30"),
        ])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-g",
            "25",
            "-bf",
            &b_frames.to_string(),
        ])
        .args([
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
            "-ac",
            "2",
            "-shortest",
        ])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    path
}

/// The media of an FLV file, without sequence headers.
fn tags(path: &Path) -> Vec<Tag> {
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[13..];
    let mut tags = Vec::new();
    while let [kind, a, b, c, t1, t2, t3, t0, ..] = *rest {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let body = rest[11..11 + length].to_vec();
        if is_media(kind, &body) {
            tags.push((kind, u32::from_be_bytes([t0, t1, t2, t3]), body));
        }
        rest = &rest[11 + length + 4..];
    }
    tags
}

/// Whether it is audio or video, and neither a sequence header nor the end of a sequence.
fn is_media(kind: u8, body: &[u8]) -> bool {
    matches!(kind, type_id::AUDIO | type_id::VIDEO) && body.get(1) == Some(&1)
}

/// An RTMP server that keeps everything.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Tag>>>);

impl Recorder {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtmp://{}/live/key", listener.local_addr().unwrap());
        let recorder = Self::default();
        let kept = recorder.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut session = ServerSession::new(ServerConfig::default());
                    let mut buffer = vec![0; 65_536];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        session.handle(&buffer[..length]).unwrap();
                        while let Some(output) = session.poll() {
                            match output {
                                ServerOutput::Send(bytes) => {
                                    stream.write_all(&bytes).await.unwrap();
                                }
                                ServerOutput::Publish { .. } => session.accept_publish(),
                                ServerOutput::Media(message) => kept.0.lock().unwrap().push((
                                    message.type_id,
                                    message.timestamp_ms,
                                    message.payload.to_vec(),
                                )),
                                _ => {}
                            }
                        }
                    }
                });
            }
        });
        (recorder, url)
    }

    fn media(&self, kind: u8) -> Vec<Tag> {
        let kept = self.0.lock().unwrap();
        let media = kept
            .iter()
            .filter(|(of, _, body)| *of == kind && is_media(*of, body));
        media.cloned().collect()
    }

    async fn wait(&self, kind: u8, count: usize) -> Vec<Tag> {
        let deadline = Instant::now() + TIME_LIMIT;
        loop {
            let media = self.media(kind);
            if media.len() >= count {
                return media;
            }
            assert!(Instant::now() < deadline, "{} of {count}", media.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Bodies, and times from the first on, of as many of `sent` as were `received`, from the first of these on.
fn assert_passed_on(sent: &[Tag], received: &[Tag]) {
    let from = sent.iter().position(|(_, _, body)| *body == received[0].2);
    let sent = &sent[from.unwrap()..];
    let (sent_ms, received_ms) = (sent[0].1, received[0].1);
    for (n, (sent, received)) in sent.iter().zip(received).enumerate() {
        assert!(sent.2 == received.2, "body {n} differs");
        assert_eq!(sent.1 - sent_ms, received.1 - received_ms, "time {n}");
    }
}

/// FFmpeg, killed when dropped.
struct Encoder(Child);

impl Encoder {
    fn start(clip: &Path, url: &str) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-re", "-i"])
            .arg(clip)
            .args(["-c", "copy", "-f", "flv", url])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// What it says when it ends.
    async fn words(mut self) -> String {
        let deadline = Instant::now() + TIME_LIMIT;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "FFmpeg goes on");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut words = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut words).unwrap();
        words
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `rtmp://127.0.0.1:PORT`.
async fn rtmp(harness: &Harness) -> String {
    let response = shardcast_bench::harness::request(harness.http(), "GET", "/api/v1/status", None);
    let status = response.await.unwrap().json();
    let sink = status["local_sink"]["url_base"].as_str().unwrap();
    sink.strip_suffix("/sink").unwrap().to_owned()
}

async fn broadcast(harness: &Harness, stream: &str) -> serde_json::Value {
    let path = format!("/broadcasts/{stream}");
    harness.rest("GET", &path, None).await.unwrap().json()
}

async fn wait_for(harness: &Harness, what: &str, is: impl Fn(&serde_json::Value) -> bool) {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let show = broadcast(harness, "show").await;
        if is(&show) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {show}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ffmpeg_sends_reaches_a_destination_to_the_byte_also_when_control_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 2, 44_100);
    let mut harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let (recorder, url) = Recorder::start().await;
    harness.create("show").await.unwrap();
    harness.add("show", &url).await.unwrap();
    let encoder = Encoder::start(&clip, &format!("{}/StreamLick/show", rtmp(&harness).await));
    recorder.wait(type_id::VIDEO, 75).await;
    let show = broadcast(&harness, "show").await;
    assert_eq!(show["status"], "broadcasting", "{show}");
    assert_eq!(show["publishType"], "RTMP", "{show}");
    assert_eq!(
        (&show["width"], &show["height"]),
        (&320.into(), &180.into())
    );

    harness.kill_control().unwrap();
    let before = recorder.media(type_id::VIDEO).len();
    recorder.wait(type_id::VIDEO, before + 75).await;
    harness.restart_control().await.unwrap();
    wait_for(&harness, "it goes on", |show| {
        show["status"] == "broadcasting" && show["publishType"] == "RTMP"
    })
    .await;

    let sent = tags(&clip);
    let of = |kind: u8| -> Vec<Tag> {
        sent.iter()
            .filter(|(of, ..)| *of == kind)
            .cloned()
            .collect()
    };
    let video = recorder.media(type_id::VIDEO);
    assert_passed_on(&of(type_id::VIDEO), &video);
    let shown_later = video.iter().filter(|(_, _, body)| body[2..5] != [0, 0, 0]);
    assert!(shown_later.count() > 50, "no B-frames");
    assert_passed_on(&of(type_id::AUDIO), &recorder.media(type_id::AUDIO));
    drop(encoder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoder_that_is_killed_is_waited_for_and_one_that_returns_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 0, 48_000);
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let (recorder, url) = Recorder::start().await;
    harness.create("show").await.unwrap();
    harness.add("show", &url).await.unwrap();
    let address = format!("{}/StreamLick/show", rtmp(&harness).await);
    let encoder = Encoder::start(&clip, &address);
    recorder.wait(type_id::VIDEO, 50).await;
    drop(encoder);
    wait_for(&harness, "it is held", |show| {
        show["hold"]["holding"] == true
    })
    .await;
    let before = recorder.media(type_id::VIDEO).len();
    recorder.wait(type_id::VIDEO, before + 25).await;
    let again = Encoder::start(&clip, &address);
    wait_for(&harness, "it goes on", |show| {
        show["hold"]["holding"] == false
    })
    .await;
    let before = recorder.media(type_id::AUDIO).len();
    let audio = recorder.wait(type_id::AUDIO, before + 90).await;
    let steps = audio
        .windows(2)
        .map(|two| i64::from(two[1].1) - i64::from(two[0].1));
    assert!(
        steps.clone().all(|ms| (0..400).contains(&ms)),
        "{:?}",
        steps.collect::<Vec<_>>()
    );
    let video = recorder.media(type_id::VIDEO);
    assert!(
        video.windows(2).all(|two| two[0].1 < two[1].1),
        "time steps back"
    );
    drop(again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_publish_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 0, 48_000);
    let options = HarnessOptions {
        arguments: vec!["--accept-only-streams-in-data-store=true".to_owned()],
        ..HarnessOptions::default()
    };
    let harness = Harness::start(options).await.unwrap();
    let rtmp = rtmp(&harness).await;
    harness.create("show").await.unwrap();
    let first = Encoder::start(&clip, &format!("{rtmp}/StreamLick/show"));
    wait_for(&harness, "it is live", |show| {
        show["status"] == "broadcasting"
    })
    .await;
    for (path, words) in [
        ("StreamLick/unknown", "create the broadcast by REST"),
        ("Nowhere/show", "invalidStreamName"),
        ("StreamLick/show", "another client publishes this stream"),
        (
            "StreamLick/show/more",
            "write rtmp://HOST/APPLICATION/STREAM",
        ),
    ] {
        let refused = Encoder::start(&clip, &format!("{rtmp}/{path}"))
            .words()
            .await;
        assert!(refused.contains(words), "{path}: {refused}");
    }
    assert_eq!(broadcast(&harness, "show").await["status"], "broadcasting");
    drop(first);
}

/// FFmpeg plays `url` into a file, for so many seconds.
fn player(url: &str, seconds: u32, file: &Path) -> Encoder {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-rw_timeout", "20000000", "-i", url])
        .args(["-t", &seconds.to_string(), "-c", "copy", "-f", "flv"])
        .arg(file)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    Encoder(child.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ffmpeg_plays_is_what_the_encoder_sent_also_when_control_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 2, 44_100);
    let mut harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let rtmp = rtmp(&harness).await;
    let address = format!("{rtmp}/StreamLick/show");
    harness.create("show").await.unwrap();
    let missing = player(&address, 1, &folder.path().join("none.flv"));
    let words = missing.words().await;
    assert!(words.contains("not on air"), "{words}");

    let encoder = Encoder::start(&clip, &address);
    wait_for(&harness, "it is live", |show| {
        show["status"] == "broadcasting"
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let file = folder.path().join("played.flv");
    let first = player(&address, 8, &file);
    wait_for(&harness, "the player is counted", |show| {
        show["rtmpViewerCount"] == 1
    })
    .await;
    harness.kill_control().unwrap();
    let words = first.words().await;
    assert_eq!(words, "");
    harness.restart_control().await.unwrap();
    let (sent, played) = (tags(&clip), tags(&file));
    for kind in [type_id::VIDEO, type_id::AUDIO] {
        let of = |all: &[Tag]| -> Vec<Tag> {
            let all = all.iter().filter(|(of, ..)| *of == kind);
            all.cloned().collect()
        };
        let played = of(&played);
        assert!(played.len() > 150, "{} of kind {kind}", played.len());
        assert_passed_on(&of(&sent), &played);
    }
    wait_for(&harness, "the player is gone", |show| {
        show["rtmpViewerCount"] == 0
    })
    .await;
    drop(encoder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_plays_needs_a_token_where_tokens_are_wanted_and_a_place_among_viewers() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 0, 48_000);
    let options = HarnessOptions {
        arguments: vec!["--play-token-control-enabled=true".to_owned()],
        ..HarnessOptions::default()
    };
    let harness = Harness::start(options).await.unwrap();
    let rtmp = rtmp(&harness).await;
    harness.create("show").await.unwrap();
    let address = format!("{rtmp}/StreamLick/show");
    let _encoder = Encoder::start(&clip, &address);
    wait_for(&harness, "it is live", |show| {
        show["status"] == "broadcasting"
    })
    .await;
    let file = folder.path().join("played.flv");
    for path in ["StreamLick/show", "StreamLick/show?token=guessed"] {
        let words = player(&format!("{rtmp}/{path}"), 1, &file).words().await;
        assert!(words.contains("the token is missing"), "{path}: {words}");
    }
    let path = "/broadcasts/show/token?expireDate=4000000000&type=play";
    let token = harness.rest("GET", path, None).await.unwrap().json()["tokenId"].clone();
    let token = token.as_str().unwrap();
    let played = player(&format!("{address}?token={token}"), 3, &file);
    assert_eq!(played.words().await, "");
    assert!(tags(&file).len() > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ffmpeg_sends_over_tls_reaches_a_destination_to_the_byte_also_when_control_is_killed()
{
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 2, 44_100);
    let options = HarnessOptions {
        arguments: vec!["--rtmps-port=0".to_owned()],
        ..HarnessOptions::default()
    };
    let mut harness = Harness::start(options).await.unwrap();
    let (recorder, url) = Recorder::start().await;
    harness.create("show").await.unwrap();
    harness.add("show", &url).await.unwrap();
    let response = shardcast_bench::harness::request(harness.http(), "GET", "/api/v1/status", None);
    let port = response.await.unwrap().json()["rtmps_port"].clone();
    let refused = Encoder::start(&clip, &format!("rtmps://127.0.0.1:{port}/Nowhere/show"));
    let words = refused.words().await;
    assert!(words.contains("invalidStreamName"), "{words}");

    let address = format!("rtmps://127.0.0.1:{port}/StreamLick/show");
    let encoder = Encoder::start(&clip, &address);
    recorder.wait(type_id::VIDEO, 75).await;
    harness.kill_control().unwrap();
    let before = recorder.media(type_id::VIDEO).len();
    recorder.wait(type_id::VIDEO, before + 75).await;
    harness.restart_control().await.unwrap();
    let sent = tags(&clip);
    for kind in [type_id::VIDEO, type_id::AUDIO] {
        let sent = sent.iter().filter(|(of, ..)| *of == kind);
        let sent: Vec<Tag> = sent.cloned().collect();
        assert_passed_on(&sent, &recorder.media(kind));
    }
    drop(encoder);
    wait_for(&harness, "it is held", |show| {
        show["hold"]["holding"] == true
    })
    .await;
}
