//! Whoever makes AAC of the publisher's sound: it counts samples and makes frames of that many, each
//! with the bit rate of its lane in it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::world::{Happening, World, ms};
use crate::{
    io::{AudioJob, LaneId},
    opus,
};

/// AAC frames have this many samples.
const AAC_SAMPLES: u64 = 1_024;

#[derive(Debug, Default)]
pub(super) struct AudioLanes(BTreeMap<LaneId, AudioLane>);

#[derive(Debug)]
struct AudioLane {
    frame: Bytes,
    /// Samples that are not enough for a frame.
    pending: u64,
}

impl AudioLanes {
    pub(super) fn open(&self) -> usize {
        self.0.len()
    }
}

impl World {
    pub(super) fn audio(&mut self, job: &AudioJob) {
        let (lane, samples) = match job {
            AudioJob::Open { lane, audio_bps } => {
                let kbps = u8::try_from(audio_bps / 1_000).unwrap();
                let frame = Bytes::copy_from_slice(&[0x21, 0x10, 0x04, kbps]);
                let opened = AudioLane { frame, pending: 0 };
                self.audio_lanes.0.insert(*lane, opened);
                return;
            }
            AudioJob::Close { lane } => {
                self.audio_lanes.0.remove(lane);
                return;
            }
            AudioJob::Decode { lane, packet } => {
                (*lane, opus::duration_samples(packet).unwrap_or_default())
            }
            AudioJob::Recover { lane, samples, .. }
            | AudioJob::Conceal { lane, samples }
            | AudioJob::Silence { lane, samples } => (*lane, *samples),
        };
        // Frames cost most of a run's time, so most runs are without.
        let lanes = &mut self.audio_lanes.0;
        let Some(to) = lanes.get_mut(&lane).filter(|_| self.plan.sound) else {
            return;
        };
        to.pending += u64::from(samples);
        let count = usize::try_from(to.pending / AAC_SAMPLES).unwrap();
        to.pending %= AAC_SAMPLES;
        if count > 0 {
            let frames = vec![to.frame.clone(); count];
            self.after(ms(2), Happening::Coded(lane, frames));
        }
    }
}

/// The bit rate that a frame was made with, in kbit/s.
pub(super) fn kbps_of(frame: &[u8]) -> Option<u8> {
    frame.get(3).copied()
}
