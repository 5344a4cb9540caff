//! The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1) with which an encoder begins.

use bytes::Bytes;

use super::limits::{PARAMETER_SET_BYTES_MAX, PPS_COUNT_MAX};

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecoderRecord {
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub length_bytes: usize,
    /// The first sequence parameter set.
    pub sps: Bytes,
    /// All picture parameter sets.
    pub pps: Vec<Bytes>,
}

/// The encoder sent a record that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoder describes its H.264 in a form that cannot be read")]
pub struct RecordError;

impl DecoderRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is cut off, of another version, or without parameter sets.
    pub fn read(record: &[u8]) -> Result<Self, RecordError> {
        let mut rest = record;
        let version = number(&mut rest, 1)?;
        let _profile_and_level = take(&mut rest, 3)?;
        let length_bytes = match number(&mut rest, 1)? & 3 {
            0 => 1,
            1 => 2,
            3 => 4,
            _ => return Err(RecordError),
        };
        let mut sps = nals(&mut rest, 0x1F)?.into_iter();
        let pps = nals(&mut rest, 0xFF)?;
        match sps.next() {
            Some(sps) if version == 1 && !pps.is_empty() => Ok(Self {
                length_bytes,
                sps,
                pps,
            }),
            _ => Err(RecordError),
        }
    }
}

/// A list of NAL units behind its count and their lengths of two bytes.
fn nals(rest: &mut &[u8], count_mask: usize) -> Result<Vec<Bytes>, RecordError> {
    let count = number(rest, 1)? & count_mask;
    if count > PPS_COUNT_MAX {
        return Err(RecordError);
    }
    let mut nals = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(rest, 2)?;
        if length > PARAMETER_SET_BYTES_MAX {
            return Err(RecordError);
        }
        nals.push(Bytes::copy_from_slice(take(rest, length)?));
    }
    Ok(nals)
}

fn number(rest: &mut &[u8], bytes: usize) -> Result<usize, RecordError> {
    let bytes = take(rest, bytes)?.iter();
    Ok(bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], RecordError> {
    let (taken, behind) = rest.split_at_checked(bytes).ok_or(RecordError)?;
    *rest = behind;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use shardcast_sim::picture::{PPS, SPS_720P};

    use super::super::{ParameterSets, VideoUnit};
    use super::*;

    fn record() -> Bytes {
        let sets = ParameterSets::new(&Bytes::from_static(SPS_720P), &[Bytes::from_static(PPS)]);
        sets.unwrap().record().clone()
    }

    #[test]
    fn a_record_that_was_written_is_read_and_one_that_is_cut_off_is_not() {
        let record = record();
        let read = DecoderRecord::read(&record).unwrap();
        assert_eq!(read.length_bytes, 4);
        assert_eq!((&read.sps[..], read.pps.len()), (SPS_720P, 1));
        let sets = 11 + SPS_720P.len() - 3 + PPS.len();
        for end in 0..sets - 1 {
            let cut = DecoderRecord::read(&record[..end]);
            assert_eq!(cut, Err(RecordError), "{end}");
        }
        for (at, byte) in [(0, 0), (4, 0xFE), (5, 0xE0), (6, 0xFF)] {
            let mut bad = record.to_vec();
            bad[at] = byte;
            assert_eq!(DecoderRecord::read(&bad), Err(RecordError), "{at}");
        }
    }

    #[test]
    fn an_access_unit_stays_as_it_came_to_the_byte() {
        let record = DecoderRecord::read(&record()).unwrap();
        // A delimiter, SEI and two slices of an IDR.
        let avcc = b"\0\0\0\x02\x09\xF0\0\0\0\x02\x06\x80\0\0\0\x02\x65\x88\0\0\0\x02\x65\x89";
        let avcc = Bytes::from_static(avcc);
        let unit = VideoUnit::from_avcc(&avcc, &record).unwrap();
        assert_eq!(unit.avcc.as_ptr_range(), avcc.as_ptr_range());
        assert!(unit.key && unit.has_picture() && unit.reference);
        for cut in 1..avcc.len() {
            let ends_between = [6, 12, 18].contains(&cut);
            let unit = VideoUnit::from_avcc(&avcc.slice(..cut), &record);
            assert_eq!(unit.is_ok(), ends_between, "{cut}");
        }
    }

    #[test]
    fn shorter_lengths_become_four_bytes() {
        for (length_bytes, avcc) in [
            (1, &b"\x02\x65\x88\x01\x41"[..]),
            (2, b"\0\x02\x65\x88\0\x01\x41"),
        ] {
            let record = DecoderRecord {
                length_bytes,
                ..DecoderRecord::read(&record()).unwrap()
            };
            let unit = VideoUnit::from_avcc(&Bytes::copy_from_slice(avcc), &record).unwrap();
            assert_eq!(&unit.avcc[..], b"\0\0\0\x02\x65\x88\0\0\0\x01\x41");
        }
    }
}
