//! The further offers of a session: those that wait, those that are unanswered, and how many came.

use std::{collections::VecDeque, time::Instant};

use crate::limits;

/// The further offers of one session.
#[derive(Debug, Default)]
pub(super) struct Renegotiation {
    /// Those that the shard has and has not answered.
    unanswered: u32,
    /// When the last ones came, at most [`limits::RENEGOTIATIONS_MAX`].
    recent: Vec<Instant>,
    /// Those that wait for their turn, at most [`limits::RENEGOTIATIONS_MAX`].
    waiting: VecDeque<String>,
    /// The first `a=ice-ufrag` of the last offer of the session (RFC 8839, 5.4), cut at the length that
    /// one may have.
    ufrag: String,
}

impl Renegotiation {
    /// False if there were as many within [`limits::RENEGOTIATION_WINDOW`] as there may be.
    pub(super) fn is_in_time(&mut self, now: Instant) -> bool {
        self.recent
            .retain(|at| now.saturating_duration_since(*at) < limits::RENEGOTIATION_WINDOW);
        if self.recent.len().max(self.waiting.len()) >= limits::RENEGOTIATIONS_MAX {
            return false;
        }
        self.recent.push(now);
        true
    }

    /// Whether an offer of this session, the first or a further one, has other ICE credentials than
    /// the one before it (RFC 8839, 4.4.1.1.1).
    pub(super) fn is_ice_restart(&mut self, sdp: &str) -> bool {
        let line = sdp
            .lines()
            .find_map(|line| line.trim().strip_prefix("a=ice-ufrag:"));
        let ufrag: String = line.into_iter().flat_map(str::chars).take(256).collect();
        let is_other = ufrag != self.ufrag;
        self.ufrag = ufrag;
        is_other
    }

    /// Keeps an offer until it is its turn.
    pub(super) fn wait(&mut self, sdp: String) {
        self.waiting.push_back(sdp);
    }

    /// Whether an offer waits.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Forgets the offers that wait. Returns how many.
    pub(super) fn withdraw(&mut self) -> usize {
        self.waiting.drain(..).count()
    }

    /// Forgets the oldest offer that waits. False if there is none.
    pub(super) fn refuse_oldest(&mut self) -> bool {
        self.waiting.pop_front().is_some()
    }

    /// Forgets the newest offer that waits. False if there is none.
    pub(super) fn refuse_newest(&mut self) -> bool {
        self.waiting.pop_back().is_some()
    }

    /// The oldest offer that waits, which the shard is given now.
    pub(super) fn begin(&mut self) -> Option<String> {
        let sdp = self.waiting.pop_front()?;
        self.unanswered += 1;
        Some(sdp)
    }

    /// Takes the shard's answer to the oldest one. False if there is none.
    pub(super) fn end(&mut self) -> bool {
        let was_open = self.unanswered > 0;
        self.unanswered = self.unanswered.saturating_sub(1);
        was_open
    }
}
