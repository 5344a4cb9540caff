//! What picture a destination is sent: the publisher's own, or one that is made from it.

use serde::{Deserialize, Serialize};

/// What a publisher's video is coded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    H264,
    Vp8,
    Vp9,
    Av1,
}

impl VideoCodec {
    /// All, the one that needs no re-encoding first.
    pub const ALL: [Self; 4] = [Self::H264, Self::Vp8, Self::Vp9, Self::Av1];

    /// As SDP spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
        }
    }
}

/// How much work x264 puts into a picture. Slower ones than these do not hold 30 frames a second of
/// 1080p on one core.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    Ultrafast,
    #[default]
    Superfast,
    Veryfast,
    Faster,
}

/// Profile of H.264 (ITU-T H.264 annex A).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Constrained: no CABAC, no B-frames.
    Baseline,
    Main,
    #[default]
    High,
}

/// A picture that is made from the publisher's: its size, frame rate, keyframe distance and bit rate
/// stay what they are whatever the publisher does. Equal ones are made once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RenditionSpec {
    /// Pixels, even. `None` keeps the shape of the publisher's first picture.
    #[serde(default)]
    pub width: Option<u32>,
    /// Pixels, even.
    pub height: u32,
    /// Constant: pictures are repeated or left out.
    #[serde(default = "frames_per_second_default")]
    pub frames_per_second: u32,
    /// Mean and highest bit rate of the picture; the buffer of the model holds one second (ITU-T
    /// H.264 annex C).
    pub video_bps: u32,
    /// Distance of keyframes, in milliseconds.
    #[serde(default = "gop_ms_default")]
    pub gop_ms: u32,
    #[serde(default)]
    pub preset: Preset,
    #[serde(default)]
    pub profile: Profile,
    #[serde(default = "audio_bps_default")]
    pub audio_bps: u32,
}

impl RenditionSpec {
    /// A rendition of this height, with what platforms recommend for all else.
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

/// A usual bit rate for a picture of this height at 30 frames a second; of an upright one, its width.
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
    /// Never: it gets what the publisher sends, if that is H.264.
    Off,
    /// While the publisher's picture breaks the contract.
    #[default]
    Auto,
    /// From the beginning to the end.
    Always,
}

/// What of the publisher's picture a destination takes as it is, beside H.264 without B-frames. What
/// is `None` is as its platform has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractOverrides {
    #[serde(default)]
    pub keyframe_interval_ms_max: Option<u32>,
    /// The size of the picture must stay what it was at the beginning.
    #[serde(default)]
    pub size_stable: Option<bool>,
    #[serde(default)]
    pub video_bps_max: Option<u32>,
}

/// What picture a destination is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedPicture {
    #[serde(default)]
    pub reencode: Reencode,
    /// What it is sent instead of the publisher's picture. `None` is one of the size that it had
    /// before, or 1280×720.
    #[serde(default)]
    pub rendition: Option<RenditionSpec>,
    #[serde(default)]
    pub contract: ContractOverrides,
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
