//! The audio of the loop: a quiet chord with noise, which keeps encoders busy, and a loud beep of
//! 50 ms with each flash. The channels of stereo differ in chord and noise, so that no encoder can
//! code them as one.

use std::f32::consts::TAU;

use bytes::Bytes;

use super::{
    AUDIO_PACKETS_PER_SECOND, AudioChannels, BEEP_INTERVAL_MS, LOOP_SECONDS, TestClipFormat,
};
use crate::BenchError;

const SAMPLE_RATE_HZ: usize = 48_000;
/// Samples a second of Opus and AAC.
pub(crate) const AUDIO_RATE_HZ: u32 = 48_000;
/// Samples of an AAC frame.
pub(crate) const AAC_FRAME_SAMPLES: usize = shardcast_aac::FRAME_SAMPLES;
/// Passes through the loop after which an AAC frame ends together with it.
const AAC_PASSES: usize = 4;
const PACKET_SAMPLES: usize = SAMPLE_RATE_HZ / AUDIO_PACKETS_PER_SECOND as usize;
const BEEP_SAMPLES: usize = SAMPLE_RATE_HZ / 20;
const BEEP_SPACING_SAMPLES: usize = SAMPLE_RATE_HZ / 1_000 * BEEP_INTERVAL_MS as usize;
/// Largest Opus packet (RFC 6716 3.2.1).
const PACKET_BYTES_MAX: usize = 1_275;

/// The Opus packets of the loop. The loop is encoded twice and the second pass is kept, so that the
/// state of the encoder at the end matches that at the beginning.
pub(super) fn make(format: &TestClipFormat) -> Result<Vec<Bytes>, BenchError> {
    let failed = |e: opus::Error| BenchError::Program {
        program: "the Opus encoder".to_owned(),
        reason: e.to_string(),
    };
    let (channels, count) = match format.channels {
        AudioChannels::Mono => (opus::Channels::Mono, 1),
        AudioChannels::Stereo => (opus::Channels::Stereo, 2),
    };
    let mut encoder = opus::Encoder::new(SAMPLE_RATE_HZ as u32, channels, opus::Application::Audio)
        .map_err(failed)?;
    // Without this, libopus chooses the channels of each packet by the bit rate.
    encoder.set_force_channels(Some(channels)).map_err(failed)?;
    let bitrate = i32::try_from(format.audio_kbps)
        .unwrap_or(i32::MAX)
        .saturating_mul(1_000);
    encoder
        .set_bitrate(opus::Bitrate::Bits(bitrate))
        .map_err(failed)?;
    let pcm = pcm(format.channels);
    let mut packets = Vec::new();
    for time in 0..2 {
        for samples in pcm.chunks_exact(PACKET_SAMPLES * count) {
            let packet = encoder
                .encode_vec_float(samples, PACKET_BYTES_MAX)
                .map_err(failed)?;
            if time == 1 {
                packets.push(Bytes::from(packet));
            }
        }
    }
    Ok(packets)
}

/// The AudioSpecificConfig of [`aac`] (ISO/IEC 14496-3 1.6.2.1).
pub(crate) fn aac_config() -> [u8; 2] {
    shardcast_aac::Encoder::audio_specific_config()
}

/// The audio of the loop as AAC frames. It is encoded twice and the second pass is kept, as with Opus.
pub(super) fn aac(format: &TestClipFormat) -> Result<Vec<Bytes>, BenchError> {
    let failed = |e: &dyn std::fmt::Display| BenchError::Program {
        program: "the AAC encoder".to_owned(),
        reason: e.to_string(),
    };
    let mut encoder = shardcast_aac::Encoder::new(format.audio_kbps.saturating_mul(1_000))
        .map_err(|e| failed(&e))?;
    let pcm = pcm(format.channels);
    let count = match format.channels {
        AudioChannels::Mono => 1,
        AudioChannels::Stereo => 2,
    };
    let frames = pcm.len() / count * AAC_PASSES / AAC_FRAME_SAMPLES;
    let mut samples = pcm.chunks_exact(count).cycle();
    let mut kept = Vec::new();
    for n in 0..2 * frames {
        let (mut left, mut right) = ([0.0; AAC_FRAME_SAMPLES], [0.0; AAC_FRAME_SAMPLES]);
        for (left, right) in left.iter_mut().zip(&mut right) {
            let sample = samples.next().unwrap_or_default();
            *left = sample.first().copied().unwrap_or_default();
            *right = sample.last().copied().unwrap_or_default();
        }
        let mut frame = Vec::new();
        encoder.encode(&left, (count == 2).then_some(&right), &mut frame);
        if n >= frames {
            kept.push(Bytes::from(frame));
        }
    }
    Ok(kept)
}

/// Chords of the left and the right channel in hertz; mono has both. All are whole numbers, so the
/// loop is seamless.
const CHORDS: [[f32; 2]; 2] = [[220.0, 1_661.0], [277.0, 5_274.0]];

/// Interleaved samples.
fn pcm(channels: AudioChannels) -> Vec<f32> {
    let mut noise = 1_u32;
    let mut hiss = move || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.01 * (noise as f32 / u32::MAX as f32 - 0.5)
    };
    let mut samples = Vec::new();
    for n in 0..LOOP_SECONDS as usize * SAMPLE_RATE_HZ {
        let t = n as f32 / SAMPLE_RATE_HZ as f32;
        let tone = |hertz: f32| (TAU * hertz * t).sin();
        let beeps = n % BEEP_SPACING_SAMPLES < BEEP_SAMPLES;
        let loud = if beeps { 0.5 * tone(1_000.0) } else { 0.0 };
        let [left, right] = CHORDS.map(|chord| chord.into_iter().map(tone).sum::<f32>());
        match channels {
            AudioChannels::Mono => samples.push(0.015 * (left + right) + hiss() + loud),
            AudioChannels::Stereo => {
                samples.extend([left, right].map(|chord| 0.03 * chord + hiss() + loud));
            }
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_has_the_channels_of_the_format() {
        /// The bit `s` of the TOC byte (RFC 6716 3.1).
        const STEREO: u8 = 0x04;
        for (channels, bit) in [(AudioChannels::Mono, 0), (AudioChannels::Stereo, STEREO)] {
            let format = TestClipFormat {
                channels,
                ..TestClipFormat::default()
            };
            let packets = make(&format).unwrap();
            assert!(!packets.is_empty());
            assert!(
                packets.iter().all(|packet| packet[0] & STEREO == bit),
                "{channels:?}"
            );
            let kbps =
                packets.iter().map(Bytes::len).sum::<usize>() * 8 / 1_000 / LOOP_SECONDS as usize;
            assert!((60..110).contains(&kbps), "{channels:?}: {kbps} kbit/s");
        }
    }
}
