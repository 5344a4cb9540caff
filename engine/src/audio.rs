//! The audio lanes of a shard: Opus in, AAC out, on the executor itself (20-200 µs a packet).

use std::collections::HashMap;

use bytes::Bytes;
use shardcast_core::{
    io::{AudioJob, LaneId},
    opus,
};
use shardcast_media::{OpusToAac, limits::FILL_SAMPLES_MAX};

use crate::limits::{AUDIO_LANES_MAX, AUDIO_OWED_SAMPLES_PER_JOB};

/// What is assumed missing for a packet that does not say how long it is: the 20 ms of WebRTC.
const PACKET_SAMPLES_DEFAULT: u32 = 960;

/// One lane. Its time runs by samples, so what it could not say while it had no codec is owed, and
/// paid in silence: left out, it would shift all sound that follows.
struct Lane {
    audio_bps: u32,
    codec: Option<OpusToAac>,
    owed_samples: u64,
    /// The log knows that it has no codec.
    told: bool,
}

pub(crate) struct AudioLanes {
    lanes: HashMap<LaneId, Lane>,
    codecs: usize,
    codecs_max: usize,
}

impl Default for AudioLanes {
    fn default() -> Self {
        Self::with_codecs_max(AUDIO_LANES_MAX)
    }
}

impl AudioLanes {
    fn with_codecs_max(codecs_max: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            codecs: 0,
            codecs_max,
        }
    }

    /// Does one job; the frames it made, if any.
    pub(crate) fn run(&mut self, job: &AudioJob) -> Option<(LaneId, Vec<Bytes>)> {
        let lane = match job {
            AudioJob::Open { lane, audio_bps } => {
                let audio_bps = *audio_bps;
                self.lanes
                    .entry(*lane)
                    .or_insert_with(|| Lane::new(audio_bps));
                self.open(*lane);
                return None;
            }
            AudioJob::Close { lane } => {
                let closed = self.lanes.remove(lane);
                self.codecs -= usize::from(closed.is_some_and(|lane| lane.codec.is_some()));
                return None;
            }
            AudioJob::Decode { lane, .. }
            | AudioJob::Recover { lane, .. }
            | AudioJob::Conceal { lane, .. }
            | AudioJob::Silence { lane, .. } => *lane,
        };
        self.open(lane);
        let frames = self.lanes.get_mut(&lane)?.run(lane, job);
        (!frames.is_empty()).then_some((lane, frames))
    }

    /// Gives a lane its codec, unless it has one. What is not possible now is tried again at the
    /// next job of the lane.
    fn open(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        if lane.codec.is_some() {
            return;
        }
        let error = if self.codecs >= self.codecs_max {
            format!("{} codecs are open already", self.codecs_max)
        } else {
            match OpusToAac::new(lane.audio_bps as usize) {
                Ok(codec) => {
                    lane.codec = Some(codec);
                    self.codecs += 1;
                    return;
                }
                Err(error) => error.to_string(),
            }
        };
        if !lane.told {
            lane.told = true;
            tracing::error!(lane = id.0, "no audio until a codec can be opened: {error}");
        }
    }
}

impl Lane {
    fn new(audio_bps: u32) -> Self {
        Self {
            audio_bps,
            codec: None,
            owed_samples: 0,
            told: false,
        }
    }

    fn run(&mut self, id: LaneId, job: &AudioJob) -> Vec<Bytes> {
        let Some(codec) = &mut self.codec else {
            self.owed_samples += u64::from(samples(job));
            return Vec::new();
        };
        if self.owed_samples > 0 {
            self.owed_samples += u64::from(samples(job));
            let paid = self.owed_samples.min(AUDIO_OWED_SAMPLES_PER_JOB.into());
            self.owed_samples -= paid;
            return silence(codec, id, paid as u32);
        }
        match job {
            AudioJob::Decode { packet, .. } => decode(codec, id, packet),
            AudioJob::Recover {
                packet, samples, ..
            } => recover(codec, id, packet, *samples),
            AudioJob::Conceal { samples, .. } => conceal(codec, id, *samples),
            AudioJob::Silence { samples, .. } => silence(codec, id, *samples),
            AudioJob::Open { .. } | AudioJob::Close { .. } => Vec::new(),
        }
    }
}

/// How much time a job is to fill.
fn samples(job: &AudioJob) -> u32 {
    match job {
        AudioJob::Decode { packet, .. } => packet_samples(packet),
        AudioJob::Recover { samples, .. }
        | AudioJob::Conceal { samples, .. }
        | AudioJob::Silence { samples, .. } => *samples,
        AudioJob::Open { .. } | AudioJob::Close { .. } => 0,
    }
}

