//! Proves: an access unit in Annex B becomes one in AVCC form with the right NAL units in the right
//! order, whatever the start codes; anything else gives no picture, no panic.

use proptest::prelude::*;
use shardcast_core::h264::{PPS_COUNT_MAX, UNIT_BYTES_MAX, UnitError, VideoUnit, annex_b};

const AUD: &[u8] = &[9, 0xF0];
const SEI: &[u8] = &[6, 5, 1, 0xAA, 0x80];
const SPS: &[u8] = &[0x67, 66, 0xC0, 31, 1];
const PPS: &[u8] = &[0x68, 0xCB];
const OTHER_PPS: &[u8] = &[0x68, 0xCC];
const IDR: &[u8] = &[0x65, 0x88, 0x80, 1];
const SLICE: &[u8] = &[0x41, 0x9A, 2];
const FILLER: &[u8] = &[12, 0xFF, 0x80];

#[test]
fn a_keyframe_keeps_its_slices_and_sei_and_gives_its_parameter_sets() {
    let stream = annex(&[AUD, SPS, PPS, OTHER_PPS, PPS, SEI, IDR, IDR, FILLER]);
    let unit = VideoUnit::from_annex_b(&stream).unwrap();
    assert!(unit.key && unit.has_picture());
    assert_eq!(unit.sps.as_deref(), Some(SPS));
    assert_eq!(unit.pps, [PPS, OTHER_PPS]);
    assert_eq!(unit.avcc, lengths(&[SEI, IDR, IDR]));
}

#[test]
fn an_inter_frame_says_so() {
    let unit = VideoUnit::from_annex_b(&annex(&[SLICE])).unwrap();
    assert!(!unit.key && unit.has_picture());
    assert_eq!(unit.avcc, lengths(&[SLICE]));
    assert!(unit.sps.is_none() && unit.pps.is_empty());
}

#[test]
fn parameter_sets_alone_are_no_picture() {
    let unit = VideoUnit::from_annex_b(&annex(&[SPS, PPS, SEI])).unwrap();
    assert!(!unit.key && !unit.has_picture());
    assert_eq!(unit.sps.as_deref(), Some(SPS));
}

#[test]
fn short_start_codes_and_trailing_zeros_do_not_matter() {
    let mut stream = vec![0xDE, 0xAD];
    for nal in [SEI, IDR] {
        stream.extend([0, 0, 1]);
        stream.extend(nal);
        stream.extend([0; 5]);
    }
    stream.extend([0, 0, 1, 0, 0, 1]);
    let nals: Vec<_> = annex_b(&stream).collect();
    assert_eq!(nals, [SEI, IDR]);
}

#[test]
fn units_beyond_the_limits_are_refused() {
    let mut long = annex(&[IDR]);
    long.resize(UNIT_BYTES_MAX + 1, 0x55);
    assert_eq!(VideoUnit::from_annex_b(&long), Err(UnitError::TooLong));
    let pps: Vec<[u8; 2]> = (0..=PPS_COUNT_MAX as u8)
        .map(|id| [0x68, id | 0x80])
        .collect();
    let nals: Vec<&[u8]> = pps.iter().map(|nal| &nal[..]).collect();
    assert_eq!(
        VideoUnit::from_annex_b(&annex(&nals)),
        Err(UnitError::TooManyPps)
    );
    // A unit grows by a byte for each short start code, and must stay within the limit too.
    let short_codes = [0, 0, 1, 0x41].repeat(UNIT_BYTES_MAX / 4);
    assert_eq!(
        VideoUnit::from_annex_b(&short_codes),
        Err(UnitError::TooLong)
    );
}

proptest! {
    #[test]
    fn the_same_nal_units_come_out_whatever_the_start_codes(
        nals in prop::collection::vec((nal(), any::<bool>(), 0_usize..4), 0..12),
    ) {
        let mut stream = Vec::new();
        for (nal, long, zeros) in &nals {
            stream.extend(if *long { &[0, 0, 0, 1][..] } else { &[0, 0, 1][..] });
            stream.extend(nal);
            stream.extend(std::iter::repeat_n(0, *zeros));
        }
        let wanted: Vec<&[u8]> = nals.iter().map(|(nal, _, _)| &nal[..]).collect();
        let seen: Vec<_> = annex_b(&stream).collect();
        prop_assert_eq!(&seen, &wanted);
        let unit = VideoUnit::from_annex_b(&stream).unwrap();
        prop_assert_eq!(&unit.avcc[..], &lengths(&wanted)[..]);
        prop_assert_eq!(unit.key, wanted.iter().any(|nal| nal[0] & 31 == 5));
    }

    #[test]
    fn no_garbage_makes_it_panic(stream in prop::collection::vec(0_u8..4, 0..400)) {
        for nal in annex_b(&stream) {
            prop_assert!(!nal.is_empty());
        }
        let unit = VideoUnit::from_annex_b(&stream).unwrap();
        prop_assert!(unit.avcc.len() <= 2 * stream.len());
    }
}

/// A NAL unit that is kept, without start codes inside and not ending in zero.
fn nal() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::sample::select(vec![0x41_u8, 0x65, 6]),
        prop::collection::vec(1_u8..=255, 0..40),
    )
        .prop_map(|(header, rest)| std::iter::once(header).chain(rest).collect())
}

fn annex(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter()
        .flat_map(|nal| [0, 0, 0, 1].iter().chain(nal.iter()))
        .copied()
        .collect()
}

fn lengths(nals: &[&[u8]]) -> Vec<u8> {
    let one = |nal: &&[u8]| [&(nal.len() as u32).to_be_bytes()[..], nal].concat();
    nals.iter().flat_map(one).collect()
}
