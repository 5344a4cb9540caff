//! A recording that a crash or a disk has damaged is read up to the damage, or refused: never is anything read that is
//! not there, and never does the reader panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::io::Cursor;

use bytes::Bytes;
use shardcast_cmaf::{Sample, Scan, Track, TrackRun, fragment, recording_head};

fn file() -> Vec<u8> {
    let tracks = [
        Track::video(1, Bytes::from_static(b"record"), 1_280, 720),
        Track::audio(2, Bytes::from_static(&[0x11, 0x90]), 48_000, 2),
    ];
    let mut file = recording_head(&tracks, "label").to_vec();
    for n in 0..3_u64 {
        let sample = |duration, key, offset| Sample {
            duration,
            composition_offset: offset,
            key,
            parameter_sets: None,
            payload: Bytes::from_static(b"\0\0\0\x03\x65ab"),
        };
        let video = TrackRun {
            track: 1,
            decoded_at: n * 9_000,
            samples: vec![
                sample(3_000, true, 3_000),
                sample(3_000, false, 6_000),
                sample(3_001, false, 0),
            ],
        };
        let audio = TrackRun {
            track: 2,
            decoded_at: n * 4_096,
            samples: vec![sample(1_024, true, 0); 4],
        };
        let sequence = u32::try_from(n).unwrap() + 1;
        file.extend(fragment(sequence, vec![video, audio]).unwrap().concat());
    }
    file
}

#[test]
fn a_whole_file_is_read_whole() {
    let file = file();
    let scan = Scan::of(&mut Cursor::new(&file)).unwrap();
    assert_eq!(scan.label, "label");
    assert_eq!(scan.whole_bytes, file.len() as u64);
    assert_eq!((scan.sample_count(true), scan.sample_count(false)), (9, 12));
    assert_eq!(scan.duration_us(), (3_000 + 27_001) * 1_000_000 / 90_000);
    assert!(!scan.is_finished);
}

#[test]
fn no_byte_that_is_wrong_leads_astray() {
    let file = file();
    for at in 0..file.len() {
        for wrong in [0x00, 0x01, 0x7F, 0xFF] {
            let mut damaged = file.clone();
            damaged[at] = wrong;
            if let Ok(scan) = Scan::of(&mut Cursor::new(&damaged)) {
                assert!(scan.whole_bytes <= file.len() as u64, "{at}");
                let _ = (scan.moov(), scan.duration_us(), scan.mdat_head());
            }
        }
    }
}
