//! The crate `oxideav-aac` with its defaults.

use oxideav_aac::encoder::{EncoderConfig, StreamEncoder};

use super::{Stream, thread_cpu};
use crate::clip::{Clip, RATE_HZ};

/// Length of an ADTS header without checksum, which the crate puts before each frame.
const ADTS_BYTES: usize = 7;

pub fn encode(clip: &Clip, bps: u32) -> Result<Stream, String> {
    let count = clip.channels.len();
    // The crate counts the ADTS header into the bit rate, which the others do not write.
    let bitrate = bps + ADTS_BYTES as u32 * 8 * RATE_HZ / 1024;
    let config = EncoderConfig {
        sample_rate: RATE_HZ,
        channels: count as u8,
        bitrate,
    };
    let mut encoder = StreamEncoder::new(config).map_err(|e| format!("{e:?}"))?;
    let mut stream = Stream::new(count);
    for frame in clip.frames_interleaved() {
        let start = thread_cpu();
        let coded = encoder.encode_frame(&frame).map_err(|e| format!("{e:?}"))?;
        stream.cpu += thread_cpu() - start;
        stream
            .frames
            .push(coded.get(ADTS_BYTES..).unwrap_or_default().to_vec());
    }
    Ok(stream)
}
