//! Everything around one shard in simulated time. The cut for publishers is just above str0m: their access units and
//! Opus packets go in by `shardcast_core::simulation_hook`, all else, viewers included, by [`Shard::handle`] and
//! [`Shard::poll`].

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{
    AddressRules, Shard, ShardConfig,
    io::{
        AudioJob, AudioTranscoderId, ConnId, Input, LookupId, Output, StillFrame, StillFrameId,
        TcpEvent, VideoResult, VideoTranscoderId,
    },
    simulation_hook::{RING_BYTES_MAX, ShardView, residue},
};
use shardcast_link::{BroadcastId, Event, WantedBroadcast};

use super::{
    connection::Conn,
    consumer_plan::{Beside, ConsumerPlan},
    encoder::Encoders,
    expected_state::{Conditions, ExpectedState},
    packages::Packages,
    plan::{Plan, ScheduledEvent},
    players::{PlayerEvent, Players},
    publisher::PublisherState,
    recordings::Recordings,
    still_encoder::StillEncoder,
    trace::{Tally, Trace},
    twin::Written,
    video_transcoders::VideoTranscoders,
    viewer_plan::Audience,
    viewers::{ViewerEvent, Viewers},
};
use crate::{
    agenda::Agenda,
    codecs::FakeAudioTranscoders,
    peers::SHARD_ADDRESS,
    random::Random,
    rtmp_server::{Answer, Failure, FaultMode},
};

pub(super) type Verdict = Result<(), String>;

pub(super) const EPOCH_UNIX_MS: u64 = 1_800_000_000_000;
/// So long a shard has run when its run begins: no publisher's clock puts media in front of that.
pub(super) const RAN_BEFORE: Duration = Duration::from_secs(5);
/// How often all promises with a deadline are checked.
const LOOK_MS: u64 = 500;
/// Things that happen in one moment: more means that the shard wakes itself without end.
const AT_ONCE_MAX: u32 = 20_000;

/// Something that will happen.
#[derive(Debug)]
pub(super) enum SimEvent {
    Scheduled(ScheduledEvent),
    /// The publisher's next picture or packet; the number tells its session.
    Picture(u64),
    Audio(u64),
    /// Bytes of an encoder are at the shard.
    FromEncoder(ConnId, Bytes),
    Coded(AudioTranscoderId, Vec<Bytes>),
    /// The still encoder answers.
    Still(StillFrameId, Result<StillFrame, &'static str>),
    /// A video transcoder has results.
    Transcoded(VideoTranscoderId, Vec<VideoResult>),
    TranscoderReport(VideoTranscoderId),
    Resolved(LookupId, Result<Vec<SocketAddr>, String>),
    Connected(ConnId),
    Closed {
        conn: ConnId,
        reason: &'static str,
        retryable: bool,
    },
    /// The kernel has taken bytes.
    Accepted(ConnId, usize),
    /// Bytes are at the server.
    Arrived(ConnId, Bytes),
    Acked(ConnId, usize),
    Answered(ConnId, Answer),
    Inspected(ConnId),
    Fails(ConnId, Failure),
    LingeredOut(ConnId),
    Viewer(usize, ViewerEvent),
    Player(usize, PlayerEvent),
    /// The disk of recordings has done a job.
    Disk,
    Look,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) mode: FaultMode,
    /// Raised when it moves to another address.
    pub(super) version: u8,
}

