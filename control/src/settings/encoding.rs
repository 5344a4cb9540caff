//! The codecs that publishers may use, and how their video is re-encoded.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use shardcast_link::{Preset, Profile, Reencode, VideoCodec};

use crate::{ladder::Ladder, limits};

/// Decoding and encoding of one application. Names that Ant Media Server has are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EncodingSettings {
    /// Renditions that destinations may ask for by their height.
    #[serde(rename = "encoderSettings")]
    pub ladder: Ladder,
    /// Frames per second of renditions that set none.
    #[serde(rename = "webRTCFrameRate")]
    pub frames_per_second: u32,
    /// Distance of keyframes of renditions that set none, in frames; 0 is two seconds.
    #[serde(rename = "gopSize")]
    pub gop_frames: u32,
    /// The codecs that publishers may use.
    #[serde(flatten)]
    pub offered: OfferedCodecs,
    /// Channels of audio that publishers are asked for.
    #[serde(rename = "opus_channels")]
    pub opus_channels: OpusChannels,
    /// When destinations that set nothing else are sent a rendition.
    #[serde(rename = "reencode")]
    pub reencode: Reencode,
    /// Preset of renditions that set none.
    #[serde(rename = "encoder_preset")]
    pub preset: Preset,
    /// Profile of renditions that set none.
    #[serde(rename = "encoder_profile")]
    pub profile: Profile,
}

/// The video codecs that publishers may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferedCodecs {
    /// H.264, which needs no re-encoding.
    pub h264_enabled: bool,
    /// VP8.
    pub vp8_enabled: bool,
    /// VP9.
    pub vp9_enabled: bool,
    /// AV1.
    pub av1_enabled: bool,
}

/// How many channels of Opus the answer to a publisher asks for (RFC 7587, 6.1: `stereo`). Browsers
/// send mono unless they are asked for stereo, whatever the microphone has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OpusChannels {
    /// Voice: the browser mixes down and encodes one channel.
    #[default]
    Mono,
    /// Music: both channels, at about twice the bit rate.
    Stereo,
}

impl OfferedCodecs {
    /// The preferred first: H.264 is passed on without being decoded.
    pub(crate) fn in_order(self) -> Vec<VideoCodec> {
        let is_on = |codec: &VideoCodec| match codec {
            VideoCodec::H264 => self.h264_enabled,
            VideoCodec::Vp8 => self.vp8_enabled,
            VideoCodec::Vp9 => self.vp9_enabled,
            VideoCodec::Av1 => self.av1_enabled,
        };
        VideoCodec::ALL.into_iter().filter(is_on).collect()
    }
}

impl Default for EncodingSettings {
    fn default() -> Self {
        Self {
            ladder: Ladder::default(),
            frames_per_second: 30,
            gop_frames: 0,
            // Ant Media Server offers H.264 alone; browsers that lack it could not publish here.
            offered: OfferedCodecs {
                h264_enabled: true,
                vp8_enabled: true,
                vp9_enabled: true,
                av1_enabled: true,
            },
            opus_channels: OpusChannels::default(),
            reencode: Reencode::default(),
            preset: Preset::default(),
            profile: Profile::default(),
        }
    }
}

impl EncodingSettings {
    /// Distance of keyframes of renditions that say nothing of it, in milliseconds.
    pub(crate) fn gop_ms(&self) -> u32 {
        match self.gop_frames {
            0 => 2_000,
            frames => frames.saturating_mul(1_000) / self.frames_per_second.max(1),
        }
    }

    /// The key that has a wrong value, and what is wrong with it.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let rates = limits::RENDITION_FRAMES_PER_SECOND;
        if !rates.contains(&self.frames_per_second) {
            let problem = format!("must be from {} to {}", rates.start(), rates.end());
            return Some(("webRTCFrameRate", problem));
        }
        let gops = limits::RENDITION_GOP_MS;
        if !gops.contains(&self.gop_ms()) {
            let problem = format!(
                "must be 0, which is 2 s, or from {} to {} ms at webRTCFrameRate; it is {} ms",
                gops.start(),
                gops.end(),
                self.gop_ms()
            );
            return Some(("gopSize", problem));
        }
        if self.offered.in_order().is_empty() {
            let problem = "one of h264Enabled, vp8Enabled, vp9Enabled and av1Enabled must be true, \
                 or nobody could publish";
            return Some(("h264Enabled", problem.to_owned()));
        }
        None
    }

    /// The same, of what a server cannot do that re-encodes only if `reencodes`.
    pub(super) fn contradiction(&self, reencodes: bool) -> Option<(&'static str, String)> {
        if reencodes {
            return None;
        }
        if !self.offered.h264_enabled {
            let problem = "must be true while reencode_enabled is false, or nobody could publish";
            return Some(("h264Enabled", problem.to_owned()));
        }
        if self.reencode == Reencode::Always {
            let problem = "must not be always while reencode_enabled is false";
            return Some(("reencode", problem.to_owned()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_is_preferred_among_what_is_offered() {
        let mut offered = EncodingSettings::default().offered;
        assert_eq!(offered.in_order(), VideoCodec::ALL);
        offered.vp8_enabled = false;
        offered.h264_enabled = false;
        assert_eq!(offered.in_order(), [VideoCodec::Vp9, VideoCodec::Av1]);
    }

    #[test]
    fn a_keyframe_distance_in_pictures_is_a_time() {
        let settings = |gop_frames, frames_per_second| EncodingSettings {
            gop_frames,
            frames_per_second,
            ..EncodingSettings::default()
        };
        assert_eq!(settings(0, 25).gop_ms(), 2_000);
        assert_eq!(settings(100, 25).gop_ms(), 4_000);
        assert_eq!(settings(u32::MAX, 60).problem().unwrap().0, "gopSize");
        assert_eq!(settings(14, 30).problem().unwrap().0, "gopSize");
        assert_eq!(settings(15, 30).problem(), None);
    }
}
