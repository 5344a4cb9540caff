//! What a track is.

use bytes::Bytes;

/// Ticks a second of whole files: durations and edits are in it.
pub const MOVIE_TIMESCALE: u32 = 90_000;
/// Ticks a second of video tracks.
pub const VIDEO_TIMESCALE: u32 = 90_000;

/// One track of a file or a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its number, from 1 on; different in all tracks of a file.
    pub id: u32,
    /// Ticks a second of its times: [`VIDEO_TIMESCALE`], or the sample rate of audio.
    pub timescale: u32,
    /// What it carries.
    pub codec: Codec,
    /// The media time in ticks at which presentation begins: what is before it is decoded and not
    /// shown. `None` leaves the edit list out, as HLS wants it.
    pub begins_at: Option<u64>,
}

/// What a track carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264: NAL units behind lengths of four bytes.
    Avc {
        /// The AVCDecoderConfigurationRecord (14496-15, 5.3.3.1).
        record: Bytes,
        /// Pixels.
        width: u16,
        /// Lines.
        height: u16,
        /// Parameter sets may come with samples (`avc3`, 14496-15, 5.4.2.1); `avc1` otherwise.
        in_band: bool,
    },
    /// AAC-LC: raw frames of 1,024 samples.
    Aac {
        /// The AudioSpecificConfig (14496-3, 1.6.2.1).
        config: Bytes,
        /// Samples a second.
        sample_rate: u32,
        /// 1 or 2.
        channels: u16,
    },
}

impl Track {
    /// A video track, with times in 1/90,000 s and parameter sets in its head alone.
    pub fn video(id: u32, record: Bytes, width: u16, height: u16) -> Self {
        Self {
            id,
            timescale: VIDEO_TIMESCALE,
            codec: Codec::Avc {
                record,
                width,
                height,
                in_band: false,
            },
            begins_at: None,
        }
    }

    /// An audio track, with times in samples.
    pub fn audio(id: u32, config: Bytes, sample_rate: u32, channels: u16) -> Self {
        Self {
            id,
            timescale: sample_rate,
            codec: Codec::Aac {
                config,
                sample_rate,
                channels,
            },
            begins_at: None,
        }
    }

    /// Whether it is video.
    pub fn is_video(&self) -> bool {
        matches!(self.codec, Codec::Avc { .. })
    }
}

/// Microseconds in ticks of a timescale, to the nearest; 0 for what is negative.
pub fn ticks(us: i64, timescale: u32) -> u64 {
    let us = u128::from(u64::try_from(us).unwrap_or(0));
    u64::try_from((us * u128::from(timescale) + 500_000) / 1_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_to_the_nearest_and_do_not_drift() {
        assert_eq!(ticks(33_333, 90_000), 3_000);
        assert_eq!(ticks(-1, 90_000), 0);
        for frame in [1, 1_000, 47 * 86_400] {
            let us = frame * 1_024 * 1_000_000 / 48_000;
            assert_eq!(ticks(us, 48_000), frame.unsigned_abs() * 1_024);
        }
    }
}
