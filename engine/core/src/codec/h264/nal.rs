//! NAL units and their start codes (clause 7.4.1 and annex B).

use memchr::memmem::FindIter;

const START_CODE: &[u8] = &[0, 0, 1];

/// What a NAL unit is, as far as we care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NalType {
    /// A slice or data partition of a picture that needs earlier pictures, types 1 to 4.
    Slice,
    /// A slice of an IDR picture, type 5.
    Idr,
    /// Supplemental enhancement information, type 6.
    Sei,
    /// Sequence parameter set, type 7.
    Sps,
    /// Picture parameter set, type 8.
    Pps,
    /// Access unit delimiter, type 9.
    Aud,
    /// End of sequence or stream, types 10 and 11.
    End,
    /// Filler data, type 12.
    Filler,
    /// Anything else, with its number.
    Other(u8),
}

/// The type of a NAL unit, by its first byte; `None` when it is empty.
pub fn nal_type(nal: &[u8]) -> Option<NalType> {
    Some(match nal.first()? & 0x1F {
        1..=4 => NalType::Slice,
        5 => NalType::Idr,
        6 => NalType::Sei,
        7 => NalType::Sps,
        8 => NalType::Pps,
        9 => NalType::Aud,
        10 | 11 => NalType::End,
        12 => NalType::Filler,
        other => NalType::Other(other),
    })
}

/// The NAL units of a byte stream, without start codes and trailing zeros, borrowed. Bytes before
/// the first start code and empty units are skipped.
pub fn annex_b(stream: &[u8]) -> AnnexB<'_> {
    let mut starts = memchr::memmem::find_iter(stream, START_CODE);
    let next = starts.next();
    AnnexB {
        stream,
        starts,
        next,
    }
}

/// Iterator made by [`annex_b`].
#[derive(Debug)]
pub struct AnnexB<'a> {
    stream: &'a [u8],
    starts: FindIter<'a, 'static>,
    next: Option<usize>,
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let from = self.next? + START_CODE.len();
            self.next = self.starts.next();
            let to = self.next.unwrap_or(self.stream.len());
            // A unit never ends in a zero byte: zeros there belong to the next start code or are
            // trailing_zero_8bits (annex B.1.1).
            let nal = trim_zeros(self.stream.get(from..to)?);
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    }
}

fn trim_zeros(mut nal: &[u8]) -> &[u8] {
    while let [rest @ .., 0] = nal {
        nal = rest;
    }
    nal
}

/// The NAL units of an access unit in which each stands behind its length of four bytes. Ends at
/// one that is cut off.
pub(super) fn length_prefixed(mut unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = unit.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (nal, rest) = rest.split_at_checked(length)?;
        unit = rest;
        Some(nal)
    })
}
