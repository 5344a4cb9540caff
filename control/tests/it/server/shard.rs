//! The other end of the link, moved by hand: says exactly what the test wants a shard to say and
//! shows what control asked of it.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::BytesMut;
use shardcast_link::{
    BroadcastId, BroadcastStatus, CodecStatus, Command, DestinationId, DestinationState,
    DestinationStatus, EndReason, Event, PublisherStatus, RenditionSpec, RenditionStatus,
    SessionId, ShardHello, ShardStatus, VERSION, VideoStatus, frame,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Mutex,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Client, PATIENCE, Server, offer, publish, until};

/// A shard: number 0 of an engine with one, or one of several.
pub struct Shard {
    listener: UnixListener,
    link: Option<Link>,
    buffer: BytesMut,
    hello: ShardHello,
}

/// One connection. A real shard reports each second; this one sends events of no known kind, so
/// that it is heard and says nothing that the test has not said.
struct Link {
    read: OwnedReadHalf,
    write: Arc<Mutex<OwnedWriteHalf>>,
    life: JoinHandle<()>,
}

impl Link {
    fn new(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        let write = Arc::new(Mutex::new(write));
        let of_life = Arc::clone(&write);
        let life = tokio::spawn(async move {
            let mut sign = BytesMut::new();
            frame::encode(&serde_json::json!({"type": "sign_of_life"}), &mut sign).unwrap();
            loop {
                sleep(Duration::from_millis(500)).await;
                if of_life.lock().await.write_all(&sign).await.is_err() {
                    return;
                }
            }
        });
        Self { read, write, life }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Its half is dropped with it, a moment later.
        self.life.abort();
    }
}

impl Shard {
    /// Connects to `server` as its only shard, with nothing on it.
    pub async fn join(server: &Server) -> Self {
        Self::join_with(server, ShardStatus::default()).await
    }

    /// The same, of which it may spend `capacity_permille` of a core on re-encoding.
    pub async fn join_with_room(server: &Server, capacity_permille: u32) -> Self {
        let status = ShardStatus {
            codec: codec(capacity_permille, 0),
            ..ShardStatus::default()
        };
        Self::join_with(server, status).await
    }

    /// Connects to `server` with what `status` says.
    pub async fn join_with(server: &Server, status: ShardStatus) -> Self {
        let mut shard = Self::listen(server.link_dir());
        shard.accept(status).await;
        ready(server).await;
        shard
    }

    /// Connects to `server` as all its shards, of these weights.
    pub async fn join_all(server: &Server, weights: &[u32]) -> Vec<Self> {
        let count = u16::try_from(weights.len()).unwrap();
        let listen = |(number, weight): (u16, &u32)| {
            Self::listen_as(server.link_dir(), number, count, *weight)
        };
        let mut shards: Vec<Self> = (0..).zip(weights).map(listen).collect();
        for shard in &mut shards {
            shard.accept(ShardStatus::default()).await;
        }
        ready(server).await;
        shards
    }

    /// Listens where a server with `data_dir` looks for shard 0.
    pub fn listen(data_dir: &Path) -> Self {
        Self::listen_as(data_dir, 0, 1, 100)
    }

