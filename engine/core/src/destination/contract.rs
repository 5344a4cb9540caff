//! What of the publisher's picture a destination takes as it is.

use std::fmt;

use shardcast_link::{ContractOverrides, VideoCodec};

use crate::rtmp::Platform;

/// A keyframe may be so much later than it should, since the request for it takes its way.
const KEYFRAME_TOLERANCE_MS: u32 = 500;

/// What is known of the publisher's picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceFacts {
    /// The publisher sends pictures, will do so, or one before it has: there are pictures in the show.
    pub(crate) offers_video: bool,
    /// `None` before the first keyframe.
    pub(crate) codec: Option<VideoCodec>,
    /// Pixels; 0 while unknown, and for what is not H.264.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Distance of the last two keyframes, or time since the last one if that is longer.
    pub(crate) keyframe_interval_ms: u32,
    /// Mean over some seconds.
    pub(crate) video_bps: u64,
    /// B-frames were seen since the last keyframe but one.
    pub(crate) b_frames: bool,
}

/// The terms of one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contract {
    keyframe_interval_ms_max: Option<u32>,
    size_stable: bool,
    pub(super) video_bps_max: Option<u32>,
}

/// A term that the publisher's picture breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    Codec(VideoCodec),
    BFrames,
    Size { from: (u32, u32), to: (u32, u32) },
    KeyframeInterval { ms: u32, max_ms: u32 },
    Bitrate { bps: u64, max_bps: u32 },
}

impl Contract {
    pub(crate) fn new(platform: &Platform, own: ContractOverrides) -> Self {
        Self {
            keyframe_interval_ms_max: own
                .keyframe_interval_ms_max
                .or(platform.keyframe_interval_ms_max),
            size_stable: own.size_stable.unwrap_or(platform.size_stable),
            video_bps_max: own.video_bps_max.or(platform.video_bps_max),
        }
    }

    /// The first term that is broken. `size` is what the destination has been sent so far.
    pub(crate) fn breach(&self, facts: &SourceFacts, size: Option<(u32, u32)>) -> Option<Breach> {
        if let Some(codec) = facts.codec.filter(|codec| *codec != VideoCodec::H264) {
            return Some(Breach::Codec(codec));
        }
        if facts.b_frames {
            return Some(Breach::BFrames);
        }
        let to = (facts.width, facts.height);
        if let Some(from) = size.filter(|from| self.size_stable && facts.width > 0 && *from != to) {
            return Some(Breach::Size { from, to });
        }
        let ms = facts.keyframe_interval_ms;
        if let Some(max_ms) = self
            .keyframe_interval_ms_max
            .filter(|max_ms| ms > max_ms.saturating_add(KEYFRAME_TOLERANCE_MS))
        {
            return Some(Breach::KeyframeInterval { ms, max_ms });
        }
        let bps = facts.video_bps;
        self.video_bps_max
            .filter(|max_bps| bps > u64::from(*max_bps))
            .map(|max_bps| Breach::Bitrate { bps, max_bps })
    }
}

impl Breach {
    /// Nothing at all can be passed on.
    pub(crate) fn is_total(self) -> bool {
        matches!(self, Self::Codec(_))
    }

    /// It is no passing state of a browser that finds its bandwidth, so it is not borne for a while.
    pub(crate) fn is_lasting(self) -> bool {
        matches!(self, Self::Codec(_) | Self::BFrames)
    }
}

impl fmt::Display for Breach {
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
        keyframe_interval_ms: 2_000,
        video_bps: 2_500_000,
        b_frames: false,
    };

    fn strict() -> Contract {
        let own = ContractOverrides {
            keyframe_interval_ms_max: Some(2_000),
            size_stable: Some(true),
            video_bps_max: Some(3_000_000),
        };
        Contract::new(Platform::generic(), own)
    }

    #[test]
    fn each_term_is_broken_by_itself_and_said_in_words() {
        let size = Some((1_280, 720));
        assert_eq!(strict().breach(&GOOD, size), None);
        assert_eq!(strict().breach(&SourceFacts::default(), size), None);
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
            let breach = strict().breach(&facts, size).unwrap();
            assert!(breach.to_string().contains(words), "{breach}");
        }
    }

    #[test]
    fn a_server_in_general_takes_every_size_and_rate_of_h264() {
        let contract = Contract::new(Platform::generic(), ContractOverrides::default());
        let facts = SourceFacts {
            width: 320,
            height: 180,
            keyframe_interval_ms: 60_000,
            video_bps: 90_000_000,
            ..GOOD
        };
        assert_eq!(contract.breach(&facts, Some((1_280, 720))), None);
    }
}
