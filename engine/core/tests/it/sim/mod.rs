//! A whole shard without a machine: a str0m client publishes to it and RTMP servers take what it
//! sends, all in memory and in simulated time.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test harness: each test uses a part of it and a failure shall stop the test"
)]

mod b_frames;
pub(crate) mod client;
pub(crate) mod lane;
pub(crate) mod offers;
pub(crate) mod path;
pub(crate) mod server;
mod tcp;
pub(crate) mod wishes;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{
    AddressRules, Shard, ShardConfig,
    io::{
        Close, ConnId, Input, LaneId, LookupId, Output, StillJob, TcpEvent, TcpInfo, VideoLaneId,
        VideoResult,
    },
};
use shardcast_link::{
    BroadcastId, Command, DestinationId, DestinationStatus, EndReason, Event, SessionId,
    ShardStatus, VideoCodec, WantedBroadcast, WantedDestination,
};

use self::{client::Client, lane::Lane, server::Server, tcp::Conn};

pub(crate) const SHARD_ADDRESS: &str = "127.0.0.1:50000";

/// What a name or address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// An RTMP server that takes everything.
    Well,
    Refuses,
    /// Neither accepts nor refuses.
    BlackHole,
    /// Accepts TCP and says nothing.
    Mute,
    /// Answers with bytes that are not RTMP.
    Garbage,
    /// Refuses the stream key.
    RejectsKey,
    /// Resets the connection after so many milliseconds of media.
    ResetsAfterMs(u64),
    /// Takes so many bytes a millisecond.
    Slow(usize),
}

/// Everything around the shard.
pub(crate) struct World {
    pub(crate) now: Instant,
    start: Instant,
    pub(crate) shard: Shard,
    pub(crate) clients: Vec<Client>,
    sites: HashMap<String, Site>,
    conns: HashMap<ConnId, Conn>,
    /// Connections in the order in which they were made, by address.
    pub(crate) history: HashMap<String, Vec<ConnId>>,
    lanes: HashMap<LaneId, u64>,
    /// Where the large slices written to each connection lie in memory.
    pub(crate) written_at: HashMap<ConnId, Vec<usize>>,
    pub(crate) events: Vec<Event>,
    /// Publishers are asked for stereo.
    pub(crate) stereo: bool,
    /// Codec lanes in the order in which they were opened.
    pub(crate) video: Vec<Lane>,
    /// Bit rates of the audio lanes that were opened.
    pub(crate) audio_bps: Vec<u32>,
    /// Pictures that were asked for; a test answers them.
    pub(crate) stills: Vec<StillJob>,
    arrivals: VecDeque<(Instant, Arrival)>,
}

enum Arrival {
    Resolved(LookupId, Result<Vec<SocketAddr>, String>),
    Connected(ConnId),
    Closed(ConnId, &'static str),
    Received(ConnId, Bytes),
    Info(ConnId, TcpInfo),
    Video(VideoLaneId, VideoResult),
}

pub(crate) fn broadcast() -> BroadcastId {
    BroadcastId::new("StreamLick", "show").unwrap()
}

pub(crate) fn session(name: &str) -> SessionId {
    SessionId(name.to_owned())
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_codecs(0)
    }

    /// A shard that may spend so many thousandths of a core on video codecs.
    pub(crate) fn with_codecs(codec_capacity_permille: u32) -> Self {
        let now = Instant::now();
        let shard = Shard::new(ShardConfig {
            shard: 0,
            shards: 1,
            engine: "simulated".into(),
            advertise: vec![SHARD_ADDRESS.parse().unwrap()],
            rtmp_port: None,
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
            sites: HashMap::new(),
            conns: HashMap::new(),
            history: HashMap::new(),
            lanes: HashMap::new(),
            written_at: HashMap::new(),
            events: Vec::new(),
            stereo: false,
            video: Vec::new(),
            audio_bps: Vec::new(),
            stills: Vec::new(),
            arrivals: VecDeque::new(),
        }
    }

    /// Gives the broadcast these destinations; each site stands at an address of its own.
    pub(crate) fn want(&mut self, sites: &[(&str, Site)]) {
        let mut wanted = WantedBroadcast::new(broadcast());
        for (name, site) in sites {
            self.sites.insert((*name).to_owned(), *site);
            wanted.destinations.push(WantedDestination::new(
                DestinationId((*name).to_owned()),
                format!("rtmp://{name}/app/key-of-{name}"),
            ));
        }
        self.command(Command::Want { broadcast: wanted });
    }

    /// Puts a site at each name.
    pub(crate) fn stand(&mut self, sites: &[(&str, Site)]) {
        for (name, site) in sites {
            self.sites.insert((*name).to_owned(), *site);
        }
    }

    /// Changes what stands at a name from now on.
    pub(crate) fn replace(&mut self, name: &str, site: Site) {
        self.sites.insert(name.to_owned(), site);
    }

    /// Changes how the server at a name treats the connections that it has, and those to come.
    pub(crate) fn turn(&mut self, name: &str, site: Site) {
        self.replace(name, site);
        for id in self.history.get(name).into_iter().flatten() {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.site = site;
            }
        }
    }

