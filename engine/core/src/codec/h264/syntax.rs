//! What the parameter sets decide about slice headers and slice data.

use bytes::Bytes;
use h264_reader::Context;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::sps::{FrameMbsFlags, PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::{BitReader, decode_nal};

use super::sps::{self, SpsError};

/// Slice headers under these parameter sets are not understood: the encoder uses a tool that we
/// neither read nor write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// The sequence parameter set cannot be used.
    #[error(transparent)]
    Sps(#[from] SpsError),
    /// The reader's words on a picture parameter set.
    #[error("a picture parameter set cannot be read: {0}")]
    Pps(String),
    /// `frame_mbs_only_flag` is 0.
    #[error("the picture is interlaced")]
    Interlaced,
    /// `num_slice_groups_minus1` is not 0.
    #[error("the macroblocks are dealt to slice groups")]
    SliceGroups,
    /// `separate_colour_plane_flag` is 1.
    #[error("the colour planes are coded apart")]
    ColourPlanes,
    /// `pic_order_cnt_type` is 1 (clause 8.2.1.2).
    #[error("the picture order count is of type 1")]
    OrderType1,
}

/// A sequence parameter set with its picture parameter sets, as far as slices depend on it.
#[derive(Clone, Debug)]
pub(super) struct Syntax {
    /// `log2_max_frame_num`, `4..=16`.
    pub(super) frame_num_bits: u32,
    /// `log2_max_pic_order_cnt_lsb`, `4..=16`, for picture order count type 0; type 2 has none.
    pub(super) order_bits: Option<u32>,
    pub(super) columns: u32,
    /// Macroblocks of a picture, at least 1.
    pub(super) macroblocks: u32,
    pub(super) references_max: u32,
    /// ChromaArrayType is not 0.
    pub(super) has_chroma: bool,
    pub(super) pictures: Vec<PictureSyntax>,
    pub(super) sps: SeqParameterSet,
}

/// A picture parameter set.
#[derive(Clone, Debug)]
pub(super) struct PictureSyntax {
    pub(super) id: u8,
    pub(super) cabac: bool,
    /// `bottom_field_pic_order_in_frame_present_flag`.
    pub(super) bottom_order: bool,
    /// `num_ref_idx_l0_default_active_minus1 + 1`.
    pub(super) references: u32,
    pub(super) weighted: bool,
    /// `26 + pic_init_qp_minus26`.
    pub(super) qp: i32,
    pub(super) chroma_qp_offset: [i32; 2],
    pub(super) deblocking_control: bool,
    pub(super) redundant_pictures: bool,
    pub(super) transform_8x8: bool,
    pub(super) scaling_matrix: bool,
}

impl Syntax {
    pub(super) fn new(sps_nal: &[u8], pps_nals: &[Bytes]) -> Result<Self, SyntaxError> {
        let sps = sps::read(sps_nal)?;
        sps::dimensions(&sps)?;
        if sps.frame_mbs_flags != FrameMbsFlags::Frames {
            return Err(SyntaxError::Interlaced);
        }
        if sps.chroma_info.separate_colour_plane_flag {
            return Err(SyntaxError::ColourPlanes);
        }
        let order_bits = match sps.pic_order_cnt {
            PicOrderCntType::TypeZero {
                log2_max_pic_order_cnt_lsb_minus4,
            } => Some(u32::from(log2_max_pic_order_cnt_lsb_minus4) + 4),
            PicOrderCntType::TypeOne { .. } => return Err(SyntaxError::OrderType1),
            PicOrderCntType::TypeTwo => None,
        };
        let mut context = Context::new();
        context.put_seq_param_set(sps.clone());
        let pictures = pps_nals
            .iter()
            .map(|nal| PictureSyntax::new(&context, nal))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            frame_num_bits: sps.log2_max_frame_num().into(),
            order_bits,
            columns: sps.pic_width_in_mbs(),
            macroblocks: sps.pic_size_in_map_units(),
            references_max: sps.max_num_ref_frames,
            has_chroma: sps.chroma_info.chroma_format.to_u32() != 0,
            pictures,
            sps,
        })
    }

    /// The picture parameter set of this number; the last one if there are several.
    pub(super) fn picture(&self, id: u32) -> Option<&PictureSyntax> {
        self.pictures
            .iter()
            .rfind(|picture| u32::from(picture.id) == id)
    }
}

impl PictureSyntax {
    fn new(context: &Context, nal: &[u8]) -> Result<Self, SyntaxError> {
        let rbsp = decode_nal(nal).map_err(|error| SyntaxError::Pps(error.to_string()))?;
        let pps = PicParameterSet::from_bits(context, BitReader::new(&*rbsp))
            .map_err(|error| SyntaxError::Pps(format!("{error:?}")))?;
        if pps.slice_groups.is_some() {
            return Err(SyntaxError::SliceGroups);
        }
        let extra = pps.extension.as_ref();
        let offset = pps.chroma_qp_index_offset;
        Ok(Self {
            id: pps.pic_parameter_set_id.id(),
            cabac: pps.entropy_coding_mode_flag,
            bottom_order: pps.bottom_field_pic_order_in_frame_present_flag,
            references: pps.num_ref_idx_l0_default_active_minus1 + 1,
            weighted: pps.weighted_pred_flag,
            qp: 26 + pps.pic_init_qp_minus26,
            chroma_qp_offset: [
                offset,
                extra.map_or(offset, |extra| extra.second_chroma_qp_index_offset),
            ],
            deblocking_control: pps.deblocking_filter_control_present_flag,
            redundant_pictures: pps.redundant_pic_cnt_present_flag,
            transform_8x8: extra.is_some_and(|extra| extra.transform_8x8_mode_flag),
            scaling_matrix: extra.is_some_and(|extra| extra.pic_scaling_matrix.is_some()),
        })
    }
}
