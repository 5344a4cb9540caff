//! The audio transcoder neither gains nor loses time, whatever is fed to it, and its delays are those
//! that are documented.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use shardcast_media::{
    AAC_BITRATE_BPS, AAC_DELAY_SAMPLES, AAC_SAMPLES_PER_FRAME, AUDIO_SPECIFIC_CONFIG, AacCoder,
    AacDecoder, CHANNELS, MediaError, OPUS_DELAY_SAMPLES, OpusToAac, SAMPLE_RATE_HZ, limits,
};

const PACKET_SAMPLES: usize = 960;

/// What is true of one encoder is true of the other.
const CODERS: [AacCoder; 2] = [AacCoder::Shardcast, AacCoder::Libavcodec];

/// What one call gives.
fn frames(
    call: impl FnOnce(&mut Vec<Bytes>) -> Result<(), MediaError>,
) -> Result<Vec<Bytes>, MediaError> {
    let mut out = Vec::new();
    call(&mut out).map(|()| out)
}

/// Frames that come out once so many samples have gone in.
fn frames_after(samples: usize) -> usize {
    (samples / AAC_SAMPLES_PER_FRAME as usize).saturating_sub(1)
}

fn opus_packets(mono: &[f32]) -> Vec<Vec<u8>> {
    let mut encoder = opus::Encoder::new(
        SAMPLE_RATE_HZ,
        opus::Channels::Stereo,
        opus::Application::Audio,
    )
    .unwrap();
    encoder.set_bitrate(opus::Bitrate::Bits(96_000)).unwrap();
    let packet = |samples: &[f32]| {
        let stereo: Vec<f32> = samples.iter().flat_map(|&s| [s; CHANNELS]).collect();
        encoder.encode_vec_float(&stereo, 1_500).unwrap()
    };
    mono.chunks_exact(PACKET_SAMPLES).map(packet).collect()
}

fn decode_aac(frames: &[Bytes]) -> Vec<f32> {
    let mut decoder = AacDecoder::new(&AUDIO_SPECIFIC_CONFIG).unwrap();
    let mut pcm = Vec::new();
    for frame in frames {
        assert_eq!(
            decoder.decode(frame, &mut pcm).unwrap(),
            AAC_SAMPLES_PER_FRAME as usize
        );
    }
    assert_eq!(decoder.sample_rate_hz(), SAMPLE_RATE_HZ);
    pcm
}

/// A chirp: unlike a click it survives both codecs with its shape, and unlike a tone it has only
/// one place where it fits.
fn chirp(length: usize) -> Vec<f32> {
    (0..length)
        .map(|n| {
            let t = n as f32 / SAMPLE_RATE_HZ as f32;
            0.5 * (std::f32::consts::TAU * (500.0 * t + 20_000.0 * t * t)).sin()
        })
        .collect()
}

/// The shift at which `needle` fits best into `hay`.
fn best_fit(hay: &[f32], needle: &[f32], shifts: std::ops::Range<usize>) -> usize {
    let fit =
        |&shift: &usize| -> f32 { needle.iter().zip(&hay[shift..]).map(|(a, b)| a * b).sum() };
    shifts.max_by(|a, b| fit(a).total_cmp(&fit(b))).unwrap()
}

#[test]
fn audio_comes_out_after_the_documented_delays() {
    for coder in CODERS {
        let sound = chirp(4_800);
        let start = 20_000;
        let mut input = vec![0.0; 48_000];
        input[start..start + sound.len()].copy_from_slice(&sound);
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let frames: Vec<Bytes> = opus_packets(&input)
            .iter()
            .flat_map(|p| frames(|out| transcoder.decode(p, out)).unwrap())
            .collect();
        let pcm = decode_aac(&frames);

        let expected = start + (OPUS_DELAY_SAMPLES + AAC_DELAY_SAMPLES) as usize;
        let found = best_fit(&pcm, &sound, expected - 1_500..expected + 1_500);
        assert!(
            found.abs_diff(expected) <= 2,
            "found at {found}, expected at {expected}"
        );
    }
}

#[test]
fn every_thousand_and_twenty_four_samples_become_one_frame() {
    for coder in CODERS {
        let packets = opus_packets(&chirp(48_000));
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let (mut samples, mut count) = (0, 0);
        for packet in &packets {
            count += frames(|out| transcoder.decode(packet, out)).unwrap().len();
            samples += PACKET_SAMPLES;
            assert_eq!(count, frames_after(samples), "after {samples} samples");
        }
        for gap in [
            1,
            119,
            120,
            121,
            960,
            1_024,
            5_000,
            47_999,
            limits::FILL_SAMPLES_MAX,
        ] {
            count += frames(|out| transcoder.conceal(gap, out)).unwrap().len();
            samples += gap as usize;
            assert_eq!(
                count,
                frames_after(samples),
                "after a concealed gap of {gap}"
            );
            count += frames(|out| transcoder.silence(gap, out)).unwrap().len();
            samples += gap as usize;
            assert_eq!(count, frames_after(samples), "after a silent gap of {gap}");
        }
    }
}

