//! Left stays left, a mono publisher is encoded as one channel and heard in both, nobody hears when a
//! publisher changes from one to the other, and silence is coded once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::f32::consts::TAU;

use bytes::Bytes;
use opus::{Application, Bitrate, Channels, Encoder};
use shardcast_media::{
    AAC_BITRATE_BPS, AUDIO_SPECIFIC_CONFIG, AacCoder, AacDecoder, CHANNELS, OpusToAac,
    SAMPLE_RATE_HZ,
};

const PACKET_SAMPLES: usize = 960;
const FRAME_SAMPLES: usize = 1024;

/// What is true of one encoder is true of the other.
const CODERS: [AacCoder; 2] = [AacCoder::Shardcast, AacCoder::Libavcodec];

fn tone(hertz: f32, n: usize) -> f32 {
    0.3 * (TAU * hertz * n as f32 / SAMPLE_RATE_HZ as f32).sin()
}

fn opus_encoder(channels: Channels) -> Encoder {
    let mut encoder = Encoder::new(SAMPLE_RATE_HZ, channels, Application::Audio).unwrap();
    encoder.set_bitrate(Bitrate::Bits(96_000)).unwrap();
    encoder
}

fn decode(frames: &[Bytes]) -> [Vec<f32>; CHANNELS] {
    let mut decoder = AacDecoder::new(&AUDIO_SPECIFIC_CONFIG).unwrap();
    let mut channels = [Vec::new(), Vec::new()];
    for frame in frames {
        let samples = decoder.decode_channels(frame, &mut channels).unwrap();
        assert_eq!(samples, FRAME_SAMPLES);
    }
    channels
}

/// Amplitude of a tone in samples.
fn amplitude(samples: &[f32], hertz: f32) -> f32 {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let angle = TAU * hertz * n as f32 / SAMPLE_RATE_HZ as f32;
        sine += sample * angle.sin();
        cosine += sample * angle.cos();
    }
    2.0 * f32::hypot(sine, cosine) / samples.len() as f32
}

/// The largest bend between three samples: that of a step or a click is as large as itself, that of a
/// tone of 1 kHz a sixtieth of its amplitude.
fn sharpest(samples: &[f32]) -> f32 {
    let bends = samples.windows(3).map(|w| (w[0] - 2.0 * w[1] + w[2]).abs());
    bends.fold(0.0, f32::max)
}

#[test]
fn left_stays_left_and_right_stays_right() {
    for coder in CODERS {
        let mut encoder = opus_encoder(Channels::Stereo);
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let mut frames = Vec::new();
        for packet in 0..50 {
            let first = packet * PACKET_SAMPLES;
            let pcm =
                (first..first + PACKET_SAMPLES).flat_map(|n| [tone(440.0, n), tone(1_000.0, n)]);
            let pcm: Vec<f32> = pcm.collect();
            let packet = encoder.encode_vec_float(&pcm, 1_500).unwrap();
            transcoder.decode(&packet, &mut frames).unwrap();
        }
        assert_eq!(transcoder.report().mono_frames, 0);
        let [left, right] = decode(&frames).map(|channel| channel[9_600..43_200].to_vec());
        assert!(amplitude(&left, 440.0) > 0.27 && amplitude(&right, 1_000.0) > 0.27);
        assert!(amplitude(&left, 1_000.0) < 0.01 && amplitude(&right, 440.0) < 0.01);
    }
}

#[test]
fn a_mono_publisher_is_encoded_as_one_channel_and_heard_in_both() {
    for coder in CODERS {
        let mut encoder = opus_encoder(Channels::Mono);
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let mut frames = Vec::new();
        for packet in 0..50 {
            let first = packet * PACKET_SAMPLES;
            let pcm = (first..first + PACKET_SAMPLES).map(|n| tone(440.0, n) + tone(3_000.0, n));
            let packet = encoder
                .encode_vec_float(&pcm.collect::<Vec<_>>(), 1_500)
                .unwrap();
            transcoder.decode(&packet, &mut frames).unwrap();
        }
        let report = transcoder.report();
        assert_eq!(report.frames, frames.len() as u64);
        assert!(report.mono_frames >= report.frames, "{report:?}");
        let [left, right] = decode(&frames).map(|channel| channel[9_600..43_200].to_vec());
        assert!(amplitude(&left, 440.0) > 0.27 && amplitude(&left, 3_000.0) > 0.27);
        let difference = left.iter().zip(&right).map(|(l, r)| (l - r).abs());
        assert!(difference.fold(0.0, f32::max) < 1e-4);
    }
}