    pub(crate) fn publish(&mut self, name: &str, client: Client) {
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

    pub(crate) fn command(&mut self, command: Command) {
        self.shard.handle(self.now, Input::Command(command));
        self.settle();
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            self.step();
        }
    }

    /// Runs until `done`, at most `ms`; true if it was done.
    pub(crate) fn run_until(&mut self, ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
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
                let to = SHARD_ADDRESS.parse().unwrap();
                self.shard.handle(
                    now,
                    Input::Datagram {
                        from,
                        to,
                        payload: &datagram,
                    },
                );
                self.settle();
            }
        }
        while let Some(index) = self.arrivals.iter().position(|(at, _)| *at <= now) {
            let (_, arrival) = self.arrivals.remove(index).unwrap();
            self.arrive(arrival);
            self.settle();
        }
        self.take_bytes();
        if self.shard.next_timeout().is_some_and(|at| at <= now) {
            self.shard.handle(now, Input::Timeout);
            self.settle();
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.shard.poll() {
            self.output(output);
        }
    }

    fn later(&mut self, arrival: Arrival) {
        self.arrivals
            .push_back((self.now + Duration::from_millis(1), arrival));
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
            }
            Output::Resolve { lookup, host, port } => {
                let result = match self.sites.keys().position(|name| *name == host) {
                    // The address carries the name, so that a connection finds its site.
                    Some(_) => Ok(vec![address_of(&host, port)]),
                    None => Err("no such host".to_owned()),
                };
                self.later(Arrival::Resolved(lookup, result));
            }
            Output::Connect { conn, addr, .. } => self.connect(conn, addr),
            Output::Inspect { conn } => self.inspect(conn),
            Output::Write { conn, slices } => {
                let large = slices.iter().filter(|slice| slice.len() > 2_000);
                let places = large.map(|slice| slice.as_ptr() as usize);
                self.written_at.entry(conn).or_default().extend(places);
                let conn = self
                    .conns
                    .get_mut(&conn)
                    .expect("written to a connection that was made");
                conn.unsent.extend(slices);
            }
            Output::Close { conn, how } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.open = false;
                    if how == Close::Flush {
                        let all: Vec<Bytes> = conn.unsent.drain(..).collect();
                        for bytes in all {
                            conn.server.receive(&bytes);
                        }
                    }
                }
            }
            Output::Audio(job) => self.audio(&job),
            Output::Still(job) => self.stills.push(job),
            Output::Video(job) => self.video(job),
            Output::Event(event) => self.events.push(*event),
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Resolved(lookup, result) => {
                self.shard.handle(now, Input::Resolved { lookup, result });
            }
            Arrival::Connected(conn) => {
                self.shard.handle(
                    now,
                    Input::Tcp {
                        conn,
                        event: TcpEvent::Connected,
                    },
                );
            }
            Arrival::Closed(conn, reason) => {
                self.conns.get_mut(&conn).unwrap().open = false;
                let event = TcpEvent::Closed {
                    reason: reason.to_owned(),
                    heals: true,
                };
                self.shard.handle(now, Input::Tcp { conn, event });
            }
            Arrival::Video(lane, result) => {
                self.shard.handle(now, Input::Video { lane, result });
            }
            Arrival::Info(conn, info) => {
                if self.conns[&conn].open {
                    let event = TcpEvent::Info(info);
                    self.shard.handle(now, Input::Tcp { conn, event });
                }
            }
            Arrival::Received(conn, bytes) => {
                if self.conns[&conn].open {
                    let event = TcpEvent::Received(&bytes);
                    self.shard.handle(now, Input::Tcp { conn, event });
                }
            }
        }
    }

    /// The server of the `n`th connection to a site.
    pub(crate) fn server(&self, name: &str, n: usize) -> &Server {
        &self.conns[&self.history[name][n]].server
    }

    pub(crate) fn connections(&self, name: &str) -> usize {
        self.history.get(name).map_or(0, Vec::len)
    }

    pub(crate) fn latest(&mut self) -> ShardStatus {
        self.events.clear();
        self.run_ms(1_001);
        let status = self.events.iter().rev().find_map(|event| match event {
            Event::Status(status) => Some(status.clone()),
            _ => None,
        });
        status.expect("a status each second")
    }

    pub(crate) fn destination(&mut self, name: &str) -> DestinationStatus {
        let status = self.latest();
        let mut all = status
            .broadcasts
            .into_iter()
            .flat_map(|broadcast| broadcast.destinations);
        all.find(|status| status.id.0 == name)
            .expect("a destination of that name")
    }

    pub(crate) fn ended(&self, name: &str) -> Option<EndReason> {
        self.events.iter().find_map(|event| match event {
            Event::Ended {
                session: of,
                reason,
                ..
            } if *of == session(name) => Some(*reason),
            _ => None,
        })
    }

    pub(crate) fn elapsed_ms(&self) -> u128 {
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