#[test]
fn the_bit_rate_is_what_was_asked_for_and_absurd_ones_are_refused() {
    for coder in CODERS {
        let packets = opus_packets(&chirp(10 * 48_000));
        for bitrate_bps in [64_000, AAC_BITRATE_BPS, 192_000] {
            let mut transcoder = OpusToAac::new(coder, bitrate_bps).unwrap();
            let frames = packets
                .iter()
                .flat_map(|p| frames(|out| transcoder.decode(p, out)).unwrap());
            let bits: usize = frames.map(|frame| frame.len() * 8).sum();
            // Ten seconds; a chirp is easy, so it may stay below.
            assert!(
                bits / 10 <= bitrate_bps * 11 / 10,
                "{bits} for {bitrate_bps}"
            );
            assert!(bits / 10 >= bitrate_bps / 2, "{bits} for {bitrate_bps}");
        }
        for bitrate_bps in [0, 31_999, 320_001, usize::MAX] {
            let refused = OpusToAac::new(coder, bitrate_bps).unwrap_err();
            assert!(matches!(refused, MediaError::AacBitRate { .. }));
        }
    }
}

#[test]
fn packets_of_every_length_and_of_mono_are_taken() {
    for coder in CODERS {
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let (mut samples, mut count) = (0, 0);
        for channels in [opus::Channels::Mono, opus::Channels::Stereo] {
            let mut encoder =
                opus::Encoder::new(SAMPLE_RATE_HZ, channels, opus::Application::Voip).unwrap();
            for length in [120, 240, 480, 960, 1_920, 2_880, 3_840, 4_800, 5_760] {
                let pcm = vec![0.1; length * channels as usize];
                let packet = encoder.encode_vec_float(&pcm, 4_000).unwrap();
                count += frames(|out| transcoder.decode(&packet, out)).unwrap().len();
                samples += length;
                assert_eq!(
                    count,
                    frames_after(samples),
                    "after a packet of {length} samples"
                );
            }
        }
    }
}

#[test]
fn pauses_of_discontinuous_transmission_last_as_long_as_they_say() {
    for coder in CODERS {
        let mut encoder = opus::Encoder::new(
            SAMPLE_RATE_HZ,
            opus::Channels::Stereo,
            opus::Application::Voip,
        )
        .unwrap();
        encoder.set_dtx(true).unwrap();
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let (mut pauses, mut count) = (0, 0);
        for _ in 0..100 {
            let packet = encoder
                .encode_vec_float(&[0.0; PACKET_SAMPLES * CHANNELS], 1_500)
                .unwrap();
            pauses += usize::from(packet.len() <= 2);
            count += frames(|out| transcoder.decode(&packet, out)).unwrap().len();
        }
        assert!(pauses > 50, "only {pauses} of 100 packets are pauses");
        assert_eq!(count, frames_after(100 * PACKET_SAMPLES));
    }
}

#[test]
fn garbage_is_an_error_or_noise_and_the_transcoder_goes_on() {
    for coder in CODERS {
        let seed = 7;
        let mut random = StdRng::seed_from_u64(seed);
        let good = opus_packets(&chirp(960)).remove(0);
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let mut refused = 0;
        for round in 0..3_000 {
            let mut packet = vec![0; random.random_range(0..1_500)];
            random.fill(packet.as_mut_slice());
            refused += usize::from(frames(|out| transcoder.decode(&packet, out)).is_err());
            let noise = frames(|out| transcoder.decode(&good, out));
            assert!(noise.is_ok(), "seed {seed}, round {round}: {noise:?}");
        }
        assert!(refused > 0);
        let huge = vec![0; limits::OPUS_PACKET_BYTES_MAX + 1];
        assert!(matches!(
            frames(|out| transcoder.decode(&huge, out)),
            Err(MediaError::Opus(_))
        ));
    }
}

#[test]
fn a_gap_without_bound_is_refused_and_nothing_is_appended() {
    for coder in CODERS {
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        assert!(matches!(
            frames(|out| transcoder.silence(u32::MAX, out)),
            Err(MediaError::FillTooLong { .. })
        ));
        assert!(matches!(
            frames(|out| transcoder.conceal(u32::MAX, out)),
            Err(MediaError::FillTooLong { .. })
        ));
        assert_eq!(
            frames(|out| transcoder.silence(2_048, out)).unwrap().len(),
            1
        );
    }
}

#[test]
fn silence_decodes_to_silence() {
    for coder in CODERS {
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let frames = frames(|out| transcoder.silence(48_000, out)).unwrap();
        assert!(decode_aac(&frames).iter().all(|sample| sample.abs() < 1e-4));
    }
}

#[test]
fn damaged_aac_and_configurations_are_errors_not_crashes() {
    for coder in CODERS {
        let seed = 11;
        let mut random = StdRng::seed_from_u64(seed);
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let good = frames(|out| transcoder.silence(48_000, out)).unwrap();
        let mut decoder = AacDecoder::new(&AUDIO_SPECIFIC_CONFIG).unwrap();
        let mut pcm = Vec::new();
        for _ in 0..2_000 {
            let mut frame = vec![0; random.random_range(0..800)];
            random.fill(frame.as_mut_slice());
            // Any answer to noise is right, as long as there is one.
            let _ = decoder.decode(&frame, &mut pcm);
            pcm.clear();
        }
        assert_eq!(
            decoder.decode(&good[20], &mut pcm).unwrap(),
            AAC_SAMPLES_PER_FRAME as usize
        );
        for length in [0, 1, 2, 5, 64, 65] {
            let mut config = vec![0; length];
            random.fill(config.as_mut_slice());
            let _ = AacDecoder::new(&config);
        }
        assert!(AacDecoder::new(&[]).is_err());
    }
}
