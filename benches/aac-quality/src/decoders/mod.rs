//! The decoders that must take every frame without a complaint.

pub mod fdk;
pub mod lavc;

/// Decoded samples in -1..1, one vector for each channel.
pub type Pcm = Vec<Vec<f32>>;
