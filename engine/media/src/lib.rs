//! Codecs behind safe types. Nothing here knows a network, a clock or a broadcast.
//!
//! [`OpusToAac`] is the audio transcoder of a broadcast: the publisher's Opus becomes the one AAC stream
//! that all of its destinations share. [`AacToOpus`] makes an encoder's AAC the Opus that its viewers share.
//! [`AacDecoder`] decodes AAC alone, for measuring instruments.
//!
//! [`Transcoder`] is the video transcoder of a broadcast: the publisher's H.264, VP8, VP9 or AV1 is decoded
//! once and becomes renditions of constant size and frame rate, each encoded once.
//!
//! [`still_frame::make`] codes one picture by itself, the last of a stream or an image file, which
//! replaces the video of a publisher that is away.
//!
//! [`preview::make`] makes an image file of a keyframe.
//!
//! The codecs are `shardcast-aac`, libopus (bundled) and the libavcodec, libswscale and libx264 of the system. No input makes
//! these types panic; what they cannot decode is a [`MediaError`] or a [`StillFrameError`].

mod aac_decoder;
mod aac_encoder;
mod aac_to_opus;
mod error;
mod extradata;
mod i420;
pub mod limits;
mod opus_decoder;
mod opus_to_aac;
pub mod preview;
mod resampler;
mod silent_packets;
mod slate;
pub mod still_frame;
#[cfg(feature = "x264")]
mod still_frame_encoder;
mod video;
#[cfg(feature = "x264")]
mod x264_handle;

pub use aac_decoder::AacDecoder;
pub use aac_encoder::AacCoder;
pub use aac_to_opus::AacToOpus;
pub use error::MediaError;
pub use i420::I420;
pub use opus_to_aac::{AudioReport, OpusToAac};
pub use slate::draw;
pub use still_frame::{StillFrameError, StillFrameNals, StillFrameSource, StillFrameTarget};
pub use video::{
    Coded, Picture, RenditionReport, Scaler, Transcoded, Transcoder, TranscoderReport,
    VideoDecoder, VideoEncoder,
};

/// Sample rate of everything between publisher and destinations, in hertz (RFC 7587 §4.1: the RTP
/// clock of Opus is always 48 kHz).
pub const SAMPLE_RATE_HZ: u32 = 48_000;

/// Channels of the AAC that goes to destinations. Of a mono publisher both are the same: platforms take
/// a change of the configuration in the middle of a show badly.
pub const CHANNELS: usize = 2;

/// Samples (per channel) that one AAC-LC frame holds (ISO/IEC 14496-3 §4.5.1.1).
pub const AAC_SAMPLES_PER_FRAME: u32 = 1024;

/// Delay of the Opus decoder behind the timestamps of its packets, in samples:
/// the look-ahead of the encoder (`OPUS_GET_LOOKAHEAD`, 6.5 ms at 48 kHz).
pub const OPUS_DELAY_SAMPLES: u32 = 312;

/// Delay of AAC, in samples: one frame of overlap, with either [`AacCoder`]
/// (libavcodec's `initial_padding`).
pub const AAC_DELAY_SAMPLES: u32 = 1024;

/// The `AudioSpecificConfig` of [`OpusToAac`]: AAC-LC, 48 kHz, stereo, frames of 1024
/// (ISO/IEC 14496-3 §1.6.2.1). Goes into the AAC sequence header of RTMP.
pub const AUDIO_SPECIFIC_CONFIG: [u8; 2] = [0x11, 0x90];

/// Usual bit rate of the AAC that goes to destinations, in bits per second: what YouTube, Facebook and
/// Twitch recommend for stereo.
pub const AAC_BITRATE_BPS: usize = 128_000;
