//! Proves: FFmpeg publishes to our server, our client publishes to nginx-rtmp and to FFmpeg, every
//! frame arrives, and addresses are cut exactly as FFmpeg cuts them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use shardcast_core::h264::{ParameterSets, VideoUnit};
use shardcast_core::rtmp::flv::{
    AAC_RAW_HEADER, AudioMetadata, Metadata, aac_sequence_header, avc_header, avc_sequence_header,
};
use shardcast_core::rtmp::{
    MediaKind, PublishClient, PublishConfig, PublishError, PublishOutput, RtmpUrl, ServerConfig,
    ServerOutput, ServerSession,
};

/// Far beyond what a loaded machine takes; only there so that a broken test ends.
const PATIENCE: Duration = Duration::from_secs(60);
const FRAMES: usize = 30;

#[test]
fn ffmpeg_cuts_addresses_as_we_do() {
    for path in [
        "live2/KEY",
        "live2/KEY?a=1&b=2",
        "app/_definst_/KEY",
        "live/0a1b/mystream?x=1",
        "app/inst/a/b",
        "app/mp4:a/b",
        "app?token=a/KEY",
        "app?t=a/b/KEY",
        "app/KEY?sig=a/b",
        "app/inst?t=1:2/KEY",
        "live-bvc/?streamname=live_1&key=abc&schedule=rtmp&pflag=1",
        "mystream?user=alice&pass=secret",
        "FB-1-0-AbCdEf",
        "/KEY",
        "/a/b",
        "app/KEY/",
        "app/KEY.flv",
        "app/KEY.mp4",
        "ondemand/a/b",
        "app/x?slist=a/b&c=d",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!("rtmp://{}/{path}", listener.local_addr().unwrap());
        let url = RtmpUrl::parse(&text).unwrap();
        let _ffmpeg = Process::ffmpeg(&[CLIP_SOURCE, &["-c:v", "flv1", "-f", "flv", &text]]);
        let seen = serve(&listener, |seen| {
            matches!(seen, ServerOutput::Publish { .. })
        });
        let [
            ServerOutput::Connect {
                application,
                tc_url,
            },
            ServerOutput::Publish { stream_key },
        ] = &seen[..]
        else {
            panic!("{seen:?}")
        };
        assert_eq!(
            (&application[..], &stream_key[..]),
            (url.application(), url.stream_key()),
            "{path}"
        );
        assert_eq!(*tc_url, url.tc_url(), "{path}");
    }
}

#[test]
fn ffmpeg_publishes_to_our_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("rtmp://{}/live/key", listener.local_addr().unwrap());
    let _ffmpeg = Process::ffmpeg(&[CLIP_SOURCE, X264, &["-f", "flv", &text]]);
    let seen = serve(&listener, |seen| {
        matches!(seen, ServerOutput::Unpublish { .. })
    });
    let metadata = seen.iter().find_map(|output| match output {
        ServerOutput::Metadata(properties) => Some(properties),
        _ => None,
    });
    assert!(
        metadata
            .unwrap()
            .iter()
            .any(|(key, value)| key == "width" && value.as_number() == Some(320.0))
    );
    // A coded frame: AVC packet type 1. Type 0 is the sequence header, 2 the end.
    let frames = seen.iter().filter(
        |output| matches!(output, ServerOutput::Media(m) if m.type_id == 9 && m.payload[1] == 1),
    );
    assert_eq!(frames.count(), FRAMES);
}

#[test]
fn our_client_publishes_to_ffmpeg() {
    let port = free_port();
    let text = format!("rtmp://127.0.0.1:{port}/live/key");
    let input = ["-listen", "1", "-i", &text];
    let mut ffmpeg =
        Process::ffmpeg(&[&input, &["-map", "0", "-c", "copy", "-f", "framecrc", "-"]]);
    let mut publisher = Publisher::open(&text);
    publisher.publish_until_live().unwrap();
    publisher.send_clip();
    publisher.finish();
    let listing = ffmpeg.output();
    let frames = |stream: &str| {
        listing
            .lines()
            .filter(|line| line.starts_with(stream))
            .count()
    };
    assert_eq!((frames("0,"), frames("1,")), (FRAMES, FRAMES), "{listing}");
    assert!(
        listing.contains("320x240") && listing.contains("48000"),
        "{listing}"
    );
}

