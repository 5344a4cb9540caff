//! How large the picture of a keyframe is, told by the headers of its codec. Needed where a choice
//! between streams hangs on it before anything is decoded.

use shardcast_link::VideoCodec;

use crate::{
    codec::h264::{NalType, Sps, annex_b, bits::BitReader, nal_type},
    codec::keyframe::{is_keyframe, sequence_header},
};

/// `frame_sync_code` of a VP9 keyframe (bitstream specification, 6.2).
const VP9_SYNC_CODE: u32 = 0x49_83_42;
/// `color_space` of VP9 that means RGB (7.2.2).
const VP9_COLOR_SPACE_RGB: u32 = 7;
/// From this `seq_level_idx` on an operating point of AV1 has a tier (5.5.1).
const AV1_LEVEL_WITH_TIER: u32 = 8;

/// Pixels of the picture, if decoding can begin with this frame; 0 when its header does not say.
/// H.264 comes in Annex B, the others as RTP carries them.
pub(crate) fn keyframe_pixels(codec: VideoCodec, frame: &[u8]) -> Option<u32> {
    let size = match codec {
        VideoCodec::H264 => {
            if !annex_b(frame).any(|nal| nal_type(nal) == Some(NalType::Idr)) {
                return None;
            }
            h264(frame)
        }
        _ if !is_keyframe(codec, frame) => return None,
        VideoCodec::Vp8 => vp8(frame),
        VideoCodec::Vp9 => vp9(frame),
        VideoCodec::Av1 => av1(frame),
    };
    let (width, height) = size.unwrap_or_default();
    Some(width.saturating_mul(height))
}

fn h264(frame: &[u8]) -> Option<(u32, u32)> {
    let sps = annex_b(frame).find(|nal| nal_type(nal) == Some(NalType::Sps))?;
    let sps = Sps::parse(sps).ok()?;
    Some((sps.width, sps.height))
}

/// RFC 6386, 9.1: 14 bits each behind the start code, the upper two of 16 are for scaling.
fn vp8(frame: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| {
        let bytes = frame.get(at..)?.first_chunk::<2>()?;
        Some(u32::from(u16::from_le_bytes(*bytes) & 0x3FFF))
    };
    Some((side(6)?, side(8)?))
}

/// `uncompressed_header` up to `frame_size` (bitstream specification, 6.2).
fn vp9(frame: &[u8]) -> Option<(u32, u32)> {
    let mut bits = BitReader::new(frame);
    bits.skip(2); // frame_marker
    let profile = bits.bits(1)? | bits.bits(1)? << 1;
    if profile == 3 {
        bits.skip(1); // reserved_zero
    }
    // show_existing_frame, frame_type, show_frame, error_resilient_mode
    bits.skip(4);
    if bits.bits(24)? != VP9_SYNC_CODE {
        return None;
    }
    if profile >= 2 {
        bits.skip(1); // ten_or_twelve_bit
    }
    let has_subsampling = profile & 1 == 1;
    if bits.bits(3)? != VP9_COLOR_SPACE_RGB {
        bits.skip(if has_subsampling { 4 } else { 1 }); // color_range, subsampling_x, _y, reserved
    } else if has_subsampling {
        bits.skip(1); // reserved_zero
    }
    Some((bits.bits(16)? + 1, bits.bits(16)? + 1))
}

/// `sequence_header_obu` up to the largest frame size (AV1 specification, 5.5.1).
fn av1(frame: &[u8]) -> Option<(u32, u32)> {
    let mut bits = BitReader::new(sequence_header(frame)?);
    bits.skip(3 + 1); // seq_profile, still_picture
    if bits.flag()? {
        bits.skip(5); // reduced_still_picture_header: seq_level_idx[0]
    } else {
        let delay_bits = av1_timing(&mut bits)?;
        av1_operating_points(&mut bits, delay_bits)?;
    }
    let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
    Some((bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1))
}

/// Up to `initial_display_delay_present_flag`; bits of a buffer delay, if there is a decoder model.
fn av1_timing(bits: &mut BitReader<'_>) -> Option<Option<u32>> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(32 + 32); // num_units_in_display_tick, time_scale
        if bits.flag()? {
            bits.ue()?; // num_ticks_per_picture_minus_1: uvlc() is coded as ue(v) is
        }
        if bits.flag()? {
            delay_bits = Some(bits.bits(5)? + 1);
            bits.skip(32 + 5 + 5); // the rest of decoder_model_info
        }
    }
    Some(delay_bits)
}

