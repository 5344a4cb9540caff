//! What a seed stands for: who publishes when, what befalls each server, what the operator does.
//! Everything is decided before the run begins; from `calm_ms` on nothing goes wrong any more, so
//! that the run can tell whether everybody finds back.

use shardcast_link::{RetryPolicy, VideoCodec, WantedPicture};

use super::{random::Random, wishes::LanePlan};

/// The broadcast's own pictures stay so far behind the clock; a publisher that is as far
/// behind comes too late for its place.
const LAG_MS_END: i64 = 80;

/// What stands behind a name, and how it treats whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    Well,
    /// The look-up fails.
    NoName,
    /// The look-up is answered after so many milliseconds, which may be too late.
    SlowName(u64),
    Refuses,
    /// Neither accepts nor refuses.
    Silent,
    /// Its certificate is not believed. Plain connections are refused.
    TlsFails,
    /// Accepts the connection and says nothing.
    Mute,
    /// Answers with bytes that are not RTMP.
    Garbage,
    /// Closes right after the connection stands.
    HangsUp,
    RejectsKey,
    /// Says that the key is in use.
    KeyInUse,
    /// Each answer comes so many milliseconds late.
    Late(u64),
    /// Takes the stream, then resets after so many milliseconds.
    Resets(u64),
    /// Takes the stream, then ends the connection in order.
    Fins(u64),
    /// Takes the stream, then says that it is over.
    Unpublishes(u64),
    /// Takes the stream, then reads nothing more.
    StopsReading(u64),
    /// Takes the stream, then the cable is cut: nothing arrives and nobody says so.
    Vanishes(u64),
    /// Takes so many bytes a second.
    Crawls(u64),
}

/// What a change of mood does to the connections that stand.
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
}

