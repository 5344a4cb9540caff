//! The stamp in each video frame: publisher, frame number and time of sending.
//!
//! It is an H.264 SEI message of type `user_data_unregistered` (ITU-T H.264 D.1.7), which every
//! relay has to pass on. Its text is hexadecimal, so it needs no emulation prevention (7.4.1).

/// Distinguishes the stamp from the SEI messages of encoders. None of its bytes is zero.
const UUID: [u8; 16] = *b"shardcast-bench\x01";
const SEI_NAL_TYPE: u8 = 6;
const USER_DATA_UNREGISTERED: u8 = 5;
/// 16 digits of time, 8 of frame number, 8 of publisher number, 1 of flash.
const TEXT_BYTES: usize = 33;
const PAYLOAD_BYTES: u8 = (UUID.len() + TEXT_BYTES) as u8;

/// The contents of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameStamp {
    /// [`crate::clock::now_us`] when the frame was handed to the network.
    pub sent_us: u64,
    /// Frame number: counts up from 0 by 1 over the life of a publisher, also across reconnects.
    pub frame: u32,
    /// Number of the publisher ([`PublisherOptions::number`](crate::publisher::PublisherOptions)).
    pub publisher: u32,
    /// The frame is white, and a beep of the audio begins with it.
    pub flash: bool,
}

impl FrameStamp {
    /// Appends the SEI NAL unit with an Annex B start code.
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
        // rbsp_stop_one_bit and alignment (H.264 7.3.2.11).
        out.push(0x80);
    }

    /// Finds the stamp in one NAL unit, without start code or length.
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

    /// Finds the stamp in an access unit of NAL units with four-byte lengths (AVCC).
    pub fn find(length_prefixed: &[u8]) -> Option<Self> {
        let mut rest = length_prefixed;
        while let Some((length, body)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let nal = body.get(..length)?;
            if let Some(stamp) = Self::read(nal) {
                return Some(stamp);
            }
            rest = body.get(length..)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: FrameStamp = FrameStamp {
        sent_us: 1 << 40,
        frame: 70_000,
        publisher: 3,
        flash: true,
    };

    #[test]
    fn a_stamp_is_found_after_other_units() {
        let mut annex_b = Vec::new();
        STAMP.write_annex_b(&mut annex_b);
        let sei = &annex_b[4..];
        assert_eq!(FrameStamp::read(sei), Some(STAMP));
        let mut unit = vec![0, 0, 0, 2, 0x67, 0x42];
        unit.extend_from_slice(&(sei.len() as u32).to_be_bytes());
        unit.extend_from_slice(sei);
        assert_eq!(FrameStamp::find(&unit), Some(STAMP));
    }

    #[test]
    fn a_stamp_needs_no_emulation_prevention() {
        let mut annex_b = Vec::new();
        FrameStamp {
            sent_us: 0,
            frame: 0,
            publisher: 0,
            flash: false,
        }
        .write_annex_b(&mut annex_b);
        assert!(!annex_b[4..].windows(2).any(|pair| pair == [0, 0]));
    }

    #[test]
    fn units_that_are_cut_or_foreign_hold_no_stamp() {
        let mut annex_b = Vec::new();
        STAMP.write_annex_b(&mut annex_b);
        let sei = &annex_b[4..];
        for length in 0..sei.len() - 1 {
            assert_eq!(FrameStamp::read(&sei[..length]), None, "{length} bytes");
        }
        assert_eq!(FrameStamp::find(&[0xff; 64]), None);
        assert_eq!(FrameStamp::find(&[0, 0, 0, 1, 0x65, 0, 0]), None);
    }
}