fn av1_operating_points(bits: &mut BitReader<'_>, delay_bits: Option<u32>) -> Option<()> {
    let has_display_delay = bits.flag()?;
    for _ in 0..=bits.bits(5)? {
        bits.skip(12); // operating_point_idc
        if bits.bits(5)? >= AV1_LEVEL_WITH_TIER {
            bits.skip(1); // seq_tier
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(2 * delay_bits as usize + 1); // decoder and encoder delay, low_delay_mode
        }
        if has_display_delay && bits.flag()? {
            bits.skip(4);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keyframe of 1280x720 by each encoder, cut behind its headers.
    const VP8: &[u8] = &[0x10, 0x5E, 0, 0x9D, 1, 0x2A, 0x00, 0x05, 0xD0, 0x02, 0x00];
    const VP9: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0x20, 0x4F, 0xF0, 0x2C, 0xF0, 0x00];

    #[test]
    fn the_size_is_read_from_the_header_of_a_keyframe() {
        let hd = Some(1280 * 720);
        assert_eq!(keyframe_pixels(VideoCodec::Vp8, VP8), hd);
        assert_eq!(keyframe_pixels(VideoCodec::Vp9, VP9), hd);
        for (width_bits, height_bits) in [(11, 10), (16, 16)] {
            assert_eq!(
                keyframe_pixels(VideoCodec::Av1, &av1_unit(width_bits, height_bits)),
                hd
            );
        }
        let mut h264 = vec![0, 0, 0, 1];
        h264.extend([
            0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03,
            0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80,
        ]);
        assert_eq!(keyframe_pixels(VideoCodec::H264, &h264), None, "no picture");
        h264.extend([0, 0, 1, 0x65, 0x88]);
        assert_eq!(keyframe_pixels(VideoCodec::H264, &h264), hd);
    }

    #[test]
    fn what_is_cut_off_has_no_known_size_and_what_is_no_keyframe_has_none() {
        assert_eq!(keyframe_pixels(VideoCodec::Vp8, &VP8[..8]), Some(0));
        assert_eq!(keyframe_pixels(VideoCodec::Vp9, &VP9[..6]), Some(0));
        assert_eq!(
            keyframe_pixels(VideoCodec::H264, &[0, 0, 1, 0x65, 1]),
            Some(0)
        );
        let whole = av1_unit(16, 16);
        for end in 3..whole.len() - 4 {
            let pixels = keyframe_pixels(VideoCodec::Av1, &whole[..end]);
            assert!(pixels.is_none_or(|pixels| pixels == 0), "{pixels:?}");
        }
        assert_eq!(keyframe_pixels(VideoCodec::Vp8, &[0x11; 12]), None);
    }

    /// A temporal delimiter and a sequence header with two operating points, one with a tier, and
    /// with all the optional fields in front of the size.
    fn av1_unit(width_bits: u32, height_bits: u32) -> Vec<u8> {
        let mut text = String::new();
        let mut put = |value: u32, bits: usize| text += &format!("{value:0bits$b}");
        put(0b0000, 4); // profile, still_picture
        put(0, 1); // reduced_still_picture_header
        put(1, 1); // timing_info_present_flag
        put(1, 32);
        put(30, 32);
        put(1, 1); // equal_picture_interval
        put(1, 1); // uvlc of 0
        put(1, 1); // decoder_model_info_present_flag
        put(9, 5);
        put(1, 32);
        put(9, 5);
        put(9, 5);
        put(1, 1); // initial_display_delay_present_flag
        put(1, 5); // operating_points_cnt_minus_1
        for level in [5, 8] {
            put(0x101, 12);
            put(level, 5);
            if level > 7 {
                put(0, 1);
            }
            put(1, 1);
            put(3, 10);
            put(3, 10);
            put(0, 1);
            put(1, 1);
            put(3, 4);
        }
        put(width_bits - 1, 4);
        put(height_bits - 1, 4);
        put(1279, width_bits as usize);
        put(719, height_bits as usize);
        let bytes = text.as_bytes().chunks(8).map(|bits| {
            let bits = std::str::from_utf8(bits).unwrap();
            u8::from_str_radix(&format!("{bits:0<8}"), 2).unwrap()
        });
        let header: Vec<u8> = bytes.collect();
        let mut unit = vec![0x12, 0, 0x0A, u8::try_from(header.len()).unwrap()];
        unit.extend(header);
        unit
    }
}
