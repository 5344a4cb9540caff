//! Every limit of H.264, each with its reason.

/// Longest access unit, in bytes. The same as the longest media message read from a peer, so that
/// what we send can be taken by our own reader.
pub const UNIT_BYTES_MAX: usize = 4 << 20;

/// Longest picture side, in pixels. Level 6.2 allows 16 888; nothing that reaches a browser's
/// encoder passes 8K, and absurd sizes make decoders allocate gigabytes.
pub const PICTURE_SIDE_PIXELS_MAX: u32 = 8_192;

/// Longest sequence or picture parameter set, in bytes. Real ones are below 100; scaling lists and
/// HRD parameters in full come to about 700.
pub(super) const PARAMETER_SET_BYTES_MAX: usize = 4_096;

/// NAL units of one access unit whose lengths are written anew. A picture of 4K in slices of one row of
/// macroblocks has 136.
pub(super) const NALS_MAX: usize = 1_024;

/// Picture parameter sets kept of one unit. Encoders use one or two; 256 are legal.
pub const PPS_COUNT_MAX: usize = 8;
