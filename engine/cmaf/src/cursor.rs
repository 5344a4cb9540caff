//! Reading of boxes. What is read was written here, but it may be cut off or overwritten: nothing in it
//! is trusted.

/// Bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Version and flags of a full box.
    pub(crate) fn version_and_flags(&mut self) -> Option<(u32, u32)> {
        let word = self.u32()?;
        Some((word >> 24, word & 0xFF_FFFF))
    }

    /// The next box: its kind and its body.
    pub(crate) fn next_box(&mut self) -> Option<([u8; 4], Cursor<'a>)> {
        let size = usize::try_from(self.u32()?).ok()?;
        let kind = self.array()?;
        let body = self.take(size.checked_sub(8)?)?;
        Some((kind, Cursor(body)))
    }

    /// The body of the first box of this kind among those that follow.
    pub(crate) fn find(mut self, kind: &[u8; 4]) -> Option<Cursor<'a>> {
        loop {
            let (found, body) = self.next_box()?;
            if found == *kind {
                return Some(body);
            }
        }
    }

    /// The body of a box in boxes.
    pub(crate) fn find_path(self, path: &[&[u8; 4]]) -> Option<Cursor<'a>> {
        path.iter().try_fold(self, |at, kind| at.find(kind))
    }

    /// A descriptor with this tag (14496-1, 8.3.3).
    pub(crate) fn descriptor(&mut self, tag: u8) -> Option<Cursor<'a>> {
        if self.u8()? != tag {
            return None;
        }
        let mut len = 0;
        for _ in 0..4 {
            let byte = self.u8()?;
            len = len << 7 | usize::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                break;
            }
        }
        self.take(len).map(Cursor)
    }
}
