//! A whole shard without a machine: a str0m client publishes to it and RTMP servers take what it
//! sends, all in memory and in simulated time.
#![allow(missing_debug_implementations, reason = "a client's str0m has none")]

pub mod client;
mod codecs;
mod connections;
pub mod encoder;
pub mod messages;
pub mod offers;
pub mod player;
pub mod recorded_files;
pub mod recording;
pub mod renditions;
mod skew;
pub mod tcp_lines;
pub mod viewer;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{
    AddressRules, Shard, ShardConfig,
    io::{
        ConnId, Fragment, Input, LookupId, Output, Preview, PreviewJob, RecordResult,
        RecordingFileId, StillFrameJob, TcpEvent, TcpInfo, VideoResult, VideoTranscoderId,
    },
};
use shardcast_link::{
    BroadcastId, Command, DestinationId, DestinationStatus, EndReason, Event, SessionId,
    ShardStatus, VideoCodec, WantedBroadcast, WantedDestination,
};

use self::{client::Client, connections::Conn, recording::Recording, viewer::Viewer};
pub use crate::rtmp_server::FaultMode;
use crate::{
    agenda::Agenda,
    codecs::{FakeAudioTranscoders, FakeVideoTranscoder},
    rtmp_server::Failure,
};

/// Where the shard's UDP socket is.
pub const SHARD_ADDRESS: &str = "127.0.0.1:50000";

/// Everything around the shard.
pub struct World {
    /// Simulated time.
    pub now: Instant,
    start: Instant,
    /// The one under test.
    pub shard: Shard,
    /// Publishers in the order in which they came.
    pub clients: Vec<Client>,
    /// Viewers likewise.
    pub viewers: Vec<Viewer>,
    hosts: HashMap<String, FaultMode>,
    /// Names whose servers say that they take Opus, from their next connection on.
    pub opus_hosts: HashSet<String>,
    conns: HashMap<ConnId, Conn>,
    /// Encoders in the order in which they came.
    pub encoders: Vec<encoder::Encoder>,
    /// Clients that play by RTMP, likewise.
    pub players: Vec<player::Player>,
    /// TCP connections of viewers to the shard.
    pub lines: tcp_lines::Lines,
    /// Connections in the order in which they were made, by address.
    pub history: HashMap<String, Vec<ConnId>>,
    audio: FakeAudioTranscoders,
    /// Where the large slices written to each connection lie in memory.
    pub written_at: HashMap<ConnId, Vec<usize>>,
    /// Parts of HLS that were handed to control, in order.
    pub fragments: Vec<Fragment>,
    /// What the shard reported, in order; some functions empty it first.
    pub events: Vec<Event>,
    /// Publishers are asked for stereo.
    pub stereo: bool,
    /// Video transcoders in the order in which they were opened.
    pub video: Vec<FakeVideoTranscoder>,
    /// Bit rates of the audio transcoders that were opened.
    pub audio_bps: Vec<u32>,
    /// Of each Opus packet that was decoded its number, which counts 20 ms by the sound card, and the
    /// samples before it. Of use with one audio transcoder.
    pub audio_decoded: Vec<(u32, u64)>,
    audio_samples: u64,
    /// AAC frames of encoders that were decoded.
    pub aac_decoded: u64,
    /// What the recorder has written.
    pub files: recorded_files::RecordedFiles,
    /// Still-frame jobs; a test answers them.
    pub stills: Vec<StillFrameJob>,
    /// Preview jobs; a test answers them.
    pub preview_jobs: Vec<PreviewJob>,
    /// Previews that were handed to control.
    pub previews: Vec<Preview>,
    /// How often the shard was woken by a deadline alone.
    pub timer_wakes: u64,
    /// The most datagrams that the shard has put out before a driver could send them.
    pub datagrams_at_once_max: usize,
    /// Gathering writes that the driver would make: one for each connection and millisecond with output.
    pub tcp_writes: u64,
    written_now: HashSet<ConnId>,
    agenda: Agenda<Arrival>,
}

