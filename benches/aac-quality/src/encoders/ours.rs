//! `shardcast-aac`. Mono is coded as a channel pair, as Shardcast sends it.

use shardcast_aac::Encoder;

use super::{Stream, thread_cpu};
use crate::clip::Clip;

pub fn encode(clip: &Clip, bps: u32) -> Result<Stream, String> {
    let left = clip.frames_f32(0);
    let right = (clip.channels.len() > 1).then(|| clip.frames_f32(1));
    let mut encoder = Encoder::new(bps).map_err(|e| e.to_string())?;
    let mut stream = Stream::new(2);
    stream.config = Encoder::audio_specific_config();
    let mut out = Vec::new();
    let start = thread_cpu();
    for (i, left) in left.iter().enumerate() {
        out.clear();
        if encoder.encode(left, right.as_ref().map(|r| &r[i]), &mut out) {
            stream.frames.push(out.clone());
        }
    }
    stream.cpu = thread_cpu() - start;
    Ok(stream)
}
