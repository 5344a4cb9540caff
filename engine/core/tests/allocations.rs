//! Proves: once a broadcast runs, a datagram that completes no picture and no AAC frame allocates nothing
//! of ours, and what a unit allocates is known, for each unit and for each destination.
//!
//! A global allocator counts while the shard is at work, and takes a backtrace of each allocation: it is
//! ours if the innermost function that is neither the standard library's nor a container's is in this
//! crate. It is a binary of its own, since other tests would be counted too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{
    AddressRules, Shard, ShardConfig,
    io::{AudioJob, ConnId, Input, Output, TcpEvent, TcpInfo},
    rtmp::{ServerConfig, ServerOutput, ServerSession},
};
use shardcast_link::{
    BroadcastId, Command, DestinationId, Event, SessionId, ShardStatus, VideoCodec,
    WantedBroadcast, WantedDestination,
};
use shardcast_sim::peers::{
    SHARD_ADDRESS,
    client::{Client, Sends},
};

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static SITES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Counts what is allocated while [`COUNTS`] is set.
struct Counting;

impl Counting {
    fn note() {
        // Not while a backtrace is taken, nor at the end of a thread.
        let counts = COUNTS.try_with(|counts| counts.replace(false));
        if counts == Ok(true) {
            let site = allocating_function(&Backtrace::force_capture().to_string());
            let _ = SITES.try_with(|sites| sites.borrow_mut().push(site));
            let _ = COUNTS.try_with(|counts| counts.set(true));
        }
    }
}

// SAFETY: everything is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The innermost function that is neither the standard library's nor a container's nor of this file: by
/// its place in the source where it is ours, by its name where it is not.
fn allocating_function(backtrace: &str) -> String {
    const BELOW: [&str; 7] = [
        "std::",
        "core::",
        "alloc::",
        "bytes::",
        "hashbrown::",
        "smallvec::",
        "__rust",
    ];
    let mut frames: Vec<(&str, &str)> = Vec::new();
    for line in backtrace.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.1 = place;
            }
        } else if let Some((_, function)) = line.split_once(": ") {
            frames.push((function, ""));
        }
    }
    let above = frames.iter().find(|(function, place)| {
        let function = function.trim_start_matches(['<', '&']);
        let is_below = BELOW.iter().any(|it| function.starts_with(it));
        !(is_below || place.starts_with("/rustc/") || place.contains("tests/allocations.rs"))
    });
    match above {
        Some((function, "")) => (*function).to_owned(),
        Some((function, place)) => format!("{OURS}{place} {function}"),
        None => "unknown".to_owned(),
    }
}

/// Only our crates are built with the places of their functions.
const OURS: &str = "ours: ";

/// What is allocated in `run`, by function.
fn allocations_of(run: impl FnOnce()) -> Vec<String> {
    COUNTS.set(true);
    run();
    COUNTS.set(false);
    SITES.take()
}

fn is_ours(site: &str) -> bool {
    site.starts_with(OURS)
}

/// What inputs of one kind came to.
#[derive(Debug, Default)]
struct Tally {
    inputs: u64,
    ours: u64,
    others: u64,
    sites: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, sites: Vec<String>) {
        self.inputs += 1;
        for site in sites {
            *if is_ours(&site) {
                &mut self.ours
            } else {
                &mut self.others
            } += 1;
            *self.sites.entry(site).or_default() += 1;
        }
    }
}

struct Rig {
    shard: Shard,
    client: Client,
    now: Instant,
    servers: HashMap<ConnId, ServerSession>,
    acked: HashMap<ConnId, u64>,
    opus_packets: u64,
    statuses: Vec<ShardStatus>,
    /// Of datagrams that put out neither media nor work for a codec.
    datagrams: Tally,
    /// Of datagrams that did: they completed a picture or an Opus packet.
    units: Tally,
    aac: Tally,
    accepted: Tally,
}

impl Rig {
    fn new(destinations: usize) -> Self {
        let start = Instant::now();
        let shard = Shard::new(ShardConfig {
            shard: 0,
            shards: 1,
            engine: "counted".to_owned(),
            advertise: vec![SHARD_ADDRESS.parse().unwrap()],
            tcp_candidates: false,
            seed: 1,
            epoch: start,
            epoch_unix_ms: 0,
            capacity: 100,
            address_rules: AddressRules::default(),
            codec_capacity_permille: 0,
            codecs_beside: false,
        });
        let sends = Sends {
            frame_bytes: 10_000,
            ..Sends::default()
        };
        let mut rig = Self {
            shard,
            client: Client::new(start, 4_000, sends),
            now: start,
            servers: HashMap::new(),
            acked: HashMap::new(),
            opus_packets: 0,
            statuses: Vec::new(),
            datagrams: Tally::default(),
            units: Tally::default(),
            aac: Tally::default(),
            accepted: Tally::default(),
        };
        rig.publish(destinations);
        rig.run(Duration::from_secs(8));
        rig.datagrams = Tally::default();
        rig.units = Tally::default();
        rig.aac = Tally::default();
        rig.accepted = Tally::default();
        rig.statuses.clear();
        rig.opus_packets = 0;
        rig
    }

    fn publish(&mut self, destinations: usize) {
        let broadcast = BroadcastId::new("app", "stream").unwrap();
        let mut wanted = WantedBroadcast::new(broadcast.clone());
        wanted.destinations = (0..destinations)
            .map(|n| {
                let url = format!("rtmp://192.0.2.1/app/key{n}");
                WantedDestination::new(DestinationId(n.to_string()), url)
            })
            .collect();
        for command in [
            Command::Want { broadcast: wanted },
            Command::Publish {
                session: SessionId("s".into()),
                broadcast,
                sdp: self.client.offer.clone(),
                start_timeout_ms: 10_000,
                codecs: vec![VideoCodec::H264],
                stereo: false,
            },
        ] {
            self.shard.handle(self.now, Input::Command(command));
            self.outputs();
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(1);
            for datagram in self.client.run(self.now) {
                self.datagram(&datagram);
            }
            if self.shard.next_timeout().is_some_and(|at| at <= self.now) {
                self.shard.handle(self.now, Input::Timeout);
                self.outputs();
            }
        }
    }

