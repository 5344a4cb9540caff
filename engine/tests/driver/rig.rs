//! One shard thread with a machine that gives the outputs that the test orders, and reports its inputs.

use std::{
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::io::{
    AudioTranscoderId, ConnId, Input, LookupId, Output, PreviewId, RecordResult, RecordingFileId,
    StillFrame, StillFrameId, TcpEvent, TcpInfo, VideoResult, VideoTranscoderId,
};
use shardcast_engine::{
    AacCoder, BoundUdp, CodecPlan, FragmentQueue, Machine, ShardEnd, ShardPlan, Shards, SocketLot,
    TrustedRoots, UdpOptions,
};
use shardcast_link::{BroadcastId, Command, Event, ShardStatus};

/// Nothing in these tests takes this long, even on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A datagram that only makes the machine look for orders.
const POKE: &[u8] = b"poke";

/// An input of the machine.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
    },
    Connected(ConnId),
    Received(ConnId, Vec<u8>),
    Accepted(ConnId, usize),
    Info(ConnId, TcpInfo),
    /// Why, and whether that is retryable.
    Closed(ConnId, String, bool),
    Resolved(LookupId, Result<Vec<SocketAddr>, String>),
    Frame(AudioTranscoderId, usize),
    Still(StillFrameId, Result<StillFrame, String>),
    Preview(PreviewId, Result<Bytes, String>),
    Video(VideoTranscoderId, VideoResult),
    Recorded(RecordingFileId, RecordResult),
    Command(Command),
    Timeout(Instant),
}

impl Seen {
    fn of(now: Instant, input: Input<'_>) -> Self {
        match input {
            Input::Datagram { from, to, payload } => Self::Datagram {
                from,
                to,
                payload: payload.to_vec(),
            },
            Input::Tcp { conn, event } => match event {
                TcpEvent::Connected => Self::Connected(conn),
                TcpEvent::Received(bytes) => Self::Received(conn, bytes.to_vec()),
                TcpEvent::Accepted { bytes } => Self::Accepted(conn, bytes),
                TcpEvent::Info(info) => Self::Info(conn, info),
                TcpEvent::Closed { reason, retryable } => Self::Closed(conn, reason, retryable),
            },
            Input::Resolved { lookup, result } => Self::Resolved(lookup, result),
            Input::AudioFrame { transcoder, frame } => Self::Frame(transcoder, frame.len()),
            Input::StillFrame { still, result } => Self::Still(still, result),
            Input::Preview { preview, result } => Self::Preview(preview, result),
            Input::Video { transcoder, result } => Self::Video(transcoder, result),
            Input::Recorded { file, result } => Self::Recorded(file, result),
            Input::Command(command) => Self::Command(command),
            Input::Timeout => Self::Timeout(now),
        }
    }
}

/// What the test asks of the machine.
pub(crate) enum Order {
    Do(Box<Output>),
    /// From now on the next timeout is this; it is not cleared when it has come.
    Timeout(Option<Instant>),
    /// So many timeouts from now on leave something for the next.
    Interrupted(u32),
}

pub(crate) struct Obedient {
    seen: Sender<Seen>,
    orders: Receiver<Order>,
    timeout: Option<Instant>,
    interrupted: u32,
    broadcasts: Vec<BroadcastId>,
}

impl Machine for Obedient {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        if matches!(input, Input::Datagram { payload: POKE, .. }) {
            return;
        }
        if let Input::Command(Command::Forget { broadcast }) = &input {
            self.broadcasts.retain(|id| id != broadcast);
        }
        if matches!(input, Input::Timeout) {
            self.interrupted = self.interrupted.saturating_sub(1);
        }
        let _ = self.seen.send(Seen::of(now, input));
    }

    fn poll(&mut self) -> Option<Output> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Do(output)) => return Some(*output),
                Ok(Order::Timeout(at)) => self.timeout = at,
                Ok(Order::Interrupted(times)) => self.interrupted = times,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted > 0
    }

    fn set_cpu_permille(&mut self, _: u32) {}

    fn control_connected(&mut self, _: Instant) {}

    fn broadcast_ids(&self) -> Vec<BroadcastId> {
        self.broadcasts.clone()
    }
}

/// A status that differs from others by its time.
pub(crate) fn status(at_unix_ms: u64) -> Event {
    Event::Status(ShardStatus {
        at_unix_ms,
        ..ShardStatus::default()
    })
}

/// A running shard thread.
pub(crate) struct Rig {
    pub(crate) udp: SocketAddr,
    shards: Shards,
    poker: UdpSocket,
    seen: Receiver<Seen>,
    orders: Sender<Order>,
    dir: tempfile::TempDir,
}

