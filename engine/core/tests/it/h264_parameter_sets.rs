//! Proves: parameter sets of real encoders are read, their record is FFmpeg's byte for byte,
//! absurd ones are refused, and no mutation makes the reader panic.

use bytes::Bytes;
use proptest::prelude::*;
use shardcast_core::h264::{
    PICTURE_SIDE_PIXELS_MAX, ParameterSets, ParameterSetsError, Sps, SpsError,
};

/// Sequence and picture parameter sets by x264 and the record that FFmpeg's FLV writer makes.
struct Sample {
    sps: &'static str,
    pps: &'static str,
    record: &'static str,
    size: (u32, u32),
    chroma_format: u8,
    bit_depth: u8,
}

const BASELINE_720P: Sample = Sample {
    sps: "6742c01fd9005005bb0110000003001000000303c0f1832480",
    pps: "68cb83cb20",
    record: "0142c01fffe100196742c01fd9005005bb0110000003001000000303c0f183248001000568cb83cb20",
    size: (1280, 720),
    chroma_format: 1,
    bit_depth: 8,
};

const HIGH_1080P: Sample = Sample {
    sps: "67640028acd940780227e5c044000003000400000300f03c60c658",
    pps: "68ebe3cb22c0",
    record: concat!(
        "01640028ffe1001b67640028acd940780227e5c044000003000400000300f03c60c658",
        "01000668ebe3cb22c0fdf8f800"
    ),
    size: (1920, 1080),
    chroma_format: 1,
    bit_depth: 8,
};

const HIGH_422_10_BIT: Sample = Sample {
    sps: "677a000db6cd94141fb0110000030001000003003c0f142996",
    pps: "68ebe3cb22c0",
    record: concat!(
        "017a000dffe10019677a000db6cd94141fb0110000030001000003003c0f142996",
        "01000668ebe3cb22c0fefafa00"
    ),
    size: (320, 240),
    chroma_format: 2,
    bit_depth: 10,
};

const HIGH_444: Sample = Sample {
    sps: "67f4000d919b28283f6022000003000200000300781e28532c",
    pps: "68ebe3c44844",
    record: concat!(
        "01f4000dffe1001967f4000d919b28283f6022000003000200000300781e28532c",
        "01000668ebe3c44844fff8f800"
    ),
    size: (320, 240),
    chroma_format: 3,
    bit_depth: 8,
};

/// 240x134 in macroblocks is 240x144.
const CROPPED_SPS: &str = "6742c00cd903c4fe6c0440000003004000000f03c50a92";

#[test]
fn parameter_sets_of_real_encoders_give_ffmpegs_record() {
    for sample in [BASELINE_720P, HIGH_1080P, HIGH_422_10_BIT, HIGH_444] {
        let sets = ParameterSets::new(&hex(sample.sps), &[hex(sample.pps)]).unwrap();
        assert_eq!(sets.record(), &hex(sample.record), "{}", sample.sps);
        assert_eq!((sets.width(), sets.height()), sample.size);
        assert_eq!(sets.sps().chroma_format, sample.chroma_format);
        assert_eq!(sets.sps().bit_depth_luma, sample.bit_depth);
        assert_eq!(sets.sps().frame_rate, Some(30.0));
    }
}

#[test]
fn cropping_is_honoured() {
    let sps = Sps::parse(&hex(CROPPED_SPS)).unwrap();
    assert_eq!((sps.width, sps.height), (240, 134));
    assert_eq!((sps.profile, sps.level), (66, 12));
}

#[test]
fn a_level_too_low_for_the_picture_is_no_reason_to_refuse_it() {
    let mut nal = hex(HIGH_1080P.sps).to_vec();
    nal[3] = 10;
    let sps = Sps::parse(&nal).unwrap();
    assert_eq!((sps.width, sps.height, sps.level), (1920, 1080, 10));
}

#[test]
fn a_change_of_either_set_is_noticed() {
    let first = ParameterSets::new(&hex(BASELINE_720P.sps), &[hex(BASELINE_720P.pps)]).unwrap();
    let same = ParameterSets::new(&hex(BASELINE_720P.sps), &[hex(BASELINE_720P.pps)]).unwrap();
    let resized = ParameterSets::new(&hex(CROPPED_SPS), &[hex(BASELINE_720P.pps)]).unwrap();
    let other_pps = ParameterSets::new(&hex(BASELINE_720P.sps), &[hex(HIGH_1080P.pps)]).unwrap();
    assert_eq!(first, same);
    assert_ne!(first, resized);
    assert_ne!(first, other_pps);
}

