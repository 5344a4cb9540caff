//! Generates what a seed stands for: sessions of the publisher, the fault schedule of each server, what
//! the operator does. Everything is decided before the run begins. From `calm_ms` on nothing goes
//! wrong any more, so that the run can tell whether every destination recovers.

use shardcast_link::{RetryPolicy, VideoCodec, VideoSettings};

use super::{consumer_plan::ConsumerEvent, encoder::EncoderPlan, generator::TranscoderPlan};
use crate::{random::Random, rtmp_server::FaultMode};

/// Filler stays so far behind the clock; a publisher that is as far behind comes too late for its
/// place.
const LAG_MS_END: i64 = 80;
/// Of a hundred runs, those in which encoders publish too.
const ENCODERS_PERCENT: u64 = 25;

/// What a change of its fault mode does to the connections that stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Onset {
    Spares,
    Resets,
    Vanishes,
}

/// One publishing session.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionPlan {
    pub(super) video: bool,
    pub(super) codec: VideoCodec,
    /// Which parameter sets it has.
    pub(super) config: u8,
    /// Its clock puts media so far behind its arrival, in milliseconds; negative is ahead.
    pub(super) lag_ms: i64,
    pub(super) frame_bytes: usize,
    pub(super) loss_percent: u64,
    /// How many keyframe requests get lost.
    pub(super) deaf_percent: u64,
    /// How many packets the microphone stalls behind.
    pub(super) stall_percent: u64,
    /// The first picture comes so late.
    pub(super) camera_ms: u64,
    /// It is an encoder's, and comes by RTMP.
    pub(super) encoder: Option<EncoderPlan>,
}

impl SessionPlan {
    /// Its clock is ahead of the shard's, or too far behind for its place.
    pub(super) fn is_strange(&self) -> bool {
        self.encoder.is_none() && !(0..LAG_MS_END).contains(&self.lag_ms)
    }
}

/// What a publisher does to its picture while it publishes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// The other size.
    Size,
    FrameBytes(usize),
    /// So many keyframe requests get lost.
    DeafPercent(u64),
}

/// What becomes of the slate.
#[derive(Clone, Copy, Debug)]
pub(super) enum SlatePlan {
    Removed,
    /// Another one is wanted, and its bytes follow.
    Set,
    /// Another one is wanted, and its bytes never come.
    Named,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ScheduledEvent {
    Publish(SessionPlan),
    /// The session is lost.
    Lose,
    /// The publisher says that it is over.
    Stop,
    Mode {
        host: usize,
        mode: FaultMode,
        onset: Onset,
    },
    /// The host has another address from now on.
    Moves {
        host: usize,
    },
    Add(usize),
    Remove(usize),
    /// The destination gets another URL.
    Readdress(usize),
    Policy(usize, RetryPolicy),
    Slate(SlatePlan),
    /// The destination is to be sent another picture.
    Video(usize, VideoSettings),
    Encoder(Change),
    Consumer(ConsumerEvent),
    /// Control repeats what it wants.
    Repeat,
    /// The broadcast is taken away, and wanted again with the next change.
    Forget,
}

/// How the run ends, and with it every destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finale {
    Forget,
    RemoveEach,
    Stop,
}

#[derive(Debug)]
pub(super) struct Plan {
    /// One per destination, and one that destinations may be moved to.
    pub(super) hosts: usize,
    /// These hosts never fail, so their destinations must not notice the faults of others.
    pub(super) steady: Vec<bool>,
    pub(super) tls: Vec<bool>,
    pub(super) policies: Vec<RetryPolicy>,
    /// By destination.
    pub(super) settings: Vec<VideoSettings>,
    pub(super) transcoders: TranscoderPlan,
    pub(super) audio: bool,
    /// Some of the publishers are encoders.
    pub(super) encoders: bool,
    pub(super) frame_ms: u64,
    pub(super) hold_ms: u64,
    /// In the order of time, in milliseconds.
    pub(super) schedule: Vec<(u64, ScheduledEvent)>,
    pub(super) calm_ms: u64,
    pub(super) finale: Finale,
}

