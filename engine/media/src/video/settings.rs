//! What a rendition shall be.

use crate::limits::{
    GOP_MS_MAX, GOP_MS_MIN, PICTURE_PIXELS_MAX, PICTURE_SIDE_PIXELS_MAX, RENDITION_FPS_MAX,
    RENDITION_SIDE_PIXELS_MIN, VIDEO_BPS_MAX, VIDEO_BPS_MIN,
};

/// What a publisher's video is coded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// ITU-T H.264, NAL units behind lengths of four bytes.
    H264,
    /// RFC 6386.
    Vp8,
    /// VP9 bitstream specification, profiles 0 to 3.
    Vp9,
    /// AV1 bitstream specification §5.2: OBUs with a size field each.
    Av1,
}

impl VideoCodec {
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

/// How much work x264 puts into a picture, the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Preset {
    Ultrafast,
    #[default]
    Superfast,
    Veryfast,
    Faster,
}

impl Preset {
    /// So many presets faster, down to the fastest that there is.
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

/// Profile of H.264 (ITU-T H.264 annex A).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Constrained: no CABAC, no B-frames.
    Baseline,
    Main,
    #[default]
    High,
}

/// A picture that is made from the publisher's. Its size, frame rate, keyframe distance and bit rate
/// stay what they are whatever the publisher does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RenditionSettings {
    /// Pixels, even. `None` keeps the shape of the publisher's last picture when it begins, or is 16:9
    /// when there was none.
    pub width: Option<u32>,
    /// Pixels, even.
    pub height: u32,
    /// Constant: pictures are repeated or left out.
    pub frames_per_second: u32,
    /// Mean and highest bit rate; the buffer of the model holds one second (ITU-T H.264 annex C).
    pub video_bps: u32,
    /// Distance of keyframes, in milliseconds, rounded to whole pictures.
    pub gop_ms: u32,
    pub preset: Preset,
    pub profile: Profile,
}

impl RenditionSettings {
    /// Whether they can be had, or in words why not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sides = RENDITION_SIDE_PIXELS_MIN..=PICTURE_SIDE_PIXELS_MAX;
        for side in self.width.into_iter().chain([self.height]) {
            if !sides.contains(&side) || !side.is_multiple_of(2) {
                return Err(format!(
                    "a side of {side} pixels; even ones of {} to {} are made",
                    sides.start(),
                    sides.end()
                ));
            }
        }
        let pixels = self
            .width
            .unwrap_or(self.height)
            .saturating_mul(self.height);
        if pixels > PICTURE_PIXELS_MAX {
            return Err(format!(
                "{pixels} pixels; at most {PICTURE_PIXELS_MAX} are made"
            ));
        }
        let within = |what: &str, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("{value} {what}; {least} to {most} are possible"))
            }
        };
        within(
            "frames a second",
            self.frames_per_second,
            1,
            RENDITION_FPS_MAX,
        )?;
        within("bit/s", self.video_bps, VIDEO_BPS_MIN, VIDEO_BPS_MAX)?;
        within("ms between keyframes", self.gop_ms, GOP_MS_MIN, GOP_MS_MAX)
    }

    /// The width for a first picture of this size: as wanted, or of its shape, even and bounded.
    pub(crate) fn width_for(&self, width: u32, height: u32) -> u32 {
        if let Some(width) = self.width {
            return width;
        }
        let most = (PICTURE_PIXELS_MAX / self.height.max(1))
            .clamp(RENDITION_SIDE_PIXELS_MIN, PICTURE_SIDE_PIXELS_MAX);
        let (height, wanted) = (u64::from(height.max(1)), u64::from(self.height));
        // To the nearest even number.
        let half = (wanted * u64::from(width) + height) / (2 * height);
        let half = u32::try_from(half).unwrap_or(most);
        half.saturating_mul(2)
            .clamp(RENDITION_SIDE_PIXELS_MIN, most & !1)
    }

    /// Pictures from one keyframe to the next, at least one.
    pub(crate) fn gop_pictures(&self) -> i64 {
        let pictures = u64::from(self.gop_ms) * u64::from(self.frames_per_second) + 500;
        i64::try_from(pictures / 1_000).unwrap_or(1).max(1)
    }
}
