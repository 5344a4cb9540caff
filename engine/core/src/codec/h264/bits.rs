//! Bits of a raw byte sequence payload: reading and writing them (clauses 7.2, 7.3.1 and 9.1).

use std::ops::Range;

use memchr::memmem;

/// Reads bits from the most significant on. Everything is `None` past the end.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bits have been read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn skip(&mut self, bits: usize) {
        self.at = self.at.saturating_add(bits);
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// `u(count)`, at most 32 bits.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// `ue(v)`.
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.bits(zeros)?;
        Some((1 << zeros) - 1 + rest)
    }

    /// `se(v)`.
    pub(crate) fn se(&mut self) -> Option<i32> {
        let code = self.ue()?;
        // 2^31 - 1 is the largest magnitude that a code of 32 bits can have.
        let magnitude = i32::try_from(code.div_ceil(2)).ok()?;
        Some(if code % 2 == 1 { magnitude } else { -magnitude })
    }
}

/// Writes bits from the most significant on.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet, below 8.
    free: u32,
}

impl BitWriter {
    pub(super) fn flag(&mut self, bit: bool) {
        if self.free == 0 {
            self.bytes.push(0);
            self.free = 8;
        }
        self.free -= 1;
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << self.free;
        }
    }

    /// The lowest `count` bits of `value`, at most 32.
    pub(super) fn bits(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            self.flag(value >> at & 1 == 1);
        }
    }

    /// `ue(v)`; the largest value is 2^32 - 2.
    pub(super) fn ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let digits = 64 - code.leading_zeros();
        for at in (0..2 * digits - 1).rev() {
            self.flag(code.checked_shr(at).unwrap_or(0) & 1 == 1);
        }
    }

    /// `se(v)`.
    pub(super) fn se(&mut self, value: i32) {
        let twice = value.unsigned_abs().saturating_mul(2);
        self.ue(if value > 0 { twice - 1 } else { twice });
    }

    /// Fills the last byte with this bit.
    pub(super) fn align(&mut self, bit: bool) {
        while self.free > 0 {
            self.flag(bit);
        }
    }

    /// `rbsp_trailing_bits()`.
    pub(super) fn trailing(&mut self) {
        self.flag(true);
        self.align(false);
    }

    /// Whole bytes. Pictures have hundreds of kilobytes, so they are never gone through by bits.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let (Some((first, rest)), Some(end)) = (bytes.split_first(), bytes.last()) else {
            return;
        };
        match self.bytes.last_mut() {
            Some(open) if self.free > 0 => {
                let (free, taken) = (self.free, 8 - self.free);
                *open |= first >> taken;
                let pairs = bytes.iter().zip(rest);
                self.bytes
                    .extend(pairs.map(|(one, next)| one << free | next >> taken));
                self.bytes.push(end << free);
            }
            _ => self.bytes.extend_from_slice(bytes),
        }
    }

    /// These bits of `source`; `None` when it does not hold them.
    pub(super) fn copy(&mut self, source: &[u8], bits: Range<usize>) -> Option<()> {
        let Range { start, end } = bits;
        let mut reader = BitReader::new(source);
        reader.skip(start);
        // Up to a byte of the source, its whole bytes, and what is left of the last one.
        let aligned = start.next_multiple_of(8).min(end);
        let last = (end / 8 * 8).max(aligned);
        let head = aligned.checked_sub(start)? as u32;
        self.bits(reader.bits(head)?, head);
        self.bytes(source.get(aligned.div_ceil(8)..last.div_ceil(8))?);
        reader.skip(last - aligned);
        let tail = (end - last) as u32;
        self.bits(reader.bits(tail)?, tail);
        Some(())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The payload of a NAL unit without its header byte and its emulation prevention bytes, at most
/// about `bytes_max` of it.
pub(super) fn payload(nal: &[u8], bytes_max: usize) -> Vec<u8> {
    let escaped = nal.get(1..).unwrap_or_default();
    let escaped = escaped.get(..bytes_max).unwrap_or(escaped);
    let mut payload = Vec::with_capacity(escaped.len());
    let mut from = 0;
    for at in memmem::find_iter(escaped, &[0, 0, 3]) {
        payload.extend_from_slice(escaped.get(from..at + 2).unwrap_or_default());
        from = at + 3;
    }
    payload.extend_from_slice(escaped.get(from..).unwrap_or_default());
    payload
}

/// Appends a NAL unit: its header byte, and the payload with emulation prevention bytes.
pub(super) fn put_nal_unit(header: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(header);
    let mut from = 0;
    for at in memmem::find_iter(payload, &[0, 0]) {
        let to = at + 2;
        if payload.get(to).is_some_and(|next| *next <= 3) {
            out.extend_from_slice(payload.get(from..to).unwrap_or_default());
            out.push(3);
            from = to;
        }
    }
    out.extend_from_slice(payload.get(from..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            codes in prop::collection::vec((0..=u32::MAX - 1, -i32::MAX..=i32::MAX, 0_u32..=32), 0..20),
        ) {
            let mut writer = BitWriter::default();
            for (ue, se, count) in &codes {
                writer.ue(*ue);
                writer.bits(*ue, *count);
                writer.se(*se);
            }
            writer.trailing();
            let bytes = writer.into_bytes();
            let mut reader = BitReader::new(&bytes);
            for (ue, se, count) in &codes {
                prop_assert_eq!(reader.ue(), Some(*ue));
                let low = u64::from(*ue) & ((1 << count) - 1);
                prop_assert_eq!(reader.bits(*count).map(u64::from), Some(low));
                prop_assert_eq!(reader.se(), Some(*se));
            }
            prop_assert_eq!(reader.flag(), Some(true));
            prop_assert_eq!(bytes.len(), reader.position().div_ceil(8));
        }

        #[test]
        fn a_nal_unit_holds_no_start_code_and_gives_its_payload_back(
            mut bytes in prop::collection::vec(0_u8..5, 0..200),
        ) {
            bytes.push(0x80);
            let mut nal = Vec::new();
            put_nal_unit(0x65, &bytes, &mut nal);
            prop_assert!(!nal.windows(3).any(|three| matches!(three, [0, 0, 0..=2])));
            prop_assert_eq!(payload(&nal, usize::MAX), bytes);
        }

        #[test]
        fn bits_are_copied_as_if_one_by_one(
            source in prop::collection::vec(any::<u8>(), 0..12),
            (one, other) in (0_usize..100, 0_usize..100),
            written in 0_u32..10,
        ) {
            let (start, end) = (one.min(other), one.max(other));
            let mut fast = BitWriter::default();
            fast.bits(0x155, written);
            let mut slow = BitWriter::default();
            slow.bits(0x155, written);
            let mut reader = BitReader::new(&source);
            reader.skip(start);
            let held = end <= source.len() * 8;
            prop_assert_eq!(fast.copy(&source, start..end).is_some(), held);
            if held {
                (start..end).for_each(|_| slow.flag(reader.flag().unwrap()));
                fast.trailing();
                slow.trailing();
                prop_assert_eq!(fast.into_bytes(), slow.into_bytes());
            }
        }

        #[test]
        fn emulation_prevention_is_as_if_byte_by_byte(
            bytes in prop::collection::vec(0_u8..5, 0..200),
            bytes_max in 0_usize..250,
        ) {
            let (mut nal, mut zeros) = (vec![0x65], 0);
            for byte in &bytes {
                if zeros >= 2 && *byte <= 3 {
                    nal.push(3);
                    zeros = 0;
                }
                zeros = if *byte == 0 { zeros + 1 } else { 0 };
                nal.push(*byte);
            }
            let mut written = Vec::new();
            put_nal_unit(0x65, &bytes, &mut written);
            prop_assert_eq!(written, nal);

            let (mut read, mut zeros) = (Vec::new(), 0);
            for byte in bytes.iter().skip(1).take(bytes_max) {
                if zeros >= 2 && *byte == 3 {
                    zeros = 0;
                    continue;
                }
                zeros = if *byte == 0 { zeros + 1 } else { 0 };
                read.push(*byte);
            }
            prop_assert_eq!(payload(&bytes, bytes_max), read);
        }
    }
}