impl Host {
    fn well() -> Self {
        Self {
            mode: FaultMode::Well,
            version: 1,
        }
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) plan: Plan,
    pub(super) trace: Trace,
    pub(super) tally: Tally,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) shard: Shard,
    agenda: Agenda<SimEvent>,
    pub(super) hosts: Vec<Host>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    /// Of these, how many neither side has closed.
    pub(super) conns_open: usize,
    /// By the id of the destination.
    pub(super) expected: BTreeMap<String, ExpectedState>,
    pub(super) wanted: WantedBroadcast,
    pub(super) publisher: PublisherState,
    pub(super) encoders: Encoders,
    pub(super) audio_transcoders: FakeAudioTranscoders,
    pub(super) video_transcoders: VideoTranscoders,
    pub(super) still_encoder: StillEncoder,
    pub(super) viewers: Viewers,
    pub(super) players: Players,
    pub(super) recordings: Recordings,
    pub(super) packages: Packages,
    /// Chance of what is recorded and packaged.
    pub(super) consumer_random: Random,
    /// What destinations are sent, if the run is made twice.
    pub(super) written: Option<Written>,
    /// The input in work ends streams in order.
    pub(super) end_requested: bool,
    /// The input in work must not make the shard do anything.
    pub(super) idle: bool,
    /// The same; only the kernel may be asked about another connection, which is due now and then.
    pub(super) stale: bool,
    pub(super) recovered_at: Option<Instant>,
    pub(super) over: bool,
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A shard that has run for a while at `now`.
fn shard(plan: &Plan, seed: u64, now: Instant) -> Shard {
    Shard::new(ShardConfig {
        shard: 0,
        shards: 1,
        engine: "simulated".to_owned(),
        advertise: vec![SHARD_ADDRESS.parse().unwrap()],
        tcp_candidates: false,
        seed,
        epoch: now - RAN_BEFORE,
        epoch_unix_ms: EPOCH_UNIX_MS - RAN_BEFORE.as_millis() as u64,
        capacity: 100,
        address_rules: AddressRules::default(),
        codec_capacity_permille: plan.transcoders.capacity_permille,
        codecs_beside: false,
    })
}

