//! Encodes a WAV file to ADTS: `wav_to_adts IN.wav OUT.aac BITRATE_BPS [mono]`.
//!
//! The WAV file is 48 kHz, one or two channels, in 16 bits or 32-bit float. With `mono`, or with
//! one channel, the encoder is given one channel and writes a pair.
#![allow(
    clippy::indexing_slicing,
    reason = "an example stops at a file that is no WAV"
)]

use std::error::Error;
use std::{env, fs};

use shardcast_aac::{Encoder, FRAME_SAMPLES};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [input, output, bitrate, rest @ ..] = &arguments[..] else {
        return Err("wav_to_adts IN.wav OUT.aac BITRATE_BPS [mono]".into());
    };
    let (channels, samples) = read_wav(&fs::read(input)?)?;
    let mono = channels == 1 || rest.iter().any(|argument| argument == "mono");
    let mut encoder = Encoder::new(bitrate.parse()?)?;
    let mut adts = Vec::new();
    let mut block = Vec::new();
    // One block of silence more than there is: the transform overlaps by one block.
    for start in (0..samples.len() / channels + 2 * FRAME_SAMPLES).step_by(FRAME_SAMPLES) {
        let channel = |channel: usize| -> [f32; FRAME_SAMPLES] {
            core::array::from_fn(|n| {
                samples
                    .get((start + n) * channels + channel)
                    .copied()
                    .unwrap_or(0.0)
            })
        };
        block.clear();
        let right = channel(channels - 1);
        if encoder.encode(&channel(0), (!mono).then_some(&right), &mut block) {
            adts.extend(adts_header(block.len()));
            adts.extend(&block);
        }
    }
    fs::write(output, adts)?;
    Ok(())
}

/// The header of a frame without a checksum (ISO/IEC 14496-3, 1.A.2.2): AAC-LC, 48 kHz, stereo.
fn adts_header(payload: usize) -> [u8; 7] {
    let length = payload + 7;
    [
        0xff,
        0xf1,
        1 << 6 | 3 << 2,
        (2 << 6) | (length >> 11) as u8,
        (length >> 3) as u8,
        ((length & 7) as u8) << 5 | 0x1f,
        0xfc,
    ]
}

/// Channels and interleaved samples.
fn read_wav(file: &[u8]) -> Result<(usize, Vec<f32>), Box<dyn Error>> {
    let mut rest = file.get(12..).ok_or("not a WAV file")?;
    let mut format = None;
    while let Some((header, body)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes(header[4..].try_into()?) as usize;
        let chunk = &body[..length.min(body.len())];
        match &header[..4] {
            b"fmt " => {
                let word = |at: usize| u16::from_le_bytes([chunk[at], chunk[at + 1]]);
                let rate = u32::from(word(6)) << 16 | u32::from(word(4));
                if rate != 48_000 || !(1..=2).contains(&word(2)) {
                    return Err(format!("{rate} Hz in {} channels", word(2)).into());
                }
                format = Some((usize::from(word(2)), word(14)));
            }
            b"data" => {
                let (channels, bits) = format.ok_or("no format before the data")?;
                let samples = match bits {
                    16 => chunk
                        .chunks_exact(2)
                        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0)
                        .collect(),
                    32 => chunk
                        .chunks_exact(4)
                        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                        .collect(),
                    _ => return Err(format!("{bits} bits a sample").into()),
                };
                return Ok((channels, samples));
            }
            _ => {}
        }
        rest = body.get(length + length % 2..).unwrap_or_default();
    }
    Err("no data".into())
}
