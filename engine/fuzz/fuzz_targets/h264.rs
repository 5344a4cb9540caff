//! Any bytes as what an encoder sends of H.264: a record (AVCDecoderConfigurationRecord), an access unit in AVCC and
//! one in Annex B. What is read keeps its promises to those who pass it on, repeat it and cut it for RTP.
//!
//! ```text
//!   bytes of the record │ record │ access unit
//! ```
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shardcast_core::{
    h264::{
        DecoderRecord, OrderCounter, ParameterSets, RTP_PAYLOAD_BYTES_MAX, Repeater,
        UNIT_BYTES_MAX, VideoUnit, annex_b, renumber, rtp_payloads,
    },
    is_keyframe,
};
use shardcast_link::VideoCodec;

fn with_lengths_of_four() -> DecoderRecord {
    DecoderRecord {
        length_bytes: 4,
        sps: Bytes::new(),
        pps: Vec::new(),
    }
}

/// What every unit promises, whatever it came as.
fn assert_sound(unit: &VideoUnit, sets: Option<&ParameterSets>) {
    assert!(unit.avcc.len() <= UNIT_BYTES_MAX);
    let again = VideoUnit::from_avcc(&unit.avcc, &with_lengths_of_four()).unwrap();
    assert_eq!(
        (
            again.key,
            again.reference,
            again.b_slices,
            again.has_picture()
        ),
        (unit.key, unit.reference, unit.b_slices, unit.has_picture())
    );
    assert!(!unit.key || unit.has_picture());
    assert_eq!(is_keyframe(VideoCodec::H264, &unit.avcc), unit.key);
    for payload in rtp_payloads(&unit.avcc, sets).iter() {
        assert!(!payload.is_empty() && payload.len() <= RTP_PAYLOAD_BYTES_MAX);
    }
    let Some(sets) = sets else {
        return;
    };
    if let Ok(renumbered) = renumber(sets, &unit.avcc, 7) {
        let renumbered = VideoUnit::from_avcc(&renumbered, &with_lengths_of_four()).unwrap();
        assert!(renumbered.key && renumbered.has_picture());
    }
    if let Ok(mut repeater) = Repeater::after(sets, &unit.avcc, 0) {
        for _ in 0..3 {
            let repeated = VideoUnit::from_avcc(&repeater.repeat(), &with_lengths_of_four());
            let repeated = repeated.unwrap();
            assert!(repeated.has_picture() && !repeated.key && !repeated.b_slices);
        }
    }
    let mut counter = OrderCounter::default();
    let _ = counter.next(&sets.sps().order, &unit.avcc);
}

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first() else {
        return;
    };
    let (record, unit) = rest.split_at(usize::from(*length).min(rest.len()));
    let record = DecoderRecord::read(record).ok();
    let sets = record
        .as_ref()
        .and_then(|record| ParameterSets::new(&record.sps, &record.pps).ok());
    if let Some(sets) = &sets {
        assert!(sets.width() > 0 && sets.height() > 0);
        let _ = sets.still_target();
        let written = DecoderRecord::read(sets.record()).unwrap();
        assert_eq!(
            (&written.sps, &written.pps[..]),
            (sets.sps_nal(), sets.pps_nals())
        );
    }

    let avcc = Bytes::copy_from_slice(unit);
    let record = record.unwrap_or_else(with_lengths_of_four);
    if let Ok(read) = VideoUnit::from_avcc(&avcc, &record) {
        assert_sound(&read, sets.as_ref());
    }
    for nal in annex_b(unit) {
        assert!(!nal.is_empty() && !nal.ends_with(&[0]));
    }
    if let Ok(read) = VideoUnit::from_annex_b(unit) {
        assert_sound(&read, sets.as_ref());
    }
    for codec in [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::Av1] {
        let _ = is_keyframe(codec, unit);
    }
});
