//! Any tags of an FLV file as what an encoder publishes: a shard that sends the show on to a destination, packages it
//! for HLS and records it does not panic and does not spin; time does not step back for the destination, parts of HLS
//! follow one another, and the recording can be read to its last byte.
#![no_main]

use std::{
    net::SocketAddr,
    sync::OnceLock,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shardcast_cmaf::Scan;
use shardcast_core::{
    AddressRules, Shard, ShardConfig,
    io::{
        ConnId, Fragment, Input, Output, RecordJob, RecordResult, RecordingFileId, TcpEvent,
        TcpInfo,
    },
};
use shardcast_link::{
    BroadcastId, Command, DestinationId, HandedOver, SessionId, WantedBroadcast, WantedDestination,
    WantedHls, WantedRecording, fragment,
};
use shardcast_rtmp::{
    MediaKind, MediaWriter, Message, PublishClient, PublishConfig, PublishOutput, RtmpUrl,
    ServerConfig, ServerOutput, ServerSession,
};

/// `FLV`, version, flags, length of the head, and the first of the lengths that stand behind tags (FLV E.2, E.3).
const FLV_HEAD_BYTES: usize = 9 + 4;
const TAG_HEAD_BYTES: usize = 11;
const TAG_AUDIO: u8 = 8;
const TAG_VIDEO: u8 = 9;
/// A tag is sent at most so long behind the one before, and all within so long: a run takes milliseconds.
const STEP_MS_MAX: u32 = 500;
const SHOW: Duration = Duration::from_secs(40);
/// Timers of one shard fire less often than this between two inputs.
const TIMEOUTS_MAX: u32 = 20_000;

/// What a client sends up to `publish`, and how it writes media then.
fn greeting() -> &'static (String, MediaWriter) {
    static GREETING: OnceLock<(String, MediaWriter)> = OnceLock::new();
    GREETING.get_or_init(|| {
        let url = RtmpUrl::parse("rtmp://shardcast.example/live/show").unwrap();
        let mut client = PublishClient::new(&url, PublishConfig::default());
        let mut server = ServerSession::new(ServerConfig::default());
        let mut sent = client.start().to_vec();
        let (mut read, mut is_read) = (Vec::new(), false);
        while !client.is_publishing() {
            server.handle(&sent).unwrap();
            if !is_read {
                read.append(&mut sent);
            }
            let mut answers = Vec::new();
            while let Some(output) = server.poll() {
                match output {
                    ServerOutput::Send(bytes) => answers.extend_from_slice(&bytes),
                    ServerOutput::Publish { .. } => {
                        is_read = true;
                        server.accept_publish();
                    }
                    _ => {}
                }
            }
            client.handle(&answers).unwrap();
            sent.clear();
            while let Some(output) = client.poll() {
                if let PublishOutput::Send(bytes) = output {
                    sent.extend_from_slice(&bytes);
                }
            }
        }
        (BASE64.encode(read), client.writer())
    })
}

/// A tag of an FLV file: kind, timestamp and body.
fn tags(data: &[u8]) -> impl Iterator<Item = (MediaKind, u32, Bytes)> {
    let mut rest = match data.starts_with(b"FLV") {
        true => data.get(FLV_HEAD_BYTES..).unwrap_or_default(),
        false => data,
    };
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_first_chunk::<TAG_HEAD_BYTES>()?;
        let &[kind, size @ .., _, _, _] = head;
        let [a, b, c, low @ .., high] = size;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let [d, e, f] = low;
        let timestamp_ms = u32::from_be_bytes([high, d, e, f]);
        let (body, behind) = behind.split_at(length.min(behind.len()));
        // Behind each tag stands how long it was.
        rest = behind.get(4..).unwrap_or_default();
        let kind = match kind & 0x1F {
            TAG_AUDIO => MediaKind::Audio,
            TAG_VIDEO => MediaKind::Video,
            _ => MediaKind::Data,
        };
        Some((kind, timestamp_ms, Bytes::copy_from_slice(body)))
    })
}

