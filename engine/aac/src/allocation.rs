//! How much noise each band gets when bits are short, and how much less than it masks when there
//! are bits to spare.
//!
//! The model counts perceptual entropy: bits that a band would need to have its noise at a
//! threshold. A shortage is shared so that each band's noise becomes louder by the same amount:
//! loudness goes with about the fourth root of energy, so the same number is added to all fourth
//! roots of thresholds. No audible band falls below the signal-to-noise ratio that keeps it from
//! vanishing, as long as there are bits for that.

use crate::bands::BANDS_MAX;
use crate::channel::CodedChannel;
use crate::fast_log::{exp2, log2};

/// Bands of both channels together.
const PAIR_BANDS_MAX: usize = 2 * BANDS_MAX;
/// Bands at a time, so that the compiler uses vectors.
const LANES: usize = 4;
/// Bits of a line whose noise is as strong as itself: what uniform quantisation of that step costs.
const LINE_BITS: f32 = 0.25;
/// Bits of a line for each doubling of the ratio of energy to noise.
const DOUBLING_BITS: f32 = 0.5;
/// Halvings of the search.
const SEARCH_STEPS: usize = 10;

/// How far noise departs from what is masked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Departure {
    /// `2^-n` times the fourth root: bits to spare.
    Below(f32),
    /// The fourth root and so much: bits are short.
    Above(f32),
    /// As much noise as any band may have to be still there, times so much: bits are very short.
    Holes(f32),
}

/// The bands of a frame's channels side by side.
#[derive(Debug)]
pub(crate) struct Allocation {
    bands: usize,
    /// Fourth root of what is masked.
    roots: [f32; PAIR_BANDS_MAX],
    /// `log2` of energy.
    energies: [f32; PAIR_BANDS_MAX],
    /// The most noise that leaves something of the band.
    limits: [f32; PAIR_BANDS_MAX],
    /// Lines that need bits.
    lines: [f32; PAIR_BANDS_MAX],
    /// What came out.
    pub(crate) thresholds: [f32; PAIR_BANDS_MAX],
}

impl Allocation {
    /// No bands.
    pub(crate) fn new() -> Self {
        Self {
            bands: 0,
            roots: [0.0; PAIR_BANDS_MAX],
            energies: [0.0; PAIR_BANDS_MAX],
            limits: [0.0; PAIR_BANDS_MAX],
            lines: [0.0; PAIR_BANDS_MAX],
            thresholds: [0.0; PAIR_BANDS_MAX],
        }
    }

    /// Forgets the frame before.
    pub(crate) fn clear(&mut self) {
        self.bands = 0;
    }

    /// Takes the bands of a channel. `noise_limits` has the most noise of each band of a group, as
    /// a part of its energy.
    pub(crate) fn push(&mut self, channel: &CodedChannel, bands: usize, noise_limits: &[f32]) {
        let limits = noise_limits.iter().cycle();
        for (band, limit) in (0..bands).zip(limits) {
            let at = self.bands + band;
            let energy = channel.energies[band].max(1e-9);
            let threshold = channel.thresholds[band].max(1e-9);
            self.roots[at] = threshold.sqrt().sqrt();
            self.energies[at] = log2(energy);
            self.limits[at] = (energy * limit).max(threshold);
            self.lines[at] = channel.active_lines[band];
        }
        self.bands += bands;
        // The rest of the last vector counts nothing.
        for at in self.bands..self.bands.next_multiple_of(LANES) {
            self.roots[at] = 1.0;
            self.energies[at] = 0.0;
            self.limits[at] = 1.0;
            self.lines[at] = 0.0;
        }
    }

    /// Perceptual entropy with all noise just masked, in bits.
    pub(crate) fn demand(&mut self) -> f32 {
        self.entropy(Departure::Above(0.0))
    }

    /// Finds thresholds with an entropy of about `goal`, and says what they have.
    pub(crate) fn solve(&mut self, goal: f32) -> f32 {
        if self.entropy(Departure::Above(0.0)) < goal {
            return self.search(goal, Departure::Below, 0.0, 6.0);
        }
        if self.entropy(Departure::Holes(1.0)) > goal {
            return self.search(goal, |step| Departure::Holes(exp2(8.0 - step)), 0.0, 8.0);
        }
        let highest = self.roots[..self.bands]
            .iter()
            .fold(1e-9_f32, |most, root| most.max(*root));
        let top = log2(highest) + 8.0;
        self.search(goal, |step| Departure::Above(exp2(top - step)), 0.0, 30.0)
    }

    /// Halves the interval of a departure with which entropy grows.
    fn search(
        &mut self,
        goal: f32,
        departure: impl Fn(f32) -> Departure,
        mut low: f32,
        mut high: f32,
    ) -> f32 {
        let mut entropy = 0.0;
        for step in 0..=SEARCH_STEPS {
            let middle = if step < SEARCH_STEPS {
                0.5 * (low + high)
            } else {
                low
            };
            entropy = self.entropy(departure(middle));
            if entropy > goal {
                high = middle;
            } else {
                low = middle;
            }
        }
        entropy
    }

    /// Sets the thresholds and sums the bits.
    fn entropy(&mut self, departure: Departure) -> f32 {
        let (factor, term, most, least) = match departure {
            Departure::Below(n) => (exp2(-n), 0.0, 1.0, 0.0),
            Departure::Above(term) => (1.0, term, 1.0, 0.0),
            Departure::Holes(times) => (1.0, 0.0, times, 1.0),
        };
        let mut sums = [0.0_f32; LANES];
        for at in (0..self.bands).step_by(LANES) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let at = at + lane;
                let root = self.roots[at] * factor + term;
                let square = root * root;
                let limit = self.limits[at] * most;
                let wanted = (square * square).max(limit * least);
                let threshold = if wanted < limit { wanted } else { limit };
                self.thresholds[at] = threshold;
                let ratio = self.energies[at] - log2(threshold.max(1e-30));
                let bits = (LINE_BITS + DOUBLING_BITS * ratio).max(0.0);
                *sum += bits * self.lines[at];
            }
        }
        sums.iter().sum()
    }
}
