//! What a caller may do wrong.

use crate::{BITRATE_MAX_BPS, BITRATE_MIN_BPS};

/// Why there is no encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AacError {
    /// The settings ask for a bit rate that AAC-LC in stereo does not sensibly have.
    #[error("{0} bit/s is not within {BITRATE_MIN_BPS}..={BITRATE_MAX_BPS}")]
    Bitrate(u32),
}
