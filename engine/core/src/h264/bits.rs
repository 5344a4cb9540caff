//! Bits of a raw byte sequence payload: reading and writing them (clauses 7.2, 7.3.1 and 9.1).

/// Reads bits from the most significant on. Everything is `None` past the end.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bits have been read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn skip(&mut self, bits: usize) {
        self.at = self.at.saturating_add(bits);
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// `u(count)`, at most 32 bits.
    pub(super) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// `ue(v)`.
    pub(super) fn ue(&mut self) -> Option<u32> {
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
    pub(super) fn se(&mut self) -> Option<i32> {
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

    /// Whole bytes, cheap when what was written ends with a byte.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if self.free == 0 {
            self.bytes.extend_from_slice(bytes);
        } else {
            bytes.iter().for_each(|byte| self.bits((*byte).into(), 8));
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The payload of a NAL unit without its header byte and its emulation prevention bytes, at most
/// about `bytes_max` of it.
pub(super) fn payload(nal: &[u8], bytes_max: usize) -> Vec<u8> {
    let escaped = nal.get(1..).unwrap_or_default();
    let mut payload = Vec::with_capacity(escaped.len().min(bytes_max));
    let mut zeros = 0;
    for byte in escaped.iter().take(bytes_max) {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        payload.push(*byte);
    }
    payload
}

/// Appends a NAL unit: its header byte, and the payload with emulation prevention bytes.
pub(super) fn put_nal_unit(header: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(header);
    let mut zeros = 0;
    for byte in payload {
        if zeros >= 2 && *byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
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
    }
}
