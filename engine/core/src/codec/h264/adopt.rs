//! IDR pictures of one encoder under the parameter sets of another.
//!
//! What a macroblock says in its bits depends on little of what parameter sets hold: the kind of
//! entropy coding, whether 8×8 transforms are told, the size of the picture and how chroma QP
//! follows luma. Where two encoders agree in these ([`StillFrameTarget`]), a slice of one stands under
//! the sets of the other once its header is written anew. The slice data is copied as it is.

use bytes::{BufMut, Bytes};

use super::bits::{self, BitWriter};
use super::limits::UNIT_BYTES_MAX;
use super::nal::length_prefixed;
use super::parameter_sets::ParameterSets;
use super::slice_header::{Deblocking, Marking, SliceError, SliceHeader, SliceKind, is_slice};
use super::still::{StillFrame, StillFrameTarget};
use super::syntax::{PictureSyntax, Syntax, SyntaxError};

/// Baseline, main and high: the profiles whose pictures are 4:2:0 with samples of eight bits.
const PROFILES: [u8; 3] = [66, 77, 100];

/// A picture cannot stand under these parameter sets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// Of the picture or of the stream.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A slice of the picture or of the stream uses what is not followed here.
    #[error(transparent)]
    Slice(#[from] SliceError),
    /// The caller's: only IDR pictures stand by themselves.
    #[error("the picture is no IDR of I slices")]
    NotIdr,
    /// Ours: the picture was not coded as [`StillFrameTarget`] says.
    #[error("the picture and the stream differ in {0}")]
    Differs(&'static str),
    /// The publisher's or ours: longer than any access unit that is sent on.
    #[error("the picture is longer than {UNIT_BYTES_MAX} bytes")]
    TooLong,
}

/// Puts an IDR picture under the parameter sets of a stream: an access unit as in
/// [`VideoUnit::avcc`](super::VideoUnit::avcc). Two IDR
/// pictures of a stream with no other between them must differ in `idr_pic_id` (clause 7.4.3).
///
/// # Errors
/// When the picture is not one of [`ParameterSets::still_target`].
pub fn adopt(
    config: &ParameterSets,
    picture: &StillFrame,
    idr_pic_id: u16,
) -> Result<Bytes, AdoptError> {
    let from = Syntax::new(&picture.sps, std::slice::from_ref(&picture.pps))?;
    let to = Syntax::new(config.sps_nal(), config.pps_nals())?;
    // Encoders with several sets use the first for IDR pictures as a rule; any would do.
    let to_picture = to.pictures.first().ok_or(SliceError::Missing)?;
    let mut unit = AccessUnit::default();
    for nal in &picture.slices {
        let (slice, data) = IdrSlice::read(&from, nal)?;
        check_alike(&from, data.picture, &to, to_picture)?;
        // Both counts begin again at an IDR picture (clauses 7.4.3 and 8.2.1).
        let slice = SliceHeader {
            frame_num: 0,
            idr_pic_id: Some(idr_pic_id.into()),
            order_lsb: 0,
            order_bottom: 0,
            marking: Marking::Idr {
                no_output_of_prior_pics: false,
                long_term: false,
            },
            ..slice
        };
        unit.push_slice(&to, to_picture, &slice, &data)?;
    }
    unit.finish()
}

/// An IDR picture of a stream again, under another `idr_pic_id`; `unit` and what comes back as in
/// [`VideoUnit::avcc`](super::VideoUnit::avcc).
///
/// # Errors
/// When it is no IDR picture, or cannot be read.
pub fn renumber(config: &ParameterSets, unit: &[u8], idr_pic_id: u16) -> Result<Bytes, AdoptError> {
    let syntax = Syntax::new(config.sps_nal(), config.pps_nals())?;
    let mut renumbered = AccessUnit::default();
    for nal in length_prefixed(unit) {
        if !is_slice(nal)? {
            renumbered.push(nal)?;
            continue;
        }
        let (slice, data) = IdrSlice::read(&syntax, nal)?;
        let slice = SliceHeader {
            idr_pic_id: Some(idr_pic_id.into()),
            ..slice
        };
        renumbered.push_slice(&syntax, data.picture, &slice, &data)?;
    }
    renumbered.finish()
}

/// How a picture must be coded so that it can stand under these parameter sets; `None` when x264
/// cannot make one.
pub(super) fn target(config: &ParameterSets) -> Option<StillFrameTarget> {
    let syntax = Syntax::new(config.sps_nal(), config.pps_nals()).ok()?;
    let picture = syntax.pictures.first()?;
    let (sps, known) = (&syntax.sps, config.sps());
    let chroma = &sps.chroma_info;
    let crop_begins = sps
        .frame_cropping
        .as_ref()
        .is_some_and(|crop| crop.left_offset != 0 || crop.top_offset != 0);
    // An encoder adds no more than it takes to whole macroblocks.
    let minimal = known.width.div_ceil(16) == syntax.columns
        && known.height.div_ceil(16) * syntax.columns == syntax.macroblocks;
    let even = known.width.is_multiple_of(2) && known.height.is_multiple_of(2);
    let [offset, second_offset] = picture.chroma_qp_offset;
    let plain = PROFILES.contains(&known.profile)
        && (
            known.chroma_format,
            known.bit_depth_luma,
            known.bit_depth_chroma,
        ) == (1, 8, 8)
        && !chroma.qpprime_y_zero_transform_bypass_flag
        && chroma.scaling_matrix.is_none()
        && !picture.scaling_matrix
        && offset == second_offset;
    if !plain || !minimal || !even || crop_begins {
        return None;
    }
    let full_range = sps
        .vui_parameters
        .as_ref()
        .and_then(|vui| vui.video_signal_type.as_ref())
        .is_some_and(|signal| signal.video_full_range_flag);
    Some(StillFrameTarget {
        width: known.width,
        height: known.height,
        profile: known.profile,
        level: known.level,
        cabac: picture.cabac,
        transform_8x8: picture.transform_8x8,
        chroma_qp_offset: i8::try_from(offset).ok()?,
        full_range,
    })
}

/// Whether slice data means the same under both.
fn check_alike(
    from: &Syntax,
    from_picture: &PictureSyntax,
    to: &Syntax,
    to_picture: &PictureSyntax,
) -> Result<(), AdoptError> {
    let samples = |syntax: &Syntax| {
        let chroma = &syntax.sps.chroma_info;
        (
            chroma.chroma_format.to_u32(),
            chroma.bit_depth_luma_minus8,
            chroma.bit_depth_chroma_minus8,
            chroma.qpprime_y_zero_transform_bypass_flag,
        )
    };
    let flat = |syntax: &Syntax, picture: &PictureSyntax| {
        syntax.sps.chroma_info.scaling_matrix.is_none() && !picture.scaling_matrix
    };
    let alike = [
        (
            "size",
            (from.columns, from.macroblocks) == (to.columns, to.macroblocks),
        ),
        ("samples", samples(from) == samples(to)),
        (
            "scaling matrices",
            flat(from, from_picture) && flat(to, to_picture),
        ),
        ("entropy coding", from_picture.cabac == to_picture.cabac),
        (
            "8x8 transforms",
            from_picture.transform_8x8 == to_picture.transform_8x8,
        ),
        (
            "chroma QP",
            from_picture.chroma_qp_offset == to_picture.chroma_qp_offset,
        ),
    ];
    match alike.into_iter().find(|(_, alike)| !alike) {
        Some((what, _)) => Err(AdoptError::Differs(what)),
        None => Ok(()),
    }
}

/// Slice data with what is needed to copy it.
struct IdrSlice<'a> {
    picture: &'a PictureSyntax,
    payload: Vec<u8>,
    /// Bit of the payload at which the slice data begins, before the alignment of CABAC.
    begins: usize,
}

