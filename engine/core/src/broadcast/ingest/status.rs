//! What the publisher sends, in figures.

use shardcast_link::{AudioStatus, VideoCodec, VideoStatus};

use super::{Ingest, rates::Counted};
use crate::broadcast::audio::aac_track::AacTrack;

impl Ingest {
    pub(crate) fn video_status(&self) -> VideoStatus {
        let codec = self.codec.unwrap_or(VideoCodec::H264);
        VideoStatus {
            codec: codec.name().to_owned(),
            ..self.video.clone()
        }
    }

    pub(crate) fn audio_status(&self) -> AudioStatus {
        AudioStatus {
            codec: if self.aac.is_some() { "aac" } else { "opus" }.to_owned(),
            packets: self.audio_packets,
            samples_filled: self
                .aac
                .as_ref()
                .map_or(self.audio.samples_filled(), AacTrack::samples_filled),
            bitrate_bps: self.rates.audio_bps,
        }
    }

    pub(crate) fn frames_per_second(&self) -> u32 {
        self.video.frames_per_second
    }

    /// What the publisher's parameter sets say, which is exact where they say it.
    pub(crate) fn told_frames_per_second(&self) -> Option<u32> {
        let rate = self.config.as_ref()?.sps().frame_rate?;
        (1.0..=240.0).contains(&rate).then_some(rate.round() as u32)
    }

    /// Whether the publisher's video is H.264, as far as that is known.
    pub(crate) fn is_h264(&self) -> bool {
        self.codec.is_none_or(|codec| codec == VideoCodec::H264)
    }

    pub(crate) fn has_video(&self) -> bool {
        self.video.frames > 0
    }

    pub(crate) fn has_audio(&self) -> bool {
        self.audio_packets > 0
    }

    pub(crate) fn video_bps(&self) -> u64 {
        self.rates.video_bps
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        self.rates.tick(Counted {
            frames: self.video.frames,
            video_bytes: self.video_bytes,
            audio_bytes: self.audio_bytes,
        });
        self.video.frames_per_second = self.rates.frames;
    }
}
