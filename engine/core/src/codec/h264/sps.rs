//! What a sequence parameter set says about the picture (clause 7.3.2.1.1).

use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, decode_nal};

use super::limits::{PARAMETER_SET_BYTES_MAX, PICTURE_SIDE_PIXELS_MAX};
use super::nal::{NalType, nal_type};
use super::picture_order::OrderSyntax;

/// Level 6.2, the last of table A-1: 139 264 macroblocks.
const LEVEL_HIGHEST: u8 = 62;

/// The parts of a sequence parameter set that matter downstream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    /// Pixels after cropping, `1..=8192`.
    pub width: u32,
    /// Pixels after cropping, `1..=8192`.
    pub height: u32,
    /// `profile_idc`: 66 baseline, 77 main, 100 high.
    pub profile: u8,
    /// The six constraint flags and two zero bits, as in the stream.
    pub constraints: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// 0 monochrome, 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    pub chroma_format: u8,
    /// Bits a luma sample, `8..=14`.
    pub bit_depth_luma: u8,
    /// Bits a chroma sample, `8..=14`.
    pub bit_depth_chroma: u8,
    /// Frames a second, when the encoder says so.
    pub frame_rate: Option<f64>,
    /// Whether pictures may be shown in another order than they are sent in.
    pub order: OrderSyntax,
}

/// The publisher sent a sequence parameter set that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpsError {
    /// The NAL unit is of another type.
    #[error("this NAL unit is not a sequence parameter set")]
    NotSps,
    /// Longer than any real set.
    #[error("the sequence parameter set is longer than {PARAMETER_SET_BYTES_MAX} bytes")]
    TooLong,
    /// The reader's words on what it could not read.
    #[error("the sequence parameter set cannot be read: {0}")]
    Malformed(String),
    /// The picture is empty, or larger than is taken.
    #[error(
        "the picture of {width}x{height} pixels is outside 1x1 to {max}x{max}",
        max = PICTURE_SIDE_PIXELS_MAX
    )]
    Size {
        /// Pixels, after cropping.
        width: u32,
        /// Lines, after cropping.
        height: u32,
    },
}

impl Sps {
    /// Reads a NAL unit of type 7, header byte included.
    ///
    /// # Errors
    /// When it is something else, cannot be read, or the picture is absurdly large.
    pub fn parse(nal: &[u8]) -> Result<Self, SpsError> {
        let sps = read(nal)?;
        let &[_, profile, constraints, level, ..] = nal else {
            return Err(SpsError::Malformed("it ends before the level".to_owned()));
        };
        let (width, height) = dimensions(&sps)?;
        Ok(Self {
            width,
            height,
            profile,
            constraints,
            level,
            chroma_format: u8::try_from(sps.chroma_info.chroma_format.to_u32()).unwrap_or(1),
            bit_depth_luma: sps.chroma_info.bit_depth_luma_minus8.saturating_add(8),
            bit_depth_chroma: sps.chroma_info.bit_depth_chroma_minus8.saturating_add(8),
            frame_rate: sps.fps().filter(|fps| fps.is_finite() && *fps > 0.0),
            order: OrderSyntax::new(&sps, profile),
        })
    }
}

/// All that the library reads; the level in it is not the stream's.
pub(super) fn read(nal: &[u8]) -> Result<SeqParameterSet, SpsError> {
    if nal_type(nal) != Some(NalType::Sps) {
        return Err(SpsError::NotSps);
    }
    if nal.len() > PARAMETER_SET_BYTES_MAX {
        return Err(SpsError::TooLong);
    }
    let mut rbsp = decode_nal(nal)
        .map_err(|error| SpsError::Malformed(error.to_string()))?
        .into_owned();
    // The library refuses a picture too large for its level, and encoders that state too low a
    // level are about; decoders look at the size. Let it check against the highest level.
    if let Some(level) = rbsp.get_mut(2) {
        *level = LEVEL_HIGHEST;
    }
    SeqParameterSet::from_bits(BitReader::new(&*rbsp))
        .map_err(|error| SpsError::Malformed(format!("{error:?}")))
}

pub(super) fn dimensions(sps: &SeqParameterSet) -> Result<(u32, u32), SpsError> {
    let macroblocks_max = PICTURE_SIDE_PIXELS_MAX / 16;
    let columns = sps.pic_width_in_mbs_minus1.saturating_add(1);
    let rows = sps.pic_height_in_map_units_minus1.saturating_add(1);
    // Before the library multiplies: its own arithmetic is not checked everywhere.
    if columns > macroblocks_max || rows > macroblocks_max {
        return Err(SpsError::Size {
            width: columns.saturating_mul(16),
            height: rows.saturating_mul(16),
        });
    }
    let (width, height) = sps
        .pixel_dimensions()
        .map_err(|error| SpsError::Malformed(format!("{error:?}")))?;
    let sides = 1..=PICTURE_SIDE_PIXELS_MAX;
    if sides.contains(&width) && sides.contains(&height) {
        Ok((width, height))
    } else {
        Err(SpsError::Size { width, height })
    }
}
