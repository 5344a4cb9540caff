//! The sound of the loop: a quiet chord with noise, so that encoders have work, and a loud beep of
//! 50 ms with each flash.

use std::f32::consts::TAU;

use bytes::Bytes;

use super::{AUDIO_PACKETS_PER_SECOND, BEEP_INTERVAL_MS, ClipFormat, LOOP_SECONDS};
use crate::BenchError;

const SAMPLE_RATE_HZ: usize = 48_000;
const PACKET_SAMPLES: usize = SAMPLE_RATE_HZ / AUDIO_PACKETS_PER_SECOND as usize;
const BEEP_SAMPLES: usize = SAMPLE_RATE_HZ / 20;
const BEEP_SPACING_SAMPLES: usize = SAMPLE_RATE_HZ / 1_000 * BEEP_INTERVAL_MS as usize;
const PACKET_BYTES_MAX: usize = 1_275;

/// The Opus packets of the loop. They are those of the second time round, so that the end joins the
/// beginning in the encoder's state too.
pub(super) fn make(format: &ClipFormat) -> Result<Vec<Bytes>, BenchError> {
    let failed = |e: opus::Error| BenchError::Program {
        program: "the Opus encoder".to_owned(),
        reason: e.to_string(),
    };
    let mut encoder = opus::Encoder::new(
        SAMPLE_RATE_HZ as u32,
        opus::Channels::Stereo,
        opus::Application::Audio,
    )
    .map_err(failed)?;
    let bitrate = i32::try_from(format.audio_kbps)
        .unwrap_or(i32::MAX)
        .saturating_mul(1_000);
    encoder
        .set_bitrate(opus::Bitrate::Bits(bitrate))
        .map_err(failed)?;
    let pcm = pcm();
    let mut packets = Vec::new();
    for time in 0..2 {
        for samples in pcm.chunks_exact(PACKET_SAMPLES * 2) {
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

/// Interleaved stereo. All frequencies are whole numbers, so the loop has no seam.
fn pcm() -> Vec<f32> {
    let mut noise = 1_u32;
    (0..LOOP_SECONDS as usize * SAMPLE_RATE_HZ)
        .flat_map(|n| {
            let t = n as f32 / SAMPLE_RATE_HZ as f32;
            let tone = |hertz: f32| (TAU * hertz * t).sin();
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = 0.01 * (noise as f32 / u32::MAX as f32 - 0.5);
            let quiet = 0.015 * (tone(220.0) + tone(277.0) + tone(1_661.0) + tone(5_274.0)) + hiss;
            let beeps = n % BEEP_SPACING_SAMPLES < BEEP_SAMPLES;
            let loud = if beeps { 0.5 * tone(1_000.0) } else { 0.0 };
            [quiet + loud; 2]
        })
        .collect()
}
