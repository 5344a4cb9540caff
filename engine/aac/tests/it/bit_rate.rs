//! The bit rate is constant within what the decoder's buffer evens out.

use crate::coded::{FRAME_BITS_MAX, encode};
use crate::signals;

const SECONDS: usize = 10;
const SAMPLES: usize = SECONDS * 48_000;

/// Bits of each frame.
fn frame_bits(bitrate: u32, left: &[f32], right: Option<&[f32]>) -> Vec<usize> {
    let frames = encode(bitrate, left, right);
    frames.iter().map(|frame| frame.len() * 8).collect()
}

#[test]
fn the_mean_bit_rate_is_within_one_percent_of_what_is_asked() {
    for (name, signal) in signals::all(SAMPLES) {
        for bitrate in [64_000, 128_000] {
            for right in [None, Some(signals::white(5, 0.1, SAMPLES))] {
                let bits = frame_bits(bitrate, &signal, right.as_deref());
                let total: usize = bits.iter().sum();
                let rate = total as f64 * 48_000.0 / 1_024.0 / bits.len() as f64;
                let part = rate / f64::from(bitrate);
                assert!((0.99..=1.01).contains(&part), "{name}: {rate} of {bitrate}");
            }
        }
    }
}

/// A decoder that is fed at a constant rate and takes a frame each 1024 samples: its buffer of 6144
/// bits for each channel neither runs dry nor over.
#[test]
fn the_decoders_buffer_never_runs_dry_nor_over() {
    let samples = 3 * 48_000;
    for (name, signal) in signals::all(samples) {
        for bitrate in [32_000, 96_000, 160_000, 320_000] {
            let bits = frame_bits(bitrate, &signal, Some(&signals::castanets(5_000, samples)));
            let mean = f64::from(bitrate) * 1_024.0 / 48_000.0;
            let (mut fed, mut highest, mut lowest) = (0.0_f64, f64::MIN, f64::MAX);
            for bits in bits {
                fed += mean;
                highest = highest.max(fed);
                fed -= bits as f64;
                lowest = lowest.min(fed);
            }
            let swing = highest - lowest;
            assert!(
                swing <= FRAME_BITS_MAX as f64,
                "{name} at {bitrate}: {swing}"
            );
        }
    }
}

#[test]
fn silence_is_filled_up_to_the_bit_rate_and_leaves_the_reservoir_full() {
    let mut signal = vec![0.0; 48_000];
    signal.extend(signals::white(1, 0.5, 4_096));
    let bits = frame_bits(128_000, &signal, None);
    let silent = &bits[20..45];
    assert!(
        silent.iter().all(|bits| (2_720..=2_736).contains(bits)),
        "{silent:?}"
    );
    assert!(
        bits[46..50].iter().any(|bits| *bits > 2_900),
        "{:?}",
        &bits[46..50]
    );
}

#[test]
fn bit_rates_out_of_range_are_refused() {
    for bitrate in [0, 31_999, 320_001, u32::MAX] {
        let error = shardcast_aac::Encoder::new(bitrate).unwrap_err();
        assert_eq!(error, shardcast_aac::AacError::Bitrate(bitrate));
    }
}
