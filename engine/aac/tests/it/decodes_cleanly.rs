//! Every frame is one that a strict decoder takes, whatever the input and the bit rate.

use proptest::prelude::*;

use crate::coded::{decode, encode, encode_changing, round_trip};
use crate::signals;

const SAMPLES: usize = 30 * 1024;

#[test]
fn all_signals_at_all_bit_rates_decode() {
    for (name, signal) in signals::all(SAMPLES) {
        let other = signals::speech_like(9, SAMPLES);
        for bitrate in [32_000, 48_000, 64_000, 96_000, 128_000, 192_000, 320_000] {
            for right in [None, Some(&signal), Some(&other)] {
                let [left, right] = round_trip(bitrate, &signal, right.map(Vec::as_slice));
                let finite = left.iter().chain(&right).all(|sample| sample.is_finite());
                assert!(finite, "{name} at {bitrate}");
            }
        }
    }
}

#[test]
fn samples_that_are_no_numbers_count_as_zero_and_loud_ones_are_clamped() {
    let mut garbage = signals::sine(440.0, 0.5, SAMPLES);
    let mut expected = garbage.clone();
    let strange = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e30,
        -7.0,
        f32::MIN_POSITIVE / 4.0,
    ];
    let counted_as = [0.0, 0.0, 0.0, 1.0, -1.0, f32::MIN_POSITIVE / 4.0];
    for (n, sample) in garbage.iter_mut().enumerate().filter(|(n, _)| n % 37 == 0) {
        *sample = strange[n / 37 % strange.len()];
        expected[n] = counted_as[n / 37 % strange.len()];
    }
    let quiet = vec![f32::NAN; SAMPLES];
    assert_eq!(
        encode(96_000, &garbage, Some(&quiet)),
        encode(96_000, &expected, Some(&vec![0.0; SAMPLES]))
    );
    let [left, _] = round_trip(96_000, &garbage, None);
    assert!(left.iter().all(|sample| sample.abs() < 4.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Blocks of anything after each other, mono and stereo in turns.
    #[test]
    fn any_sequence_of_blocks_decodes(
        bitrate in 32_000_u32..=320_000,
        blocks in prop::collection::vec((0..7_u32, -120.0_f32..6.0, any::<bool>(), any::<u32>()), 4..24),
    ) {
        let mut left = Vec::new();
        let mut right = Vec::new();
        for (kind, level_db, _, seed) in &blocks {
            let level = 10_f32.powf(level_db / 20.0);
            left.extend(block(*kind, level, *seed));
            right.extend(block(seed % 7, level, *seed));
        }
        let stereo = |index: usize| {
            let (.., stereo, _) = blocks.get(index)?;
            stereo.then_some(right.as_slice())
        };
        let [left, right] = decode(&encode_changing(bitrate, &left, stereo));
        prop_assert!(left.iter().chain(&right).all(|sample| sample.is_finite()));
    }
}

/// 1024 samples of one kind.
fn block(kind: u32, level: f32, seed: u32) -> Vec<f32> {
    let mut noise = signals::noise(seed);
    let place = seed as usize % 1024;
    match kind {
        0 => vec![0.0; 1024],
        1 => (0..1024).map(|_| level * noise()).collect(),
        2 => signals::sine((seed % 24_000) as f32, level, 1024),
        3 => (0..1024)
            .map(|n| if n == place { level } else { 0.0 })
            .collect(),
        4 => (0..1024)
            .map(|n| if n < place { 0.0 } else { level * noise() })
            .collect(),
        5 => (0..1024)
            .map(|_| f32::from_bits((noise() * 2e9) as i32 as u32))
            .collect(),
        _ => signals::square(2 + seed as usize % 300, 1024),
    }
}
