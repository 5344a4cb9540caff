//! AAC-LC encoder (ISO/IEC 14496-3, subpart 4) for the audio of live broadcasts.
//!
//! It does one thing: 48 kHz, one channel pair element, constant bit rate, raw data blocks without
//! a transport. A frame passes these modules in order:
//!
//! 1. [`history`]: the input made finite, kept for the overlap and the look-ahead.
//! 2. [`block_switching`]: attacks, the window sequence and the grouping of short windows.
//! 3. [`window`] and [`mdct`]: the transform.
//! 4. [`psychoacoustics`]: energies of the scale factor bands and what each band masks.
//! 5. [`stereo`]: mid/side, band by band.
//! 6. [`allocation`] and [`scale_factors`]: how much noise each band gets at the bits there are.
//! 7. [`quantise`], [`huffman`], [`sections`]: whole numbers, and what they cost.
//! 8. [`rate`]: the bit reservoir and how often steps 6 and 7 are done again.
//! 9. [`syntax`] and [`bitstream`]: the raw data block.
//!
//! Mono is written as a pair whose side channel is empty, so that the AudioSpecificConfig stays the
//! same whatever the publisher sends, and so that mono costs about half.
#![forbid(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    reason = "the input has a fixed length, and every index comes from constant tables or fixed-size arrays"
)]

mod allocation;
mod bands;
mod bitstream;
mod block_switching;
mod channel;
mod encoder;
mod error;
mod fast_log;
mod history;
mod huffman;
mod mdct;
mod psychoacoustics;
mod quantise;
mod rate;
mod scale_factors;
mod sections;
mod stereo;
mod syntax;
mod window;

pub use encoder::Encoder;
pub use error::AacError;

/// Samples of each channel in one frame (ISO/IEC 14496-3, 4.5.2.1.1).
pub const FRAME_SAMPLES: usize = 1024;
/// Samples a second, the one rate this encoder knows.
pub const SAMPLE_RATE: u32 = 48_000;
/// The lowest bit rate that [`Encoder::new`] takes, for both channels together, in bit/s.
pub const BITRATE_MIN_BPS: u32 = 32_000;
/// The highest bit rate that [`Encoder::new`] takes, for both channels together, in bit/s.
pub const BITRATE_MAX_BPS: u32 = 320_000;
