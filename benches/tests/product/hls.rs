//! HLS of the whole product: what an encoder sends by RTMP and what a browser sends by WebRTC is read by FFmpeg over
//! HLS, the former to the byte and to the frame, B-frames included; it goes on when control is killed; the rungs of a
//! ladder go on from one another; and a thousand requests a second cost a show no frame.
#![allow(clippy::print_stdout, reason = "test")]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use shardcast_bench::{
    harness::{self, Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    sink::Sink,
    test_clip::{TestClip, TestClipFormat},
};
use shardcast_link::RenditionSpec;
use tokio::net::TcpStream;

const TIME_LIMIT: Duration = Duration::from_secs(60);
const FOLDER: &str = "/StreamLick/streams/";
const PLAYLIST: &str = "/StreamLick/streams/show.m3u8";

/// A clip of FFmpeg's with B-frames, a keyframe each second, and sound at 44.1 kHz.
fn clip(folder: &Path) -> PathBuf {
    let path = folder.join("clip.flv");
    let made = Command::new("ffmpeg")
        .args("-v error -y -f lavfi -i testsrc2=s=320x180:r=25:d=40".split(' '))
        .args("-f lavfi -i sine=f=440:r=44100:d=40 -c:v libx264".split(' '))
        .args("-preset veryfast -g 25 -bf 2 -pix_fmt yuv420p".split(' '))
        .args("-c:a aac -ac 2 -shortest".split(' '))
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    path
}

/// One packet as FFmpeg reads it, with times in the ticks of its track.
#[derive(Clone, Debug, PartialEq)]
struct Packet {
    dts: i64,
    pts: i64,
    md5: String,
}

/// The packets of one stream (`v` or `a`) of `input`, as they are.
fn packets(input: &str, options: &str, kind: &str) -> Vec<Packet> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(options.split(' ').filter(|it| !it.is_empty()))
        .args(["-i", input, "-map", &format!("0:{kind}:0"), "-c", "copy"])
        .args(["-f", "framemd5", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    read_packets(&String::from_utf8(output.stdout).unwrap())
}

/// The lines of FFmpeg's `framemd5`.
fn read_packets(text: &str) -> Vec<Packet> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let packets = lines.map(|line| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        Packet {
            dts: fields[1].parse().unwrap(),
            pts: fields[2].parse().unwrap(),
            md5: fields[5].to_owned(),
        }
    });
    packets.collect()
}

