//! Any bytes as the file of a recording, as a crash or a bad disk leaves it: the reader neither panics nor reads what
//! is not there, and what it can read is finished, as control does it, to a file in which the same is found.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use shardcast_cmaf::Scan;

fuzz_target!(|data: &[u8]| {
    let Ok(scan) = Scan::of(&mut Cursor::new(data)) else {
        return;
    };
    let whole = usize::try_from(scan.whole_bytes).unwrap();
    let mut file = data[..whole].to_vec();
    file.extend_from_slice(&scan.moov());
    let (at, head) = scan.mdat_head();
    let at = usize::try_from(at).unwrap();
    file[at..at + head.len()].copy_from_slice(&head);

    let finished = Scan::of(&mut Cursor::new(&file)).unwrap();
    assert!(finished.is_finished);
    assert_eq!(finished.label, scan.label);
    assert_eq!(finished.whole_bytes, scan.whole_bytes);
    assert_eq!(finished.duration_us(), scan.duration_us());
    for video in [true, false] {
        assert_eq!(finished.sample_count(video), scan.sample_count(video));
    }
    assert_eq!(finished.moov(), scan.moov());
});
