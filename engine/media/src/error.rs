//! What can go wrong in a codec, and whose fault it is.

use crate::limits::{AAC_BITRATES_BPS, FILL_SAMPLES_MAX};

/// A codec refused. After [`Opus`](Self::Opus) and [`FillTooLong`](Self::FillTooLong) the codec is
/// as it was before the call and may be used on; after [`Encode`](Self::Encode) open another one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The operator's: the libavcodec of this machine was built without a codec we need.
    #[error("libavcodec has no {codec}; install the distribution's full libavcodec")]
    CodecMissing {
        /// Its name in libavcodec.
        codec: &'static str,
    },
    /// Ours or the operator's: memory or an incompatible library. For [`crate::AacDecoder`] also the
    /// sender's, whose configuration is not AAC.
    #[error("{codec} cannot be opened: {reason}")]
    Open {
        /// Its name in libavcodec.
        codec: &'static str,
        /// The library's words.
        reason: String,
    },
    /// The publisher's: the packet is not Opus. Fill its time with silence.
    #[error("not a valid Opus packet: {0}; replace it by silence of its length")]
    Opus(String),
    /// The sender's: the frame is not AAC of the announced configuration.
    #[error("not a valid AAC frame: {0}; leave it out")]
    Aac(String),
    /// The publisher's or the network's: the access unit is damaged, is not of the announced codec and
    /// configuration, or needs pictures that were damaged.
    #[error("{codec} that cannot be decoded: {reason}; ask the publisher for a keyframe")]
    Video {
        /// Its name in libavcodec.
        codec: &'static str,
        /// The library's words.
        reason: String,
    },
    /// The caller's: access units come before the codec is known.
    #[error("no source to decode; set one first")]
    NoSource,
    /// The publisher's or the caller's: a picture of no or odd or too many pixels; or ours, when memory
    /// is short.
    #[error("no picture of {width}x{height} pixels can be made")]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The publisher's: not 4:2:0 with even sides and samples of eight bits, where that is needed.
    #[error("pictures in {0} are not taken")]
    Format(String),
    /// The publisher's: libswscale cannot bring this picture into that size. A rendition of it ends.
    #[error("a picture cannot be scaled: {0}; try another size")]
    Scale(String),
    /// The operator's: this program was built without x264.
    #[error("this build has no H.264 encoder; build it with the cargo feature `x264`")]
    NoEncoder,
    /// Whoever wants the rendition: settings out of range, or x264 refuses them.
    #[error("the rendition cannot be encoded: {0}")]
    Encoder(String),
    /// Ours: the AAC encoder refused finite samples.
    #[error("the AAC encoder failed: {0}; open another one")]
    Encode(String),
    /// Whoever wants it.
    #[error("AAC of {bitrate_bps} bit/s; {} to {} are possible", AAC_BITRATES_BPS.start(), AAC_BITRATES_BPS.end())]
    AacBitRate {
        /// Bits a second that were asked for.
        bitrate_bps: usize,
    },
    /// The caller's: more is to be filled at once than is bearable.
    #[error("{samples} samples to fill are over the limit of {FILL_SAMPLES_MAX}; fill in pieces")]
    FillTooLong {
        /// Samples at 48 kHz.
        samples: u32,
    },
}
