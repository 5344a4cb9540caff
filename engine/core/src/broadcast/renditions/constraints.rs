//! Passthrough constraints: what the publisher's video has to be like for a consumer to be sent it
//! unchanged.

use std::fmt;

use shardcast_link::{PassthroughOverrides, VideoCodec};

use crate::rtmp::Platform;

/// A keyframe may be so much later than the constraint allows, since the request for it has to reach the
/// publisher first.
const KEYFRAME_TOLERANCE_MS: u32 = 500;

/// What is known of the publisher's video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceFacts {
    /// The publisher offers or sends video, or one before it did.
    pub(crate) offers_video: bool,
    /// `None` before the first keyframe.
    pub(crate) codec: Option<VideoCodec>,
    /// Pixels; 0 while unknown, and for what is not H.264.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `profile_idc` of H.264; 0 while unknown.
    pub(crate) profile: u8,
    /// Distance of the last two keyframes, or time since the last one if that is longer.
    pub(crate) keyframe_interval_ms: u32,
    /// Mean over some seconds.
    pub(crate) video_bps: u64,
    /// B-frames were seen since the last keyframe but one.
    pub(crate) b_frames: bool,
    /// The publisher tells when they are decoded, so RTMP takes them as they are.
    pub(crate) tells_decode_times: bool,
}

/// The constraints of one consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PassthroughConstraints {
    keyframe_interval_ms_max: Option<u32>,
    size_stable: bool,
    pub(super) video_bps_max: Option<u32>,
}

/// A constraint that the publisher's video violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    Codec(VideoCodec),
    BFrames,
    Size { from: (u32, u32), to: (u32, u32) },
    KeyframeInterval { ms: u32, max_ms: u32 },
    Bitrate { bps: u64, max_bps: u32 },
}

impl PassthroughConstraints {
    pub(crate) fn new(platform: &Platform, own: PassthroughOverrides) -> Self {
        Self {
            keyframe_interval_ms_max: own
                .keyframe_interval_ms_max
                .or(platform.keyframe_interval_ms_max),
            size_stable: own.size_stable.unwrap_or(platform.size_stable),
            video_bps_max: own.video_bps_max.or(platform.video_bps_max),
        }
    }

    /// The first violation. `size` is what the consumer has been sent so far.
    pub(crate) fn violation(
        &self,
        facts: &SourceFacts,
        size: Option<(u32, u32)>,
    ) -> Option<Violation> {
        if let Some(codec) = facts.codec.filter(|codec| *codec != VideoCodec::H264) {
            return Some(Violation::Codec(codec));
        }
        if facts.b_frames && !facts.tells_decode_times {
            return Some(Violation::BFrames);
        }
        let to = (facts.width, facts.height);
        if let Some(from) = size.filter(|from| self.size_stable && facts.width > 0 && *from != to) {
            return Some(Violation::Size { from, to });
        }
        let ms = facts.keyframe_interval_ms;
        if let Some(max_ms) = self
            .keyframe_interval_ms_max
            .filter(|max_ms| ms > max_ms.saturating_add(KEYFRAME_TOLERANCE_MS))
        {
            return Some(Violation::KeyframeInterval { ms, max_ms });
        }
        let bps = facts.video_bps;
        self.video_bps_max
            .filter(|max_bps| bps > u64::from(*max_bps))
            .map(|max_bps| Violation::Bitrate { bps, max_bps })
    }
}

impl Violation {
    /// The video cannot be passed through at all.
    pub(crate) fn is_total(self) -> bool {
        matches!(self, Self::Codec(_))
    }

    /// It does not pass by itself as a browser finds its bandwidth, so there is no grace period.
    pub(crate) fn is_lasting(self) -> bool {
        matches!(self, Self::Codec(_) | Self::BFrames)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Codec(codec) => {
                let codec = codec.name();
                write!(
                    f,
                    "the publisher sends {codec}, which is not sent over RTMP"
                )
            }
            Self::BFrames => write!(f, "the publisher sends B-frames"),
            Self::Size {
                from: (w, h),
                to: (width, height),
            } => write!(
                f,
                "the publisher's picture changed from {w}x{h} to {width}x{height}"
            ),
            Self::KeyframeInterval { ms, max_ms } => write!(
                f,
                "the publisher's keyframes are {ms} ms apart, more than {max_ms} ms"
            ),
            Self::Bitrate { bps, max_bps } => write!(
                f,
                "the publisher sends {} kbit/s, more than {} kbit/s",
                bps / 1_000,
                max_bps / 1_000
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: SourceFacts = SourceFacts {
        offers_video: true,
        codec: Some(VideoCodec::H264),
        width: 1_280,
        height: 720,
        profile: 66,
        keyframe_interval_ms: 2_000,
        video_bps: 2_500_000,
        b_frames: false,
        tells_decode_times: false,
    };

    fn strict() -> PassthroughConstraints {
        let own = PassthroughOverrides {
            keyframe_interval_ms_max: Some(2_000),
            size_stable: Some(true),
            video_bps_max: Some(3_000_000),
        };
        PassthroughConstraints::new(Platform::generic(), own)
    }

    #[test]
    fn each_term_is_broken_by_itself_and_said_in_words() {
        let size = Some((1_280, 720));
        assert_eq!(strict().violation(&GOOD, size), None);
        assert_eq!(strict().violation(&SourceFacts::default(), size), None);
        let cases = [
            (
                SourceFacts {
                    codec: Some(VideoCodec::Vp8),
                    ..GOOD
                },
                "VP8",
            ),
            (
                SourceFacts {
                    b_frames: true,
                    ..GOOD
                },
                "B-frames",
            ),
            (
                SourceFacts {
                    width: 640,
                    height: 360,
                    ..GOOD
                },
                "1280x720 to 640x360",
            ),
            (
                SourceFacts {
                    keyframe_interval_ms: 2_501,
                    ..GOOD
                },
                "2501 ms apart, more than 2000 ms",
            ),
            (
                SourceFacts {
                    video_bps: 3_000_001,
                    ..GOOD
                },
                "more than 3000 kbit/s",
            ),
        ];
        for (facts, words) in cases {
            let violation = strict().violation(&facts, size).unwrap();
            assert!(violation.to_string().contains(words), "{violation}");
        }
    }

    #[test]
    fn a_server_in_general_takes_every_size_and_rate_of_h264() {
        let contract =
            PassthroughConstraints::new(Platform::generic(), PassthroughOverrides::default());
        let facts = SourceFacts {
            width: 320,
            height: 180,
            keyframe_interval_ms: 60_000,
            video_bps: 90_000_000,
            ..GOOD
        };
        assert_eq!(contract.violation(&facts, Some((1_280, 720))), None);
    }
}
