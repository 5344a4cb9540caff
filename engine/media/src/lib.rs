//! Codecs behind safe types. Nothing here knows a network, a clock or a broadcast.
//!
//! [`OpusToAac`] is the audio lane of a broadcast: the publisher's Opus becomes the one AAC stream
//! that all of its destinations share. [`AacDecoder`] is the way back, for measuring instruments.
//!
//! [`Transcoder`] is the video lane of a broadcast: the publisher's H.264, VP8, VP9 or AV1 is decoded
//! once and becomes renditions of constant size and frame rate, each encoded once.
//!
//! [`still::make`] codes one picture by itself, the last of a stream or an image file, to stand in
//! for a publisher that is away.
//!
//! The codecs are libopus (bundled) and the libavcodec, libswscale and libx264 of the system. No input makes
//! these types panic; what they cannot decode is a [`MediaError`] or a [`StillError`].

mod aac_decoder;
mod aac_encoder;
mod error;
mod extradata;
mod i420;
pub mod limits;
mod opus_to_aac;
mod slate;
pub mod still;
#[cfg(feature = "x264")]
mod still_encoder;
mod video;
#[cfg(feature = "x264")]
mod x264_handle;

pub use aac_decoder::AacDecoder;
pub use error::MediaError;
pub use i420::I420;
pub use opus_to_aac::OpusToAac;
pub use slate::draw;
pub use still::{StillError, StillNals, StillSource, StillTarget};
pub use video::{
    Coded, HEADROOM_BYTES, Picture, Preset, Profile, RenditionReport, RenditionSettings, Scaler,
    Transcoded, Transcoder, TranscoderReport, VideoCodec, VideoDecoder, VideoEncoder,
};

/// Sample rate of everything between publisher and destinations, in hertz (RFC 7587 §4.1: the RTP
/// clock of Opus is always 48 kHz).
pub const SAMPLE_RATE_HZ: u32 = 48_000;

/// Channels of the AAC that goes to destinations. Mono publishers are mixed up by libopus.
pub const CHANNELS: usize = 2;

/// Samples (per channel) that one AAC-LC frame holds (ISO/IEC 14496-3 §4.5.1.1).
pub const AAC_SAMPLES_PER_FRAME: u32 = 1024;

/// How much later than its packet's timestamp a sound comes out of the Opus decoder, in samples:
/// the look-ahead of the encoder (`OPUS_GET_LOOKAHEAD`, 6.5 ms at 48 kHz).
pub const OPUS_DELAY_SAMPLES: u32 = 312;

/// How much later a sound comes out of AAC than it went in, in samples: one frame of overlap
/// (libavcodec's `initial_padding`).
pub const AAC_DELAY_SAMPLES: u32 = 1024;

/// The `AudioSpecificConfig` of [`OpusToAac`]: AAC-LC, 48 kHz, stereo, frames of 1024
/// (ISO/IEC 14496-3 §1.6.2.1). Goes into the AAC sequence header of RTMP.
pub const AUDIO_SPECIFIC_CONFIG: [u8; 2] = [0x11, 0x90];

/// Usual bit rate of the AAC that goes to destinations, in bits per second: what YouTube, Facebook and
/// Twitch recommend for stereo.
pub const AAC_BITRATE_BPS: usize = 128_000;
