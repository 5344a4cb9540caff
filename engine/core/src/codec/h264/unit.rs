//! One access unit, in the form in which the ring keeps it.

use bytes::{BufMut, Bytes};

use super::bits::BitReader;
use super::limits::{NALS_MAX, PPS_COUNT_MAX, UNIT_BYTES_MAX};
use super::nal::{NalType, annex_b, nal_type};
use super::record::DecoderRecord;

/// An access unit in AVCC form (ISO/IEC 14496-15, 5.3.4.2): each NAL unit behind its length of four
/// bytes. Access unit delimiters, fillers and parameter sets are not in it, unless it came in that form;
/// SEI is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoUnit {
    /// The NAL units behind their lengths, to be shared by everyone who sends or stores them.
    pub avcc: Bytes,
    /// Whether the picture is an IDR: decoding can begin here.
    pub key: bool,
    /// The last sequence parameter set that came with the unit.
    pub sps: Option<Bytes>,
    /// The picture parameter sets that came with the unit.
    pub pps: Vec<Bytes>,
    /// Whether a slice of it may refer to later pictures.
    pub b_slices: bool,
    /// Whether other pictures may refer to it (`nal_ref_idc` is not 0, clause 7.4.1).
    pub reference: bool,
    picture: bool,
}

/// The publisher sent an access unit that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Longer than any media message that a peer would take.
    #[error("the access unit is longer than {UNIT_BYTES_MAX} bytes")]
    TooLong,
    /// A NAL unit is longer than what is left.
    #[error("the lengths of the NAL units do not add up to the access unit")]
    BadLengths,
    /// Encoders use one or two.
    #[error("the access unit brings more than {PPS_COUNT_MAX} picture parameter sets")]
    TooManyPps,
}

impl VideoUnit {
    /// Turns a unit in Annex B into AVCC.
    ///
    /// # Errors
    /// When the unit is too long. Anything that is not H.264 gives a unit without a picture.
    pub fn from_annex_b(stream: &[u8]) -> Result<Self, UnitError> {
        Self::from_nals(annex_b(stream), stream.len())
    }

    /// Turns NAL units without start codes into AVCC. `bytes_expected` is about what they come to, so
    /// that memory is allocated once.
    ///
    /// # Errors
    /// As [`VideoUnit::from_annex_b`].
    pub fn from_nals<'a>(
        nals: impl IntoIterator<Item = &'a [u8]>,
        bytes_expected: usize,
    ) -> Result<Self, UnitError> {
        if bytes_expected > UNIT_BYTES_MAX {
            return Err(UnitError::TooLong);
        }
        // A length takes one byte more than a short start code; eight such fit before it grows.
        let mut avcc = Vec::with_capacity(bytes_expected + 8);
        let mut unit = Self::empty();
        for nal in nals {
            if unit.look_at(nal)? {
                append(nal, &mut avcc)?;
            }
        }
        unit.avcc = Bytes::from(avcc);
        Ok(unit)
    }

    /// Takes a unit in AVCC, whose lengths have as many bytes as `record` says. With four, which is what
    /// encoders write, it stays as it came, to the byte.
    ///
    /// # Errors
    /// When it is too long, or the lengths are wrong.
    pub fn from_avcc(avcc: &Bytes, record: &DecoderRecord) -> Result<Self, UnitError> {
        let mut unit = Self::empty();
        let mut nals = Vec::new();
        let mut rest = &avcc[..];
        while !rest.is_empty() {
            let (length, behind) = rest
                .split_at_checked(record.length_bytes)
                .ok_or(UnitError::BadLengths)?;
            let length = length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let (nal, behind) = behind
                .split_at_checked(length)
                .ok_or(UnitError::BadLengths)?;
            rest = behind;
            if record.length_bytes == 4 {
                unit.look_at(nal)?;
            } else if nals.len() < NALS_MAX {
                nals.push(nal);
            } else {
                return Err(UnitError::BadLengths);
            }
        }
        if record.length_bytes != 4 {
            let bytes = avcc.len() + nals.len() * 4;
            return Self::from_nals(nals, bytes);
        }
        if avcc.len() > UNIT_BYTES_MAX {
            return Err(UnitError::TooLong);
        }
        unit.avcc = avcc.clone();
        Ok(unit)
    }

    fn empty() -> Self {
        Self {
            avcc: Bytes::new(),
            key: false,
            sps: None,
            pps: Vec::new(),
            b_slices: false,
            reference: false,
            picture: false,
        }
    }

    /// Learns from a NAL unit; whether it belongs to what is kept.
    fn look_at(&mut self, nal: &[u8]) -> Result<bool, UnitError> {
        match nal_type(nal) {
            None | Some(NalType::Aud | NalType::Filler | NalType::End) => return Ok(false),
            Some(NalType::Sps) => self.sps = Some(Bytes::copy_from_slice(nal)),
            Some(NalType::Pps) => self.add_pps(nal)?,
            Some(kind) => {
                self.key |= kind == NalType::Idr;
                let picture = matches!(kind, NalType::Idr | NalType::Slice);
                self.picture |= picture;
                self.reference |= picture && nal.first().is_some_and(|it| it & 0x60 != 0);
                self.b_slices |= kind == NalType::Slice && is_b_slice(nal);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there is a picture in it, and not only parameter sets or SEI.
    pub fn has_picture(&self) -> bool {
        self.picture
    }

    fn add_pps(&mut self, nal: &[u8]) -> Result<(), UnitError> {
        if self.pps.iter().any(|known| known == nal) {
            return Ok(());
        }
        if self.pps.len() == PPS_COUNT_MAX {
            return Err(UnitError::TooManyPps);
        }
        self.pps.push(Bytes::copy_from_slice(nal));
        Ok(())
    }
}

/// `slice_type` 1 or 6 (clause 7.4.3). It stands within the first bytes, where there is nothing that
/// has to be escaped.
fn is_b_slice(nal: &[u8]) -> bool {
    let mut bits = BitReader::new(nal.get(1..).unwrap_or_default());
    let _first_mb_in_slice = bits.ue();
    bits.ue().is_some_and(|slice_type| slice_type % 5 == 1)
}

fn append(nal: &[u8], avcc: &mut Vec<u8>) -> Result<(), UnitError> {
    let len = u32::try_from(nal.len()).map_err(|_| UnitError::TooLong)?;
    if avcc.len() + 4 + nal.len() > UNIT_BYTES_MAX {
        return Err(UnitError::TooLong);
    }
    avcc.put_u32(len);
    avcc.put_slice(nal);
    Ok(())
}
