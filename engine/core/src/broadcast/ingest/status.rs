//! What the publisher sends, in figures.

use shardcast_link::{AudioStatus, VideoCodec, VideoStatus};

use super::{Ingest, rates::Counted};

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
            codec: "opus".to_owned(),
            packets: self.audio_packets,
            samples_filled: self.audio.samples_filled(),
            bitrate_bps: self.rates.audio_bps,
        }
    }

    pub(crate) fn frames_per_second(&self) -> u32 {
        self.video.frames_per_second
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