    fn listen_as(data_dir: &Path, number: u16, count: u16, capacity: u32) -> Self {
        let folder = data_dir.join("link");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("shard-{number}.sock"));
        let _ = std::fs::remove_file(&path);
        Self {
            listener: UnixListener::bind(path).unwrap(),
            link: None,
            buffer: BytesMut::new(),
            hello: ShardHello {
                version: VERSION,
                engine: "engine-1".into(),
                shard: number,
                shards: count,
                udp_port: 50_000 + number,
                capacity,
            },
        }
    }

    /// Takes a control process: reads its hello, says ours and `status`.
    pub async fn accept(&mut self, status: ShardStatus) {
        let accepted = timeout(PATIENCE, self.listener.accept())
            .await
            .expect("no control");
        self.link = Some(Link::new(accepted.unwrap().0));
        self.buffer.clear();
        assert!(matches!(self.next().await, Command::Hello(_)));
        self.say(Event::Hello(self.hello.clone())).await;
        self.say(Event::Status(status)).await;
    }

    /// Ends the connection as the death of the engine does; the next one is another process.
    pub fn die(&mut self) {
        self.link = None;
        self.hello.engine = "engine-2".into();
    }

    /// Ends the connection; the engine lives on.
    pub fn cut(&mut self) {
        self.link = None;
    }

    /// Hangs: the connection stays, and nothing more comes but what the test says.
    pub fn hang(&mut self) {
        self.link.as_mut().unwrap().life.abort();
    }

    pub async fn say(&mut self, event: Event) {
        let mut bytes = BytesMut::new();
        frame::encode(&event, &mut bytes).unwrap();
        let write = &self.link.as_ref().unwrap().write;
        write.lock().await.write_all(&bytes).await.unwrap();
    }

    /// The next command.
    pub async fn next(&mut self) -> Command {
        loop {
            if let Some(command) = frame::decode(&mut self.buffer).unwrap() {
                return command;
            }
            let read = &mut self.link.as_mut().unwrap().read;
            let read = timeout(PATIENCE, read.read_buf(&mut self.buffer)).await;
            assert_ne!(
                read.expect("no command in time").unwrap(),
                0,
                "control has gone"
            );
        }
    }

    /// A publisher of `id` that is live here.
    pub async fn live(&mut self, http: SocketAddr, id: &BroadcastId) -> (Client, SessionId) {
        let mut client = Client::connect(http, id.application()).await;
        let started = client.ask(publish(id.stream())).await;
        assert_eq!(started["command"], "start", "{started}");
        client.send(offer(id.stream())).await;
        let session = self.take_publish().await;
        self.go_live(&session, id).await;
        for wanted in ["takeConfiguration", "takeCandidate", "notification"] {
            assert_eq!(client.next().await["command"], wanted);
        }
        self.say(Event::Status(live(id, &session))).await;
        (client, session)
    }

    /// Says that a session of `id` is over.
    pub async fn ended(&mut self, session: SessionId, id: &BroadcastId, reason: EndReason) {
        self.say(Event::Ended {
            session,
            broadcast: id.clone(),
            reason,
        })
        .await;
    }

    /// Takes the Want and the Publish of an offer; gives the session.
    pub async fn take_publish(&mut self) -> SessionId {
        let want = self.next().await;
        assert!(
            matches!(want, Command::Want { .. }),
            "{want:?} came before the Want"
        );
        match self.next().await {
            Command::Publish { session, .. } => session,
            other => panic!("not a publish: {other:?}"),
        }
    }

    /// Answers the offer and reports its first media.
    pub async fn go_live(&mut self, session: &SessionId, id: &BroadcastId) {
        self.say(answer(session, true)).await;
        let (session, broadcast) = (session.clone(), id.clone());
        self.say(Event::Publishing { session, broadcast }).await;
    }
}

async fn ready(server: &Server) {
    until("ready", async || {
        (server.get("/readyz").await.status == 200).then_some(())
    })
    .await;
}

pub fn answer(session: &SessionId, media: bool) -> Event {
    Event::Answer {
        session: session.clone(),
        sdp: "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n".into(),
        candidates: vec!["candidate:1 1 udp 2113929471 127.0.0.1 50000 typ host".into()],
        offers_video: media,
        offers_audio: media,
    }
}

/// A report of one live broadcast.
pub fn live(id: &BroadcastId, session: &SessionId) -> ShardStatus {
    let publisher = PublisherStatus {
        protocol: Default::default(),
        session: session.clone(),
        since_unix_ms: 1,
        remote: "203.0.113.5:4000".into(),
        video: Some(VideoStatus {
            codec: "H264".into(),
            width: 1280,
            height: 720,
            frames_per_second: 30,
            ..VideoStatus::default()
        }),
        audio: None,
        bytes_received: 1_000_000,
        bitrate_bps: 2_500_000,
        packets_lost: 3,
        jitter_ms: 4,
        rtt_ms: 5,
        media_age_ms: 10,
    };
    let broadcast = BroadcastStatus {
        publisher: Some(publisher),
        ..BroadcastStatus::new(id.clone())
    };
    ShardStatus {
        broadcasts: vec![broadcast],
        ..ShardStatus::default()
    }
}

/// A rendition of 720p30 in superfast costs 210 with these figures, and decoding 720p30 costs 60.
pub fn codec(capacity_permille: u32, used_permille: u32) -> CodecStatus {
    CodecStatus {
        capacity_permille,
        used_permille,
        yielding_permille: 0,
        decode_720p_us: 2_000,
        scale_720p_us: 500,
        encode_720p_us: 6_500,
        refused: 0,
    }
}

/// A rendition that has just begun.
pub fn rendition(spec: RenditionSpec) -> RenditionStatus {
    RenditionStatus {
        spec,
        width: 0,
        height: 0,
        destinations: 1,
        viewers: 0,
        yields: false,
        frames: 0,
        repeated: 0,
        dropped: 0,
        keyframes: 0,
        scale_us: 0,
        encode_us: 0,
        bitrate_bps: 0,
        preset: spec.preset,
        frames_per_second: spec.frames_per_second,
        problem: None,
    }
}

pub fn destination(id: &str, state: DestinationState) -> DestinationStatus {
    DestinationStatus {
        since_unix_ms: 1,
        attempts: 1,
        ..DestinationStatus::new(DestinationId(id.into()), state)
    }
}
