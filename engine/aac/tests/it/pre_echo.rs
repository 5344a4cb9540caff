//! Noise of an attack does not come before it.

use crate::coded::round_trip;
use crate::signals;

const PERIOD: usize = 9_000;
const SAMPLES: usize = 20 * PERIOD;

#[test]
fn clicks_have_hardly_any_noise_ahead_of_them() {
    let signal = signals::castanets(PERIOD, SAMPLES);
    for (bitrate, loudest_db) in [(64_000, -42.0), (128_000, -48.0)] {
        let [decoded, _] = round_trip(bitrate, &signal, None);
        for click in (PERIOD / 2..SAMPLES - PERIOD).step_by(PERIOD) {
            // From 20 ms to 3 ms before the click there is silence; closer, it masks.
            let before = &decoded[click - 960..click - 144];
            let energy: f32 = before.iter().map(|sample| sample * sample).sum();
            let level_db = 10.0 * (energy / before.len() as f32).max(1e-12).log10();
            assert!(
                level_db < loudest_db,
                "click at {click}, {bitrate}: {level_db:.1} dB"
            );
        }
    }
}
