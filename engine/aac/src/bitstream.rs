//! Bits, most significant first, into bytes.

/// Appends bits to a byte vector.
#[derive(Debug)]
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bits not yet in `out`, in the low end.
    pending: u64,
    /// How many there are, fewer than 32 between calls.
    pending_bits: u32,
    /// Length of `out` at the start, in bytes.
    start: usize,
}

impl<'a> BitWriter<'a> {
    /// A writer that appends to `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            pending: 0,
            pending_bits: 0,
            start,
        }
    }

    /// Appends the low `bits` (at most 32) of `value`, which has none above them.
    #[inline]
    pub(crate) fn put(&mut self, value: u32, bits: u32) {
        debug_assert!(bits == 32 || value >> bits == 0, "{value} in {bits} bits");
        self.pending = self.pending << bits | u64::from(value);
        self.pending_bits += bits;
        if self.pending_bits >= 32 {
            self.pending_bits -= 32;
            let word = (self.pending >> self.pending_bits) as u32;
            self.out.extend_from_slice(&word.to_be_bytes());
        }
    }

    /// Appends `bytes` bytes of zero.
    pub(crate) fn put_zeros(&mut self, bytes: usize) {
        for _ in 0..bytes / 4 {
            self.put(0, 32);
        }
        for _ in 0..bytes % 4 {
            self.put(0, 8);
        }
    }

    /// Bits appended so far.
    pub(crate) fn bits(&self) -> usize {
        (self.out.len() - self.start) * 8 + self.pending_bits as usize
    }

    /// Fills the last byte with zeros and ends.
    pub(crate) fn finish(mut self) {
        let rest = self.pending_bits % 8;
        if rest > 0 {
            self.put(0, 8 - rest);
        }
        while self.pending_bits > 0 {
            self.pending_bits -= 8;
            self.out.push((self.pending >> self.pending_bits) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_most_significant_first_and_are_padded() {
        let mut out = vec![0xff];
        let mut writer = BitWriter::new(&mut out);
        writer.put(0b101, 3);
        writer.put(0x1234_5678, 32);
        writer.put(0, 0);
        writer.put(1, 1);
        assert_eq!(writer.bits(), 36);
        writer.finish();
        let expected = 0b101_u64 << 37 | 0x1234_5678_u64 << 5 | 1 << 4;
        assert_eq!(out[0], 0xff);
        assert_eq!(out[1..], expected.to_be_bytes()[3..]);
    }
}
