//! The crate `syom` with its defaults.

use syom::{EncodeOptions, Encoder};

use super::{Stream, thread_cpu};
use crate::clip::{Clip, RATE_HZ};

pub fn encode(clip: &Clip, bps: u32) -> Result<Stream, String> {
    let count = clip.channels.len();
    let options = EncodeOptions::raw().with_bitrate_bps(bps);
    let mut encoder = Encoder::new(RATE_HZ, count, &options).map_err(|e| e.to_string())?;
    let channels: Vec<_> = (0..count).map(|c| clip.frames_f32(c)).collect();
    let mut stream = Stream::new(count);
    for f in 0..clip.frames() {
        let planes: Vec<&[f32]> = channels.iter().map(|c| &c[f][..]).collect();
        let start = thread_cpu();
        let fed = encoder.feed(&planes, |frame| {
            stream.frames.push(frame.payload.to_vec());
            Ok(())
        });
        stream.cpu += thread_cpu() - start;
        fed.map_err(|e| e.to_string())?;
    }
    Ok(stream)
}
