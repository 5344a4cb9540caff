//! A picture that is coded by itself, to stand in a stream of another encoder.

use bytes::Bytes;

/// How a picture has to be coded so that its slices can stand under the parameter sets of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StillFrameTarget {
    /// Pixels; even.
    pub width: u32,
    /// Lines; even.
    pub height: u32,
    /// `profile_idc` of the stream (clause A.2).
    pub profile: u8,
    /// `level_idc` of the stream (clause A.3).
    pub level: u8,
    /// `entropy_coding_mode_flag`: CABAC, or CAVLC.
    pub cabac: bool,
    /// `transform_8x8_mode_flag`.
    pub transform_8x8: bool,
    /// `chroma_qp_index_offset`, -12 to 12.
    pub chroma_qp_offset: i8,
    /// Luma uses all of 0 to 255.
    pub full_range: bool,
}

/// An IDR picture as NAL units without lengths or start codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillFrame {
    /// Sequence parameter set that it is coded under.
    pub sps: Bytes,
    /// Picture parameter set that it is coded under.
    pub pps: Bytes,
    /// Its slices, in order.
    pub slices: Vec<Bytes>,
}
