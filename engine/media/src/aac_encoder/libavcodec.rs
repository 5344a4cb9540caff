//! AAC-LC by libavcodec.

use std::sync::Once;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::{Sample, sample::Type};

use super::{FRAME_SAMPLES, Plane};
use crate::{AAC_SAMPLES_PER_FRAME, CHANNELS, MediaError, SAMPLE_RATE_HZ};

const FORMAT: Sample = Sample::F32(Type::Planar);
const NAME: &str = "AAC encoder";

/// Takes finite samples only: the encoder refuses a whole frame for one that is not.
pub(super) struct Libavcodec {
    encoder: ffmpeg::encoder::audio::Encoder,
    frame: ffmpeg::frame::Audio,
    packet: ffmpeg::Packet,
    pts: i64,
}

impl Libavcodec {
    pub(super) fn new(bitrate_bps: usize) -> Result<Self, MediaError> {
        silence_library_log();
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
        // `Audio::new` does not report that memory is short, and its planes panic then.
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
            pts: 0,
        })
    }

    /// Encodes one frame and appends what comes out; true unless nothing does. The first call gives
    /// nothing: the encoder looks one frame ahead.
    pub(super) fn encode(
        &mut self,
        planes: [&Plane; CHANNELS],
        out: &mut Vec<u8>,
    ) -> Result<bool, MediaError> {
        for (channel, samples) in planes.into_iter().enumerate() {
            let plane = self.frame.plane_mut::<f32>(channel);
            plane.iter_mut().zip(samples).for_each(|(to, from)| {
                *to = *from;
            });
        }
        self.code(out)
            .map_err(|e| MediaError::Encode(e.to_string()))
    }

    fn code(&mut self, out: &mut Vec<u8>) -> Result<bool, ffmpeg::Error> {
        self.frame.set_pts(Some(self.pts));
        self.pts += i64::from(AAC_SAMPLES_PER_FRAME);
        self.encoder.send_frame(&self.frame)?;
        let coded = self.encoder.receive_packet(&mut self.packet).is_ok();
        if coded && let Some(data) = self.packet.data() {
            out.extend_from_slice(data);
        }
        // SAFETY: `frame` is a valid reference-counted frame that we own. The encoder has let go
        // of its reference, so this allocates nothing; were it to keep one, the frame would get
        // its own buffer here instead of being changed under the encoder.
        let writable = unsafe { ffmpeg::ffi::av_frame_make_writable(self.frame.as_mut_ptr()) };
        if writable < 0 {
            Err(ffmpeg::Error::from(writable))
        } else {
            Ok(coded)
        }
    }
}

/// libavcodec writes to the standard error whatever a peer provokes; we report errors ourselves.
pub(crate) fn silence_library_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| ffmpeg::util::log::set_level(ffmpeg::util::log::Level::Quiet));
}
