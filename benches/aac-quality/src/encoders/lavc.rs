//! libavcodec's own encoder, with the library of the distribution.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::{Sample, sample::Type};

use super::{Stream, thread_cpu};
use crate::clip::{Clip, FRAME, RATE_HZ};

const FORMAT: Sample = Sample::F32(Type::Planar);

pub fn encode(clip: &Clip, bps: u32, coder: &str) -> Result<Stream, String> {
    run(clip, bps, coder).map_err(|e| e.to_string())
}

fn run(clip: &Clip, bps: u32, coder: &str) -> Result<Stream, ffmpeg::Error> {
    let count = clip.channels.len();
    let layout = ffmpeg::ChannelLayout::default(count as i32);
    let codec = ffmpeg::encoder::find_by_name("aac").ok_or(ffmpeg::Error::EncoderNotFound)?;
    let mut audio = ffmpeg::codec::Context::new_with_codec(codec)
        .encoder()
        .audio()?;
    audio.set_rate(RATE_HZ as i32);
    audio.set_channel_layout(layout);
    audio.set_format(FORMAT);
    audio.set_bit_rate(bps as usize);
    audio.set_time_base((1, RATE_HZ as i32));
    let mut options = ffmpeg::Dictionary::new();
    options.set("aac_coder", coder);
    let mut encoder = audio.open_as_with(codec, options)?;

    let channels: Vec<_> = (0..count).map(|c| clip.frames_f32(c)).collect();
    let mut stream = Stream::new(count);
    let mut packet = ffmpeg::Packet::empty();
    for f in 0..clip.frames() {
        let mut frame = ffmpeg::frame::Audio::new(FORMAT, FRAME, layout);
        frame.set_rate(RATE_HZ);
        frame.set_pts(Some((f * FRAME) as i64));
        for (c, channel) in channels.iter().enumerate() {
            frame.plane_mut::<f32>(c).copy_from_slice(&channel[f]);
        }
        let start = thread_cpu();
        encoder.send_frame(&frame)?;
        while encoder.receive_packet(&mut packet).is_ok() {
            stream
                .frames
                .push(packet.data().unwrap_or_default().to_vec());
        }
        stream.cpu += thread_cpu() - start;
    }
    Ok(stream)
}
