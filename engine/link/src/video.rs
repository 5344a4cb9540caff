//! Which video a destination is sent: the publisher's, or a rendition of it.

use serde::{Deserialize, Serialize};

/// A video codec that a publisher may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// ITU-T H.264; the only one that RTMP destinations are sent.
    H264,
    /// RFC 6386.
    Vp8,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
}

impl VideoCodec {
    /// All of them; H.264, which needs no re-encoding, comes first.
    pub const ALL: [Self; 4] = [Self::H264, Self::Vp8, Self::Vp9, Self::Av1];

    /// The encoding name in SDP (`a=rtpmap`, RFC 8866 §6.6).
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
        }
    }
}

/// The preset of x264, from the fastest to the slowest. Slower ones than these do not hold 1080p at 30
/// frames a second on one core.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// About 0.7 times the CPU time of superfast.
    Ultrafast,
    /// The usual one.
    #[default]
    Superfast,
    /// About 1.7 times the CPU time of superfast.
    Veryfast,
    /// About 3.5 times the CPU time of superfast.
    Faster,
}

impl Preset {
    /// The preset that is `steps` faster, or the fastest.
    #[must_use]
    pub fn faster_by(self, steps: u32) -> Self {
        let all = [
            Self::Ultrafast,
            Self::Superfast,
            Self::Veryfast,
            Self::Faster,
        ];
        let index = (self as usize).saturating_sub(steps as usize);
        all.get(index).copied().unwrap_or(Self::Ultrafast)
    }
}

/// The profile of H.264 (ITU-T H.264 annex A).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Constrained baseline: neither CABAC nor B-frames.
    Baseline,
    /// With CABAC.
    Main,
    /// With CABAC and 8×8 transforms.
    #[default]
    High,
}

/// Video that is re-encoded from the publisher's. Its size, frame rate, keyframe distance and bit rate
/// stay constant whatever the publisher sends. Equal renditions of a broadcast are encoded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RenditionSpec {
    /// Pixels, even. `None` keeps the aspect ratio of the publisher's first frame.
    #[serde(default)]
    pub width: Option<u32>,
    /// Pixels, even.
    pub height: u32,
    /// Constant, from 1 to 60: the encoder repeats or drops frames of the publisher.
    #[serde(default = "frames_per_second_default")]
    pub frames_per_second: u32,
    /// Mean and highest bit rate of the video, in bit/s. The buffer of the hypothetical reference decoder
    /// holds one second (ITU-T H.264 annex C).
    pub video_bps: u32,
    /// Distance of keyframes, in milliseconds.
    #[serde(default = "gop_ms_default")]
    pub gop_ms: u32,
    /// The preset to begin with; the governor lowers it while encoding is late.
    #[serde(default)]
    pub preset: Preset,
    /// The profile, which stays.
    #[serde(default)]
    pub profile: Profile,
    /// Bit rate of the AAC audio, in bit/s.
    #[serde(default = "audio_bps_default")]
    pub audio_bps: u32,
}

impl RenditionSpec {
    /// A rendition of `height` pixels, with what platforms recommend for everything else.
    pub fn of_height(height: u32) -> Self {
        Self {
            width: None,
            height,
            frames_per_second: frames_per_second_default(),
            video_bps: video_bps_for(height),
            gop_ms: gop_ms_default(),
            preset: Preset::default(),
            profile: Profile::default(),
            audio_bps: audio_bps_default(),
        }
    }
}

/// A usual bit rate, in bit/s, for video of `height` pixels at 30 frames a second. Of portrait video it
/// is the width that counts.
pub fn video_bps_for(height: u32) -> u32 {
    match height {
        0..=270 => 500_000,
        271..=400 => 800_000,
        401..=540 => 1_500_000,
        541..=720 => 3_000_000,
        721..=1_080 => 4_500_000,
        1_081..=1_440 => 9_000_000,
        _ => 16_000_000,
    }
}

/// When a destination is sent a rendition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reencode {
    /// Never: it is sent the publisher's video, if that is H.264.
    Off,
    /// While the publisher's video violates the destination's passthrough constraints.
    #[default]
    Auto,
    /// Always.
    Always,
}

/// The passthrough constraints of one destination, beside H.264 without B-frames: what of the
/// publisher's video it takes unchanged. `None`: as its platform has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthroughOverrides {
    /// Longest distance of keyframes, in milliseconds.
    #[serde(default)]
    pub keyframe_interval_ms_max: Option<u32>,
    /// Whether the frame size must stay what it was at the beginning.
    #[serde(default)]
    pub size_stable: Option<bool>,
    /// Highest bit rate, in bit/s.
    #[serde(default)]
    pub video_bps_max: Option<u32>,
}

/// Which video a destination is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoSettings {
    /// When it is sent a rendition.
    #[serde(default)]
    pub reencode: Reencode,
    /// The rendition that it is sent instead of the publisher's video. `None`: one of the size that it
    /// was sent before, or else the broadcast's default.
    #[serde(default)]
    pub rendition: Option<RenditionSpec>,
    /// What of the publisher's video it takes unchanged. `contract` on the wire.
    #[serde(default, rename = "contract")]
    pub passthrough: PassthroughOverrides,
}

fn frames_per_second_default() -> u32 {
    30
}

/// Two seconds: the strictest keyframe rule among the live platforms.
fn gop_ms_default() -> u32 {
    2_000
}

fn audio_bps_default() -> u32 {
    128_000
}
