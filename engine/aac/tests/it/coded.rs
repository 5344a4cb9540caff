//! Encodes a signal, checks every frame, and decodes it with libavcodec.

use ffmpeg_next as ffmpeg;
use shardcast_aac::{Encoder, FRAME_SAMPLES};

/// The most bits of a frame: 6144 for each channel (ISO/IEC 14496-3, 4.5.3.2).
pub(crate) const FRAME_BITS_MAX: usize = 2 * 6144;

/// One channel of a signal.
pub(crate) type Channel = Vec<f32>;

/// The raw data blocks of a signal, and of one block of silence after it, so that the last samples
/// come out too. Without a right channel both are `left`.
pub(crate) fn encode(bitrate_bps: u32, left: &[f32], right: Option<&[f32]>) -> Vec<Vec<u8>> {
    encode_changing(bitrate_bps, left, |_| right)
}

/// The same, with `right` asked for every block by its number.
pub(crate) fn encode_changing<'a>(
    bitrate_bps: u32,
    left: &[f32],
    right: impl Fn(usize) -> Option<&'a [f32]>,
) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(bitrate_bps).unwrap();
    let block = |channel: &[f32], index: usize| -> [f32; FRAME_SAMPLES] {
        let start = index * FRAME_SAMPLES;
        core::array::from_fn(|n| channel.get(start + n).copied().unwrap_or(0.0))
    };
    let mut frames = Vec::new();
    for index in 0..left.len().div_ceil(FRAME_SAMPLES) + 2 {
        let right = right(index).map(|right| block(right, index));
        let mut frame = Vec::new();
        let came = encoder.encode(&block(left, index), right.as_ref(), &mut frame);
        assert_eq!(came, index > 0, "block {index}");
        assert_eq!(came, !frame.is_empty());
        assert!(frame.len() * 8 <= FRAME_BITS_MAX, "{} bytes", frame.len());
        if came {
            frames.push(frame);
        }
    }
    frames
}

/// Left and right of all frames, without the first, which comes before the signal.
pub(crate) fn decode(frames: &[Vec<u8>]) -> [Channel; 2] {
    let codec = ffmpeg::decoder::find(ffmpeg::codec::Id::AAC).unwrap();
    let context = ffmpeg::codec::Context::new_with_codec(codec);
    let mut options = ffmpeg::Dictionary::new();
    options.set("err_detect", "crccheck+bitstream+buffer+explode");
    let mut decoder = context.decoder().open_as_with(codec, options).unwrap();
    let mut channels = [Channel::new(), Channel::new()];
    for (index, frame) in frames.iter().enumerate() {
        let mut packet = adts_header(frame.len()).to_vec();
        packet.extend(frame);
        decoder
            .send_packet(&ffmpeg::Packet::copy(&packet))
            .unwrap_or_else(|error| panic!("frame {index}: {error}"));
        let mut audio = ffmpeg::frame::Audio::empty();
        decoder
            .receive_frame(&mut audio)
            .unwrap_or_else(|error| panic!("frame {index}: {error}"));
        assert_eq!((audio.samples(), audio.planes()), (FRAME_SAMPLES, 2));
        for (plane, channel) in channels.iter_mut().enumerate() {
            channel.extend(audio.plane::<f32>(plane));
        }
    }
    channels.map(|channel| channel[FRAME_SAMPLES..].to_vec())
}

/// Encodes and decodes.
pub(crate) fn round_trip(bitrate_bps: u32, left: &[f32], right: Option<&[f32]>) -> [Channel; 2] {
    decode(&encode(bitrate_bps, left, right))
}

/// Signal to noise of what came out, in dB.
pub(crate) fn snr_db(reference: &[f32], decoded: &[f32]) -> f64 {
    let energy: f64 = reference.iter().map(|x| f64::from(*x).powi(2)).sum();
    let noise: f64 = reference
        .iter()
        .zip(decoded)
        .map(|(x, y)| f64::from(x - y).powi(2))
        .sum();
    10.0 * (energy / noise.max(1e-20)).log10()
}

/// The ADTS header of a frame without a checksum: AAC-LC, 48 kHz, stereo.
fn adts_header(payload: usize) -> [u8; 7] {
    let length = payload + 7;
    let (high, middle, low) = (length >> 11, length >> 3, length & 7);
    [
        0xff,
        0xf1,
        0x4c,
        0x80 | high as u8,
        middle as u8,
        (low as u8) << 5 | 0x1f,
        0xfc,
    ]
}