#[test]
fn what_is_no_parameter_set_is_refused() {
    let (sps, pps) = (hex(BASELINE_720P.sps), hex(BASELINE_720P.pps));
    assert_eq!(
        ParameterSets::new(&sps, &[]),
        Err(ParameterSetsError::NoPps)
    );
    assert_eq!(
        ParameterSets::new(&sps, std::slice::from_ref(&sps)),
        Err(ParameterSetsError::BadPps)
    );
    assert_eq!(
        ParameterSets::new(&sps, &[Bytes::new()]),
        Err(ParameterSetsError::BadPps)
    );
    assert_eq!(
        ParameterSets::new(&sps, &vec![pps.clone(); 9]),
        Err(ParameterSetsError::TooManyPps)
    );
    assert_eq!(Sps::parse(&pps), Err(SpsError::NotSps));
    assert_eq!(Sps::parse(&[]), Err(SpsError::NotSps));
    for len in 1..8 {
        assert!(
            matches!(Sps::parse(&sps[..len]), Err(SpsError::Malformed(_))),
            "{len} bytes"
        );
    }
    let mut long = sps.to_vec();
    long.resize(5_000, 0x55);
    assert_eq!(Sps::parse(&long), Err(SpsError::TooLong));
}

#[test]
fn absurd_pictures_are_refused() {
    for (columns, rows) in [(513, 1), (1, 513), (1, 8_000)] {
        let error = Sps::parse(&baseline_sps(columns, rows)).unwrap_err();
        assert!(
            matches!(error, SpsError::Size { .. }),
            "{columns}x{rows}: {error}"
        );
    }
    // Sides that are allowed alone, and together more than any level has.
    assert!(matches!(
        Sps::parse(&baseline_sps(512, 512)),
        Err(SpsError::Malformed(_))
    ));
    assert!(Sps::parse(&baseline_sps(u32::MAX, u32::MAX)).is_err());
    let largest = Sps::parse(&baseline_sps(512, 270)).unwrap();
    assert_eq!((largest.width, largest.height), (8_192, 4_320));
}

proptest! {
    #[test]
    fn no_mutation_makes_the_reader_panic(
        sample in prop::sample::select(vec![
            BASELINE_720P.sps, HIGH_1080P.sps, HIGH_422_10_BIT.sps, HIGH_444.sps, CROPPED_SPS,
        ]),
        flips in prop::collection::vec((1_usize..40, any::<u8>()), 1..8),
        cut in 1_usize..40,
    ) {
        let mut sps = hex(sample).to_vec();
        for (at, mask) in flips {
            let at = at % sps.len();
            sps[at.max(1)] ^= mask;
        }
        sps.truncate(cut.max(1));
        if let Ok(sps) = Sps::parse(&sps) {
            prop_assert!((1..=PICTURE_SIDE_PIXELS_MAX).contains(&sps.width));
            prop_assert!((1..=PICTURE_SIDE_PIXELS_MAX).contains(&sps.height));
        }
    }

    #[test]
    fn no_garbage_makes_the_reader_panic(rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut sps = vec![0x67];
        sps.extend(rest);
        let sps = Bytes::from(sps);
        let _ = ParameterSets::new(&sps, &[hex(BASELINE_720P.pps)]);
    }
}

fn hex(digits: &str) -> Bytes {
    let bytes = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
    Bytes::from(bytes.collect::<Result<Vec<u8>, _>>().unwrap())
}

/// A baseline sequence parameter set for a picture of so many macroblocks.
fn baseline_sps(columns: u32, rows: u32) -> Vec<u8> {
    let mut bits = Vec::new();
    // seq_parameter_set_id, log2_max_frame_num_minus4, pic_order_cnt_type 2, max_num_ref_frames
    [0, 0, 2, 1]
        .into_iter()
        .for_each(|value| put_ue(value, &mut bits));
    bits.push(false);
    put_ue(columns - 1, &mut bits);
    put_ue(rows - 1, &mut bits);
    // frame_mbs_only, direct_8x8, no cropping, no VUI, stop bit
    bits.extend([true, true, false, false, true]);
    let mut sps = vec![0x67, 66, 0xC0, 31];
    sps.extend(bits.chunks(8).map(|byte| {
        byte.iter()
            .enumerate()
            .fold(0, |sum, (at, bit)| sum | (u8::from(*bit) << (7 - at)))
    }));
    sps
}

fn put_ue(value: u32, bits: &mut Vec<bool>) {
    let code = u64::from(value) + 1;
    let len = 64 - code.leading_zeros();
    bits.extend(std::iter::repeat_n(false, len as usize - 1));
    bits.extend((0..len).rev().map(|at| code >> at & 1 == 1));
}
