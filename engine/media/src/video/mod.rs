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

pub(crate) use colours::Matrix;
pub use decoder::VideoDecoder;
pub use encoder::VideoEncoder;
pub use picture::Picture;
pub use scaler::Scaler;
pub use transcoder::{RenditionReport, Transcoded, Transcoder, TranscoderReport};

/// A frame that [`VideoEncoder::encode`] has encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    /// Whether decoding can begin here.
    pub idr: bool,
    /// Sequence and picture parameter set, without lengths; with every IDR.
    pub parameter_sets: Option<(Bytes, Bytes)>,
}
