//! The parameter sets in force, and the record that tells them to a decoder.

use bytes::{BufMut, Bytes};

use super::adopt;
use super::limits::{PARAMETER_SET_BYTES_MAX, PPS_COUNT_MAX};
use super::nal::{NalType, nal_type};
use super::sps::{Sps, SpsError};
use super::still::StillFrameTarget;

/// The sequence parameter set in force with its picture parameter sets. Two are equal when a
/// decoder set up by one decodes the other.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSets {
    sps_nal: Bytes,
    pps_nals: Vec<Bytes>,
    sps: Sps,
    record: Bytes,
}

/// The publisher sent parameter sets that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterSetsError {
    /// The sequence parameter set cannot be used.
    #[error(transparent)]
    Sps(#[from] SpsError),
    /// No picture parameter set came with the sequence parameter set.
    #[error("the picture parameter set is missing")]
    NoPps,
    /// A picture parameter set is empty, too long, or is none.
    #[error("a picture parameter set is not one, or longer than {PARAMETER_SET_BYTES_MAX} bytes")]
    BadPps,
    /// More picture parameter sets than a record holds.
    #[error("more than {PPS_COUNT_MAX} picture parameter sets")]
    TooManyPps,
}

impl ParameterSets {
    /// Takes NAL units without start codes.
    ///
    /// # Errors
    /// When one cannot be used, or there is no picture parameter set.
    pub fn new(sps_nal: &Bytes, pps_nals: &[Bytes]) -> Result<Self, ParameterSetsError> {
        let sps = Sps::parse(sps_nal)?;
        if pps_nals.is_empty() {
            return Err(ParameterSetsError::NoPps);
        }
        if pps_nals.len() > PPS_COUNT_MAX {
            return Err(ParameterSetsError::TooManyPps);
        }
        if !pps_nals.iter().all(|pps| is_pps(pps)) {
            return Err(ParameterSetsError::BadPps);
        }
        let record = write_record(&sps, sps_nal, pps_nals);
        Ok(Self {
            sps_nal: sps_nal.clone(),
            pps_nals: pps_nals.to_vec(),
            sps,
            record,
        })
    }

    /// The sequence parameter set, read.
    pub fn sps(&self) -> &Sps {
        &self.sps
    }

    /// The sequence parameter set as a NAL unit.
    pub fn sps_nal(&self) -> &Bytes {
        &self.sps_nal
    }

    /// The picture parameter sets as NAL units.
    pub fn pps_nals(&self) -> &[Bytes] {
        &self.pps_nals
    }

    /// Pixels after cropping.
    pub fn width(&self) -> u32 {
        self.sps.width
    }

    /// Pixels after cropping.
    pub fn height(&self) -> u32 {
        self.sps.height
    }

    /// How an encoder must code a picture so that [`adopt`](super::adopt()) can put it under these
    /// sets. `None` when x264 makes no such picture: the stream is not 4:2:0 in 8 bits, interlaced,
    /// has scaling matrices or slice groups.
    pub fn still_target(&self) -> Option<StillFrameTarget> {
        adopt::target(self)
    }

    /// The AVCDecoderConfigurationRecord with NAL lengths of four bytes.
    pub fn record(&self) -> &Bytes {
        &self.record
    }
}

fn is_pps(nal: &[u8]) -> bool {
    nal_type(nal) == Some(NalType::Pps) && nal.len() <= PARAMETER_SET_BYTES_MAX
}

/// ISO/IEC 14496-15 5.3.3.1.2.
fn write_record(sps: &Sps, sps_nal: &[u8], pps_nals: &[Bytes]) -> Bytes {
    let mut record = Vec::with_capacity(64);
    record.put_slice(&[1, sps.profile, sps.constraints, sps.level]);
    // Six and three reserved bits are ones; lengths have four bytes; there is one SPS.
    record.put_slice(&[0xFC | 3, 0xE0 | 1]);
    put_nal(sps_nal, &mut record);
    record.put_u8(u8::try_from(pps_nals.len()).unwrap_or(u8::MAX));
    pps_nals.iter().for_each(|pps| put_nal(pps, &mut record));
    // The standard names profiles 100, 110, 122 and 144 (a slip for 244); decoders expect the
    // fields for everything that is not baseline, main or extended, as FFmpeg writes them.
    if !matches!(sps.profile, 66 | 77 | 88) {
        record.put_slice(&[
            0xFC | sps.chroma_format,
            0xF8 | (sps.bit_depth_luma - 8),
            0xF8 | (sps.bit_depth_chroma - 8),
            0, // SPS extensions
        ]);
    }
    Bytes::from(record)
}

/// Lengths fit: both kinds are held to `PARAMETER_SET_BYTES_MAX`.
fn put_nal(nal: &[u8], record: &mut Vec<u8>) {
    record.put_u16(u16::try_from(nal.len()).unwrap_or(u16::MAX));
    record.put_slice(nal);
}