/// Both ways in which a sender changes: one encoder that changes its packets, as libopus does when the
/// bit rate falls, and another encoder, as browsers make when a page changes its microphone. That one
/// begins without a past, so what is decoded bends there by itself.
#[test]
fn a_change_between_mono_and_stereo_is_not_heard_and_takes_no_time() {
    for (coder, is_one_encoder) in CODERS
        .into_iter()
        .flat_map(|coder| [(coder, true), (coder, false)])
    {
        let packets = mono_and_stereo(is_one_encoder);
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let mut decoder = opus::Decoder::new(SAMPLE_RATE_HZ, Channels::Stereo).unwrap();
        let (mut frames, mut decoded) = (Vec::new(), [Vec::new(), Vec::new()]);
        let mut mono_frames = [0; 4];
        for (number, packet) in packets.iter().enumerate() {
            let before = transcoder.report().mono_frames;
            transcoder.decode(packet, &mut frames).unwrap();
            mono_frames[number / PACKETS_PER_PART] += transcoder.report().mono_frames - before;
            let mut pcm = [0.0; PACKET_SAMPLES * CHANNELS];
            decoder.decode_float(packet, &mut pcm, false).unwrap();
            for pair in pcm.chunks(CHANNELS) {
                decoded[0].push(pair[0]);
                decoded[1].push(pair[1]);
            }
        }
        let samples = packets.len() * PACKET_SAMPLES;
        assert_eq!(frames.len(), samples / FRAME_SAMPLES - 1);
        // Of 23 frames; what is left of stereo takes some packets to fade from a decoder.
        let [mono, stereo, mono_again, stereo_again] = mono_frames;
        assert!(mono >= 22 && mono_again >= 12, "{mono_frames:?}");
        assert!(stereo <= 1 && stereo_again <= 1, "{mono_frames:?}");

        let sounds = decode(&frames);
        for (sound, decoded) in sounds.iter().zip(&decoded) {
            for change in 1..4 {
                let at = change * PACKETS_PER_PART * PACKET_SAMPLES;
                let around = at - 4_800..at + 4_800;
                let (bend, bend_of_opus) =
                    (sharpest(&sound[around.clone()]), sharpest(&decoded[around]));
                let most = if is_one_encoder {
                    0.01
                } else {
                    bend_of_opus + NOISE
                };
                assert!(
                    bend < most,
                    "change {change}: {bend}, in Opus {bend_of_opus}"
                );
            }
        }
        let [left, right] = sounds.map(|sound| sound[30_000..44_000].to_vec());
        assert!(amplitude(&left, 440.0) > 0.27 && amplitude(&right, 660.0) > 0.27);
        assert!(amplitude(&left, 660.0) < 0.02 && amplitude(&right, 440.0) < 0.02);
    }
}

const PACKETS_PER_PART: usize = 25;

/// What the noise of AAC may add to a bend: a twentieth of the tone.
const NOISE: f32 = 0.015;

/// Half a second each of mono, stereo, mono and stereo.
fn mono_and_stereo(is_one_encoder: bool) -> Vec<Vec<u8>> {
    let mut encoder = opus_encoder(Channels::Stereo);
    let mut packet = |number: usize| {
        let is_mono = (number / PACKETS_PER_PART).is_multiple_of(2);
        if number.is_multiple_of(PACKETS_PER_PART) {
            if !is_one_encoder {
                encoder = opus_encoder(Channels::Stereo);
            }
            let channels = [Channels::Stereo, Channels::Mono][usize::from(is_mono)];
            encoder.set_force_channels(Some(channels)).unwrap();
        }
        let right = if is_mono { 440.0 } else { 660.0 };
        let first = number * PACKET_SAMPLES;
        let samples = first..first + PACKET_SAMPLES;
        let pcm: Vec<f32> = samples
            .flat_map(|n| [tone(440.0, n), tone(right, n)])
            .collect();
        encoder.encode_vec_float(&pcm, 1_500).unwrap()
    };
    (0..4 * PACKETS_PER_PART).map(&mut packet).collect()
}

