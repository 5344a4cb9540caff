//! The slice header (clause 7.3.3) of a frame of the pictures that we can follow: I and P slices.

use super::bits::{BitReader, BitWriter};
use super::syntax::{PictureSyntax, Syntax};

/// More bytes than any header that is read here takes: 32 weights, 32 changes of the reference list
/// and as many of the marking come to less than half.
pub(super) const HEADER_BYTES_MAX: usize = 2_048;

/// `nal_unit_type` of the slices that are read here.
const NON_IDR: u8 = 1;
const IDR: u8 = 5;

/// The encoder sent a slice that is damaged, or made with a tool that we do not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SliceError {
    /// The header breaks off or holds a value that clause 7.4.3 does not allow.
    #[error("a slice header is damaged or cut off")]
    Malformed,
    /// The access unit has no slice.
    #[error("there is no slice")]
    Missing,
    /// Data partitions (`nal_unit_type` 2 to 4), of the extended profile alone.
    #[error("the slices are split into data partitions")]
    Partitioned,
    /// B, SP or SI slices (`slice_type`, table 7-6).
    #[error("the picture has B, SP or SI slices")]
    NotIOrP,
    /// No picture parameter set has this `pic_parameter_set_id`.
    #[error("a slice names picture parameter set {0}, which nobody sent")]
    UnknownPps(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SliceKind {
    P,
    I,
}

/// What becomes of the reference pictures after this one (clause 7.4.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marking {
    /// The picture is no reference.
    None,
    Idr {
        no_output_of_prior_pics: bool,
        long_term: bool,
    },
    SlidingWindow,
    /// By commands, of which only what they do to this picture is kept: operation 5 makes it the
    /// first of a sequence, 6 a long-term reference.
    Commands {
        resets: bool,
        long_term: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deblocking {
    pub(super) disable_idc: u32,
    pub(super) alpha: i32,
    pub(super) beta: i32,
}

impl Deblocking {
    /// What holds where headers say nothing of it.
    pub(super) const DEFAULT: Self = Self {
        disable_idc: 0,
        alpha: 0,
        beta: 0,
    };
    pub(super) const OFF: Self = Self {
        disable_idc: 1,
        alpha: 0,
        beta: 0,
    };
}

/// Header of one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SliceHeader {
    /// `nal_ref_idc`, `0..=3`.
    pub(super) reference: u8,
    pub(super) first_macroblock: u32,
    pub(super) kind: SliceKind,
    pub(super) pps: u32,
    pub(super) frame_num: u32,
    /// `idr_pic_id` of an IDR picture.
    pub(super) idr_pic_id: Option<u32>,
    /// `pic_order_cnt_lsb` and `delta_pic_order_cnt_bottom`; 0 where headers have none.
    pub(super) order_lsb: u32,
    pub(super) order_bottom: i32,
    pub(super) redundant: u32,
    /// How many references are passed over to predict from the one before them. Written, not read.
    pub(super) references_passed: u32,
    pub(super) marking: Marking,
    /// `SliceQPY`.
    pub(super) qp: i32,
    pub(super) deblocking: Deblocking,
}

/// Whether a NAL unit is a slice; an error when it is a part of one.
pub(super) fn is_slice(nal: &[u8]) -> Result<bool, SliceError> {
    match nal.first().map(|header| header & 0x1F) {
        Some(NON_IDR | IDR) => Ok(true),
        Some(2..=4) => Err(SliceError::Partitioned),
        _ => Ok(false),
    }
}

impl SliceHeader {
    /// Reads the header of a NAL unit for which [`is_slice`]; `payload` is its payload, or
    /// [`HEADER_BYTES_MAX`] of it. Also gives the bit at which the slice data begins, before the
    /// alignment of CABAC.
    pub(super) fn read(
        syntax: &Syntax,
        nal: &[u8],
        payload: &[u8],
    ) -> Result<(Self, usize), SliceError> {
        let header = *nal.first().ok_or(SliceError::Malformed)?;
        let mut bits = BitReader::new(payload);
        let mut read = || -> Option<Result<Self, SliceError>> {
            let first_macroblock = bits.ue()?;
            let kind = match bits.ue()? {
                0 | 5 => SliceKind::P,
                2 | 7 => SliceKind::I,
                1 | 3 | 4 | 6 | 8 | 9 => return Some(Err(SliceError::NotIOrP)),
                _ => return None,
            };
            let pps = bits.ue()?;
            let Some(picture) = syntax.picture(pps) else {
                return Some(Err(SliceError::UnknownPps(pps)));
            };
            let slice = Self {
                reference: header >> 5 & 3,
                first_macroblock,
                kind,
                pps,
                frame_num: bits.bits(syntax.frame_num_bits)?,
                idr_pic_id: None,
                order_lsb: 0,
                order_bottom: 0,
                redundant: 0,
                references_passed: 0,
                marking: Marking::None,
                qp: 0,
                deblocking: Deblocking::DEFAULT,
            };
            slice
                .read_rest(syntax, picture, header & 0x1F == IDR, &mut bits)
                .map(Ok)
        };
        let slice = read().ok_or(SliceError::Malformed)??;
        Ok((slice, bits.position()))
    }

    fn read_rest(
        mut self,
        syntax: &Syntax,
        picture: &PictureSyntax,
        idr: bool,
        bits: &mut BitReader<'_>,
    ) -> Option<Self> {
        if idr {
            self.idr_pic_id = Some(bits.ue()?);
        }
        if let Some(order_bits) = syntax.order_bits {
            self.order_lsb = bits.bits(order_bits)?;
            if picture.bottom_order {
                self.order_bottom = bits.se()?;
            }
        }
        if picture.redundant_pictures {
            self.redundant = bits.ue()?;
        }
        if self.kind == SliceKind::P {
            skip_prediction(syntax, picture, bits)?;
        }
        if self.reference > 0 {
            self.marking = read_marking(idr, bits)?;
        }
        if picture.cabac && self.kind == SliceKind::P {
            bits.ue()?; // cabac_init_idc
        }
        self.qp = picture.qp.checked_add(bits.se()?)?;
        if picture.deblocking_control {
            self.deblocking.disable_idc = bits.ue()?;
            if self.deblocking.disable_idc != 1 {
                self.deblocking.alpha = bits.se()?;
                self.deblocking.beta = bits.se()?;
            }
        }
        Some(self)
    }

    /// Writes the header up to where the slice data begins, for a slice that predicts, if at all,
    /// from one picture alone, without weights. What the parameter sets
    /// have no room for is left out.
    pub(super) fn write(&self, syntax: &Syntax, picture: &PictureSyntax, bits: &mut BitWriter) {
        bits.ue(self.first_macroblock);
        // All slices of the picture are of this type.
        bits.ue(match self.kind {
            SliceKind::P => 5,
            SliceKind::I => 7,
        });
        bits.ue(picture.id.into());
        bits.bits(self.frame_num, syntax.frame_num_bits);
        if let Some(idr_pic_id) = self.idr_pic_id {
            bits.ue(idr_pic_id);
        }
        if let Some(order_bits) = syntax.order_bits {
            bits.bits(self.order_lsb, order_bits);
            if picture.bottom_order {
                bits.se(self.order_bottom);
            }
        }
        if picture.redundant_pictures {
            bits.ue(self.redundant);
        }
        if self.kind == SliceKind::P {
            write_prediction(syntax, picture, self.references_passed, bits);
        }
        match self.marking {
            Marking::None => {}
            Marking::Idr {
                no_output_of_prior_pics,
                long_term,
            } => {
                bits.flag(no_output_of_prior_pics);
                bits.flag(long_term);
            }
            Marking::SlidingWindow | Marking::Commands { .. } => bits.flag(false),
        }
        if picture.cabac && self.kind == SliceKind::P {
            bits.ue(super::cabac_skip::INIT_IDC);
        }
        bits.se(self.qp - picture.qp);
        if picture.deblocking_control {
            bits.ue(self.deblocking.disable_idc);
            if self.deblocking.disable_idc != 1 {
                bits.se(self.deblocking.alpha);
                bits.se(self.deblocking.beta);
            }
        }
    }

    /// The first byte of the NAL unit.
    pub(super) fn nal_header(&self) -> u8 {
        let kind = if self.idr_pic_id.is_some() {
            IDR
        } else {
            NON_IDR
        };
        self.reference << 5 | kind
    }
}

/// Number of references, changes of their list (7.3.3.1) and weights (7.3.3.2) of a P slice.
fn skip_prediction(
    syntax: &Syntax,
    picture: &PictureSyntax,
    bits: &mut BitReader<'_>,
) -> Option<()> {
    let mut references = picture.references;
    if bits.flag()? {
        references = bits.ue()?.checked_add(1).filter(|count| *count <= 32)?;
    }
    if bits.flag()? {
        // modification_of_pic_nums_idc
        while bits.ue()? != 3 {
            bits.ue()?;
        }
    }
    if !picture.weighted {
        return Some(());
    }
    bits.ue()?; // luma_log2_weight_denom
    if syntax.has_chroma {
        bits.ue()?;
    }
    for _ in 0..references {
        if bits.flag()? {
            bits.se()?;
            bits.se()?;
        }
        if syntax.has_chroma && bits.flag()? {
            for _ in 0..4 {
                bits.se()?;
            }
        }
    }
    Some(())
}

/// One reference, the newest in decoding order but so many, and weights that change nothing.
fn write_prediction(
    syntax: &Syntax,
    picture: &PictureSyntax,
    references_passed: u32,
    bits: &mut BitWriter,
) {
    let overridden = picture.references != 1;
    bits.flag(overridden);
    if overridden {
        bits.ue(0);
    }
    bits.flag(references_passed > 0);
    if references_passed > 0 {
        bits.ue(0); // modification_of_pic_nums_idc: so much is taken off the picture's own number
        bits.ue(references_passed); // abs_diff_pic_num_minus1
        bits.ue(3);
    }
    if picture.weighted {
        bits.ue(0);
        if syntax.has_chroma {
            bits.ue(0);
        }
        bits.flag(false);
        if syntax.has_chroma {
            bits.flag(false);
        }
    }
}

/// `dec_ref_pic_marking()`, 7.3.3.3.
fn read_marking(idr: bool, bits: &mut BitReader<'_>) -> Option<Marking> {
    if idr {
        return Some(Marking::Idr {
            no_output_of_prior_pics: bits.flag()?,
            long_term: bits.flag()?,
        });
    }
    if !bits.flag()? {
        return Some(Marking::SlidingWindow);
    }
    let (mut resets, mut long_term) = (false, false);
    loop {
        match bits.ue()? {
            0 => return Some(Marking::Commands { resets, long_term }),
            1 | 2 | 4 => {
                bits.ue()?;
            }
            3 => {
                bits.ue()?;
                bits.ue()?;
            }
            5 => resets = true,
            6 => {
                bits.ue()?;
                long_term = true;
            }
            _ => return None,
        }
    }
}
