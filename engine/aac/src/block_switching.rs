//! When to use short windows: where the signal rises suddenly, so that the noise of quantisation
//! does not sound ahead of what would mask it.
//!
//! ```text
//! block        k-1            |             k             |           k+1 (look-ahead)
//! frame k      |<----------- 2048 samples ----------->|
//! its short windows  448 |<- 8 x 128, overlapping ->| 1600
//! ```
//!
//! An attack in the second part of block k-1 (from 576) or in the first part of block k (up to 576)
//! is heard best by the short windows of frame k.

use crate::FRAME_SAMPLES;
use crate::bands::{Grouping, WindowSequence};

/// Samples whose energy is looked at together.
const STEP: usize = 64;
const STEPS: usize = FRAME_SAMPLES / STEP;
/// Steps of a block that belong to the frame whose second block it is: 576 samples.
const EARLY_STEPS: u32 = 9;
/// A step is an attack if it has so many times the energy of what came before.
const ATTACK_RATIO: f32 = 10.0;
/// Energy of a step below which nothing is an attack: differences of about -70 dB of full scale.
const ATTACK_FLOOR: f32 = STEP as f32 * 1e-7;
/// How fast the remembered energy follows, for each step.
const FOLLOW: f32 = 0.16;

/// Attack positions: bit n is step n of the block.
pub(crate) type Attacks = u16;

/// Looks for attacks in one channel.
#[derive(Debug, Clone)]
pub(crate) struct AttackDetector {
    /// Energy of what came before, smoothed.
    before: f32,
    /// Energy of the step before.
    last: f32,
}

impl AttackDetector {
    /// Nothing heard yet.
    pub(crate) fn new() -> Self {
        Self {
            before: 0.0,
            last: 0.0,
        }
    }

    /// The attacks of a block, given with the sample before it.
    pub(crate) fn find(&mut self, samples: &[f32]) -> Attacks {
        let mut attacks = 0;
        for step in 0..STEPS {
            let energy = difference_energy(&samples[step * STEP..=(step + 1) * STEP]);
            let pair = 0.5 * (energy + self.last);
            if pair.max(energy * 0.7) > ATTACK_RATIO * self.before && energy > ATTACK_FLOOR {
                attacks |= 1 << step;
                // What follows the attack is not one again.
                self.before = self.before.max(0.5 * energy);
            }
            self.before += FOLLOW * (self.last - self.before);
            self.last = energy;
        }
        attacks
    }
}

/// Energy of the first difference, which favours high frequencies.
fn difference_energy(samples: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (now, before) = (&samples[1..], &samples[..samples.len() - 1]);
    for (now, before) in now.chunks_exact(8).zip(before.chunks_exact(8)) {
        for ((sum, now), before) in sums.iter_mut().zip(now).zip(before) {
            *sum += (now - before) * (now - before);
        }
    }
    sums.iter().sum()
}

/// The window sequence of frame after frame.
#[derive(Debug)]
pub(crate) struct BlockSwitching {
    previous: WindowSequence,
    /// Attacks of the frame's two blocks and of the look-ahead.
    attacks: [Attacks; 3],
}

impl BlockSwitching {
    /// Before the first frame.
    pub(crate) fn new() -> Self {
        Self {
            previous: WindowSequence::OnlyLong,
            attacks: [0; 3],
        }
    }

    /// Takes the attacks of the look-ahead block, of all channels together.
    pub(crate) fn push(&mut self, attacks: Attacks) {
        self.attacks = [self.attacks[1], self.attacks[2], attacks];
    }

    /// The windows of the frame, and how short ones are grouped.
    pub(crate) fn next(&mut self) -> (WindowSequence, Grouping) {
        let [first, second, third] = self.attacks;
        let inside = in_frame(first, second);
        let short_next = in_frame(second, third) != 0;
        let after_short = matches!(
            self.previous,
            WindowSequence::EightShort | WindowSequence::LongStart
        );
        let sequence = match (after_short, inside != 0, short_next) {
            (_, true, _) | (true, false, true) => WindowSequence::EightShort,
            (true, false, false) => match self.previous {
                WindowSequence::EightShort => WindowSequence::LongStop,
                // A start window is followed by short ones.
                _ => WindowSequence::EightShort,
            },
            (false, false, true) => WindowSequence::LongStart,
            (false, false, false) => WindowSequence::OnlyLong,
        };
        self.previous = sequence;
        (sequence, grouping(inside))
    }
}

/// The attacks that the short windows of a frame of these two blocks hear: bit n is 64 n samples
/// after the start of the first short window's second half.
fn in_frame(first: Attacks, second: Attacks) -> u16 {
    first >> EARLY_STEPS | (second & ((1 << EARLY_STEPS) - 1)) << (16 - EARLY_STEPS)
}

/// Groups by the first window with an attack: what is before it stays apart from what is after.
fn grouping(attacks: u16) -> Grouping {
    if attacks == 0 {
        return Grouping::new(&[4, 4]);
    }
    match attacks.trailing_zeros() / 2 {
        0 => Grouping::new(&[1, 3, 4]),
        1 => Grouping::new(&[1, 1, 2, 4]),
        2 => Grouping::new(&[2, 1, 2, 3]),
        3 => Grouping::new(&[3, 1, 2, 2]),
        4 => Grouping::new(&[4, 1, 1, 2]),
        5 => Grouping::new(&[3, 2, 1, 2]),
        6 => Grouping::new(&[3, 3, 1, 1]),
        _ => Grouping::new(&[3, 4, 1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence_of(blocks: &[Attacks]) -> Vec<WindowSequence> {
        let mut switching = BlockSwitching::new();
        let frame = |attacks: &Attacks| {
            switching.push(*attacks);
            switching.next().0
        };
        // The first frame has not heard its second block yet.
        blocks.iter().map(frame).skip(1).collect()
    }

    #[test]
    fn an_attack_has_a_start_window_before_it_and_a_stop_window_after_it() {
        use WindowSequence::{EightShort, LongStart, LongStop, OnlyLong};
        let early = sequence_of(&[0, 0, 1 << 2, 0, 0, 0]);
        assert_eq!(early, [OnlyLong, LongStart, EightShort, LongStop, OnlyLong]);
        let late = sequence_of(&[0, 0, 1 << 12, 0, 0, 0]);
        assert_eq!(late, [OnlyLong, OnlyLong, LongStart, EightShort, LongStop]);
    }

    #[test]
    fn short_windows_stay_on_where_a_stop_would_have_to_be_a_start() {
        use WindowSequence::{EightShort, LongStart, LongStop};
        let close = sequence_of(&[0, 0, 1 << 2, 0, 1 << 2, 0, 0, 0]);
        assert_eq!(
            close[1..6],
            [LongStart, EightShort, EightShort, EightShort, LongStop]
        );
    }

    #[test]
    fn a_click_is_found_once_where_it_is() {
        let mut block = vec![0.0_f32; 1025];
        block[1 + 300] = 0.5;
        assert_eq!(AttackDetector::new().find(&block), 1 << (300 / 64));
    }

    #[test]
    fn a_steady_tone_has_no_attack_after_its_beginning() {
        let mut detector = AttackDetector::new();
        let tone = |n: usize| (n as f32 * 0.13).sin() * 0.3;
        for block in 0..10 {
            let samples: Vec<f32> = (0..=1024).map(|n| tone(block * 1024 + n)).collect();
            let attacks = detector.find(&samples);
            assert!(block == 0 || attacks == 0, "block {block}: {attacks:b}");
        }
    }
}
