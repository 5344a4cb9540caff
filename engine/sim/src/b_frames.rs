//! Pictures of an encoder with two B-frames between its P-frames, in the order of decoding.

use bytes::Bytes;

use crate::picture::{PPS, record_of};

/// 1280x720 in the main profile, without VUI; `pic_order_cnt_lsb` has six bits.
const SPS: &[u8] = &[0x67, 0x4D, 0x00, 0x1F, 0xEC, 0xA0, 0x28, 0x02, 0xDC, 0x80];

/// The AVCDecoderConfigurationRecord of these pictures.
pub(crate) fn record() -> Bytes {
    record_of(SPS)
}

/// Whether an access unit, one NAL unit behind its length, is a B slice.
pub(crate) fn is_b(unit: &[u8]) -> bool {
    unit[5] & 0xFC == 0x9C
}

/// Counts pictures from the last keyframe on.
#[derive(Default)]
pub(crate) struct BFrames {
    sent: u64,
}

impl BFrames {
    /// The next picture in Annex B, and how many pictures of its group are shown before it. A
    /// keyframe that is wanted comes when all pictures before it have come.
    pub(crate) fn next(&mut self, key_wanted: bool, bytes: usize) -> (bool, u64, Vec<u8>) {
        let key = key_wanted && self.sent % 3 == 1 || self.sent == 0;
        if key {
            self.sent = 0;
        }
        let (place, b) = match (self.sent, self.sent % 3) {
            (0, _) => (0, false),
            (sent, 1) => (sent + 2, false),
            (sent, _) => (sent - 1, true),
        };
        self.sent += 1;
        // first_mb_in_slice, slice_type, pic_parameter_set_id, frame_num, idr_pic_id, and the
        // order of display, which grows by two from frame to frame; then no change of references.
        let order = place * 2 % 64;
        let (header, head) = match (key, b) {
            (true, _) => (0x65, format!("100010001{:04b}1{order:06b}00", 0)),
            (_, false) => (0x41, format!("1001101{:04b}{order:06b}000", place % 16)),
            (_, true) => (0x01, format!("1001111{:04b}{order:06b}", place % 16)),
        };
        let mut unit = Vec::new();
        let mut nal = |bytes: &[u8]| {
            unit.extend_from_slice(&[0, 0, 0, 1]);
            unit.extend_from_slice(bytes);
        };
        if key {
            nal(SPS);
            nal(PPS);
        }
        let mut slice = vec![header];
        for byte in format!("{head:1<32}").as_bytes().chunks(8) {
            let text = String::from_utf8_lossy(byte);
            slice.push(u8::from_str_radix(&text, 2).unwrap());
        }
        slice.resize(bytes, 0x5A);
        nal(&slice);
        (key, place, unit)
    }
}
