//! A publisher's H.264, made for the test, and jobs for a video lane.

use bytes::Bytes;
use shardcast_core::io::{Output, RenditionId, VideoJob, VideoLaneId};
use shardcast_link::{RenditionSpec, VideoCodec};
use shardcast_media::{
    HEADROOM_BYTES, I420, Picture, Preset, Profile, RenditionSettings, VideoEncoder,
};

const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;

/// Thirty pictures a second.
const PICTURE_US: i64 = 33_333;

/// A stream of pictures that move.
pub(crate) struct Film {
    encoder: VideoEncoder,
    pictures: i64,
    record: Option<Bytes>,
}

impl Film {
    pub(crate) fn new() -> Self {
        let settings = RenditionSettings {
            width: None,
            height: HEIGHT,
            frames_per_second: 30,
            video_bps: 500_000,
            gop_ms: 2_000,
            preset: Preset::Ultrafast,
            profile: Profile::Baseline,
        };
        let encoder = VideoEncoder::new(WIDTH, HEIGHT, &settings, &picture(0)).unwrap();
        Self {
            encoder,
            pictures: 0,
            record: None,
        }
    }

    /// The next access unit. After the first keyframe the record is known.
    pub(crate) fn next(&mut self, key: bool) -> Bytes {
        let mut unit = Vec::new();
        let coded = self.encoder.encode(&picture(self.pictures), key, &mut unit);
        if let Some((sps, pps)) = coded.unwrap().parameter_sets {
            self.record = Some(record(&sps, &pps));
        }
        self.pictures += 1;
        Bytes::from(unit).slice(HEADROOM_BYTES..)
    }

    /// The next picture, for this lane.
    pub(crate) fn decode(&mut self, lane: VideoLaneId, key: bool) -> Output {
        let pts_us = self.pictures * PICTURE_US;
        let unit = self.next(key);
        Output::Video(VideoJob::Decode { lane, pts_us, unit })
    }

    /// Opens a lane for this film with one small rendition, and begins with a keyframe.
    pub(crate) fn open(&mut self, lane: VideoLaneId, rendition: RenditionId) -> Vec<Output> {
        let first = self.decode(lane, true);
        let spec = RenditionSpec {
            width: Some(160),
            ..RenditionSpec::of_height(90)
        };
        let renditions = vec![(rendition, spec)];
        vec![
            Output::Video(VideoJob::Open { lane }),
            Output::Video(VideoJob::Renditions { lane, renditions }),
            self.source(lane),
            first,
        ]
    }

    pub(crate) fn source(&self, lane: VideoLaneId) -> Output {
        Output::Video(VideoJob::Source {
            lane,
            codec: VideoCodec::H264,
            record: self.record.clone(),
        })
    }
}

fn picture(number: i64) -> Picture {
    let mut samples = Vec::new();
    for y in 0..i64::from(HEIGHT) {
        samples.extend(
            (0..i64::from(WIDTH)).map(|x| ((x + number) / 4 * (y / 8 + 3) % 200 + 16) as u8),
        );
    }
    samples.resize((WIDTH * HEIGHT * 3 / 2) as usize, 128);
    Picture::from_i420(&I420::from_samples(WIDTH, HEIGHT, false, samples).unwrap()).unwrap()
}

/// The AVCDecoderConfigurationRecord of these (ISO/IEC 14496-15 §5.3.3.1).
pub(crate) fn record(sps: &[u8], pps: &[u8]) -> Bytes {
    let length = |set: &[u8]| u16::try_from(set.len()).unwrap().to_be_bytes();
    let mut record = vec![1, sps[1], sps[2], sps[3], 0xFF, 0xE1];
    record.extend(length(sps));
    record.extend_from_slice(sps);
    record.push(1);
    record.extend(length(pps));
    record.extend_from_slice(pps);
    record.into()
}
