//! Which viewers a seed has: when they come, what their networks are like, how they behave, and how they leave. It is
//! drawn by a generator of its own, so that the show of a seed is the same with viewers and without.

use shardcast_link::RenditionSpec;

use super::{
    plan::{Plan, ScheduledEvent},
    players::PlayerPlan,
};
use crate::random::Random;

/// Of a hundred runs, those that have viewers: each shakes hands by DTLS, which costs more than many a run.
const VIEWERS_PERCENT: u64 = 5;
const VIEWERS_MAX: u64 = 6;
const PLAYERS_MAX: u64 = 3;
/// What the seed of a run is mixed with for its viewers.
const SALT: u64 = 0x7669_6577_6572_7321;
/// Lines of the rung that viewers may ask for.
const RUNG_LINES: u32 = 360;
const LONG_MS: u64 = 30_000;
/// A viewer whose network is narrow loses what would wait longer than this for it.
pub(super) const QUEUE_MS: u64 = 300;

/// What a viewer does, and what is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It reads everything at once.
    Well,
    /// Of a thousand packets so many are lost, on either way.
    Loses(u64),
    /// Its network carries so many bits a second.
    Narrow(u64),
    /// No media reaches it.
    ReadsNothing,
    /// It loses half, and says everything that it has to say about that many times over.
    Floods,
    /// It falls silent instead of leaving.
    Vanishes,
    /// It answers, and never comes.
    NeverStarts,
}

/// How a viewer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Its page is closed.
    Closes,
    /// Control ends its session.
    Removed,
}

/// What a viewer wants from some time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Video of this height, or what its network carries.
    Height(Option<u32>),
    /// Video, or audio alone.
    Video(bool),
}

/// One viewer.
#[derive(Clone, Debug)]
pub(super) struct ViewerPlan {
    pub(super) at_ms: u64,
    /// It leaves so long after it has come.
    pub(super) stays_ms: u64,
    pub(super) manner: Manner,
    pub(super) leaving: Leaving,
    /// It makes the offer, as a client of WHEP does.
    pub(super) offers: bool,
    /// Its answer is at the shard so long after the offer.
    pub(super) answers_ms: u64,
    pub(super) one_way_ms: u64,
    /// And when, after it has come.
    pub(super) wishes: Vec<(u64, Wish)>,
    /// What its losses follow from.
    pub(super) seed: u64,
}

impl ViewerPlan {
    /// Another wish than for all that is there.
    pub(super) fn is_choosy(&self) -> bool {
        !self.wishes.is_empty()
    }
}

/// All viewers and players of a run.
#[derive(Debug, Default)]
pub(super) struct Audience {
    pub(super) viewers: Vec<ViewerPlan>,
    pub(super) players: Vec<PlayerPlan>,
    pub(super) ladder: Vec<RenditionSpec>,
    /// Nothing that viewers do can be of consequence for destinations: the run is done without them too.
    pub(super) is_harmless: bool,
}

impl Audience {
    /// Whether nobody comes.
    pub(super) fn is_none(&self) -> bool {
        self.viewers.is_empty() && self.players.is_empty()
    }

    /// The audience of run `seed`, which has `plan`.
    pub(super) fn new(seed: u64, plan: &Plan) -> Self {
        let random = &mut Random::new(seed ^ SALT);
        if !random.chance(VIEWERS_PERCENT) {
            return Self::default();
        }
        let has_codecs = plan.transcoders.capacity_permille > 0;
        let ladder = match has_codecs && random.chance(60) {
            true => vec![rung(random)],
            false => Vec::new(),
        };
        let count = random.between(2, VIEWERS_MAX);
        let viewers = (0..count).map(|_| viewer(random, plan, !ladder.is_empty()));
        let viewers: Vec<_> = viewers.collect();
        let asks = viewers.iter().any(|it| it.manner == Manner::Floods);
        let mut events = plan.schedule.iter();
        let keeps_ids = events.all(|(at_ms, event)| keeps_ids(*at_ms, event));
        let count = random.between(0, PLAYERS_MAX);
        let players = (0..count).map(|_| {
            let at_ms = comes_ms(random, plan);
            PlayerPlan::new(random, at_ms)
        });
        Self {
            viewers,
            players: players.collect(),
            ladder,
            // Filler has keyframes for viewers that ask, and audio waits for a picture unless there is some for them.
            is_harmless: !has_codecs && !plan.audio && !asks && keeps_ids,
        }
    }
}

/// Retries follow from the ids of destinations, and viewers have ids too: a destination that comes behind one is another.
fn keeps_ids(at_ms: u64, event: &ScheduledEvent) -> bool {
    match event {
        ScheduledEvent::Add(_) => at_ms == 0,
        ScheduledEvent::Readdress(_) | ScheduledEvent::Forget => false,
        _ => true,
    }
}

fn rung(random: &mut Random) -> RenditionSpec {
    RenditionSpec {
        frames_per_second: random.pick(&[5, 10]),
        video_bps: random.pick(&[20_000, 200_000]),
        gop_ms: random.pick(&[1_000, 2_000]),
        ..RenditionSpec::of_height(RUNG_LINES)
    }
}

/// Half of all come soon after something else, when publishers come and go.
fn comes_ms(random: &mut Random, plan: &Plan) -> u64 {
    if random.chance(50) {
        let (at_ms, _) = plan.schedule[random.index(plan.schedule.len())];
        at_ms + random.between(0, 400)
    } else {
        random.between(0, plan.calm_ms)
    }
}

fn viewer(random: &mut Random, plan: &Plan, has_ladder: bool) -> ViewerPlan {
    let at_ms = comes_ms(random, plan);
    let manner = match random.index(12) {
        0 => Manner::Loses(random.pick(&[20, 100])),
        1 => Manner::Narrow(random.pick(&[100_000, 400_000])),
        2 => Manner::ReadsNothing,
        3 => Manner::Floods,
        4 | 5 => Manner::Vanishes,
        6 => Manner::NeverStarts,
        _ => Manner::Well,
    };
    let stays_ms = match manner {
        // It is long until that is noticed.
        Manner::Vanishes => random.between(1_000, 3_000),
        _ => random.between(1_500, 12_000),
    };
    // Who loses nothing can be told from who goes back to a keyframe that it has seen.
    let wishes = match random.index(3) {
        _ if manner != Manner::Well => Vec::new(),
        0 if has_ladder => vec![
            (random.between(0, stays_ms), Wish::Height(Some(RUNG_LINES))),
            (stays_ms, Wish::Height(None)),
        ],
        1 => vec![
            (random.between(0, stays_ms), Wish::Video(false)),
            (stays_ms, Wish::Video(true)),
        ],
        _ => Vec::new(),
    };
    ViewerPlan {
        at_ms: match manner {
            Manner::Vanishes => at_ms / 3,
            _ => at_ms,
        },
        stays_ms: match wishes.is_empty() {
            // Some stay while publishers come and go.
            true if manner != Manner::Vanishes && random.chance(25) => LONG_MS,
            true => stays_ms,
            // What was wished last is to be seen.
            false => stays_ms + 3_000,
        },
        manner,
        leaving: random.pick(&[Leaving::Closes, Leaving::Removed]),
        offers: random.chance(50),
        answers_ms: random.pick(&[0, 20, 150]),
        one_way_ms: random.pick(&[0, 1, 20, 80]),
        wishes,
        seed: random.next(),
    }
}
