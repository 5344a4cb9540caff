//! A stream may change between mono and stereo at any frame, and nobody hears when.

use crate::coded::{decode, encode_changing};
use crate::signals;

const BLOCKS: usize = 60;
const SAMPLES: usize = BLOCKS * 1024;

/// The largest difference, in each block of 1024 samples.
fn largest_differences(reference: &[f32], decoded: &[f32]) -> Vec<f32> {
    let difference = |(x, y): (&f32, &f32)| (x - y).abs();
    let largest = |(x, y): (&[f32], &[f32])| x.iter().zip(y).map(difference).fold(0.0, f32::max);
    reference
        .chunks(1024)
        .zip(decoded.chunks(1024))
        .map(largest)
        .collect()
}

#[test]
fn changes_between_mono_and_stereo_give_no_click() {
    let left = signals::sine(440.0, 0.5, SAMPLES);
    // Nothing jumps where stereo begins and ends: the right channel is turned down and up again.
    let turn = |n: usize| 1.0 - 0.5 * (core::f32::consts::PI * n as f32 / 7_168.0).sin().abs();
    let right: Vec<f32> = left
        .iter()
        .enumerate()
        .map(|(n, sample)| turn(n) * sample)
        .collect();
    let stereo = |block: usize| block / 7 % 2 == 1;
    let frames = encode_changing(128_000, &left, |block| stereo(block).then_some(&right));
    let [decoded_left, _] = decode(&frames);
    let differences = largest_differences(&left, &decoded_left);
    // The sine begins and ends all at once.
    for (block, difference) in differences.iter().enumerate().take(BLOCKS - 1).skip(2) {
        assert!(*difference < 0.08, "block {block}: {difference}");
    }
}

#[test]
fn the_right_channel_follows_from_the_first_sample_of_stereo() {
    let left = signals::sine(440.0, 0.5, SAMPLES);
    // Nothing jumps where stereo begins and ends: the right channel is turned down and up again.
    let turn = |n: usize| {
        let part = (n as f32 / 1_024.0 - 20.0) / 20.0;
        1.0 - 0.5 * (core::f32::consts::PI * part).sin()
    };
    let right: Vec<f32> = left
        .iter()
        .enumerate()
        .map(|(n, sample)| turn(n) * sample)
        .collect();
    let stereo = |block: usize| (20..40).contains(&block);
    let frames = encode_changing(128_000, &left, |block| stereo(block).then_some(&right));
    let [_, decoded] = decode(&frames);
    let expected: Vec<f32> = (0..SAMPLES)
        .map(|n| if stereo(n / 1024) { right[n] } else { left[n] })
        .collect();
    let differences = largest_differences(&expected, &decoded);
    for (block, difference) in differences.iter().enumerate().take(BLOCKS - 1).skip(2) {
        assert!(*difference < 0.08, "block {block}: {difference}");
    }
}
