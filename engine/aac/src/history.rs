//! The input of one channel: made finite, and kept for the overlap and the look-ahead.

use crate::FRAME_SAMPLES;

/// Three blocks of input: the two that the frame in work transforms, and the one after them.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// Each with the last sample before it. They take turns, so that none is moved.
    blocks: [[f32; 1 + FRAME_SAMPLES]; 3],
    /// Which of them is the oldest; those behind it follow.
    oldest: usize,
    /// For each block from the oldest on, whether all its samples are zero.
    silent: [bool; 3],
}

impl History {
    /// Silence.
    pub(crate) fn new() -> Self {
        Self {
            blocks: [[0.0; 1 + FRAME_SAMPLES]; 3],
            oldest: 0,
            silent: [true; 3],
        }
    }

    /// Takes the next block and forgets the oldest.
    pub(crate) fn push(&mut self, block: &[f32; FRAME_SAMPLES]) {
        let last = self.newest()[FRAME_SAMPLES];
        let [before, newest @ ..] = &mut self.blocks[self.oldest];
        *before = last;
        // Bits are joined at once for several samples; the greatest of floats would be found one by one.
        let mut bits = 0;
        for (kept, &sample) in newest.iter_mut().zip(block) {
            let finite = if sample.is_finite() { sample } else { 0.0 };
            let clamped = finite.clamp(-1.0, 1.0);
            *kept = clamped;
            bits |= clamped.abs().to_bits();
        }
        self.oldest = (self.oldest + 1) % 3;
        self.silent = [self.silent[1], self.silent[2], bits == 0];
    }

    /// What the frame in work transforms: two blocks.
    pub(crate) fn frame(&self) -> [&[f32]; 2] {
        [0, 1].map(|age| &self.blocks[(self.oldest + age) % 3][1..])
    }

    /// The newest block, with the last sample before it.
    pub(crate) fn newest(&self) -> &[f32; 1 + FRAME_SAMPLES] {
        &self.blocks[(self.oldest + 2) % 3]
    }

    /// Whether the frame in work has no sound at all.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent[0] && self.silent[1]
    }
}
