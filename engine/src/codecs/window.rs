//! The turns of a codec worker over about a second, judged for each broadcast by itself.

use std::time::{Duration, Instant};

use shardcast_core::io::VideoTranscoderId;

use crate::limits::{
    GOVERNOR_LAST_SAMPLES, GOVERNOR_LATE, GOVERNOR_MISSED_MAX, GOVERNOR_PUNCTUAL,
    GOVERNOR_SAMPLES_MAX, GOVERNOR_SAMPLES_MIN,
};

/// What the thread is done with: an access unit, or a part of what stands in for some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) transcoder: VideoTranscoderId,
    /// From its arrival until it was begun; `None` for what goes on from an earlier turn.
    pub(super) waited: Option<Duration>,
    /// What it was worked on; the time in which others had the core is in it.
    pub(super) busy: Duration,
    /// Pictures of the broadcast that came too late to be encoded, this one included.
    pub(super) missed: u32,
}

/// The turns of about a second.
#[derive(Debug)]
pub(super) struct Window {
    since: Instant,
    turns: Vec<Turn>,
    busy: Duration,
}

/// How punctual one broadcast was within a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Punctuality {
    /// Ninth decile; zero when there are too few frames to judge by.
    pub(super) waited: Duration,
    pub(super) missed: u32,
    /// The last pictures were late too. When they were not, the thread has already caught up with
    /// what it was late for.
    pub(super) ends_late: bool,
}

impl Punctuality {
    fn of<'a>(turns: impl Iterator<Item = &'a Turn>) -> Self {
        let (mut waited, mut missed) = (Vec::new(), 0_u32);
        for turn in turns {
            waited.extend(turn.waited);
            missed = missed.saturating_add(turn.missed);
        }
        let last = waited.iter().rev().take(GOVERNOR_LAST_SAMPLES);
        let ends_late = last.min().is_some_and(|least| *least > GOVERNOR_LATE);
        let index = waited.len().saturating_sub(1) * 9 / 10;
        let waited = if waited.len() >= GOVERNOR_SAMPLES_MIN {
            *waited.select_nth_unstable(index).1
        } else {
            Duration::ZERO
        };
        Self {
            waited,
            missed,
            ends_late,
        }
    }

    pub(super) fn misses_many(&self) -> bool {
        self.missed >= GOVERNOR_MISSED_MAX
    }

    pub(super) fn is_late(&self) -> bool {
        self.misses_many() || self.waited > GOVERNOR_LATE
    }

    pub(super) fn is_punctual(&self) -> bool {
        self.missed == 0 && self.waited <= GOVERNOR_PUNCTUAL
    }
}

impl Window {
    pub(super) fn new(since: Instant) -> Self {
        Self {
            since,
            turns: Vec::new(),
            busy: Duration::ZERO,
        }
    }

    pub(super) fn add(&mut self, turn: Turn) {
        if self.turns.len() < GOVERNOR_SAMPLES_MAX {
            self.turns.push(turn);
        }
        self.busy += turn.busy;
    }

    /// Of each broadcast that had a turn.
    pub(super) fn punctuality(&self) -> Vec<Punctuality> {
        let mut transcoders: Vec<VideoTranscoderId> =
            self.turns.iter().map(|turn| turn.transcoder).collect();
        transcoders.sort_unstable();
        transcoders.dedup();
        let turns_of = |transcoder| {
            self.turns
                .iter()
                .filter(move |turn| turn.transcoder == transcoder)
        };
        transcoders
            .into_iter()
            .map(|transcoder| Punctuality::of(turns_of(transcoder)))
            .collect()
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// What all of its turns were worked on.
    pub(super) fn busy(&self) -> Duration {
        self.busy
    }
}

/// How much of a time that is, in thousandths.
pub(super) fn permille(part: Duration, whole: Duration) -> u64 {
    let permille = part.as_micros() * 1_000 / whole.as_micros().max(1);
    u64::try_from(permille).unwrap_or(u64::MAX)
}