impl Plan {
    pub(super) fn new(random: &mut Random) -> Self {
        let destinations = random.index(3) + 1;
        let hosts = destinations + 1;
        let long = random.chance(4);
        let pictures = random.chance(40);
        let calm_ms = if long {
            random.between(120_000, 300_000)
        } else if pictures && random.chance(15) {
            // Long enough for passthrough constraints that hold again.
            random.between(40_000, 80_000)
        } else {
            random.between(4_000, 33_000)
        };
        let mut plan = Self {
            hosts,
            steady: (0..hosts)
                .map(|host| host > 0 && random.chance(30))
                .collect(),
            tls: (0..hosts).map(|_| random.chance(25)).collect(),
            policies: (0..destinations).map(|_| policy(random)).collect(),
            settings: vec![VideoSettings::default(); destinations],
            transcoders: TranscoderPlan::NONE,
            audio: !long && random.chance(25),
            encoders: random.chance(ENCODERS_PERCENT),
            frame_ms: if long {
                random.pick(&[250, 250, 500])
            } else {
                random.pick(&[100, 250, 250])
            },
            hold_ms: random.pick(&[2_000, 10_000, 60_000]),
            schedule: Vec::new(),
            calm_ms,
            finale: random.pick(&[Finale::Forget, Finale::RemoveEach, Finale::Stop]),
        };
        for destination in 0..destinations {
            plan.schedule(0, ScheduledEvent::Add(destination));
        }
        plan.publisher(random);
        for host in 0..hosts {
            plan.server(random, host);
        }
        plan.operator(random, destinations);
        if pictures {
            plan.pictures(random);
        }
        plan.schedule.sort_by_key(|(at_ms, _)| *at_ms);
        plan
    }

    /// Without audio a browser is taken as absent after 400 ms, with it, as an encoder, after 1.5 s without
    /// pictures, and after three times the distance of its pictures, of which losses make more;
    /// until then it may go on where it was. A millisecond is lost in rounding.
    pub(super) fn silent_ms_max(&self) -> u32 {
        let absent_ms = if self.audio || self.encoders {
            1_500
        } else {
            400
        };
        absent_ms.max(5 * u32::try_from(self.frame_ms).unwrap()) + 1
    }

    pub(super) fn schedule(&mut self, at_ms: u64, event: ScheduledEvent) {
        self.schedule.push((at_ms, event));
    }

    /// Comes, goes and returns; at the end it is there and stays.
    fn publisher(&mut self, random: &mut Random) {
        let mut at_ms = random.between(0, 2_000);
        while at_ms < self.calm_ms {
            let session = self.session(random);
            self.schedule(at_ms, ScheduledEvent::Publish(session));
            at_ms += random.between(2_000, 40_000);
            if at_ms >= self.calm_ms {
                break;
            }
            match random.index(5) {
                0 => self.schedule(at_ms, ScheduledEvent::Stop),
                1 => continue, // The next session replaces it.
                _ => self.schedule(at_ms, ScheduledEvent::Lose),
            }
            at_ms += if random.chance(60) {
                random.between(500, 8_000)
            } else {
                random.between(8_000, 90_000)
            };
        }
        let last = self.last_session(random);
        self.schedule(self.calm_ms, ScheduledEvent::Publish(last));
    }

    /// A session with which every destination can recover.
    fn last_session(&self, random: &mut Random) -> SessionPlan {
        let mut session = SessionPlan {
            video: true,
            camera_ms: 0,
            loss_percent: random.pick(&[0, 1]),
            deaf_percent: 0,
            ..self.session(random)
        };
        if let Some(encoder) = &mut session.encoder {
            encoder.stall_permille = 0;
        }
        session
    }

    fn session(&self, random: &mut Random) -> SessionPlan {
        let is_encoder = self.encoders && random.chance(60);
        let encoder = is_encoder.then(|| EncoderPlan::new(random));
        SessionPlan {
            encoder,
            video: !self.audio || random.chance(90),
            codec: VideoCodec::H264,
            config: u8::try_from(random.index(2)).unwrap(),
            lag_ms: if random.chance(20) {
                i64::try_from(random.between(0, 4_000)).unwrap() - 2_000
            } else {
                i64::try_from(random.between(0, 60)).unwrap()
            },
            // Mostly as small as can be; sometimes more than a slow server takes.
            frame_bytes: if random.chance(8) {
                40_000
            } else {
                random.pick(&[30, 200, 3_000])
            },
            loss_percent: random.pick(&[0, 0, 1, 5]),
            deaf_percent: random.pick(&[0, 0, 20]),
            stall_percent: random.pick(&[0, 0, 1, 3]),
            camera_ms: if random.chance(10) {
                random.between(0, 8_000)
            } else {
                0
            },
        }
    }