/// Everything around the shard.
struct World {
    now: Instant,
    shard: Shard,
    encoder: Option<ConnId>,
    destination: Option<(ConnId, ServerSession)>,
    /// Times of the last media of the destination, by its type.
    last_ms: [Option<u32>; 2],
    last_part: Option<(u64, u32)>,
    files: Vec<(RecordingFileId, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let shard = Shard::new(ShardConfig {
            shard: 0,
            shards: 1,
            engine: "fuzzed".into(),
            advertise: vec![SocketAddr::from(([192, 0, 2, 1], 50_000))],
            tcp_candidates: false,
            seed: 1,
            epoch: now,
            epoch_unix_ms: 1_800_000_000_000,
            capacity: 100,
            address_rules: AddressRules::default(),
            codec_capacity_permille: 0,
            codecs_beside: false,
        });
        Self {
            now,
            shard,
            encoder: None,
            destination: None,
            last_ms: [None; 2],
            last_part: None,
            files: Vec::new(),
        }
    }

    fn command(&mut self, command: Command) {
        self.shard.handle(self.now, Input::Command(command));
        self.take_outputs();
    }

    fn tcp(&mut self, conn: ConnId, event: TcpEvent<'_>) {
        self.shard.handle(self.now, Input::Tcp { conn, event });
    }

    /// Lets time pass, with the timers that come due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for round in 0.. {
            assert!(round < TIMEOUTS_MAX, "a timer that is always due");
            let due = self.shard.next_timeout().filter(|due| *due <= until);
            let Some(due) = due else {
                break;
            };
            self.now = self.now.max(due);
            self.shard.handle(self.now, Input::Timeout);
            self.take_outputs();
        }
        self.now = until;
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.shard.poll() {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Adopt { conn, .. } => self.encoder = Some(conn),
            Output::Resolve { lookup, port, .. } => {
                let result = Ok(vec![SocketAddr::from(([192, 0, 2, 7], port))]);
                self.shard
                    .handle(self.now, Input::Resolved { lookup, result });
            }
            Output::Connect { conn, .. } => {
                self.destination = Some((conn, ServerSession::new(ServerConfig::default())));
                self.last_ms = [None; 2];
                self.tcp(conn, TcpEvent::Connected);
            }
            Output::Write { conn, slices } => self.written(conn, &slices.concat()),
            Output::Inspect { conn } => self.tcp(conn, TcpEvent::Info(TcpInfo::default())),
            Output::Close { conn, .. } => {
                self.encoder = self.encoder.filter(|encoder| *encoder != conn);
                self.destination.take_if(|(it, _)| *it == conn);
            }
            Output::StillFrame(job) => {
                let (still, result) = (job.still, Err("none is made here".to_owned()));
                self.shard
                    .handle(self.now, Input::StillFrame { still, result });
            }
            Output::Record(job) => self.record(job),
            Output::Fragment(part) => self.part(&part),
            Output::Event(event) => assert!(serde_json::to_vec(&event).is_ok()),
            _ => {}
        }
    }

    fn written(&mut self, conn: ConnId, written: &[u8]) {
        let bytes = written.len();
        self.tcp(conn, TcpEvent::Accepted { bytes });
        let Some((_, server)) = self.destination.as_mut().filter(|(it, _)| *it == conn) else {
            return;
        };
        server.handle(written).unwrap();
        let mut answers = Vec::new();
        let mut media = Vec::new();
        while let Some(output) = server.poll() {
            match output {
                ServerOutput::Send(bytes) => answers.push(bytes),
                ServerOutput::Publish { .. } => server.accept_publish(),
                ServerOutput::Media(message) => media.push(message),
                _ => {}
            }
        }
        media.iter().for_each(|message| self.received(message));
        for bytes in answers {
            self.tcp(conn, TcpEvent::Received(&bytes));
        }
    }

    /// A message of the destination.
    fn received(&mut self, message: &Message) {
        let is_video = message.type_id == MediaKind::Video.type_id();
        let last_ms = &mut self.last_ms[usize::from(is_video)];
        if let Some(last_ms) = last_ms {
            let step_ms = message.timestamp_ms.wrapping_sub(*last_ms).cast_signed();
            assert!(
                step_ms >= 0,
                "a destination's time steps back by {step_ms} ms"
            );
        }
        *last_ms = Some(message.timestamp_ms);
    }

    fn part(&mut self, part: &Fragment) {
        let head = &part.head;
        assert!(serde_json::to_vec(head).unwrap().len() <= fragment::HEAD_BYTES_MAX);
        assert!(part.len() <= fragment::BODY_BYTES_MAX);
        if head.ends {
            assert!(part.is_empty());
            return;
        }
        if let Some(begins) = &head.begins {
            assert!(begins.init_bytes as usize <= part.len());
            assert_eq!(head.part, 0);
        }
        if let Some((segment, number)) = self.last_part {
            let goes_on = head.segment == segment && head.part == number + 1;
            assert!(
                goes_on || (head.segment > segment && head.part == 0),
                "{head:?}"
            );
        }
        self.last_part = Some((head.segment, head.part));
    }

    fn record(&mut self, job: RecordJob) {
        let (file, result) = match job {
            RecordJob::Open { file, name, .. } => {
                self.files.push((file, Vec::new()));
                (file, RecordResult::Opened { name })
            }
            RecordJob::Write { file, slices } => {
                let bytes = slices.concat();
                let mut files = self.files.iter_mut();
                let (_, written) = files.find(|(it, _)| *it == file).unwrap();
                written.extend_from_slice(&bytes);
                let bytes = bytes.len();
                (file, RecordResult::Written { bytes })
            }
            RecordJob::Close { file } => {
                let name = Some("file".to_owned());
                (file, RecordResult::Closed { name })
            }
        };
        self.shard
            .handle(self.now, Input::Recorded { file, result });
    }
}

