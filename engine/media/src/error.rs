//! What can go wrong in a codec, and whose fault it is.

use crate::limits::FILL_SAMPLES_MAX;

/// A codec refused. After [`Opus`](Self::Opus) and [`FillTooLong`](Self::FillTooLong) the codec is
/// as it was before the call and may be used on; after [`Encode`](Self::Encode) open another one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The operator's: the libavcodec of this machine was built without a codec we need.
    #[error("libavcodec has no {codec}; install the distribution's full libavcodec")]
    CodecMissing { codec: &'static str },
    /// Ours or the operator's: memory or an incompatible library. For [`crate::AacDecoder`] also the
    /// sender's, whose configuration is not AAC.
    #[error("{codec} cannot be opened: {reason}")]
    Open { codec: &'static str, reason: String },
    /// The publisher's: the packet is not Opus. Fill its time with silence.
    #[error("not a valid Opus packet: {0}; replace it by silence of its length")]
    Opus(String),
    /// The sender's: the frame is not AAC of the announced configuration.
    #[error("not a valid AAC frame: {0}; leave it out")]
    Aac(String),
    /// The sender's: the access unit is not H.264 of the announced configuration, or of a kind that
    /// browsers do not send.
    #[error("H.264 that cannot be decoded: {0}")]
    H264(String),
    /// Ours: the AAC encoder refused finite samples.
    #[error("the AAC encoder failed: {0}; open another one")]
    Encode(String),
    /// The caller's: more is to be filled at once than is bearable.
    #[error("{samples} samples to fill are over the limit of {FILL_SAMPLES_MAX}; fill in pieces")]
    FillTooLong { samples: u32 },
}