impl<'a> IdrSlice<'a> {
    fn read(syntax: &'a Syntax, nal: &[u8]) -> Result<(SliceHeader, Self), AdoptError> {
        if nal.len() > UNIT_BYTES_MAX {
            return Err(AdoptError::TooLong);
        }
        if !is_slice(nal)? {
            return Err(AdoptError::NotIdr);
        }
        let payload = bits::payload(nal, usize::MAX);
        let (slice, begins) = SliceHeader::read(syntax, nal, &payload)?;
        if slice.kind != SliceKind::I || slice.idr_pic_id.is_none() || slice.reference == 0 {
            return Err(AdoptError::NotIdr);
        }
        let picture = syntax
            .picture(slice.pps)
            .ok_or(SliceError::UnknownPps(slice.pps))?;
        let data = Self {
            picture,
            payload,
            begins,
        };
        Ok((slice, data))
    }

    fn copy_data(&self, out: &mut BitWriter) -> Result<(), AdoptError> {
        let malformed = AdoptError::Slice(SliceError::Malformed);
        if self.picture.cabac {
            // cabac_alignment_one_bit; the data is whole bytes, trailing bits included.
            out.align(true);
            out.bytes(
                self.payload
                    .get(self.begins.div_ceil(8)..)
                    .filter(|data| !data.is_empty())
                    .ok_or(malformed)?,
            );
            return Ok(());
        }
        stop_bit(&self.payload)
            .filter(|stop| *stop > self.begins)
            .and_then(|stop| out.copy(&self.payload, self.begins..stop))
            .ok_or(malformed)?;
        out.trailing();
        Ok(())
    }
}

/// Where `rbsp_stop_one_bit` is: the last bit that is set.
fn stop_bit(payload: &[u8]) -> Option<usize> {
    let at = payload.iter().rposition(|byte| *byte != 0)?;
    let zeros = payload.get(at)?.trailing_zeros() as usize;
    Some(at * 8 + 7 - zeros)
}

/// An access unit in AVCC form that is being put together.
#[derive(Default)]
struct AccessUnit {
    avcc: Vec<u8>,
    slices: usize,
}

impl AccessUnit {
    fn push_slice(
        &mut self,
        syntax: &Syntax,
        picture: &PictureSyntax,
        slice: &SliceHeader,
        data: &IdrSlice<'_>,
    ) -> Result<(), AdoptError> {
        if !picture.deblocking_control && slice.deblocking != Deblocking::DEFAULT {
            return Err(AdoptError::Differs("deblocking"));
        }
        if !(0..=51).contains(&slice.qp) {
            return Err(AdoptError::Slice(SliceError::Malformed));
        }
        let mut out = BitWriter::default();
        slice.write(syntax, picture, &mut out);
        data.copy_data(&mut out)?;
        let mut nal = Vec::with_capacity(data.payload.len() + data.payload.len() / 64 + 16);
        bits::put_nal_unit(slice.nal_header(), &out.into_bytes(), &mut nal);
        self.slices += 1;
        self.push(&nal)
    }

    fn push(&mut self, nal: &[u8]) -> Result<(), AdoptError> {
        if self.avcc.len() + 4 + nal.len() > UNIT_BYTES_MAX {
            return Err(AdoptError::TooLong);
        }
        let length = u32::try_from(nal.len()).map_err(|_| AdoptError::TooLong)?;
        self.avcc.put_u32(length);
        self.avcc.put_slice(nal);
        Ok(())
    }

    fn finish(self) -> Result<Bytes, AdoptError> {
        if self.slices == 0 {
            return Err(SliceError::Missing.into());
        }
        Ok(Bytes::from(self.avcc))
    }
}
