//! AAC-LC by libavcodec. The frame that is being filled is the only buffer of samples.

use std::sync::Once;

use bytes::Bytes;
use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::{Sample, sample::Type};

use crate::limits::AAC_BITRATES_BPS;
use crate::{AAC_SAMPLES_PER_FRAME, CHANNELS, MediaError, SAMPLE_RATE_HZ};

const FRAME_SAMPLES: usize = AAC_SAMPLES_PER_FRAME as usize;
const FORMAT: Sample = Sample::F32(Type::Planar);
const NAME: &str = "AAC encoder";

/// Takes interleaved stereo of any length, gives frames of exactly 1024 samples.
pub(crate) struct AacEncoder {
    encoder: ffmpeg::encoder::audio::Encoder,
    frame: ffmpeg::frame::Audio,
    packet: ffmpeg::Packet,
    /// Samples (per channel) of `frame` that are filled, always below 1024.
    filled: usize,
    pts: i64,
}

impl AacEncoder {
    pub(crate) fn new(bitrate_bps: usize) -> Result<Self, MediaError> {
        silence_library_log();
        if !AAC_BITRATES_BPS.contains(&bitrate_bps) {
            return Err(MediaError::AacBitRate { bitrate_bps });
        }
        let codec =
            ffmpeg::encoder::find_by_name("aac").ok_or(MediaError::CodecMissing { codec: NAME })?;
        let open = || -> Result<_, ffmpeg::Error> {
            let context = ffmpeg::codec::Context::new_with_codec(codec);
            let mut audio = context.encoder().audio()?;
            audio.set_rate(SAMPLE_RATE_HZ as i32);
            audio.set_channel_layout(ffmpeg::ChannelLayout::STEREO);
            audio.set_format(FORMAT);
            audio.set_bit_rate(bitrate_bps);
            audio.set_time_base((1, SAMPLE_RATE_HZ as i32));
            // Half the price of the default two-loop search; at 128 kbit/s it costs 2 dB of SNR.
            let mut options = ffmpeg::Dictionary::new();
            options.set("aac_coder", "fast");
            audio.open_as_with(codec, options)
        };
        let encoder = open().map_err(|e| MediaError::Open {
            codec: NAME,
            reason: e.to_string(),
        })?;
        let mut frame =
            ffmpeg::frame::Audio::new(FORMAT, FRAME_SAMPLES, ffmpeg::ChannelLayout::STEREO);
        frame.set_rate(SAMPLE_RATE_HZ);
        // `Audio::new` does not tell when memory is short, and its planes panic then.
        if frame.planes() != CHANNELS {
            let reason = "no memory for a frame of samples".to_owned();
            return Err(MediaError::Open {
                codec: NAME,
                reason,
            });
        }
        Ok(Self {
            encoder,
            frame,
            packet: ffmpeg::Packet::empty(),
            filled: 0,
            pts: 0,
        })
    }

    /// Appends interleaved stereo; frames that became whole go to `out`.
    pub(crate) fn push(&mut self, pcm: &[f32], out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        let mut rest = pcm;
        while !rest.is_empty() {
            let room = (FRAME_SAMPLES - self.filled) * CHANNELS;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.write_plane(0, now);
            self.write_plane(1, now);
            self.advance(now.len() / CHANNELS, out)?;
            rest = later;
        }
        Ok(())
    }

    /// Appends so many samples of silence.
    pub(crate) fn push_silence(
        &mut self,
        samples: usize,
        out: &mut Vec<Bytes>,
    ) -> Result<(), MediaError> {
        let mut rest = samples;
        while rest > 0 {
            let now = rest.min(FRAME_SAMPLES - self.filled);
            for plane in 0..CHANNELS {
                let plane = self.frame.plane_mut::<f32>(plane).iter_mut();
                plane
                    .skip(self.filled)
                    .take(now)
                    .for_each(|sample| *sample = 0.0);
            }
            self.advance(now, out)?;
            rest -= now;
        }
        Ok(())
    }

    /// Copies one channel out of interleaved samples. Out of range and not-a-number become finite
    /// here, because the encoder refuses a whole frame for one of them.
    fn write_plane(&mut self, channel: usize, interleaved: &[f32]) {
        let plane = self
            .frame
            .plane_mut::<f32>(channel)
            .iter_mut()
            .skip(self.filled);
        for (to, from) in plane.zip(interleaved.chunks_exact(CHANNELS)) {
            let sample = from.get(channel).copied().unwrap_or_default();
            *to = if sample.is_nan() {
                0.0
            } else {
                sample.clamp(-1.0, 1.0)
            };
        }
    }

    fn advance(&mut self, samples: usize, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        self.filled += samples;
        if self.filled < FRAME_SAMPLES {
            return Ok(());
        }
        self.filled = 0;
        self.encode(out)
            .map_err(|e| MediaError::Encode(e.to_string()))
    }

    fn encode(&mut self, out: &mut Vec<Bytes>) -> Result<(), ffmpeg::Error> {
        self.frame.set_pts(Some(self.pts));
        self.pts += i64::from(AAC_SAMPLES_PER_FRAME);
        self.encoder.send_frame(&self.frame)?;
        // The first frame gives no packet: the encoder looks one frame ahead.
        while self.encoder.receive_packet(&mut self.packet).is_ok() {
            if let Some(data) = self.packet.data() {
                out.push(Bytes::copy_from_slice(data));
            }
        }
        // SAFETY: `frame` is a valid reference-counted frame that we own. The encoder has let go
        // of its reference, so this allocates nothing; were it to keep one, the frame would get
        // its own buffer here instead of being changed under the encoder.
        let writable = unsafe { ffmpeg::ffi::av_frame_make_writable(self.frame.as_mut_ptr()) };
        if writable < 0 {
            Err(ffmpeg::Error::from(writable))
        } else {
            Ok(())
        }
    }
}

/// libavcodec writes to the standard error whatever a peer provokes; we report errors ourselves.
pub(crate) fn silence_library_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| ffmpeg::util::log::set_level(ffmpeg::util::log::Level::Quiet));
}