#[test]
fn silence_is_encoded_once_and_what_follows_is_where_it_belongs() {
    for coder in CODERS {
        let mut encoder = opus_encoder(Channels::Stereo);
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let mut frames = Vec::new();
        let mut packets = |first: usize, transcoder: &mut OpusToAac, frames: &mut Vec<Bytes>| {
            for packet in 0..50 {
                let first = first + packet * PACKET_SAMPLES;
                let pcm = (first..first + PACKET_SAMPLES).flat_map(|n| [tone(440.0, n); CHANNELS]);
                let pcm: Vec<f32> = pcm.collect();
                let packet = encoder.encode_vec_float(&pcm, 1_500).unwrap();
                transcoder.decode(&packet, frames).unwrap();
            }
        };
        packets(0, &mut transcoder, &mut frames);
        let before = transcoder.report().repeated_frames;
        transcoder.silence(96_000, &mut frames).unwrap();
        let repeated = transcoder.report().repeated_frames - before;
        assert!((80..94).contains(&repeated), "{repeated} of 94 frames");
        let (third, last) = (&frames[110], &frames[130]);
        assert_eq!(third.as_ptr(), last.as_ptr(), "one frame, shared");
        packets(144_000, &mut transcoder, &mut frames);
        assert_eq!(frames.len(), 192_000 / FRAME_SAMPLES - 1);

        let [left, right] = decode(&frames);
        for channel in [left, right] {
            assert!(amplitude(&channel[9_600..43_200], 440.0) > 0.27);
            let silent = &channel[55_000..143_000];
            assert!(silent.iter().all(|sample| sample.abs() < 1e-4));
            // The tone begins behind the delays of both codecs, not before and not a frame later.
            assert!(
                channel[143_000..145_000]
                    .iter()
                    .all(|sample| sample.abs() < 0.02)
            );
            assert!(amplitude(&channel[146_000..180_000], 440.0) > 0.27);
        }
    }
}

#[test]
fn a_muted_microphone_is_not_coded_and_is_heard_at_once_when_it_speaks() {
    for coder in CODERS {
        let mut encoder = opus_encoder(Channels::Mono);
        let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
        let mut decoder = opus::Decoder::new(SAMPLE_RATE_HZ, Channels::Mono).unwrap();
        let (mut frames, mut decoded) = (Vec::new(), Vec::new());
        // A second of sound, three of silence, a second of sound.
        for packet in 0..250 {
            let is_muted = (50..200).contains(&packet);
            let first = packet * PACKET_SAMPLES;
            let samples = first..first + PACKET_SAMPLES;
            let pcm: Vec<f32> = samples
                .map(|n| if is_muted { 0.0 } else { tone(440.0, n) })
                .collect();
            let packet = encoder.encode_vec_float(&pcm, 1_500).unwrap();
            transcoder.decode(&packet, &mut frames).unwrap();
            let mut pcm = [0.0; PACKET_SAMPLES];
            decoder.decode_float(&packet, &mut pcm, false).unwrap();
            decoded.extend_from_slice(&pcm);
        }
        let report = transcoder.report();
        assert!((80..125).contains(&report.silent_packets), "{report:?}");
        assert!((80..140).contains(&report.repeated_frames), "{report:?}");
        assert_eq!(frames.len(), 250 * PACKET_SAMPLES / FRAME_SAMPLES - 1);

        let [sound, _] = decode(&frames);
        assert!(sound[75_000..190_000].iter().all(|s| s.abs() < 1e-4));
        assert!(amplitude(&sound[196_000..230_000], 440.0) > 0.27);
        let bend = sharpest(&sound[188_000..196_000]);
        let bend_of_opus = sharpest(&decoded[188_000..196_000]);
        assert!(
            bend < bend_of_opus + NOISE,
            "{bend}, in Opus {bend_of_opus}"
        );
    }
}