fn packet_samples(packet: &[u8]) -> u32 {
    opus::duration_samples(packet).unwrap_or(PACKET_SAMPLES_DEFAULT)
}

fn decode(codec: &mut OpusToAac, lane: LaneId, packet: &[u8]) -> Vec<Bytes> {
    codec.decode(packet).unwrap_or_else(|error| {
        tracing::debug!(
            lane = lane.0,
            "an Opus packet is replaced by silence: {error}"
        );
        silence(codec, lane, packet_samples(packet))
    })
}

/// What the packet behind a gap does not tell of it is concealed.
fn recover(codec: &mut OpusToAac, lane: LaneId, packet: &[u8], samples: u32) -> Vec<Bytes> {
    codec.recover(packet, samples).unwrap_or_else(|error| {
        tracing::debug!(lane = lane.0, "a lost packet is concealed: {error}");
        conceal(codec, lane, samples)
    })
}

/// Only the beginning of a gap is invented; the codec takes no more at a time than it can bear,
/// and the rest is silence anyway.
fn conceal(codec: &mut OpusToAac, lane: LaneId, samples: u32) -> Vec<Bytes> {
    let first = samples.min(FILL_SAMPLES_MAX);
    let mut frames = codec.conceal(first).unwrap_or_else(|error| {
        tracing::debug!(lane = lane.0, "a gap is filled with silence: {error}");
        silence(codec, lane, first)
    });
    frames.extend(silence(codec, lane, samples - first));
    frames
}

fn silence(codec: &mut OpusToAac, lane: LaneId, samples: u32) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut left = samples;
    while left > 0 {
        let piece = left.min(FILL_SAMPLES_MAX);
        match codec.silence(piece) {
            Ok(more) => frames.extend(more),
            Err(error) => {
                tracing::error!(lane = lane.0, samples = piece, "audio is missing: {error}");
            }
        }
        left -= piece;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(lane: LaneId) -> AudioJob {
        AudioJob::Open {
            lane,
            audio_bps: 128_000,
        }
    }

    #[test]
    fn a_packet_that_is_not_opus_becomes_silence_of_the_usual_length() {
        let mut lanes = AudioLanes::default();
        let lane = LaneId(1);
        lanes.run(&open(lane));
        let mut frames = 0;
        for _ in 0..50 {
            let packet = Bytes::from_static(&[(31 << 3) | 3]);
            frames += lanes
                .run(&AudioJob::Decode { lane, packet })
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
                .run(&AudioJob::Silence {
                    lane,
                    samples: 48_000
                })
                .is_none()
        );
        lanes.run(&open(lane));
        lanes.run(&AudioJob::Close { lane });
        assert!(
            lanes
                .run(&AudioJob::Silence {
                    lane,
                    samples: 48_000
                })
                .is_none()
        );
    }

    /// Frames that one job gave.
    fn frames(lanes: &mut AudioLanes, job: &AudioJob) -> usize {
        lanes.run(job).map_or(0, |(_, frames)| frames.len())
    }

    #[test]
    fn a_job_longer_than_the_codec_bears_fills_all_of_its_time() {
        let samples = FILL_SAMPLES_MAX + 48_000;
        let expected = samples as usize / 1_024 - 1;
        for long in [
            |lane, samples| AudioJob::Silence { lane, samples },
            |lane, samples| AudioJob::Conceal { lane, samples },
        ] {
            let mut lanes = AudioLanes::default();
            let lane = LaneId(1);
            lanes.run(&open(lane));
            assert_eq!(frames(&mut lanes, &long(lane, samples)), expected);
        }
    }

    #[test]
    fn a_lane_that_could_not_be_opened_sounds_once_it_can_and_has_lost_no_time() {
        let mut lanes = AudioLanes::with_codecs_max(1);
        let (first, second) = (LaneId(1), LaneId(2));
        lanes.run(&open(first));
        lanes.run(&open(second));
        let job = || AudioJob::Silence {
            lane: second,
            samples: 4_800,
        };
        let mut samples = 0;
        for _ in 0..25 {
            samples += 4_800;
            assert_eq!(frames(&mut lanes, &job()), 0);
        }
        lanes.run(&AudioJob::Close { lane: first });
        let mut sum = 0;
        for _ in 0..5 {
            samples += 4_800;
            sum += frames(&mut lanes, &job());
        }
        assert_eq!(sum, samples / 1_024 - 1);
    }

    #[test]
    fn every_publisher_that_the_shard_admits_may_have_sound() {
        let mut lanes = AudioLanes::default();
        for id in 0..300 {
            lanes.run(&open(LaneId(id)));
        }
        let job = AudioJob::Silence {
            lane: LaneId(299),
            samples: 4_800,
        };
        assert_eq!(frames(&mut lanes, &job), 3);
    }
}