/// Where the link socket of a rig is.
fn socket(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("shard-0.sock")
}

pub(crate) fn system_roots() -> TrustedRoots {
    TrustedRoots::load(None).unwrap()
}

/// Starts any machine; its thread, its UDP address and its folder.
pub(crate) fn start(
    bind: &str,
    roots: TrustedRoots,
    machine: impl FnOnce() -> Box<dyn Machine> + Send + 'static,
) -> (Shards, SocketAddr, tempfile::TempDir) {
    start_shard(0, without_codecs(), bind, roots, machine)
}

fn without_codecs() -> CodecPlan {
    CodecPlan::off("switched off in this test")
}

/// The same with a number, and codec workers.
fn start_shard(
    shard: u16,
    codecs: CodecPlan,
    bind: &str,
    roots: TrustedRoots,
    machine: impl FnOnce() -> Box<dyn Machine> + Send + 'static,
) -> (Shards, SocketAddr, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let interfaces = vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
    let udp = BoundUdp::bind(&UdpOptions {
        address: bind.parse().unwrap(),
        interfaces,
    })
    .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], udp.address.port()));
    let plan = ShardPlan {
        aac_coder: AacCoder::default(),
        shard,
        core: None,
        udp,
        tcp: None,
        sockets: SocketLot::default(),
        fragments: FragmentQueue::unread(),
        link_socket: socket(&dir),
        roots,
        codecs,
        machine: Box::new(machine),
    };
    (Shards::start(vec![plan]).unwrap(), address, dir)
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::holding(Vec::new())
    }

    /// With a machine that has these broadcasts.
    pub(crate) fn holding(broadcasts: Vec<BroadcastId>) -> Self {
        Self::with(system_roots(), broadcasts)
    }

    /// That believes these certificates.
    pub(crate) fn believing(roots: TrustedRoots) -> Self {
        Self::with(roots, Vec::new())
    }

    /// With this number, and a codec worker that may run anywhere.
    pub(crate) fn encoding(shard: u16) -> Self {
        Self::numbered(
            shard,
            CodecPlan::beside(None, 1),
            system_roots(),
            Vec::new(),
        )
    }

    fn with(roots: TrustedRoots, broadcasts: Vec<BroadcastId>) -> Self {
        Self::numbered(0, without_codecs(), roots, broadcasts)
    }

    fn numbered(
        shard: u16,
        codecs: CodecPlan,
        roots: TrustedRoots,
        broadcasts: Vec<BroadcastId>,
    ) -> Self {
        let (inputs, seen) = channel();
        let (orders, take) = channel();
        let (shards, udp, dir) = start_shard(shard, codecs, "127.0.0.1:0", roots, move || {
            Box::new(Obedient {
                seen: inputs,
                orders: take,
                timeout: None,
                interrupted: 0,
                broadcasts,
            })
        });
        let poker = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self {
            udp,
            shards,
            poker,
            seen,
            orders,
            dir,
        }
    }

    /// Makes the machine ask for these, in order and at once.
    pub(crate) fn order(&self, orders: impl IntoIterator<Item = Order>) {
        for order in orders {
            self.orders.send(order).unwrap();
        }
        self.poker.send_to(POKE, self.udp).unwrap();
    }

    pub(crate) fn ask(&self, outputs: impl IntoIterator<Item = Output>) {
        self.order(outputs.into_iter().map(Box::new).map(Order::Do));
    }

    pub(crate) fn connect(&self, conn: ConnId, addr: SocketAddr) {
        self.ask([Output::Connect {
            conn,
            addr,
            tls: None,
        }]);
        assert_eq!(self.next(), Seen::Connected(conn));
    }

    pub(crate) fn write(&self, conn: ConnId, slices: Vec<Bytes>) {
        self.ask([Output::Write { conn, slices }]);
    }

    /// The next input of the machine.
    pub(crate) fn next(&self) -> Seen {
        self.seen
            .recv_timeout(PATIENCE)
            .expect("the machine had no more input")
    }

    pub(crate) fn next_within(&self, time: Duration) -> Option<Seen> {
        self.seen.recv_timeout(time).ok()
    }

    /// Connects to the link socket, as control does.
    pub(crate) fn control(&self) -> UnixStream {
        let stream = UnixStream::connect(socket(&self.dir)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn link_socket(&self) -> PathBuf {
        socket(&self.dir)
    }

    pub(crate) fn stop(&self) {
        self.shards.stop();
    }

    pub(crate) fn ended(&self) -> ShardEnd {
        self.shards.ended(PATIENCE).expect("the shard did not end")
    }
}
