//! Everything around one shard in simulated time, and the only place that knows how a shard is
//! driven. The cut is just above str0m, whose keys make no two runs alike: pictures and sound go
//! into the broadcast as the shard's own publishers hand them over, all else through
//! [`Shard::handle`] and [`Shard::poll`].

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::{BroadcastId, DestinationStatus, Event, WantedBroadcast};

use super::{
    easel::Easel,
    ledger::{Around, Entry},
    loom::Loom,
    plan::{Mood, Plan, Turn},
    publisher::Stage,
    random::Random,
    server::{Answer, Conn, Doom},
    sound::AudioLanes,
    trace::{Tally, Trace, note},
};
use crate::{
    AddressRules, Shard, ShardConfig,
    io::{
        AudioJob, ConnId, Input, LaneId, LookupId, Output, StillId, StillPicture, TcpEvent,
        VideoLaneId, VideoResult,
    },
    limits::RING_BYTES_MAX,
    shard::{BroadcastKey, TimerKey},
};

pub(super) type Verdict = Result<(), String>;

pub(super) const EPOCH_UNIX_MS: u64 = 1_700_000_000_000;
/// How often everything is looked at.
const LOOK_MS: u64 = 500;
/// Things that happen in one moment: more means that the shard wakes itself without end.
const AT_ONCE_MAX: u32 = 20_000;
/// How long a calm run may take to find back, in milliseconds: the longest delay of a refused key
/// with its jitter, and the attempts around it.
const BACK_MS_MAX: u64 = 375_000 + 60_000;

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Happening {
    Turn(Turn),
    /// The publisher's next picture or packet; the number tells its session.
    Picture(u64),
    Sound(u64),
    Coded(LaneId, Vec<Bytes>),
    /// A picture was coded by itself, or could not be.
    Still(StillId, Result<StillPicture, &'static str>),
    /// A video lane has done something.
    Woven(VideoLaneId, Vec<VideoResult>),
    LaneReport(VideoLaneId),
    Resolved(LookupId, Result<Vec<SocketAddr>, String>),
    Connected(ConnId),
    Closed {
        conn: ConnId,
        reason: &'static str,
        heals: bool,
    },
    /// The kernel has taken bytes.
    Accepted(ConnId, usize),
    /// Bytes are at the server.
    Arrived(ConnId, Bytes),
    Acked(ConnId, usize),
    Answered(ConnId, Answer),
    Inspected(ConnId),
    Doomed(ConnId, Doom),
    LingeredOut(ConnId),
    Look,
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) mood: Mood,
    /// Raised when it moves to another address.
    pub(super) version: u8,
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
    agenda: BTreeMap<(Instant, u64), Happening>,
    serial: u64,
    pub(super) sites: Vec<Site>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    /// Of these, how many neither side has closed.
    pub(super) conns_open: usize,
    /// By the id of the destination.
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) wanted: WantedBroadcast,
    pub(super) stage: Stage,
    pub(super) audio_lanes: AudioLanes,
    pub(super) loom: Loom,
    pub(super) easel: Easel,
    /// What is being handled ends streams by wish.
    pub(super) wished: bool,
    /// What is being handled must not make the shard do anything.
    pub(super) idle: bool,
    settled_at: Option<Instant>,
    pub(super) over: bool,
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl World {
    pub(super) fn new(seed: u64, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let now = Instant::now();
        let shard = Shard::new(ShardConfig {
            shard: 0,
            shards: 1,
            engine: "simulated".to_owned(),
            advertise: Vec::new(),
            rtmp_port: None,
            seed: random.next(),
            epoch: now,
            epoch_unix_ms: EPOCH_UNIX_MS,
            capacity: 100,
            address_rules: AddressRules::default(),
            codec_capacity_permille: plan.lanes.capacity_permille,
            codecs_beside: false,
        });
        let id = BroadcastId::new("StreamLick", "show").unwrap();
        let mut wanted = WantedBroadcast::new(id);
        wanted.hold_ms = plan.hold_ms;
        let site = || Site {
            mood: Mood::Well,
            version: 1,
        };
        let mut world = Self {
            sites: std::iter::repeat_with(site).take(plan.sites).collect(),
            random,
            plan,
            trace,
            tally: Tally::default(),
            start: now,
            now,
            shard,
            agenda: BTreeMap::new(),
            serial: 0,
            conns: BTreeMap::new(),
            conns_open: 0,
            entries: BTreeMap::new(),
            wanted,
            stage: Stage::default(),
            audio_lanes: AudioLanes::default(),
            loom: Loom::default(),
            easel: Easel::default(),
            wished: false,
            idle: false,
            settled_at: None,
            over: false,
        };
        for (at_ms, turn) in std::mem::take(&mut world.plan.turns) {
            world.at(now + ms(at_ms), Happening::Turn(turn));
        }
        world.at(now, Happening::Look);
        world
    }

    /// Runs to the end, or to the first broken promise.
    pub(super) fn run(&mut self) -> Verdict {
        let mut at_once = 0;
        while !self.over {
            let happening = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let timeout = self.shard.next_timeout();
            let Some(at) = happening.into_iter().chain(timeout).min() else {
                return Err("nothing is ever going to happen again".to_owned());
            };
            at_once = if at > self.now { 0 } else { at_once + 1 };
            if at_once > AT_ONCE_MAX {
                return Err("time stands still: the shard wakes itself without end".to_owned());
            }
            self.now = self.now.max(at);
            if timeout.is_some_and(|at| at <= self.now) {
                self.timeout()?;
            } else if let Some((_, happening)) = self.agenda.pop_first() {
                self.happen(happening)?;
            }
        }
        self.assert_nothing_is_left()
    }

    pub(super) fn at(&mut self, at: Instant, happening: Happening) {
        self.serial += 1;
        self.agenda.insert((at, self.serial), happening);
    }

    pub(super) fn after(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    pub(super) fn calm_at(&self) -> Instant {
        self.start + ms(self.plan.calm_ms)
    }

    pub(super) fn key(&self) -> Option<BroadcastKey> {
        // There is one, and this is asked at every step.
        self.shard.broadcasts.keys().next().copied()
    }

    pub(super) fn is_on_air(&self) -> bool {
        let mut broadcasts = self.shard.broadcasts.values();
        broadcasts.any(crate::broadcast::Broadcast::is_on_air)
    }

    pub(super) fn around(&self) -> Around {
        let since_start = self.now - self.start;
        Around {
            now: self.now,
            now_unix_ms: EPOCH_UNIX_MS + u64::try_from(since_start.as_millis()).unwrap(),
            fair_since: (self.now >= self.calm_at()).then(|| self.calm_at()),
        }
    }

    fn timeout(&mut self) -> Verdict {
        let due_before = self.keyframe_due();
        let shown_before = self.newest_keyframe();
        self.handle(Input::Timeout)?;
        if self.newest_keyframe() != shown_before {
            self.look_at_still()?;
        }
        // Once it was asked for, it is asked for again at another time.
        let due = self.keyframe_due();
        if due.is_some() && due != due_before {
            self.keyframe_wanted();
        }
        Ok(())
    }

    fn newest_keyframe(&self) -> Option<u64> {
        let broadcast = self.shard.broadcasts.get(&self.key()?)?;
        broadcast.intake.ring.newest_keyframe()
    }

    fn keyframe_due(&self) -> Option<Instant> {
        let broadcast = self.shard.broadcasts.get(&self.key()?)?;
        broadcast.intake.keyframe_due()
    }

    pub(super) fn handle(&mut self, input: Input<'_>) -> Verdict {
        let was_on_air = self.is_on_air();
        self.shard.handle(self.now, input);
        self.wished |= was_on_air && !self.is_on_air();
        self.settle()
    }

    pub(super) fn tcp(&mut self, conn: ConnId, event: TcpEvent<'_>) -> Verdict {
        self.handle(Input::Tcp { conn, event })
    }

    /// Does everything that the shard wants done.
    pub(super) fn settle(&mut self) -> Verdict {
        while let Some(output) = self.shard.poll() {
            // Pictures may have been due all the time, and only nobody looked; sound that was made
            // for them goes with them.
            let of_pictures = matches!(
                output,
                Output::Still(_) | Output::Video(_) | Output::Audio(AudioJob::Close { .. })
            );
            if self.idle && !of_pictures {
                return Err(format!("{output:?} although nothing has changed"));
            }
            self.output(output)?;
        }
        self.wished = false;
        let open = self.conns_open;
        if open != self.shard.conns.len() {
            let known = self.shard.conns.len();
            return Err(format!(
                "{open} connections are open, the shard knows {known}"
            ));
        }
        if !self.is_on_air() && open > 0 {
            return Err("off air with an open connection".to_owned());
        }
        Ok(())
    }

    fn output(&mut self, output: Output) -> Verdict {
        match output {
            Output::Resolve { lookup, host, .. } => self.resolve(lookup, &host),
            Output::Connect { conn, addr, tls } => self.connect(conn, addr, tls.is_some()),
            Output::Write { conn, slices } => self.write(conn, slices),
            Output::Inspect { conn } => {
                self.after(Duration::from_micros(50), Happening::Inspected(conn));
                Ok(())
            }
            Output::Close { conn, how } => self.close(conn, how),
            Output::Audio(job) => {
                self.audio(&job);
                Ok(())
            }
            Output::Event(event) => match *event {
                Event::Destination { status, .. } => self.reported(&status),
                _ => Ok(()),
            },
            Output::Still(job) => self.still_wanted(&job),
            Output::Video(job) => self.video(job),
            Output::Datagram { .. } => Ok(()),
        }
    }

    fn reported(&mut self, status: &DestinationStatus) -> Verdict {
        use shardcast_link::DestinationState::{BackingOff, Ended, Failed, Idle, Live};
        let around = self.around();
        let problem = status.last_problem.as_ref();
        note!(
            self,
            "{} {:?}, {} attempts, {:?}",
            status.id.0,
            status.state,
            status.attempts,
            problem.map(|problem| problem.message.as_str())
        );
        if status.frames_dropped > 0 {
            self.tally.count("told that parts were left out");
        }
        let Some(entry) = self.entries.get_mut(&status.id.0) else {
            return Ok(()); // The last word of one that was removed.
        };
        if entry.state == Idle && status.state == Ended {
            return Ok(()); // The last word of its predecessor.
        }
        entry
            .reported(around, status)
            .map_err(|broken| format!("{}: {broken}", status.id.0))?;
        if self.plan.steady[entry.site] && matches!(status.state, BackingOff | Failed) {
            return Err(format!("{} failed at a server that is well", status.id.0));
        }
        let (open, live) = (entry.is_open(), status.state == Live);
        self.tally.count(match status.state {
            BackingOff => "failed and tries again",
            Failed => "gave up",
            Live => "on air",
            _ => "other reports",
        });
        for conn in self.conns.values_mut() {
            if conn.open && conn.owner == status.id.0 {
                conn.taken = open;
                // The answer to a ping may still be under way when the stream is taken, and its
                // acknowledgement looks like one of media.
                let none = conn.witness.media == 0 && conn.unread.is_empty();
                if live && none && !conn.interleaves {
                    return Err(format!("{} is called live and got no media", status.id.0));
                }
            }
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Verdict {
        match happening {
            Happening::Turn(turn) => self.turn(turn),
            Happening::Picture(session) => self.picture(session),
            Happening::Sound(session) => self.sound(session),
            Happening::Coded(lane, frames) => self.handle(Input::AudioFrames { lane, frames }),
            Happening::Still(still, result) => self.still_coded(still, result),
            Happening::Woven(lane, results) => self.woven(lane, results),
            Happening::LaneReport(lane) => self.lane_report(lane),
            Happening::Resolved(lookup, result) => self.handle(Input::Resolved { lookup, result }),
            Happening::Look => self.look(),
            Happening::LingeredOut(conn) => self.lingered_out(conn),
            Happening::Connected(conn) => self.connected(conn),
            Happening::Closed {
                conn,
                reason,
                heals,
            } => self.closed(conn, reason, heals),
            Happening::Accepted(conn, bytes) if self.is_open(conn) => {
                self.tcp(conn, TcpEvent::Accepted { bytes })
            }
            Happening::Inspected(conn) if self.is_open(conn) => self.inspected(conn),
            Happening::Arrived(conn, bytes) => self.arrived(conn, bytes),
            Happening::Acked(conn, bytes) => self.acked(conn, bytes),
            Happening::Answered(conn, answer) => self.answered(conn, &answer),
            Happening::Doomed(conn, doom) => self.doomed(conn, doom),
            Happening::Accepted(..) | Happening::Inspected(_) => Ok(()),
        }
    }

    /// Looks at everything that has to come by itself.
    fn look(&mut self) -> Verdict {
        let around = self.around();
        // What failed is tried again later.
        let fails = self.plan.lanes.fails_percent > 0;
        for (id, entry) in &self.entries {
            entry
                .overdue(around, fails || self.may_starve(id))
                .map_err(|broken| format!("{id}: {broken}"))?;
        }
        self.look_at_connections()?;
        self.look_at_pictures()?;
        if let Some(key) = self.key()
            && let Some(broadcast) = self.shard.broadcasts.get(&key)
            && broadcast.intake.ring.bytes() > RING_BYTES_MAX
        {
            return Err("the ring is larger than it may be".to_owned());
        }
        self.finish_when_settled()?;
        self.after(ms(LOOK_MS), Happening::Look);
        Ok(())
    }

    fn finish_when_settled(&mut self) -> Verdict {
        use shardcast_link::DestinationState::Failed;
        if self.now < self.calm_at() {
            return Ok(());
        }
        if let Some(settled_at) = self.settled_at {
            let since = self.now - settled_at;
            if since >= ms(2_000) && !self.stage.is_over() {
                self.finale()?;
            }
            self.over = since >= ms(6_000);
            return Ok(());
        }
        let back = self.entries.iter().all(|(id, entry)| {
            let well = |conn: &Conn| conn.owner == *id && conn.open && !conn.wire.cut;
            // That a connection leads nowhere is not noticed while there is nothing to be sent.
            let reached = || self.may_starve(id) || self.conns.values().any(well);
            entry.state == Failed || self.is_served(id, entry) && reached()
        });
        if back {
            note!(self, "everybody is back");
            self.settled_at = Some(self.now);
        } else if self.now > self.calm_at() + ms(BACK_MS_MAX) {
            return Err("not everybody is back on air".to_owned());
        }
        Ok(())
    }

    /// After the broadcast was taken away, nothing may remember it.
    fn assert_nothing_is_left(&mut self) -> Verdict {
        self.shard.timers.set(TimerKey::Status, None);
        let shard = &self.shard;
        let counts = [
            ("broadcasts", shard.broadcasts.len()),
            ("names of broadcasts", shard.broadcast_keys.len()),
            ("publishers", shard.peers.len() + shard.sessions.len()),
            ("connections", shard.conns.len()),
            ("look-ups", shard.lookups.len()),
            ("audio lanes", shard.lanes.len()),
            ("open audio lanes", self.audio_lanes.open()),
            ("video lanes", shard.video_lanes.len()),
            ("open video lanes", self.loom.open()),
            (
                "pictures to be coded",
                shard.stills.len().abs_diff(self.easel.coming()),
            ),
            ("outputs", shard.outputs.len()),
            ("deadlines", usize::from(shard.timers.earliest().is_some())),
        ];
        match counts.iter().find(|(_, count)| *count > 0) {
            Some((what, count)) => Err(format!("{count} {what} are left at the end")),
            None => Ok(()),
        }
    }
}