enum Arrival {
    Resolved(LookupId, Result<Vec<SocketAddr>, String>),
    Connected(ConnId),
    /// Why, and whether another attempt may go better by itself.
    Closed(ConnId, &'static str, bool),
    /// The kernel has taken bytes.
    Accepted(ConnId, usize),
    /// The same of a viewer's connection.
    LineAccepted(ConnId, usize),
    /// The same of a player's.
    PlayerAccepted(ConnId, usize),
    /// Bytes are at the server.
    Arrived(ConnId, Bytes),
    Acked(ConnId, usize),
    Received(ConnId, Bytes),
    Info(ConnId, TcpInfo),
    Fails(ConnId, Failure),
    Video(VideoTranscoderId, VideoResult),
    Recorded(RecordingFileId, RecordResult),
}

/// The only broadcast.
pub fn broadcast() -> BroadcastId {
    BroadcastId::new("StreamLick", "show").unwrap()
}

/// A session by its name in a test.
pub fn session(name: &str) -> SessionId {
    SessionId(name.to_owned())
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A shard without video codecs.
    pub fn new() -> Self {
        Self::with_codecs(0)
    }

    /// A shard that may spend so many thousandths of a core on video codecs.
    pub fn with_codecs(codec_capacity_permille: u32) -> Self {
        let now = Instant::now();
        let shard = Shard::new(ShardConfig {
            shard: 0,
            shards: 1,
            engine: "simulated".into(),
            advertise: vec![SHARD_ADDRESS.parse().unwrap()],
            tcp_candidates: true,
            seed: 1,
            epoch: now,
            epoch_unix_ms: 1_700_000_000_000,
            capacity: 100,
            address_rules: AddressRules::default(),
            codec_capacity_permille,
            codecs_beside: false,
        });
        Self {
            now,
            start: now,
            shard,
            clients: Vec::new(),
            viewers: Vec::new(),
            hosts: HashMap::new(),
            opus_hosts: HashSet::new(),
            conns: HashMap::new(),
            encoders: Vec::new(),
            players: Vec::new(),
            lines: tcp_lines::Lines::default(),
            history: HashMap::new(),
            audio: FakeAudioTranscoders::default(),
            written_at: HashMap::new(),
            fragments: Vec::new(),
            preview_jobs: Vec::new(),
            previews: Vec::new(),
            events: Vec::new(),
            stereo: false,
            video: Vec::new(),
            audio_bps: Vec::new(),
            audio_decoded: Vec::new(),
            audio_samples: 0,
            aac_decoded: 0,
            files: recorded_files::RecordedFiles::default(),
            stills: Vec::new(),
            timer_wakes: 0,
            datagrams_at_once_max: 0,
            tcp_writes: 0,
            written_now: HashSet::new(),
            agenda: Agenda::default(),
        }
    }

    /// Gives the broadcast these destinations; each server stands at an address of its own.
    pub fn want(&mut self, hosts: &[(&str, FaultMode)]) {
        let mut wanted = WantedBroadcast::new(broadcast());
        for (name, mode) in hosts {
            self.hosts.insert((*name).to_owned(), *mode);
            wanted.destinations.push(WantedDestination::new(
                DestinationId((*name).to_owned()),
                format!("rtmp://{name}/app/key-of-{name}"),
            ));
        }
        self.command(Command::Want { broadcast: wanted });
    }

    /// Puts a server at each name.
    pub fn add_hosts(&mut self, hosts: &[(&str, FaultMode)]) {
        for (name, mode) in hosts {
            self.hosts.insert((*name).to_owned(), *mode);
        }
    }

    /// Changes what stands at a name from now on.
    pub fn set_mode(&mut self, name: &str, mode: FaultMode) {
        self.hosts.insert(name.to_owned(), mode);
    }

    /// Changes how the server at a name treats the connections that it has, and those to come.
    pub fn set_mode_at_once(&mut self, name: &str, mode: FaultMode) {
        self.set_mode(name, mode);
        for id in self.history.get(name).into_iter().flatten() {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.set_mode(mode);
            }
        }
    }