/// A show with a destination, HLS and a recording.
fn wanted(broadcast: &BroadcastId) -> WantedBroadcast {
    let url = "rtmp://destination.example/live/key".to_owned();
    WantedBroadcast {
        destinations: vec![WantedDestination::new(DestinationId("a".to_owned()), url)],
        hold_ms: 5_000,
        hls: Some(WantedHls {
            segment_ms: 1_000,
            ladder: false,
        }),
        recording: Some(WantedRecording {
            id: "r1".to_owned(),
            folder: "/recordings".to_owned(),
            label: "label".to_owned(),
            file_ms_max: 10_000,
            filler: true,
        }),
        ..WantedBroadcast::new(broadcast.clone())
    }
}

fuzz_target!(|data: &[u8]| {
    let broadcast = BroadcastId::new("live", "show").unwrap();
    let session = SessionId("encoder".to_owned());
    let (read_base64, writer) = greeting();
    let mut world = World::new();
    world.command(Command::Want {
        broadcast: wanted(&broadcast),
    });
    world.command(Command::PublishRtmp {
        session: session.clone(),
        broadcast: broadcast.clone(),
        connection: HandedOver {
            socket: "1".to_owned(),
            remote: "192.0.2.9:40000".to_owned(),
            read_base64: read_base64.clone(),
        },
        start_timeout_ms: 10_000,
    });
    assert!(world.encoder.is_some());
    let end = world.now + SHOW;
    let mut last_ms = None;
    for (kind, timestamp_ms, body) in tags(data) {
        let step_ms = last_ms.map_or(0, |last_ms| timestamp_ms.wrapping_sub(last_ms));
        last_ms = Some(timestamp_ms);
        // What steps back comes at once.
        let step_ms = if step_ms > u32::MAX / 2 {
            0
        } else {
            step_ms.min(STEP_MS_MAX)
        };
        if world.now < end {
            world.pass(Duration::from_millis(step_ms.into()));
        }
        let Some(encoder) = world.encoder else {
            break;
        };
        let bytes = writer.media(kind, timestamp_ms, &body).concat();
        world.tcp(encoder, TcpEvent::Received(&bytes));
        world.take_outputs();
    }
    world.command(Command::Unpublish { session });
    world.pass(Duration::from_secs(7));
    world.command(Command::Forget { broadcast });
    world.pass(Duration::from_secs(3));
    assert!(world.shard.broadcast_ids().is_empty());
    for (_, file) in &world.files {
        match Scan::of(&mut std::io::Cursor::new(file)) {
            Ok(scan) => assert_eq!(scan.whole_bytes, file.len() as u64),
            // Without a fragment it is removed.
            Err(_) => assert!(!file.windows(4).any(|bytes| bytes == b"moof")),
        }
    }
});
