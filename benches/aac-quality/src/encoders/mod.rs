//! The encoders that are compared. Each gets the same samples and gives raw AAC-LC access units.

mod fdk;
mod lavc;
mod ours;
mod oxideav;
mod syom;

use std::time::Duration;

use crate::clip::{Clip, FRAME, RATE_HZ};

/// A coded clip.
pub struct Stream {
    /// `AudioSpecificConfig` (ISO 14496-3 1.6.2.1).
    pub config: [u8; 2],
    /// One `raw_data_block` each.
    pub frames: Vec<Vec<u8>>,
    /// Time of the encoding thread on a processor, without the conversion of the input.
    pub cpu: Duration,
}

impl Stream {
    pub fn new(channels: usize) -> Self {
        // Object type 2 (AAC-LC), frequency index 3 (48 kHz), the number of channels.
        Self {
            config: [0x11, 0x80 | (channels as u8) << 3],
            frames: Vec::new(),
            cpu: Duration::ZERO,
        }
    }

    /// Bits per second over the whole clip.
    pub fn bits_per_second(&self) -> f64 {
        let bits: usize = self.frames.iter().map(|f| f.len() * 8).sum();
        bits as f64 * f64::from(RATE_HZ) / (self.frames.len().max(1) * FRAME) as f64
    }

    pub fn us_per_frame(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.frames.len().max(1) as f64
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    LavcFast,
    LavcTwoloop,
    Fdk,
    Syom,
    Oxideav,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Ours,
        Self::LavcFast,
        Self::LavcTwoloop,
        Self::Fdk,
        Self::Syom,
        Self::Oxideav,
    ];

    /// Without `oxideav-aac`, which takes 50 ms for a stereo frame.
    pub const QUICK: [Self; 5] = [
        Self::Ours,
        Self::LavcFast,
        Self::LavcTwoloop,
        Self::Fdk,
        Self::Syom,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::LavcFast => "fast",
            Self::LavcTwoloop => "twoloop",
            Self::Fdk => "fdk",
            Self::Syom => "syom",
            Self::Oxideav => "oxideav",
        }
    }

    pub fn encode(self, clip: &Clip, bps: u32) -> Result<Stream, String> {
        match self {
            Self::Ours => ours::encode(clip, bps),
            Self::LavcFast => lavc::encode(clip, bps, "fast"),
            Self::LavcTwoloop => lavc::encode(clip, bps, "twoloop"),
            Self::Fdk => fdk::encode(clip, bps),
            Self::Syom => syom::encode(clip, bps),
            Self::Oxideav => oxideav::encode(clip, bps),
        }
    }
}

/// Time that the calling thread has spent on a processor.
fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Mean time of a frame over the clips, each at its fastest run. Infinite when it was not measured.
pub struct Cost {
    pub stereo_us: f64,
    pub mono_us: f64,
}

pub fn costs(kinds: &[Kind], clips: &[Clip], bps: u32, runs: usize) -> Result<Vec<Cost>, String> {
    let mean = |kind: Kind, channels: usize| -> Result<f64, String> {
        let mut sum = 0.0;
        let clips = clips.iter().filter(|clip| clip.channels.len() == channels);
        let count = clips.clone().count();
        for clip in clips {
            let mut best = f64::INFINITY;
            for _ in 0..runs {
                best = best.min(kind.encode(clip, bps)?.us_per_frame());
            }
            sum += best;
        }
        Ok(sum / count as f64)
    };
    kinds
        .iter()
        .map(|&kind| {
            Ok(Cost {
                stereo_us: mean(kind, 2)?,
                mono_us: mean(kind, 1)?,
            })
        })
        .collect()
}
