//! The audio lanes of a shard: Opus in, AAC out, on the executor itself (20-200 µs a packet).

use std::collections::HashMap;

use bytes::Bytes;
use shardcast_core::{
    io::{AudioJob, LaneId},
    opus,
};
use shardcast_media::OpusToAac;

use crate::limits::{AUDIO_LANES_MAX, AUDIO_SAMPLES_PER_JOB_MAX};

/// What is assumed missing for a packet that does not say how long it is: the 20 ms of WebRTC.
const PACKET_SAMPLES_DEFAULT: u32 = 960;

#[derive(Default)]
pub(crate) struct AudioLanes {
    lanes: HashMap<LaneId, OpusToAac>,
}

impl AudioLanes {
    /// Does one job; the frames it made, if any.
    pub(crate) fn run(&mut self, job: AudioJob) -> Option<(LaneId, Vec<Bytes>)> {
        let (lane, frames) = match job {
            AudioJob::Open { lane } => {
                self.open(lane);
                return None;
            }
            AudioJob::Close { lane } => {
                self.lanes.remove(&lane);
                return None;
            }
            AudioJob::Decode { lane, packet } => {
                (lane, decode(self.lanes.get_mut(&lane)?, lane, &packet))
            }
            AudioJob::Conceal { lane, samples } => {
                (lane, conceal(self.lanes.get_mut(&lane)?, lane, samples))
            }
            AudioJob::Silence { lane, samples } => {
                (lane, silence(self.lanes.get_mut(&lane)?, lane, samples))
            }
        };
        (!frames.is_empty()).then_some((lane, frames))
    }

    fn open(&mut self, lane: LaneId) {
        if self.lanes.len() >= AUDIO_LANES_MAX {
            tracing::error!(
                lane = lane.0,
                "no audio: {AUDIO_LANES_MAX} codecs are open already"
            );
            return;
        }
        match OpusToAac::new() {
            Ok(codec) => {
                self.lanes.insert(lane, codec);
            }
            Err(error) => tracing::error!(lane = lane.0, "no audio: {error}"),
        }
    }
}

fn decode(codec: &mut OpusToAac, lane: LaneId, packet: &[u8]) -> Vec<Bytes> {
    codec.decode(packet).unwrap_or_else(|error| {
        tracing::debug!(
            lane = lane.0,
            "an Opus packet is replaced by silence: {error}"
        );
        silence(
            codec,
            lane,
            opus::duration_samples(packet).unwrap_or(PACKET_SAMPLES_DEFAULT),
        )
    })
}

fn conceal(codec: &mut OpusToAac, lane: LaneId, samples: u32) -> Vec<Bytes> {
    let samples = samples.min(AUDIO_SAMPLES_PER_JOB_MAX);
    codec.conceal(samples).unwrap_or_else(|error| {
        tracing::debug!(lane = lane.0, "a gap is filled with silence: {error}");
        silence(codec, lane, samples)
    })
}

fn silence(codec: &mut OpusToAac, lane: LaneId, samples: u32) -> Vec<Bytes> {
    codec
        .silence(samples.min(AUDIO_SAMPLES_PER_JOB_MAX))
        .unwrap_or_else(|error| {
            tracing::error!(lane = lane.0, samples, "audio is missing: {error}");
            Vec::new()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_not_opus_becomes_silence_of_the_usual_length() {
        let mut lanes = AudioLanes::default();
        let lane = LaneId(1);
        lanes.run(AudioJob::Open { lane });
        let mut frames = 0;
        for _ in 0..50 {
            let packet = Bytes::from_static(&[(31 << 3) | 3]);
            frames += lanes
                .run(AudioJob::Decode { lane, packet })
                .map_or(0, |(_, f)| f.len());
        }
        // A second in packets of 20 ms is 46.9 frames; the codec may hold a few back.
        assert!((40..=48).contains(&frames), "{frames} frames");
    }

    #[test]
    fn a_lane_that_was_never_opened_or_is_closed_answers_nothing() {
        let mut lanes = AudioLanes::default();
        let lane = LaneId(7);
        assert!(
            lanes
                .run(AudioJob::Silence {
                    lane,
                    samples: 48_000
                })
                .is_none()
        );
        lanes.run(AudioJob::Open { lane });
        lanes.run(AudioJob::Close { lane });
        assert!(
            lanes
                .run(AudioJob::Silence {
                    lane,
                    samples: 48_000
                })
                .is_none()
        );
    }
}
