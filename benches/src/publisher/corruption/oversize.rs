//! Frames that declare a size that no decoder can hold in memory.

use rand::{Rng, rngs::StdRng};
use shardcast_core::h264::{NalType, nal_type};
use shardcast_link::VideoCodec;

use super::parts;

/// Macroblocks a side less one. Pairs of them need more memory than a machine has, while each value
/// alone is a valid `ue(v)`.
const SIDES: [u32; 4] = [1_000, 4_095, 65_534, 1 << 20];
const OBU_SEQUENCE_HEADER: u8 = 1;

/// The frame with a huge declared size.
pub(super) fn size(codec: VideoCodec, valid: &[u8], random: &mut StdRng) -> Vec<u8> {
    match codec {
        VideoCodec::H264 => h264(valid, random),
        VideoCodec::Vp8 => vp8(valid),
        VideoCodec::Vp9 => vp9(valid),
        VideoCodec::Av1 => av1(valid, random),
    }
}

/// Replaces the SPS of the frame, or puts one before a frame without.
fn h264(valid: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut side = || {
        let choice = random.random_range(0..SIDES.len());
        SIDES.get(choice).copied().unwrap_or_default()
    };
    let sps = sequence_parameter_set(side(), side());
    let mut nals = parts::cut(VideoCodec::H264, valid);
    nals.retain(|nal| nal_type(nal) != Some(NalType::Sps));
    nals.insert(0, sps);
    parts::join(VideoCodec::H264, nals)
}

/// An SPS of constrained baseline (ITU-T H.264 7.3.2.1.1) that is valid apart from its size.
fn sequence_parameter_set(width_mbs_minus1: u32, height_mbs_minus1: u32) -> Vec<u8> {
    let mut bits = Bits(Vec::new());
    bits.exp_golomb(0); // seq_parameter_set_id
    bits.exp_golomb(0); // log2_max_frame_num_minus4
    bits.exp_golomb(2); // pic_order_cnt_type
    bits.exp_golomb(1); // max_num_ref_frames
    bits.put(0, 1); // gaps_in_frame_num_value_allowed_flag
    bits.exp_golomb(width_mbs_minus1);
    bits.exp_golomb(height_mbs_minus1);
    bits.put(0b1100, 4); // frame_mbs_only, direct_8x8_inference, no cropping, no VUI
    bits.put(1, 1); // rbsp_stop_one_bit
    let mut nal = vec![0x67, 66, 0xc0, 51];
    for byte in bits.bytes() {
        // Emulation prevention (7.4.1).
        if byte <= 3 && nal.ends_with(&[0, 0]) {
            nal.push(3);
        }
        nal.push(byte);
    }
    nal
}

/// A bit string, most significant bit first.
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        self.0
            .extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    /// `ue(v)` (9.1).
    fn exp_golomb(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let length = code.ilog2();
        self.put(0, length);
        self.put(code, length + 1);
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            (0..8).fold(0, |byte, n| {
                byte << 1 | u8::from(bits.get(n).copied().unwrap_or(false))
            })
        };
        self.0.chunks(8).map(byte).collect()
    }
}

/// Declares a keyframe of 16383×16383 (RFC 6386 9.1).
fn vp8(valid: &[u8]) -> Vec<u8> {
    let mut frame = valid.to_vec();
    let sizes = [0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f];
    if let Some(header) = frame.get_mut(3..10) {
        header.copy_from_slice(&sizes);
    }
    if let Some(tag) = frame.first_mut() {
        *tag &= 0xfe;
    }
    frame
}

/// Declares a keyframe of 65536×65536 in profile 0 (VP9 bitstream specification 6.2): frame marker
/// (2 bits), profile (2), show_existing_frame, frame_type, show_frame, error_resilient_mode; the
/// start code (24); colour space (3) and range (1); width and height (16 each).
fn vp9(valid: &[u8]) -> Vec<u8> {
    let mut frame = vec![0b1000_0010, 0x49, 0x83, 0x42, 0x1f, 0xff, 0xff, 0xff, 0xf0];
    frame.extend(valid.get(9..).unwrap_or_default());
    frame
}

/// Sets five bytes of the sequence header, near its sizes, to ones (AV1 specification 5.5.1).
fn av1(valid: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut obus = parts::cut(VideoCodec::Av1, valid);
    for obu in &mut obus {
        let is_sequence_header = obu
            .first()
            .is_some_and(|header| header >> 3 & 0xf == OBU_SEQUENCE_HEADER);
        if is_sequence_header {
            let from = random.random_range(2..6);
            obu.iter_mut()
                .skip(from)
                .take(5)
                .for_each(|byte| *byte = 0xff);
        }
    }
    parts::join(VideoCodec::Av1, obus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use shardcast_core::is_keyframe;

    #[test]
    fn a_parameter_set_declares_the_requested_size() {
        use shardcast_core::h264::Sps;
        let modest = Sps::parse(&sequence_parameter_set(79, 44)).unwrap();
        assert_eq!((modest.width, modest.height), (1_280, 720));
        assert!(Sps::parse(&sequence_parameter_set(1 << 20, 1 << 20)).is_err());
    }

    #[test]
    fn oversize_frames_of_vp8_and_vp9_are_still_keyframes() {
        let mut random = StdRng::seed_from_u64(1);
        for codec in [VideoCodec::Vp8, VideoCodec::Vp9] {
            let frame = size(codec, &[0xff; 40], &mut random);
            assert_eq!(frame.len(), 40);
            assert!(is_keyframe(codec, &frame), "{codec:?}");
        }
    }
}
