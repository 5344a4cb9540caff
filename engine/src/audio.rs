//! The audio lanes of a shard: Opus in, AAC out, on the executor itself (20-200 µs a packet).

use std::collections::HashMap;

use bytes::Bytes;
use shardcast_core::io::{AudioJob, LaneId};
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
            opus_samples(packet).unwrap_or(PACKET_SAMPLES_DEFAULT),
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

/// Length of an Opus packet at 48 kHz, from its first two bytes (RFC 6716, sections 3.1 and 3.2).
fn opus_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let step = u32::from(config & 3);
    let frame = match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 if step == 3 => 2_880,
        0..=11 => 480 << step,
        // Hybrid: 10, 20 ms.
        12..=15 => 480 << (step & 1),
        // CELT: 2.5, 5, 10, 20 ms.
        _ => 120 << step,
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3f),
    };
    // "No packet is longer than 120 ms" (section 3.4, R5).
    Some(frame * frames).filter(|samples| (1..=5_760).contains(samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_an_opus_packet_is_read_from_its_head() {
        for (packet, samples) in [
            (&[31 << 3][..], Some(960)), // CELT fullband 20 ms, as browsers send
            (&[28 << 3][..], Some(120)), // CELT 2.5 ms
            (&[(3 << 3) | 1][..], Some(5_760)), // two SILK frames of 60 ms
            (&[13 << 3][..], Some(960)), // hybrid 20 ms
            (&[(31 << 3) | 3, 3][..], Some(2_880)),
            (&[(31 << 3) | 3, 0][..], None),
            (&[(31 << 3) | 3, 63][..], None),
            (&[(31 << 3) | 3][..], None),
            (&[][..], None),
        ] {
            assert_eq!(opus_samples(packet), samples, "{packet:?}");
        }
    }

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
