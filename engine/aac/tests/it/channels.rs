//! What is left stays left.

use crate::coded::{encode, round_trip, snr_db};
use crate::signals;

const SAMPLES: usize = 40 * 1024;

fn energy(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum()
}

#[test]
fn sound_in_one_channel_does_not_come_out_of_the_other() {
    let signal = signals::speech_like(3, SAMPLES);
    let silence = vec![0.0; SAMPLES];
    for bitrate in [64_000, 128_000] {
        let [left, right] = round_trip(bitrate, &signal, Some(&silence));
        assert!(energy(&right) < 1e-6 * energy(&left), "{bitrate}");
        let [left, right] = round_trip(bitrate, &silence, Some(&signal));
        assert!(energy(&left) < 1e-6 * energy(&right), "{bitrate}");
    }
}

#[test]
fn two_tones_stay_in_their_channels() {
    let (low, high) = (
        signals::sine(500.0, 0.4, SAMPLES),
        signals::sine(3_000.0, 0.4, SAMPLES),
    );
    let [left, right] = round_trip(128_000, &low, Some(&high));
    assert!(snr_db(&low, &left) > 25.0, "{}", snr_db(&low, &left));
    assert!(snr_db(&high, &right) > 25.0, "{}", snr_db(&high, &right));
}

#[test]
fn opposite_channels_stay_opposite() {
    let signal = signals::speech_like(4, SAMPLES);
    let opposite: Vec<f32> = signal.iter().map(|sample| -sample).collect();
    let [left, right] = round_trip(96_000, &signal, Some(&opposite));
    let sum: Vec<f32> = left.iter().zip(&right).map(|(l, r)| l + r).collect();
    assert!(energy(&sum) < 1e-3 * energy(&left));
}

#[test]
fn mono_comes_out_of_both_channels_alike() {
    let signal = signals::speech_like(5, SAMPLES);
    let [left, right] = round_trip(64_000, &signal, None);
    assert_eq!(left, right);
    assert!(snr_db(&signal, &left) > 9.0, "{}", snr_db(&signal, &left));
}

#[test]
fn two_equal_channels_are_coded_as_mono() {
    let signal = signals::speech_like(6, SAMPLES);
    assert_eq!(
        encode(64_000, &signal, Some(&signal)),
        encode(64_000, &signal, None)
    );
}
