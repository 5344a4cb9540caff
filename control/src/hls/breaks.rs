//! The discontinuities of a broadcast: all its playlists have the same, under the same numbers (RFC 8216bis, 6.2.4), so
//! that a player that changes from one to another knows what goes on from what.
//!
//! A playlist in which something does not go on from what came before (another size, parts that were left out, another
//! engine) makes one. The others repeat it at their next segment, though their media go on: segments of rungs
//! begin at other times than those of the publisher's video.

use std::collections::VecDeque;

use crate::limits::HLS_BREAKS_MAX;

/// A segment that begins so little before a discontinuity is behind it, in milliseconds: times of segments are rounded.
const ROUNDING_MS: u64 = 50;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Breaks {
    /// Whether some playlist has begun.
    is_begun: bool,
    /// The number of the newest one that is not in `at`.
    before: u64,
    /// When those behind were, in Unix milliseconds.
    at: VecDeque<u64>,
}

/// A segment that begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// In Unix milliseconds.
    pub(super) at_unix_ms: u64,
    /// The number of the segment before; none where the playlist begins.
    pub(super) before: Option<u64>,
    /// It does not go on from that.
    pub(super) is_break: bool,
    /// What the shard has counted, for the first playlist.
    pub(super) counted: u64,
}

impl Breaks {
    /// The discontinuity number of a segment that begins.
    pub(super) fn number(&mut self, begun: Begun) -> u64 {
        if !std::mem::replace(&mut self.is_begun, true) {
            self.before = begun.counted;
        }
        let Some(before) = begun.before else {
            return self.number_at(begun.at_unix_ms);
        };
        let number = self.number_at(begun.at_unix_ms).max(before);
        if !begun.is_break || number > before {
            return number;
        }
        if before == self.newest() {
            self.push(begun.at_unix_ms);
        }
        // Its own, or one that another playlist has made a little later than this one: the same cause.
        before + 1
    }

    fn newest(&self) -> u64 {
        self.before + self.at.len() as u64
    }

    /// How many there were up to this time.
    fn number_at(&self, at_unix_ms: u64) -> u64 {
        let until = at_unix_ms.saturating_add(ROUNDING_MS);
        let up_to = self.at.iter().take_while(|at| **at <= until);
        self.before + up_to.count() as u64
    }

    fn push(&mut self, at_unix_ms: u64) {
        // The clock of another engine may be behind; numbers rise all the same.
        let newest = self.at.back().copied().unwrap_or(0);
        self.at.push_back(at_unix_ms.max(newest));
        if self.at.len() > HLS_BREAKS_MAX {
            self.at.pop_front();
            self.before += 1;
        }
    }
}
