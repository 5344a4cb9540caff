//! The mark on each video frame: who sent it, which one it is, and when it was sent.
//!
//! It travels as an H.264 SEI message of type `user_data_unregistered` (ITU-T H.264 Annex D.1.7),
//! which every relay has to pass on. The text is hexadecimal, so no emulation prevention is needed
//! on the way in.

/// Names our messages among those of encoders. None of its bytes is zero.
const UUID: [u8; 16] = *b"shardcast-bench\x01";
const SEI_NAL_TYPE: u8 = 6;
const USER_DATA_UNREGISTERED: u8 = 5;
/// 16 digits of time, 8 of the frame, 8 of the publisher, 1 of the flash.
const TEXT_BYTES: usize = 33;
const PAYLOAD_BYTES: u8 = (UUID.len() + TEXT_BYTES) as u8;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// [`crate::clock::now_us`] when the frame was handed to the network.
    pub sent_us: u64,
    /// Counts up by one from 0 over the life of a publisher, also across its reconnects.
    pub frame: u32,
    pub publisher: u32,
    /// The picture is white and the sound begins to beep with it.
    pub flash: bool,
}

impl Mark {
    /// Appends the SEI with an Annex B start code.
    pub fn write_annex_b(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[
            0,
            0,
            0,
            1,
            SEI_NAL_TYPE,
            USER_DATA_UNREGISTERED,
            PAYLOAD_BYTES,
        ]);
        out.extend_from_slice(&UUID);
        let flash = u8::from(self.flash);
        let text = format!(
            "{:016x}{:08x}{:08x}{flash}",
            self.sent_us, self.frame, self.publisher
        );
        out.extend_from_slice(text.as_bytes());
        // The stop bit of the RBSP.
        out.push(0x80);
    }

    /// Finds the mark in one NAL unit (without start code or length).
    pub fn read(nal: &[u8]) -> Option<Self> {
        let (header, messages) = nal.split_first()?;
        if header & 0x1f != SEI_NAL_TYPE {
            return None;
        }
        let at = messages
            .windows(UUID.len())
            .position(|window| window == UUID)?;
        let text = messages.get(at + UUID.len()..)?.get(..TEXT_BYTES)?;
        let text = std::str::from_utf8(text).ok()?;
        Some(Self {
            sent_us: u64::from_str_radix(text.get(..16)?, 16).ok()?,
            frame: u32::from_str_radix(text.get(16..24)?, 16).ok()?,
            publisher: u32::from_str_radix(text.get(24..32)?, 16).ok()?,
            flash: text.get(32..)? == "1",
        })
    }

    /// Finds the mark in an access unit of NAL units with four-byte lengths.
    pub fn find(length_prefixed: &[u8]) -> Option<Self> {
        let mut rest = length_prefixed;
        while let Some((length, body)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let nal = body.get(..length)?;
            if let Some(mark) = Self::read(nal) {
                return Some(mark);
            }
            rest = body.get(length..)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        sent_us: 1 << 40,
        frame: 70_000,
        publisher: 3,
        flash: true,
    };

    #[test]
    fn a_mark_is_found_again_behind_other_units() {
        let mut annex_b = Vec::new();
        MARK.write_annex_b(&mut annex_b);
        let sei = &annex_b[4..];
        assert_eq!(Mark::read(sei), Some(MARK));
        let mut unit = vec![0, 0, 0, 2, 0x67, 0x42];
        unit.extend_from_slice(&(sei.len() as u32).to_be_bytes());
        unit.extend_from_slice(sei);
        assert_eq!(Mark::find(&unit), Some(MARK));
    }

    #[test]
    fn a_mark_needs_no_emulation_prevention() {
        let mut annex_b = Vec::new();
        Mark {
            sent_us: 0,
            frame: 0,
            publisher: 0,
            flash: false,
        }
        .write_annex_b(&mut annex_b);
        assert!(!annex_b[4..].windows(2).any(|pair| pair == [0, 0]));
    }

    #[test]
    fn units_that_are_cut_or_foreign_hold_no_mark() {
        let mut annex_b = Vec::new();
        MARK.write_annex_b(&mut annex_b);
        let sei = &annex_b[4..];
        for length in 0..sei.len() - 1 {
            assert_eq!(Mark::read(&sei[..length]), None, "{length} bytes");
        }
        assert_eq!(Mark::find(&[0xff; 64]), None);
        assert_eq!(Mark::find(&[0, 0, 0, 1, 0x65, 0, 0]), None);
    }
}