#[test]
fn our_client_publishes_to_nginx() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _nginx = Process::nginx(folder.path(), port);
    let mut publisher = Publisher::open(&format!("rtmp://127.0.0.1:{port}/recorded/key?secret=1"));
    publisher.publish_until_live().unwrap();
    publisher.send_clip();
    publisher.finish();
    // nginx completes the recording when it has seen the end.
    let deadline = Instant::now() + PATIENCE;
    while recorded_frames(&folder.path().join("recordings")) != FRAMES {
        assert!(
            Instant::now() < deadline,
            "nginx has not recorded every frame"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn our_client_hears_from_nginx_that_a_key_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _nginx = Process::nginx(folder.path(), port);
    let text = format!("rtmp://127.0.0.1:{port}/live/key");
    let mut first = Publisher::open(&text);
    first.publish_until_live().unwrap();
    let error = Publisher::open(&text).publish_until_live().unwrap_err();
    assert!(
        matches!(error, PublishError::InUse { .. }) && error.retryable(),
        "{error:?}"
    );
    first.finish();
    let deadline = Instant::now() + PATIENCE;
    while Publisher::open(&text).publish_until_live().is_err() {
        assert!(Instant::now() < deadline, "nginx never freed the key");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Video frames in the one recording of a folder.
fn recorded_frames(folder: &Path) -> usize {
    let Some(entry) = folder.read_dir().unwrap().next() else {
        return 0;
    };
    let path = entry.unwrap().path();
    let input = ["-i", path.to_str().unwrap()];
    let listing = ["-map", "0", "-c", "copy", "-f", "framecrc", "-"];
    let text = Process::ffmpeg(&[&input, &listing]).output();
    text.lines().filter(|line| line.starts_with("0,")).count()
}

const CLIP_SOURCE: &[&str] = &[
    "-f",
    "lavfi",
    "-i",
    "testsrc=size=320x240:rate=30",
    "-frames:v",
    "30",
    "-pix_fmt",
    "yuv420p",
];
const X264: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
];

/// Serves one connection, lets it publish, and gives what happened until `last`.
fn serve(listener: &TcpListener, last: impl Fn(&ServerOutput) -> bool) -> Vec<ServerOutput> {
    let mut stream = accept(listener);
    let mut server = ServerSession::new(ServerConfig::default());
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 16_384]);
    while !seen.last().is_some_and(&last) {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "closed too early: {seen:?}");
        server.handle(&buffer[..len]).unwrap();
        while let Some(output) = server.poll() {
            match output {
                ServerOutput::Send(bytes) => stream.write_all(&bytes).unwrap(),
                other => {
                    if matches!(other, ServerOutput::Publish { .. }) {
                        server.accept_publish();
                    }
                    seen.push(other);
                    if seen.last().is_some_and(&last) {
                        return seen;
                    }
                }
            }
        }
    }
    seen
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => {
                assert!(Instant::now() < deadline, "nobody connected: {error}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A port that nothing listened on a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Our client on a real connection.
struct Publisher {
    client: PublishClient,
    stream: TcpStream,
}

impl Publisher {
    fn open(text: &str) -> Self {
        let url = RtmpUrl::parse(text).unwrap();
        let address = SocketAddr::new(url.host().parse().unwrap(), url.port());
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{text}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            client: PublishClient::new(&url, PublishConfig::default()),
            stream,
        }
    }

    fn publish_until_live(&mut self) -> Result<(), PublishError> {
        let first = self.client.start();
        self.stream.write_all(&first).unwrap();
        let mut buffer = [0; 16_384];
        while !self.client.is_publishing() {
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "the server closed without a word");
            self.client.handle(&buffer[..len])?;
            while let Some(output) = self.client.poll() {
                if let PublishOutput::Send(bytes) = output {
                    self.stream.write_all(&bytes).unwrap();
                }
            }
        }
        Ok(())
    }

    /// A second of picture, with a frame of silence beside each.
    fn send_clip(&mut self) {
        let annex_b = Process::ffmpeg(&[
            CLIP_SOURCE,
            X264,
            &["-bsf:v", "h264_metadata=aud=insert", "-f", "h264", "-"],
        ])
        .output_bytes();
        let units: Vec<_> = access_units(&annex_b)
            .map(|unit| VideoUnit::from_annex_b(unit).unwrap())
            .collect();
        assert_eq!(units.len(), FRAMES);
        let sets = ParameterSets::new(units[0].sps.as_ref().unwrap(), &units[0].pps).unwrap();
        let metadata = Metadata {
            width: sets.width(),
            height: sets.height(),
            frame_rate: 30.0,
            video_kbps: 500,
            audio: AudioMetadata::Aac {
                kbps: 128,
                sample_rate: 48_000,
                channels: 2,
            },
        };
        self.send(MediaKind::Data, 0, &metadata.set_data_frame());
        self.send(MediaKind::Video, 0, &avc_sequence_header(sets.record()));
        self.send(MediaKind::Audio, 0, &aac_sequence_header(&[0x11, 0x90]));
        for (index, unit) in units.iter().enumerate() {
            let timestamp_ms = index as u32 * 1_000 / 30;
            let head = avc_header(unit.key, 0);
            self.send_behind(MediaKind::Video, timestamp_ms, &head, &unit.avcc);
            let silence = Bytes::from_static(&SILENT_AAC_FRAME);
            self.send_behind(MediaKind::Audio, timestamp_ms, &AAC_RAW_HEADER, &silence);
        }
    }

    fn send(&mut self, kind: MediaKind, timestamp_ms: u32, body: &Bytes) {
        self.send_behind(kind, timestamp_ms, &[], body);
    }

    fn send_behind(&mut self, kind: MediaKind, timestamp_ms: u32, head: &[u8], body: &Bytes) {
        for slice in self.client.media_behind(kind, timestamp_ms, head, body) {
            self.stream.write_all(&slice).unwrap();
        }
    }

    fn finish(mut self) {
        let end = self.client.finish();
        self.stream.write_all(&end).unwrap();
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// 1024 samples of silence in stereo: a channel pair element without any spectrum.
const SILENT_AAC_FRAME: [u8; 6] = [0x21, 0x10, 0x04, 0x60, 0x8C, 0x1C];

/// Cuts a stream at its access unit delimiters.
fn access_units(annex_b: &[u8]) -> impl Iterator<Item = &[u8]> {
    const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];
    let mut starts: Vec<_> = (0..annex_b.len())
        .filter(|at| annex_b[*at..].starts_with(&DELIMITER))
        .collect();
    starts.push(annex_b.len());
    let ranges: Vec<_> = starts.windows(2).map(|pair| pair[0]..pair[1]).collect();
    ranges.into_iter().map(|range| &annex_b[range])
}

/// A program that is killed when the test is over.
struct Process(Child);

impl Process {
    fn ffmpeg(arguments: &[&[&str]]) -> Self {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-nostdin", "-v", "error", "-y"])
            .args(arguments.concat());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self(
            command
                .spawn()
                .expect("ffmpeg is installed (apt-get install ffmpeg)"),
        )
    }

    fn nginx(folder: &Path, port: u16) -> Self {
        let recordings = folder.join("recordings");
        std::fs::create_dir(&recordings).unwrap();
        let (folder, recordings) = (folder.display(), recordings.display());
        let config = format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
             daemon off; master_process off; worker_processes 1; user root;
             pid {folder}/nginx.pid; error_log {folder}/error.log;
             events {{ worker_connections 64; }}
             rtmp {{ access_log off; server {{ listen 127.0.0.1:{port};
               application live {{ live on; }}
               application recorded {{ live on; record all; record_path {recordings}; }} }} }}"
        );
        let path = format!("{folder}/nginx.conf");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.args([
            "-c",
            &path,
            "-p",
            &folder.to_string(),
            "-e",
            &format!("{folder}/error.log"),
        ]);
        Self(
            command
                .spawn()
                .expect("nginx is installed (apt-get install libnginx-mod-rtmp)"),
        )
    }

    fn output_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    fn output(&mut self) -> String {
        String::from_utf8(self.output_bytes()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
