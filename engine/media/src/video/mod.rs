//! Video: decoded once, drawn in the sizes that are wanted, encoded once for each rendition.
//!
//! ```text
//! access unit ── VideoDecoder ── Picture ─┬─ canvas 1280×720 ── VideoEncoder ── rendition
//!                                         │      └ canvas 640×360 ── VideoEncoder ── rendition
//!                                         └─ as it came, when it has the size ── VideoEncoder
//! ```

mod canvases;
mod colours;
mod decoder;
#[cfg(feature = "x264")]
mod encoder;
#[cfg(not(feature = "x264"))]
#[path = "no_encoder.rs"]
mod encoder;
mod grid;
mod letterbox;
mod picture;
mod rendition;
mod scaler;
mod settings;
mod transcoder;

use bytes::Bytes;

pub use decoder::VideoDecoder;
pub use encoder::VideoEncoder;
pub use picture::Picture;
pub use scaler::Scaler;
pub use settings::{Preset, Profile, RenditionSettings, VideoCodec};
pub use transcoder::{RenditionReport, Transcoded, Transcoder, TranscoderReport};

/// Zeros in front of the NAL units of an encoded picture, so that the header of an FLV tag (Adobe
/// E.4.3.1: five bytes for AVC) can be written there without a copy.
pub const HEADROOM_BYTES: usize = 5;

/// What [`VideoEncoder::encode`] tells of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    pub idr: bool,
    /// Sequence and picture parameter set, without lengths; with every IDR.
    pub parameter_sets: Option<(Bytes, Bytes)>,
}
