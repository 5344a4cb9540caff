//! Constant bit rate with a reservoir (ISO/IEC 14496-3, 4.5.3.2 and Annex 4.B.14): a frame may use
//! bits that frames before it saved, and no more.

use crate::{FRAME_SAMPLES, SAMPLE_RATE};

/// The decoder's input buffer: 6144 bits for each of two channels.
const BUFFER_BITS: i32 = 2 * 6144;
/// The reservoir in frames of the mean size: enough for an attack, and little delay.
const RESERVOIR_FRAMES: i32 = 4;
/// The part of the reservoir that is kept full when nothing asks for more.
const RESTING_LEVEL: f32 = 0.7;
/// How much of the distance to the resting level one frame makes good.
const LEVEL_PULL: f32 = 0.15;
/// How much of its above-average demand a frame gets.
const DEMAND_PULL: f32 = 0.3;
/// How fast the average demand follows.
const DEMAND_FOLLOW: f32 = 0.05;

/// What a frame may spend, in bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// What it should spend.
    pub(crate) target: u32,
    /// What it can spend at most, whole bytes.
    pub(crate) most: u32,
    /// What it must spend at least, whole bytes; fill elements make up for the rest.
    pub(crate) least: u32,
}

/// The bit reservoir.
#[derive(Debug, Clone)]
pub(crate) struct Reservoir {
    bitrate: u64,
    /// Bits of a frame that have not made a whole one yet, in 1/48000.
    remainder: u64,
    /// Bits that may be spent beyond the mean.
    level: i32,
    size: i32,
    /// Bits that the frame in work brings.
    mean: i32,
    /// Perceptual entropy of frames so far, smoothed.
    demand: f32,
}

impl Reservoir {
    /// A reservoir at its resting level.
    pub(crate) fn new(bitrate_bps: u32) -> Self {
        let bitrate = u64::from(bitrate_bps);
        let mean = (bitrate * FRAME_SAMPLES as u64 / u64::from(SAMPLE_RATE)) as i32;
        let size = (RESERVOIR_FRAMES * mean).min(BUFFER_BITS - mean - 1);
        Self {
            bitrate,
            remainder: 0,
            level: (RESTING_LEVEL * size as f32) as i32,
            size,
            mean,
            demand: 0.0,
        }
    }

    /// The budget of a frame without sound. What sound usually asks for stays what it was, so that the
    /// first frames of a word after a pause are not taken for exceptional.
    pub(crate) fn silent_budget(&mut self) -> Budget {
        self.next_frame();
        self.share(0.0)
    }

    /// The budget of the next frame, whose perceptual entropy is `demand`.
    pub(crate) fn budget(&mut self, demand: f32) -> Budget {
        self.next_frame();
        if self.demand == 0.0 {
            self.demand = demand;
        }
        let ratio = (demand / self.demand.max(1.0)).clamp(0.4, 3.0);
        self.demand += DEMAND_FOLLOW * (demand - self.demand);
        self.share(ratio)
    }

    fn next_frame(&mut self) {
        self.remainder += self.bitrate * FRAME_SAMPLES as u64;
        self.mean = (self.remainder / u64::from(SAMPLE_RATE)) as i32;
        self.remainder %= u64::from(SAMPLE_RATE);
    }

    /// What there is for a frame with so many times the usual demand.
    fn share(&self, ratio: f32) -> Budget {
        let there = self.level + self.mean;
        let most = there.min(BUFFER_BITS) & !7;
        let least = (there - self.size + 7).max(0) & !7;
        let mean = self.mean as f32;
        let pull = LEVEL_PULL * (self.level as f32 - RESTING_LEVEL * self.size as f32);
        let target = mean * (1.0 + DEMAND_PULL * (ratio - 1.0)) + pull;
        let (low, high) = (0.3 * mean, (0.95 * most as f32).max(0.3 * mean));
        Budget {
            target: target.clamp(low, high) as u32,
            most: most as u32,
            least: least as u32,
        }
    }

    /// Takes what the frame was written with.
    pub(crate) fn spend(&mut self, bits: u32) {
        self.level += self.mean - bits as i32;
        debug_assert!((0..=self.size).contains(&self.level), "{self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_after_a_pause_asks_for_no_more_than_one_before_it() {
        let mut reservoir = Reservoir::new(64_000);
        for _ in 0..200 {
            let target = reservoir.budget(1_000.0).target;
            reservoir.spend(target.next_multiple_of(8));
        }
        let before = reservoir.demand;
        for _ in 0..100 {
            let least = reservoir.silent_budget().least;
            reservoir.spend(least);
        }
        assert_eq!(reservoir.demand, before);
        // The pause has filled the reservoir, so there is more for the word all the same.
        assert!(reservoir.level > reservoir.size - 8, "{reservoir:?}");
    }
}
