//! Any samples at any bit rate, mono and stereo in any order: the encoder neither panics nor makes a frame
//! that is larger than a decoder has to take, and keeps its bit rate.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shardcast_aac::{BITRATE_MAX_BPS, BITRATE_MIN_BPS, Encoder, FRAME_SAMPLES, SAMPLE_RATE};

/// 6144 bits for each channel (ISO/IEC 14496-3, 4.5.3.2).
const FRAME_BITS_MAX: usize = 2 * 6144;

type Block = [f32; FRAME_SAMPLES];

/// What is read of the input: a byte that says how, then samples.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Bits of any float, or whole numbers as a microphone has them, held for some samples so that a short
    /// input fills a block.
    fn block(&mut self) -> Block {
        let (how, hold) = (self.byte(), usize::from(self.byte()) + 1);
        let mut sample = 0.0;
        core::array::from_fn(|n| {
            if n % hold == 0 {
                let bytes = [self.byte(), self.byte(), 0, 0];
                sample = match how % 4 {
                    0 => f32::from_le_bytes([self.byte(), self.byte(), bytes[0], bytes[1]]),
                    1 => f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0,
                    2 => f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) * f32::MIN_POSITIVE,
                    _ => 0.0,
                };
            }
            sample
        })
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let range = BITRATE_MAX_BPS - BITRATE_MIN_BPS + 1;
    let bitrate = u32::from_le_bytes([input.byte(), input.byte(), input.byte(), 0]) % range;
    let bitrate = BITRATE_MIN_BPS + bitrate;
    let mut encoder = Encoder::new(bitrate).unwrap();
    let (mut frames, mut bits) = (0, 0);
    // Blocks of zeros at the end, so that what was begun is finished.
    let mut rest = 3;
    while rest > 0 {
        rest -= u32::from(input.0.is_empty());
        let is_stereo = input.byte() % 2 == 1;
        let left = input.block();
        let right = is_stereo.then(|| input.block());
        let mut frame = Vec::new();
        let came = encoder.encode(&left, right.as_ref(), &mut frame);
        assert_eq!(came, !frame.is_empty());
        assert!(frame.len() * 8 <= FRAME_BITS_MAX, "{} bytes", frame.len());
        frames += usize::from(came);
        bits += frame.len() * 8;
    }
    // What a decoder's buffer evens out is the only difference to the constant rate.
    let due = bitrate as usize * FRAME_SAMPLES * frames / SAMPLE_RATE as usize;
    assert!(bits.abs_diff(due) <= FRAME_BITS_MAX, "{bits} of {due} bits");
});