impl World {
    pub(super) fn new(seed: u64, trace: Trace, beside: Beside) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Plan::new(&mut random);
        let audience = Audience::new(seed, &plan);
        // A rendition is there for viewers, or for what is packaged: one of the two in a run, so that each is seen.
        let beside = match audience.is_none() {
            true => beside,
            false => Beside::Nothing,
        };
        let consumers = ConsumerPlan::new(seed, &plan, beside);
        let written = Written::of(seed, &plan, &consumers);
        plan.schedule.extend(consumers.events);
        let now = Instant::now();
        let shard = shard(&plan, random.next(), now);
        let id = BroadcastId::new("StreamLick", "show").unwrap();
        let mut wanted = WantedBroadcast::new(id);
        wanted.hold_ms = plan.hold_ms;
        wanted.ladder.clone_from(&audience.ladder);
        let mut world = Self {
            hosts: std::iter::repeat_with(Host::well)
                .take(plan.hosts)
                .collect(),
            random,
            plan,
            trace,
            tally: Tally::default(),
            start: now,
            now,
            shard,
            agenda: Agenda::default(),
            conns: BTreeMap::new(),
            conns_open: 0,
            expected: BTreeMap::new(),
            wanted,
            publisher: PublisherState::default(),
            encoders: Encoders::default(),
            audio_transcoders: FakeAudioTranscoders::default(),
            video_transcoders: VideoTranscoders::default(),
            still_encoder: StillEncoder::default(),
            viewers: Viewers::new(&audience),
            players: Players::new(&audience.players),
            recordings: Recordings::new(),
            packages: Packages::default(),
            consumer_random: consumers.random,
            written,
            end_requested: false,
            idle: false,
            stale: false,
            recovered_at: None,
            over: false,
        };
        for (at_ms, event) in std::mem::take(&mut world.plan.schedule) {
            world.at(now + ms(at_ms), SimEvent::Scheduled(event));
        }
        world.at(now, SimEvent::Look);
        world
    }

    /// Runs to the end, or to the first broken promise.
    pub(super) fn run(&mut self) -> Verdict {
        let mut at_once = 0;
        self.invite_viewers();
        self.invite_players();
        while !self.over {
            let timeout = self.shard.next_timeout();
            let Some(at) = self.agenda.next_at().into_iter().chain(timeout).min() else {
                return Err("no event and no deadline is left before the end of the run".to_owned());
            };
            at_once = if at > self.now { 0 } else { at_once + 1 };
            if at_once > AT_ONCE_MAX {
                return Err("time stands still: the shard wakes itself without end".to_owned());
            }
            self.now = self.now.max(at);
            if timeout.is_some_and(|at| at <= self.now) {
                self.timeout()?;
            } else if let Some(event) = self.agenda.pop_due(self.now) {
                self.process_event(event)?;
            }
        }
        if !self.recordings.are_over() {
            return Err("a recording's file is never closed".to_owned());
        }
        self.assert_nothing_is_left()
    }

    pub(super) fn at(&mut self, at: Instant, event: SimEvent) {
        self.agenda.at(at, event);
    }

    pub(super) fn after(&mut self, delay: Duration, event: SimEvent) {
        self.at(self.now + delay, event);
    }

    pub(super) fn calm_at(&self) -> Instant {
        self.start + ms(self.plan.calm_ms)
    }

    pub(super) fn view(&self) -> ShardView<'_> {
        ShardView::of(&self.shard)
    }

    pub(super) fn conditions(&self) -> Conditions {
        let since_start = self.now - self.start;
        Conditions {
            now: self.now,
            now_unix_ms: EPOCH_UNIX_MS + u64::try_from(since_start.as_millis()).unwrap(),
            fair_since: (self.now >= self.calm_at()).then(|| self.calm_at()),
        }
    }

    fn timeout(&mut self) -> Verdict {
        let due_before = self.view().keyframe_due();
        let shown_before = self.view().newest_keyframe();
        self.handle(Input::Timeout)?;
        if self.view().newest_keyframe() != shown_before {
            self.check_slate()?;
        }
        // Once it was asked for, it is asked for again at another time.
        let due = self.view().keyframe_due();
        if due.is_some() && due != due_before {
            self.keyframe_wanted();
        }
        Ok(())
    }

    pub(super) fn handle(&mut self, input: Input<'_>) -> Verdict {
        let was_on_air = self.view().is_on_air();
        self.shard.handle(self.now, input);
        self.came_on_air(was_on_air);
        self.process_outputs()
    }

    /// After something was done to the shard, which `was_on_air` before.
    pub(super) fn came_on_air(&mut self, was_on_air: bool) {
        let is_on_air = self.view().is_on_air();
        self.end_requested |= was_on_air && !is_on_air;
        if is_on_air && !was_on_air {
            for expected in self.expected.values_mut() {
                expected.on_air();
            }
        }
    }

    pub(super) fn tcp(&mut self, conn: ConnId, event: TcpEvent<'_>) -> Verdict {
        self.handle(Input::Tcp { conn, event })
    }

    /// Does everything that the shard asks for.
    pub(super) fn process_outputs(&mut self) -> Verdict {
        self.log_units();
        while let Some(output) = self.shard.poll() {
            // A selection may have been due all the time; audio that was made for a rendition ends with it.
            let of_pictures = matches!(
                output,
                Output::StillFrame(_) | Output::Video(_) | Output::Audio(AudioJob::Close { .. })
            );
            let inspects = self.stale && matches!(output, Output::Inspect { .. });
            if (self.idle || self.stale) && !of_pictures && !inspects {
                return Err(format!("{output:?} although nothing has changed"));
            }
            self.output(output)?;
        }
        self.end_requested = false;
        let open = self.conns_open;
        let known = self.view().connections();
        if open != known {
            return Err(format!(
                "{open} connections are open, the shard knows {known}"
            ));
        }
        if !self.view().is_on_air() && open > 0 {
            return Err("off air with an open connection".to_owned());
        }
        Ok(())
    }

    fn output(&mut self, output: Output) -> Verdict {
        match output {
            Output::Resolve { lookup, host, .. } => self.resolve(lookup, &host),
            Output::Connect { conn, addr, tls } => self.connect(conn, addr, tls.is_some()),
            Output::Adopt { conn, socket } if self.players.adopt(conn, &socket) => Ok(()),
            Output::Adopt { conn, socket } => self.encoders.adopt(conn, &socket),
            Output::Write { conn, slices } if self.encoders.has(conn) => {
                self.encoders.write(conn, &slices)
            }
            Output::Close { conn, .. } if self.encoders.has(conn) => self.encoders.close(conn),
            Output::Write { conn, slices } => match self.players.index(conn) {
                Some(player) => self.write_to_player(player, &slices),
                None => self.write(conn, slices),
            },
            Output::Inspect { conn } => {
                let event = match self.players.index(conn) {
                    Some(player) => SimEvent::Player(player, PlayerEvent::Info),
                    None => SimEvent::Inspected(conn),
                };
                self.after(Duration::from_micros(50), event);
                Ok(())
            }
            Output::Close { conn, how } => match self.players.index(conn) {
                Some(player) => self.players.close(player),
                None => self.close(conn, how),
            },
            Output::Audio(job) => self.audio(&job),
            Output::Event(event) => match *event {
                Event::Destination { status, .. } => self.reported(&status),
                Event::Recorded { file } => {
                    self.recordings.told(&file);
                    Ok(())
                }
                Event::Publishing { session, .. } => self.encoder_reported(&session, None),
                Event::Ended {
                    session, reason, ..
                } => self.encoder_reported(&session, Some(reason)),
                other => self.viewer_reported(other),
            },
            Output::StillFrame(job) => self.still_wanted(&job),
            Output::Video(job) => self.video(job),
            Output::Datagram { to, payload, .. } => self.datagram_to_viewer(to, payload),
            Output::Record(job) => self.record(job),
            Output::Fragment(part) => self.packaged(&part),
            // Of previews, which the seeded shows do not have.
            Output::Preview(_) | Output::PreviewMade(_) => Ok(()),
        }
    }

    fn process_event(&mut self, event: SimEvent) -> Verdict {
        match event {
            SimEvent::Scheduled(event) => self.scheduled(event),
            SimEvent::Picture(session) => self.picture(session),
            SimEvent::Audio(session) => self.audio_packet(session),
            SimEvent::FromEncoder(conn, bytes) => self.read_encoder(conn, &bytes),
            SimEvent::Coded(transcoder, frames) => frames
                .into_iter()
                .try_for_each(|frame| self.handle(Input::AudioFrame { transcoder, frame })),
            SimEvent::Still(still, result) => self.still_coded(still, result),
            SimEvent::Transcoded(transcoder, results) => self.transcoded(transcoder, results),
            SimEvent::TranscoderReport(transcoder) => self.transcoder_report(transcoder),
            SimEvent::Resolved(lookup, result) => {
                // Nothing comes of the answer to one that was removed, or has gone on.
                self.idle = self.view().destination_of_lookup(lookup).is_none();
                self.handle(Input::Resolved { lookup, result })?;
                self.idle = false;
                Ok(())
            }
            SimEvent::Look => self.look(),
            SimEvent::Viewer(index, event) => self.viewer_event(index, event),
            SimEvent::Player(index, event) => self.player_event(index, event),
            SimEvent::Disk => self.disk_job(),
            SimEvent::LingeredOut(conn) => self.lingered_out(conn),
            SimEvent::Connected(conn) => self.connected(conn),
            SimEvent::Closed {
                conn,
                reason,
                retryable,
            } => self.closed(conn, reason, retryable),
            SimEvent::Accepted(conn, bytes) => self.accepted(conn, bytes),
            SimEvent::Inspected(conn) => self.inspected(conn),
            SimEvent::Arrived(conn, bytes) => self.arrived(conn, bytes),
            SimEvent::Acked(conn, bytes) => self.acked(conn, bytes),
            SimEvent::Answered(conn, answer) => self.answered(conn, &answer),
            SimEvent::Fails(conn, failure) => self.fails(conn, failure),
        }
    }

    /// Checks everything that has to come by itself.
    fn look(&mut self) -> Verdict {
        let conditions = self.conditions();
        // What failed is tried again later.
        let fails = self.plan.transcoders.fails_percent > 0;
        for (id, expected) in &self.expected {
            expected
                .overdue(conditions, fails || self.may_starve(id))
                .map_err(|broken| format!("{id}: {broken}"))?;
        }
        self.check_connections()?;
        self.check_videos()?;
        self.check_viewers()?;
        self.check_recordings()?;
        self.check_packages()?;
        if self.view().ring_bytes() > RING_BYTES_MAX {
            return Err("the ring is larger than it may be".to_owned());
        }
        self.finish_when_recovered()?;
        self.after(ms(LOOK_MS), SimEvent::Look);
        Ok(())
    }

    /// After the broadcast was taken away, no part of the shard may remember it.
    pub(super) fn assert_nothing_is_left(&mut self) -> Verdict {
        let mut residue = residue(&mut self.shard);
        residue.extend([
            ("open audio transcoders", self.audio_transcoders.open()),
            ("open video transcoders", self.video_transcoders.open()),
            ("connections of encoders", self.encoders.open()),
            ("sessions of viewers", self.viewers.open()),
            ("connections of players", self.players.open()),
            ("files of recordings", self.recordings.open()),
            ("packagings", usize::from(self.packages.is_begun)),
        ]);
        match residue.iter().find(|(_, count)| *count > 0) {
            Some((what, count)) => Err(format!("{count} {what} are left at the end")),
            None => Ok(()),
        }
    }
}