    /// Starts session `name`, and lets the client have the answer.
    pub fn publish(&mut self, name: &str, client: Client) {
        let sdp = client.offer.clone();
        self.clients.push(client);
        self.command(Command::Publish {
            session: session(name),
            broadcast: broadcast(),
            sdp,
            start_timeout_ms: 10_000,
            codecs: VideoCodec::ALL.to_vec(),
            stereo: self.stereo,
        });
        let answer = self.answer_of(name);
        let now = self.now;
        let client = self.clients.last_mut().unwrap();
        client.answer(now, &answer.expect("the offer was answered"));
    }

    /// Control sends a command.
    pub fn command(&mut self, command: Command) {
        self.shard.handle(self.now, Input::Command(command));
        self.process_outputs();
    }

    /// Lets so many milliseconds pass.
    pub fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            self.step();
        }
    }

    /// Runs until `done`, at most `ms`; true if it was done.
    pub fn run_until(&mut self, ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        for _ in 0..ms {
            if done(self) {
                return true;
            }
            self.run_ms(1);
        }
        done(self)
    }

    fn step(&mut self) {
        let now = self.now;
        for index in 0..self.clients.len() {
            let datagrams = self.clients[index].run(now);
            let from = self.clients[index].address;
            for datagram in datagrams {
                self.datagram(from, &datagram);
            }
        }
        self.run_viewers();
        while let Some(arrival) = self.agenda.pop_due(now) {
            self.arrive(arrival);
            self.process_outputs();
        }
        if self.shard.next_timeout().is_some_and(|at| at <= now) {
            self.timer_wakes += 1;
            self.shard.handle(now, Input::Timeout);
            self.process_outputs();
            while self.shard.is_interrupted() {
                self.shard.handle(now, Input::Timeout);
                self.process_outputs();
            }
        }
        self.tcp_writes += self.written_now.len() as u64;
        self.written_now.clear();
    }

    fn datagram(&mut self, from: SocketAddr, payload: &[u8]) {
        let to = SHARD_ADDRESS.parse().unwrap();
        let datagram = Input::Datagram { from, to, payload };
        self.shard.handle(self.now, datagram);
        self.process_outputs();
    }

    fn process_outputs(&mut self) {
        let mut datagrams = 0;
        while let Some(output) = self.shard.poll() {
            datagrams += usize::from(matches!(output, Output::Datagram { .. }));
            self.output(output);
        }
        self.datagrams_at_once_max = self.datagrams_at_once_max.max(datagrams);
    }

    fn later(&mut self, arrival: Arrival) {
        self.agenda.at(self.now + Duration::from_millis(1), arrival);
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Datagram { to, payload, .. } => {
                let now = self.now;
                for client in self
                    .clients
                    .iter_mut()
                    .filter(|client| client.address == to)
                {
                    client.receive(now, &payload);
                }
                let viewers = self.viewers.iter_mut();
                for viewer in viewers.filter(|viewer| viewer.address == to) {
                    viewer.receive(now, &payload);
                }
            }
            Output::Resolve { lookup, host, port } => {
                let result = self.resolve(&host, port);
                let late_ms = match self.hosts.get(&host) {
                    Some(FaultMode::SlowName(ms)) => *ms,
                    _ => 1,
                };
                let at = self.now + Duration::from_millis(late_ms);
                self.agenda.at(at, Arrival::Resolved(lookup, result));
            }
            Output::Adopt { conn, socket } => self.adopt(conn, &socket),
            Output::Connect { conn, addr, tls } => self.connect(conn, addr, tls.is_some()),
            Output::Inspect { conn } => self.inspect(conn),
            Output::Write { conn, slices } if self.lines.has(conn) => {
                self.line_written(conn, &slices);
            }
            Output::Write { conn, slices } => self.write(conn, slices),
            Output::Close { conn, .. } if self.lines.has(conn) => self.lines.close(conn),
            Output::Close { conn, how } => self.close(conn, how),
            Output::Audio(job) => self.audio(&job),
            Output::StillFrame(job) => self.stills.push(job),
            Output::Preview(job) => self.preview_jobs.push(job),
            Output::PreviewMade(made) => self.previews.push(*made),
            Output::Video(job) => self.video(job),
            Output::Fragment(part) => self.fragments.push(*part),
            Output::Record(job) => self.record(job),
            Output::Event(event) => self.events.push(*event),
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Resolved(lookup, result) => {
                self.shard.handle(now, Input::Resolved { lookup, result });
            }
            Arrival::Connected(conn) => self.tcp(conn, TcpEvent::Connected),
            Arrival::Closed(conn, reason, retryable) => {
                let reason = reason.to_owned();
                self.tcp(conn, TcpEvent::Closed { reason, retryable });
                self.conns.get_mut(&conn).unwrap().open = false;
            }
            Arrival::Accepted(conn, bytes) => self.tcp(conn, TcpEvent::Accepted { bytes }),
            Arrival::LineAccepted(conn, bytes) => self.line_accepted(conn, bytes),
            Arrival::PlayerAccepted(conn, bytes) => self.player_accepted(conn, bytes),
            Arrival::Arrived(conn, bytes) => self.arrived(conn, &bytes),
            Arrival::Acked(conn, bytes) => self.acked(conn, bytes),
            Arrival::Received(conn, bytes) => self.tcp(conn, TcpEvent::Received(&bytes)),
            Arrival::Info(conn, info) => self.tcp(conn, TcpEvent::Info(info)),
            Arrival::Fails(conn, failure) => self.fails(conn, failure),
            Arrival::Video(transcoder, result) => {
                self.shard.handle(now, Input::Video { transcoder, result });
            }
            Arrival::Recorded(file, result) => {
                self.shard.handle(now, Input::Recorded { file, result });
            }
        }
    }

    /// What the server of the `n`th connection to a name has received.
    pub fn server(&self, name: &str, n: usize) -> &Recording {
        &self.conns[&self.history[name][n]].recording
    }

    /// How often a destination has connected to a name.
    pub fn connections(&self, name: &str) -> usize {
        self.history.get(name).map_or(0, Vec::len)
    }

    /// The next status of the shard, after about a second.
    pub fn latest(&mut self) -> ShardStatus {
        self.events.clear();
        self.run_ms(1_001);
        let status = self.events.iter().rev().find_map(|event| match event {
            Event::Status(status) => Some(status.clone()),
            _ => None,
        });
        status.expect("a status each second")
    }

    /// One destination in [`Self::latest`].
    pub fn destination(&mut self, name: &str) -> DestinationStatus {
        let status = self.latest();
        let mut all = status
            .broadcasts
            .into_iter()
            .flat_map(|broadcast| broadcast.destinations);
        all.find(|status| status.id.0 == name)
            .expect("a destination of that name")
    }

    /// Why session `name` ended, if it has.
    pub fn ended(&self, name: &str) -> Option<EndReason> {
        self.events.iter().find_map(|event| match event {
            Event::Ended {
                session: of,
                reason,
                ..
            } if *of == session(name) => Some(*reason),
            _ => None,
        })
    }

    /// Time since the beginning.
    pub fn elapsed_ms(&self) -> u128 {
        (self.now - self.start).as_millis()
    }
}

/// A stable address per name.
fn address_of(name: &str, port: u16) -> SocketAddr {
    let sum = name.bytes().fold(7_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    let [_, a, b, c] = sum.to_be_bytes();
    SocketAddr::from(([127, a, b, c], port))
}