    /// Some fault modes, then well for good.
    fn server(&mut self, random: &mut Random, host: usize) {
        if self.steady[host] {
            return;
        }
        let mut at_ms = random.pick(&[0, 0, 1_000, 5_000, 15_000]);
        for _ in 0..random.between(1, 5) {
            if at_ms >= self.calm_ms {
                break;
            }
            let event = ScheduledEvent::Mode {
                host,
                mode: fault_mode(random),
                onset: random.pick(&[Onset::Spares, Onset::Resets, Onset::Vanishes]),
            };
            self.schedule(at_ms, event);
            if random.chance(25) {
                self.schedule(at_ms, ScheduledEvent::Moves { host });
            }
            at_ms += random.between(500, 25_000);
            if random.chance(60) {
                self.well(random, at_ms.min(self.calm_ms), host);
                at_ms += random.between(500, 20_000);
            }
        }
        self.well(random, self.calm_ms, host);
    }

    fn well(&mut self, random: &mut Random, at_ms: u64, host: usize) {
        let event = ScheduledEvent::Mode {
            host,
            mode: FaultMode::Well,
            onset: random.pick(&[Onset::Spares, Onset::Spares, Onset::Resets]),
        };
        self.schedule(at_ms, event);
    }

    fn operator(&mut self, random: &mut Random, destinations: usize) {
        if random.chance(40) {
            return;
        }
        for _ in 0..random.between(1, 4) {
            // Half of it soon after something else, when destinations are on their way.
            let at_ms = if random.chance(50) {
                let (at_ms, _) = self.schedule[random.index(self.schedule.len())];
                (at_ms + random.between(0, 400)).min(self.calm_ms)
            } else {
                random.between(0, self.calm_ms)
            };
            let destination = random.index(destinations);
            let back_ms = (at_ms + random.between(0, 10_000)).min(self.calm_ms);
            match random.index(10) {
                0 | 1 => {
                    self.schedule(at_ms, ScheduledEvent::Remove(destination));
                    if random.chance(80) {
                        self.schedule(back_ms, ScheduledEvent::Add(destination));
                    }
                }
                2 => self.schedule(at_ms, ScheduledEvent::Readdress(destination)),
                3 => self.schedule(at_ms, ScheduledEvent::Policy(destination, policy(random))),
                4 => {
                    self.schedule(at_ms, ScheduledEvent::Forget);
                    self.schedule(back_ms, ScheduledEvent::Add(destination));
                    // It may be the last one.
                    let session = self.last_session(random);
                    self.schedule(back_ms, ScheduledEvent::Publish(session));
                }
                5 | 6 => self.schedule(at_ms, ScheduledEvent::Repeat),
                _ => {
                    let slate = random.pick(&[
                        SlatePlan::Set,
                        SlatePlan::Set,
                        SlatePlan::Set,
                        SlatePlan::Named,
                        SlatePlan::Removed,
                    ]);
                    self.schedule(at_ms, ScheduledEvent::Slate(slate));
                }
            }
        }
    }
}

fn policy(random: &mut Random) -> RetryPolicy {
    let (delay_ms_min, delay_ms_max) =
        random.pick(&[(500, 30_000), (500, 30_000), (100, 2_000), (2_000, 10_000)]);
    let (retries_max, give_up_ms_min) = random.pick(&[
        (None, 0),
        (None, 0),
        (None, 0),
        (None, 24_000),
        (Some(0), 0),
        (Some(3), 24_000),
        (Some(8), 0),
    ]);
    RetryPolicy {
        delay_ms_min,
        delay_ms_max,
        retries_max,
        give_up_ms_min,
    }
}

fn fault_mode(random: &mut Random) -> FaultMode {
    let after_ms = match random.index(3) {
        0 => random.between(0, 300),
        1 => random.between(300, 5_000),
        _ => random.between(5_000, 30_000),
    };
    match random.index(18) {
        0 => FaultMode::NoName,
        1 => FaultMode::SlowName(random.between(100, 9_000)),
        2 => FaultMode::Refuses,
        3 => FaultMode::Silent,
        4 => FaultMode::TlsFails,
        5 => FaultMode::Mute,
        6 => FaultMode::Garbage,
        7 => FaultMode::HangsUp,
        8 => FaultMode::RejectsKey,
        9 => FaultMode::KeyInUse,
        10 => FaultMode::Late(random.between(100, 4_000)),
        11 => FaultMode::Resets(after_ms),
        12 => FaultMode::Fins(after_ms),
        13 => FaultMode::Unpublishes(after_ms),
        14 => FaultMode::StopsReading(after_ms),
        15 => FaultMode::Vanishes(after_ms),
        16 => FaultMode::Stumbles,
        _ if random.chance(50) => FaultMode::Crawls(random.between(20, 2_000)),
        _ => FaultMode::Crawls(random.between(20_000, 150_000)),
    }
}