impl SessionPlan {
    /// Its clock is ahead of the shard's, or too far behind for its place.
    pub(super) fn is_strange(&self) -> bool {
        !(0..LAG_MS_END).contains(&self.lag_ms)
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
pub(super) enum Turn {
    Publish(SessionPlan),
    /// The session is lost.
    Lose,
    /// The publisher says that it is over.
    Stop,
    Mood {
        site: usize,
        mood: Mood,
        onset: Onset,
    },
    /// The site stands at another address from now on.
    Moves {
        site: usize,
    },
    Add(usize),
    Remove(usize),
    /// The destination gets another URL.
    Readdress(usize),
    Policy(usize, RetryPolicy),
    Slate(SlatePlan),
    /// The destination is to be sent another picture.
    Wish(usize, WantedPicture),
    Encoder(Change),
    /// Control says again what it said before.
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
    pub(super) sites: usize,
    /// Nothing ever befalls these, so whoever is sent there must notice nothing of the others.
    pub(super) steady: Vec<bool>,
    pub(super) tls: Vec<bool>,
    pub(super) policies: Vec<RetryPolicy>,
    /// By destination.
    pub(super) wishes: Vec<WantedPicture>,
    pub(super) lanes: LanePlan,
    pub(super) sound: bool,
    pub(super) frame_ms: u64,
    pub(super) hold_ms: u64,
    /// In the order of time, in milliseconds.
    pub(super) turns: Vec<(u64, Turn)>,
    pub(super) calm_ms: u64,
    pub(super) finale: Finale,
}

impl Plan {
    pub(super) fn new(random: &mut Random) -> Self {
        let destinations = random.index(3) + 1;
        let sites = destinations + 1;
        let long = random.chance(4);
        let pictures = random.chance(40);
        let calm_ms = if long {
            random.between(120_000, 300_000)
        } else if pictures && random.chance(15) {
            // Long enough for terms that are kept again.
            random.between(40_000, 80_000)
        } else {
            random.between(4_000, 33_000)
        };
        let mut plan = Self {
            sites,
            steady: (0..sites)
                .map(|site| site > 0 && random.chance(30))
                .collect(),
            tls: (0..sites).map(|_| random.chance(25)).collect(),
            policies: (0..destinations).map(|_| policy(random)).collect(),
            wishes: vec![WantedPicture::default(); destinations],
            lanes: LanePlan::NONE,
            sound: !long && random.chance(25),
            frame_ms: if long {
                random.pick(&[250, 250, 500])
            } else {
                random.pick(&[100, 250, 250])
            },
            hold_ms: random.pick(&[2_000, 10_000, 60_000]),
            turns: Vec::new(),
            calm_ms,
            finale: random.pick(&[Finale::Forget, Finale::RemoveEach, Finale::Stop]),
        };
        for destination in 0..destinations {
            plan.turn(0, Turn::Add(destination));
        }
        plan.publisher(random);
        for site in 0..sites {
            plan.server(random, site);
        }
        plan.operator(random, destinations);
        if pictures {
            plan.pictures(random);
        }
        plan.turns.sort_by_key(|(at_ms, _)| *at_ms);
        plan
    }

    /// Without sound a publisher is taken as absent after 400 ms, with it after 1.5 s without
    /// pictures, and after three times the distance of its pictures, of which losses make more;
    /// until then it may go on where it was. A millisecond is lost in rounding.
    pub(super) fn silent_ms_max(&self) -> u32 {
        let absent_ms = if self.sound { 1_500 } else { 400 };
        absent_ms.max(5 * u32::try_from(self.frame_ms).unwrap()) + 1
    }

    pub(super) fn turn(&mut self, at_ms: u64, turn: Turn) {
        self.turns.push((at_ms, turn));
    }

    /// Comes, goes and returns; at the end it is there and stays.
    fn publisher(&mut self, random: &mut Random) {
        let mut at_ms = random.between(0, 2_000);
        while at_ms < self.calm_ms {
            let session = self.session(random);
            self.turn(at_ms, Turn::Publish(session));
            at_ms += random.between(2_000, 40_000);
            if at_ms >= self.calm_ms {
                break;
            }
            match random.index(5) {
                0 => self.turn(at_ms, Turn::Stop),
                1 => continue, // The next session replaces it.
                _ => self.turn(at_ms, Turn::Lose),
            }
            at_ms += if random.chance(60) {
                random.between(500, 8_000)
            } else {
                random.between(8_000, 90_000)
            };
        }
        let last = self.last_session(random);
        self.turn(self.calm_ms, Turn::Publish(last));
    }

    /// One with which everybody finds back.
    fn last_session(&self, random: &mut Random) -> SessionPlan {
        SessionPlan {
            video: true,
            camera_ms: 0,
            loss_percent: random.pick(&[0, 1]),
            deaf_percent: 0,
            ..self.session(random)
        }
    }

    fn session(&self, random: &mut Random) -> SessionPlan {
        SessionPlan {
            video: !self.sound || random.chance(90),
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

    /// Some bad times, then well for good.
    fn server(&mut self, random: &mut Random, site: usize) {
        if self.steady[site] {
            return;
        }
        let mut at_ms = random.pick(&[0, 0, 1_000, 5_000, 15_000]);
        for _ in 0..random.between(1, 5) {
            if at_ms >= self.calm_ms {
                break;
            }
            let turn = Turn::Mood {
                site,
                mood: mood(random),
                onset: random.pick(&[Onset::Spares, Onset::Resets, Onset::Vanishes]),
            };
            self.turn(at_ms, turn);
            if random.chance(25) {
                self.turn(at_ms, Turn::Moves { site });
            }
            at_ms += random.between(500, 25_000);
            if random.chance(60) {
                self.well(random, at_ms.min(self.calm_ms), site);
                at_ms += random.between(500, 20_000);
            }
        }
        self.well(random, self.calm_ms, site);
    }

    fn well(&mut self, random: &mut Random, at_ms: u64, site: usize) {
        let turn = Turn::Mood {
            site,
            mood: Mood::Well,
            onset: random.pick(&[Onset::Spares, Onset::Spares, Onset::Resets]),
        };
        self.turn(at_ms, turn);
    }

    fn operator(&mut self, random: &mut Random, destinations: usize) {
        if random.chance(40) {
            return;
        }
        for _ in 0..random.between(1, 4) {
            // Half of it soon after something else, when destinations are on their way.
            let at_ms = if random.chance(50) {
                let (at_ms, _) = self.turns[random.index(self.turns.len())];
                (at_ms + random.between(0, 400)).min(self.calm_ms)
            } else {
                random.between(0, self.calm_ms)
            };
            let destination = random.index(destinations);
            let back_ms = (at_ms + random.between(0, 10_000)).min(self.calm_ms);
            match random.index(10) {
                0 | 1 => {
                    self.turn(at_ms, Turn::Remove(destination));
                    if random.chance(80) {
                        self.turn(back_ms, Turn::Add(destination));
                    }
                }
                2 => self.turn(at_ms, Turn::Readdress(destination)),
                3 => self.turn(at_ms, Turn::Policy(destination, policy(random))),
                4 => {
                    self.turn(at_ms, Turn::Forget);
                    self.turn(back_ms, Turn::Add(destination));
                    // It may be the last one.
                    let session = self.last_session(random);
                    self.turn(back_ms, Turn::Publish(session));
                }
                5 | 6 => self.turn(at_ms, Turn::Repeat),
                _ => {
                    let slate = random.pick(&[
                        SlatePlan::Set,
                        SlatePlan::Set,
                        SlatePlan::Set,
                        SlatePlan::Named,
                        SlatePlan::Removed,
                    ]);
                    self.turn(at_ms, Turn::Slate(slate));
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

fn mood(random: &mut Random) -> Mood {
    let after_ms = match random.index(3) {
        0 => random.between(0, 300),
        1 => random.between(300, 5_000),
        _ => random.between(5_000, 30_000),
    };
    match random.index(17) {
        0 => Mood::NoName,
        1 => Mood::SlowName(random.between(100, 9_000)),
        2 => Mood::Refuses,
        3 => Mood::Silent,
        4 => Mood::TlsFails,
        5 => Mood::Mute,
        6 => Mood::Garbage,
        7 => Mood::HangsUp,
        8 => Mood::RejectsKey,
        9 => Mood::KeyInUse,
        10 => Mood::Late(random.between(100, 4_000)),
        11 => Mood::Resets(after_ms),
        12 => Mood::Fins(after_ms),
        13 => Mood::Unpublishes(after_ms),
        14 => Mood::StopsReading(after_ms),
        15 => Mood::Vanishes(after_ms),
        _ if random.chance(50) => Mood::Crawls(random.between(20, 2_000)),
        _ => Mood::Crawls(random.between(20_000, 150_000)),
    }
}
