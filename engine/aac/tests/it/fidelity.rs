//! No signal comes out worse than it did when this was written.

use crate::coded::{round_trip, snr_db};
use crate::signals;

const SAMPLES: usize = 48 * 1024;

#[test]
fn each_signal_has_its_signal_to_noise_ratio() {
    let second = signals::speech_like(8, SAMPLES);
    let floors = [
        ("speech", 128_000, 14.0),
        ("noise", 320_000, 6.0),
        ("sine", 64_000, 20.0),
        ("sine", 128_000, 30.0),
        ("low sine", 64_000, 20.0),
        ("sweep", 64_000, 14.0),
        ("castanets", 128_000, 12.0),
        ("square", 128_000, 14.0),
    ];
    let all = signals::all(SAMPLES);
    let mut below = Vec::new();
    for (name, bitrate, floor_db) in floors {
        let (_, signal) = all.iter().find(|(known, _)| *known == name).unwrap();
        let [mono, _] = round_trip(bitrate, signal, None);
        let snr = snr_db(signal, &mono);
        if snr < floor_db {
            below.push(format!("{name} at {bitrate} in mono: {snr:.1} dB"));
        }
        let [left, right] = round_trip(bitrate.min(160_000) * 2, signal, Some(&second));
        for (signal, decoded) in [(signal, left), (&second, right)] {
            let snr = snr_db(signal, &decoded);
            if snr < floor_db.min(8.0) {
                below.push(format!("{name} at {bitrate} in stereo: {snr:.1} dB"));
            }
        }
    }
    assert!(below.is_empty(), "{below:#?}");
}