    fn datagram(&mut self, payload: &[u8]) {
        let (from, to): (_, SocketAddr) = (self.client.address, SHARD_ADDRESS.parse().unwrap());
        let (shard, now) = (&mut self.shard, self.now);
        let sites = allocations_of(|| shard.handle(now, Input::Datagram { from, to, payload }));
        let tally = if self.outputs() {
            &mut self.units
        } else {
            &mut self.datagrams
        };
        tally.add(sites);
    }

    /// Does what is put out. True if media was among it, or work for a codec.
    fn outputs(&mut self) -> bool {
        let mut media = false;
        while let Some(output) = self.shard.poll() {
            media |= matches!(output, Output::Write { .. } | Output::Audio(_));
            self.output(output);
        }
        media
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Datagram { payload, .. } => self.client.receive(self.now, &payload),
            Output::Resolve { lookup, port, .. } => {
                let result = Ok(vec![([192, 0, 2, 1], port).into()]);
                self.shard
                    .handle(self.now, Input::Resolved { lookup, result });
            }
            Output::Connect { conn, .. } => {
                self.servers
                    .insert(conn, ServerSession::new(ServerConfig::default()));
                self.tcp(conn, TcpEvent::Connected);
            }
            Output::Write { conn, slices } => self.write(conn, &slices),
            Output::Inspect { conn } => {
                let acked_bytes = self.acked[&conn];
                let info = TcpInfo {
                    acked_bytes,
                    ..TcpInfo::default()
                };
                self.tcp(conn, TcpEvent::Info(info));
            }
            Output::Audio(AudioJob::Decode { transcoder, .. }) => {
                self.opus_packets += 1;
                // 15 AAC frames of 1,024 samples are 16 Opus packets of 960.
                if !self.opus_packets.is_multiple_of(16) {
                    let (shard, now) = (&mut self.shard, self.now);
                    let frame = Bytes::from_static(&[7; 300]);
                    let input = Input::AudioFrame { transcoder, frame };
                    let sites = allocations_of(|| shard.handle(now, input));
                    self.aac.add(sites);
                }
            }
            Output::Event(event) => match *event {
                Event::Answer { sdp, .. } => self.client.answer(self.now, &sdp),
                Event::Status(status) => self.statuses.push(status),
                _ => {}
            },
            _ => {}
        }
    }

    fn write(&mut self, conn: ConnId, slices: &[Bytes]) {
        let server = self.servers.get_mut(&conn).unwrap();
        for slice in slices {
            server.handle(slice).unwrap();
        }
        let mut answers = Vec::new();
        while let Some(output) = server.poll() {
            match output {
                ServerOutput::Send(bytes) => answers.push(bytes),
                ServerOutput::Publish { .. } => server.accept_publish(),
                _ => {}
            }
        }
        for bytes in answers {
            self.tcp(conn, TcpEvent::Received(&bytes));
        }
        let bytes = slices.iter().map(Bytes::len).sum();
        *self.acked.entry(conn).or_default() += bytes as u64;
        let event = TcpEvent::Accepted { bytes };
        let (shard, now) = (&mut self.shard, self.now);
        let sites = allocations_of(|| shard.handle(now, Input::Tcp { conn, event }));
        self.accepted.add(sites);
    }

    fn tcp(&mut self, conn: ConnId, event: TcpEvent<'_>) {
        self.shard.handle(self.now, Input::Tcp { conn, event });
    }
}

#[test]
fn a_datagram_allocates_nothing_of_ours_and_a_unit_what_is_known() {
    for destinations in [1, 5] {
        let mut rig = Rig::new(destinations);
        rig.run(Duration::from_secs(4));
        assert!(rig.datagrams.inputs > 1_000 && rig.units.inputs > 300);
        assert_eq!(rig.datagrams.ours, 0, "{:#?}", rig.datagrams);
        assert_eq!(rig.accepted.ours, 0, "{:#?}", rig.accepted);
        // Of each picture its bytes and their count of references, of each packet its bytes and the list
        // of what is fed, of each message to a destination its headers and the list of its slices.
        let packets = rig.opus_packets;
        let pictures = rig.units.inputs - packets;
        let messages = destinations as u64 * (rig.aac.inputs + pictures);
        // Parameter sets, and a second chunk.
        let of_keyframes = 3 * (3 + destinations as u64);
        let bound = 2 * (pictures + packets + messages) + of_keyframes;
        let ours = rig.units.ours + rig.aac.ours;
        assert!(ours <= bound, "{ours} of {bound}: {:#?}", rig.units);
        println!(
            "{destinations} destinations: {ours} allocations of ours for {pictures} pictures, \
             {packets} packets and {messages} messages; str0m's were {} in {} datagrams",
            rig.units.others + rig.datagrams.others,
            rig.units.inputs + rig.datagrams.inputs,
        );
    }
}

#[test]
fn payloads_are_never_copied_between_ring_and_connection() {
    let mut rig = Rig::new(3);
    rig.run(Duration::from_secs(2));
    let status = rig.statuses.last().unwrap();
    let destinations = &status.broadcasts[0].destinations;
    assert!(destinations.iter().all(|it| it.video_frames > 250));
    assert_eq!(status.work.payload_copied_bytes, 0);
}
