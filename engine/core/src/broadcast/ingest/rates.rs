//! How much a publisher sends a second, from counters that only grow.

/// Counters of a publisher's media.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) frames: u64,
    pub(super) video_bytes: u64,
    pub(super) audio_bytes: u64,
}

/// What the last second came to. All rates are bits or frames a second.
#[derive(Debug, Default)]
pub(super) struct Rates {
    before: Counted,
    pub(super) frames: u32,
    pub(super) video_bps: u64,
    pub(super) audio_bps: u64,
    /// Of the frame, over some seconds.
    pub(super) mean_bps: u64,
}

impl Rates {
    /// A second is over.
    pub(super) fn tick(&mut self, counted: Counted) {
        let before = std::mem::replace(&mut self.before, counted);
        self.frames = u32::try_from(counted.frames - before.frames).unwrap_or(u32::MAX);
        self.video_bps = 8 * (counted.video_bytes - before.video_bytes);
        self.audio_bps = 8 * (counted.audio_bytes - before.audio_bytes);
        self.mean_bps = match self.mean_bps {
            0 => self.video_bps,
            mean_bps => (3 * mean_bps + self.video_bps) / 4,
        };
    }
}