/// Those that were received are some of those that were sent, without a hole and with the same distances in time.
fn assert_same(sent: &[Packet], received: &[Packet], ticks: (i64, i64)) {
    let first = sent.iter().position(|it| it.md5 == received[0].md5);
    let sent = &sent[first.unwrap()..];
    for (n, (sent, received)) in sent.iter().zip(received).enumerate() {
        assert_eq!(sent.md5, received.md5, "packet {n}");
    }
    // In the ticks of each: a millisecond of FLV, and those of the track.
    for (n, received) in received.windows(2).enumerate() {
        let step = received[1].dts - received[0].dts;
        let expected = (sent[n + 1].dts - sent[n].dts) * ticks.1 / ticks.0;
        let off = (step - expected).abs() * 1_000 / ticks.1;
        assert!(off <= 1, "packet {n}: {step} ticks and not {expected}");
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
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn rtmp(harness: &Harness) -> String {
    let status = harness::request(harness.http(), "GET", "/api/v1/status", None);
    let status = status.await.unwrap().json();
    let sink = status["local_sink"]["url_base"].as_str().unwrap();
    sink.strip_suffix("/sink").unwrap().to_owned()
}

/// The playlist, once there is one.
async fn playlist(harness: &Harness) -> String {
    playlist_at(harness, PLAYLIST).await
}

async fn playlist_at(harness: &Harness, path: &str) -> String {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let reply = harness::request(harness.http(), "GET", path, None).await;
        match reply {
            Ok(reply) if reply.status == 200 => return reply.text,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn number(playlist: &str) -> u64 {
    let mut lines = playlist.lines();
    let number = lines.find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    number.unwrap().parse().unwrap()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_encoder_sends_is_read_over_hls_to_the_byte_and_goes_on_when_control_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path());
    let mut harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let url = format!("{}/StreamLick/show", rtmp(&harness).await);
    let encoder = Encoder::start(&clip, &url);
    let first = playlist(&harness).await;
    let address = format!("http://{}{PLAYLIST}", harness.http());
    let source = clip.display().to_string();
    let (received, sound) = blocking(move || {
        let from_the_first = "-live_start_index 0 -t 8";
        let video = packets(&address, from_the_first, "v");
        (video, packets(&address, from_the_first, "a"))
    })
    .await;
    assert!(received.len() >= 190, "{} pictures", received.len());
    assert!(received.iter().any(|it| it.pts > it.dts), "no B-frames");
    let (video, audio) =
        blocking(move || (packets(&source, "", "v"), packets(&source, "", "a"))).await;
    assert_same(&video, &received, (1_000, 90_000));
    assert_same(&audio, &sound, (1_000, 44_100));

    let before = number(&first);
    harness.kill_control().unwrap();
    harness.restart_control().await.unwrap();
    let again = playlist(&harness).await;
    assert!(number(&again) > before, "numbers go on:\n{again}");
    assert!(!again.contains("#EXT-X-DISCONTINUITY\n"), "{again}");
    drop(encoder);
}

/// What a playlist says of its segments: addresses, and times of their beginnings.
fn segments(playlist: &str) -> Vec<(String, String)> {
    let mut at = "";
    let mut segments = Vec::new();
    for line in playlist.lines() {
        if let Some(time) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
            at = time;
        } else if !line.starts_with('#') {
            segments.push((line.to_owned(), at.to_owned()));
        }
    }
    segments
}

/// Media playlists of both rungs, with four segments at least.
async fn rungs(harness: &Harness) -> [String; 2] {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let large = playlist_at(harness, &format!("{FOLDER}show_120p200kbps.m3u8")).await;
        let small = playlist_at(harness, &format!("{FOLDER}show_90p100kbps.m3u8")).await;
        if segments(&large).len().min(segments(&small).len()) >= 4 {
            return [large, small];
        }
        assert!(Instant::now() < deadline, "{large}\n{small}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rungs_of_a_ladder_have_the_same_segments_and_the_same_at_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path());
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let rung = |height, video_bps| RenditionSpec {
        video_bps,
        ..RenditionSpec::of_height(height)
    };
    let ladder = [rung(120, 200_000), rung(90, 100_000)];
    harness.create_with("show", &ladder).await.unwrap();
    let url = format!("{}/StreamLick/show", rtmp(&harness).await);
    let _encoder = Encoder::start(&clip, &url);
    let master = playlist_at(&harness, &format!("{FOLDER}show_adaptive.m3u8")).await;
    let variants: Vec<_> = segments(&master).into_iter().map(|it| it.0).collect();
    let expected = ["show.m3u8", "show_120p200kbps.m3u8", "show_90p100kbps.m3u8"];
    assert_eq!(variants, expected, "{master}");
    for part in ["RESOLUTION=320x180", "x120,", "x90,FRAME-RATE=30.000"] {
        assert!(master.contains(part), "{part} in\n{master}");
    }
    let [large, small] = rungs(&harness).await;
    let number = |name: &str| name[name.len() - "000000000.m4s".len()..].to_owned();
    let of = |playlist: &str| {
        let segments = segments(playlist).into_iter();
        segments
            .map(|(name, at)| (number(&name), at))
            .collect::<Vec<_>>()
    };
    let (of_large, of_small) = (of(&large), of(&small));
    let alike = of_large
        .iter()
        .zip(&of_small)
        .filter(|(one, other)| one == other);
    assert!(alike.count() >= 4, "{of_large:?} {of_small:?}");

    // Whichever is played, there is the same at each time.
    let addresses = ["show_120p200kbps", "show_90p100kbps"]
        .map(|name| format!("http://{}{FOLDER}{name}.m3u8", harness.http()));
    let read = blocking(move || {
        let from_the_first = "-copyts -live_start_index 0 -t 6";
        ["v", "a"].map(|kind| {
            let times = |address: &String| {
                let packets = packets(address, from_the_first, kind).into_iter();
                packets.map(|packet| packet.dts).collect::<Vec<_>>()
            };
            addresses.each_ref().map(times)
        })
    })
    .await;
    for ([large, small], least) in read.into_iter().zip([120, 170]) {
        let alike = large.len().min(small.len());
        assert!(alike >= least, "{alike} packets in six seconds");
        // In 1/90,000 s and in 1/44,100 s: half a millisecond of rounding.
        let off = large
            .iter()
            .zip(&small)
            .map(|(one, other)| (one - other).abs());
        assert!(off.max() <= Some(22), "{large:?} {small:?}");
    }
}

async fn publish(harness: &Harness) -> Publisher {
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let options = PublisherOptions::new(harness.signalling(), "show");
    let publisher = Publisher::start(clip, options);
    publisher.published(TIME_LIMIT).await.unwrap();
    publisher
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_browser_sends_decodes_over_hls_with_sound() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let publisher = publish(&harness).await;
    playlist(&harness).await;
    let address = format!("http://{}{PLAYLIST}", harness.http());
    let frames = blocking(move || {
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-live_start_index", "0", "-i", &address])
            .args(["-t", "8", "-f", "framemd5", "-"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && words.is_empty(), "{words}");
        String::from_utf8(output.stdout).unwrap()
    })
    .await;
    let of = |stream: &str| {
        let prefix = format!("{stream},");
        frames
            .lines()
            .filter(|line| line.starts_with(&prefix))
            .count()
    };
    // 30 pictures and 46.9 audio frames a second.
    assert!(of("0") >= 220, "{} pictures", of("0"));
    assert!(of("1") >= 340, "{} audio frames", of("1"));
    publisher.stop().await;
}

/// What one poller has seen.
#[derive(Default)]
struct Polled {
    answers: u32,
    refused: u32,
    took: Vec<Duration>,
}

/// Asks over one connection, so many times a second.
async fn poll(server: std::net::SocketAddr, a_second: u32, until: Instant) -> Polled {
    let stream = TcpStream::connect(server).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut polled = Polled::default();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / a_second);
    while Instant::now() < until {
        ticks.tick().await;
        let began = Instant::now();
        let request = Request::get(PLAYLIST)
            .header("host", "test")
            .header("accept-encoding", "gzip")
            .body(Empty::<Bytes>::new());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        let is_well = response.status() == 200;
        response.into_body().collect().await.unwrap();
        polled.took.push(began.elapsed());
        polled.answers += u32::from(is_well);
        polled.refused += u32::from(!is_well);
    }
    polled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_a_second_cost_a_show_no_frame() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &sink.url("key")).await.unwrap();
    let publisher = publish(&harness).await;
    sink.frames("key", 60, TIME_LIMIT).await.unwrap();
    playlist(&harness).await;
    let until = Instant::now() + Duration::from_secs(6);
    let pollers: Vec<_> = (0..40)
        .map(|_| tokio::spawn(poll(harness.http(), 25, until)))
        .collect();
    let mut all = Polled::default();
    for poller in pollers {
        let polled = poller.await.unwrap();
        all.answers += polled.answers;
        all.refused += polled.refused;
        all.took.extend(polled.took);
    }
    all.took.sort();
    let at = |part: usize| all.took[all.took.len() * part / 100];
    println!(
        "{} playlists in 6 s, p50 {:?}, p99 {:?}",
        all.answers,
        at(50),
        at(99)
    );
    assert_eq!(all.refused, 0);
    // A loaded machine does not get to all of them.
    assert!(all.answers > 1_500, "{} answers", all.answers);
    let streams = sink.streams("key");
    let [stream] = streams.as_slice() else {
        panic!("it was connected {} times", streams.len());
    };
    assert_eq!(stream.faults(), [""; 0], "{stream:?}");
    publisher.stop().await;
}
