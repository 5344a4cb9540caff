//! The order in which pictures are shown (clause 8.2.1), read from the first bytes of their slices.
//!
//! Encoders with B-frames send a picture before the ones that are shown ahead of it, because those
//! refer to it. `pic_order_cnt_lsb` of the slice header numbers pictures in the order of display, so
//! a number that leaves room below it tells that such pictures are still to come.

use h264_reader::nal::sps::{FrameMbsFlags, PicOrderCntType, SeqParameterSet};

use super::bits::BitReader;
use super::nal::{NalType, length_prefixed, nal_type};

/// `profile_idc` of the baseline profile, which has no B slices (annex A.2.1).
const BASELINE: u8 = 66;
/// More payload bytes than a slice header takes up to `pic_order_cnt_lsb`: five Exp-Golomb codes and
/// fixed fields come to 16.
const HEAD_BYTES: usize = 24;

/// What a sequence parameter set says about the order of its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderSyntax {
    /// Pictures are shown in the order in which they are decoded: the profile is baseline, the
    /// picture order count is of type 2, or the VUI states `max_num_reorder_frames` 0 (annex E.2.1).
    pub as_decoded: bool,
    /// `None` for picture order count types 1 and 2, which do not number slices.
    lsb: Option<LsbSyntax>,
}

/// The fields of a slice header up to `pic_order_cnt_lsb` (clause 7.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LsbSyntax {
    /// `log2_max_frame_num`, `4..=16`.
    frame_num_bits: u32,
    /// `log2_max_pic_order_cnt_lsb`, `4..=16`.
    lsb_bits: u32,
    /// Slices say whether they belong to a field.
    fields: bool,
    /// Slices name their colour plane.
    colour_planes: bool,
}

impl OrderSyntax {
    pub(super) fn new(sps: &SeqParameterSet, profile_idc: u8) -> Self {
        let restrictions = sps.vui_parameters.as_ref();
        let restrictions = restrictions.and_then(|vui| vui.bitstream_restrictions.as_ref());
        let in_order = restrictions.is_some_and(|it| it.max_num_reorder_frames == 0);
        let lsb = match sps.pic_order_cnt {
            PicOrderCntType::TypeZero {
                log2_max_pic_order_cnt_lsb_minus4,
            } => Some(LsbSyntax {
                frame_num_bits: sps.log2_max_frame_num().into(),
                lsb_bits: u32::from(log2_max_pic_order_cnt_lsb_minus4) + 4,
                fields: sps.frame_mbs_flags != FrameMbsFlags::Frames,
                colour_planes: sps.chroma_info.separate_colour_plane_flag,
            }),
            PicOrderCntType::TypeOne { .. } | PicOrderCntType::TypeTwo => None,
        };
        Self {
            as_decoded: profile_idc == BASELINE
                || in_order
                || matches!(sps.pic_order_cnt, PicOrderCntType::TypeTwo),
            lsb,
        }
    }
}

impl LsbSyntax {
    /// `pic_order_cnt_lsb` of a slice.
    fn read(&self, nal: &[u8], idr: bool) -> Option<i64> {
        let (head, bytes) = head(nal);
        let mut bits = BitReader::new(head.get(..bytes)?);
        bits.ue()?; // first_mb_in_slice
        bits.ue()?; // slice_type
        bits.ue()?; // pic_parameter_set_id
        if self.colour_planes {
            bits.skip(2);
        }
        bits.skip(usize::try_from(self.frame_num_bits).ok()?);
        if self.fields && bits.flag()? {
            bits.flag()?; // bottom_field_flag
        }
        if idr {
            bits.ue()?; // idr_pic_id
        }
        bits.bits(self.lsb_bits).map(i64::from)
    }
}

/// Counts pictures in the order of display: `PicOrderCnt` (clause 8.2.1.1) without its offset for
/// bottom fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrderCounter {
    /// `prevPicOrderCntMsb` and `prevPicOrderCntLsb`, of the reference picture before.
    msb: i64,
    lsb: i64,
}

impl OrderCounter {
    /// The number of the next picture, by its first slice; `body` as in
    /// [`VideoUnit::body`](super::VideoUnit::body) without the header. `None` where slices are not
    /// numbered, or the slice is damaged. Does not allocate.
    pub fn next(&mut self, syntax: &OrderSyntax, body: &[u8]) -> Option<i64> {
        let lsb_syntax = syntax.lsb.as_ref()?;
        let (kind, nal) = length_prefixed(body).find_map(|nal| match nal_type(nal)? {
            kind @ (NalType::Slice | NalType::Idr) => Some((kind, nal)),
            _ => None,
        })?;
        let idr = kind == NalType::Idr;
        let lsb = lsb_syntax.read(nal, idr)?;
        if idr {
            *self = Self::default();
        }
        let wrap = 1_i64 << lsb_syntax.lsb_bits;
        let msb = if lsb < self.lsb && self.lsb - lsb >= wrap / 2 {
            self.msb + wrap
        } else if lsb > self.lsb && lsb - self.lsb > wrap / 2 {
            self.msb - wrap
        } else {
            self.msb
        };
        let is_reference = nal.first().is_some_and(|header| header >> 5 & 3 != 0);
        if is_reference {
            *self = Self { msb, lsb };
        }
        Some(msb + lsb)
    }
}

/// The first payload bytes of a NAL unit without emulation prevention, and how many there are.
fn head(nal: &[u8]) -> ([u8; HEAD_BYTES], usize) {
    let (mut head, mut bytes, mut zeros) = ([0; HEAD_BYTES], 0, 0);
    for byte in nal.iter().skip(1) {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        let Some(place) = head.get_mut(bytes) else {
            break;
        };
        *place = *byte;
        bytes += 1;
    }
    (head, bytes)
}
