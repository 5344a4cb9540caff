//! An encoder's AAC becomes Opus that neither gains nor loses time, at either rate and however it is stretched,
//! behind the documented delay; and what is not AAC is silence of its length.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use bytes::Bytes;
use shardcast_media::{AacToOpus, SAMPLE_RATE_HZ};

const FRAME: usize = 1_024;
const PACKET: usize = 960;
const BPS: i32 = 96_000;
/// AAC-LC in stereo at 44.1 and 48 kHz; both have the same bands, so one encoder makes either.
const CONFIGS: [(u32, [u8; 2]); 2] = [(44_100, [0x12, 0x10]), (48_000, [0x11, 0x90])];

fn aac(mono: &[f32]) -> Vec<Vec<u8>> {
    let mut encoder = shardcast_aac::Encoder::new(192_000).unwrap();
    let mut frames = Vec::new();
    for samples in mono.chunks_exact(FRAME) {
        let mut frame = Vec::new();
        if encoder.encode(samples.first_chunk().unwrap(), None, &mut frame) {
            frames.push(frame);
        }
    }
    frames
}

fn open(rate_hz: u32, config: &[u8]) -> AacToOpus {
    AacToOpus::new(config, rate_hz, 2, BPS).unwrap()
}

/// A chirp of 100 ms: unlike a tone it has only one place where it fits.
fn chirp(rate_hz: u32) -> Vec<f32> {
    (0..rate_hz / 10)
        .map(|n| {
            let t = n as f32 / rate_hz as f32;
            0.5 * (std::f32::consts::TAU * (500.0 * t + 20_000.0 * t * t)).sin()
        })
        .collect()
}

/// The left channel.
fn heard(packets: &[Bytes]) -> Vec<f32> {
    let mut decoder = opus::Decoder::new(SAMPLE_RATE_HZ, opus::Channels::Stereo).unwrap();
    let mut pcm = [0.0; 2 * PACKET];
    let mut left = Vec::new();
    for packet in packets {
        assert_eq!(
            decoder.decode_float(packet, &mut pcm, false).unwrap(),
            PACKET
        );
        left.extend(pcm.iter().step_by(2));
    }
    left
}

/// The place at which `needle` fits best into `hay`.
fn best_fit(hay: &[f32], needle: &[f32], places: std::ops::Range<usize>) -> usize {
    let fit =
        |place: &usize| -> f32 { needle.iter().zip(&hay[*place..]).map(|(a, b)| a * b).sum() };
    places.max_by(|a, b| fit(a).total_cmp(&fit(b))).unwrap()
}

#[test]
fn sound_is_where_it_belongs_behind_the_documented_delay() {
    for (rate_hz, config) in CONFIGS {
        let mut input = vec![0.0; 64 * FRAME];
        let (sound, start) = (chirp(rate_hz), 30_000);
        input[start..start + sound.len()].copy_from_slice(&sound);
        let (mut transcoder, mut packets) = (open(rate_hz, &config), Vec::new());
        for frame in aac(&input) {
            transcoder.decode(&frame, 0, &mut packets).unwrap();
        }
        // The AAC encoder's own delay is one frame, which an encoder's timestamps account for.
        let at = (start + FRAME) * SAMPLE_RATE_HZ as usize / rate_hz as usize;
        let expected = at + AacToOpus::delay_samples(rate_hz) as usize;
        let pcm = heard(&packets);
        let found = best_fit(
            &pcm,
            &chirp(SAMPLE_RATE_HZ),
            expected - 1_500..expected + 1_500,
        );
        assert!(
            found.abs_diff(expected) <= 3,
            "{rate_hz} Hz: found at {found}, expected at {expected}"
        );
    }
}

#[test]
fn packets_come_by_the_count_of_samples_whatever_is_given() {
    for (rate_hz, config) in CONFIGS {
        let frames = aac(&vec![0.1; 200 * FRAME]);
        let (mut transcoder, mut packets) = (open(rate_hz, &config), Vec::new());
        // In parts of a sample, of which there are 147.
        let mut parts = 0;
        for (n, frame) in frames.iter().enumerate() {
            match n % 4 {
                0 => transcoder.decode(frame, 0, &mut packets).unwrap(),
                1 => transcoder.skip(&mut packets),
                2 => transcoder.decode(frame, 4, &mut packets).unwrap(),
                _ => transcoder.decode(frame, -3, &mut packets).unwrap(),
            }
            parts += FRAME as i64 * 48_000 * 147 / i64::from(rate_hz);
            parts += [0, 0, 4, -3][n % 4] * 147;
            if n % 50 == 0 {
                transcoder.silence(5_000, &mut packets).unwrap();
                parts += 5_000 * 147;
            }
            let samples = usize::try_from((parts + 146) / 147).unwrap();
            assert_eq!(packets.len(), samples / PACKET, "{rate_hz} Hz, frame {n}");
        }
    }
}

#[test]
fn what_is_not_aac_is_silence_of_its_length_and_the_next_frame_is_heard() {
    let (rate_hz, config) = CONFIGS[0];
    let (mut transcoder, mut packets) = (open(rate_hz, &config), Vec::new());
    let mut damaged = 0;
    for n in 0..100_usize {
        let rubbish: Vec<u8> = (0..n * 7).map(|i| (i * 31 + n * 17) as u8).collect();
        damaged += usize::from(transcoder.decode(&rubbish, 0, &mut packets).is_err());
    }
    assert!(damaged > 0);
    assert_eq!(packets.len(), 100 * FRAME * 160 / 147 / PACKET);
    let tone: Vec<f32> = (0..50 * FRAME)
        .map(|n| (n as f32 / 10.0).sin() * 0.5)
        .collect();
    for frame in aac(&tone) {
        transcoder.decode(&frame, 0, &mut packets).unwrap();
    }
    let pcm = heard(&packets);
    let end = &pcm[pcm.len() - 4_800..];
    let loudest = end.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
    assert!(loudest > 0.3, "{loudest}");
}

#[test]
fn what_cannot_be_opened_is_said() {
    for (rate_hz, channels, config) in [
        (44_100, 2, &[][..]),
        (22_050, 2, &[0x13, 0x90]),
        (44_100, 6, &[0x12, 0x10]),
    ] {
        assert!(AacToOpus::new(config, rate_hz, channels, BPS).is_err());
    }
}
