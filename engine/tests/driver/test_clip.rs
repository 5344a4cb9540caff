//! A publisher's H.264, made for the test, and jobs for a video transcoder.

use bytes::Bytes;
use shardcast_core::io::{Output, RenditionId, VideoJob, VideoTranscoderId};
use shardcast_link::{Preset, Profile, RenditionSpec, VideoCodec};
use shardcast_media::{I420, Picture, VideoEncoder};

const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;

/// Thirty pictures a second.
const PICTURE_US: i64 = 33_333;

/// A stream of pictures that move.
pub(crate) struct TestClip {
    encoder: VideoEncoder,
    pictures: i64,
    record: Option<Bytes>,
}

impl TestClip {
    pub(crate) fn new() -> Self {
        let settings = RenditionSpec {
            width: None,
            height: HEIGHT,
            frames_per_second: 30,
            video_bps: 500_000,
            gop_ms: 2_000,
            preset: Preset::Ultrafast,
            profile: Profile::Baseline,
            audio_bps: 128_000,
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
        Bytes::from(unit)
    }

    /// The next picture, for this transcoder.
    pub(crate) fn decode(&mut self, transcoder: VideoTranscoderId, key: bool) -> Output {
        let pts_us = self.pictures * PICTURE_US;
        let unit = self.next(key);
        Output::Video(VideoJob::Decode {
            transcoder,
            pts_us,
            unit,
        })
    }

    /// Opens a transcoder for this clip with one small rendition, and begins with a keyframe.
    pub(crate) fn open(
        &mut self,
        transcoder: VideoTranscoderId,
        rendition: RenditionId,
    ) -> Vec<Output> {
        let first = self.decode(transcoder, true);
        let spec = RenditionSpec {
            width: Some(160),
            ..RenditionSpec::of_height(90)
        };
        let renditions = vec![(rendition, spec)];
        vec![
            Output::Video(VideoJob::Open { transcoder }),
            Output::Video(VideoJob::Renditions {
                transcoder,
                renditions,
            }),
            self.source(transcoder),
            first,
        ]
    }

    pub(crate) fn source(&self, transcoder: VideoTranscoderId) -> Output {
        Output::Video(VideoJob::Source {
            transcoder,
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
