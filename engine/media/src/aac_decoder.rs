//! AAC to samples: an encoder's on its way to Opus, and ours to measure what a destination hears.

use std::fmt;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::{Sample, sample::Type};

use crate::aac_encoder::silence_library_log;
use crate::limits::{AAC_FRAME_BYTES_MAX, AUDIO_SPECIFIC_CONFIG_BYTES_MAX};
use crate::{MediaError, extradata};

const NAME: &str = "AAC decoder";

/// Decodes raw AAC frames of one stream, in order.
pub struct AacDecoder {
    decoder: ffmpeg::decoder::Opened,
    frame: ffmpeg::frame::Audio,
    rate_hz: u32,
}

impl AacDecoder {
    /// Opens a decoder for streams with this `AudioSpecificConfig`.
    ///
    /// # Errors
    /// [`MediaError::Open`] when the configuration is not one of AAC.
    pub fn new(audio_specific_config: &[u8]) -> Result<Self, MediaError> {
        silence_library_log();
        let length = audio_specific_config.len();
        if !(2..=AUDIO_SPECIFIC_CONFIG_BYTES_MAX).contains(&length) {
            let reason = format!("a configuration of {length} bytes");
            return Err(MediaError::Open {
                codec: NAME,
                reason,
            });
        }
        let codec = ffmpeg::decoder::find(ffmpeg::codec::Id::AAC)
            .ok_or(MediaError::CodecMissing { codec: NAME })?;
        let mut context = ffmpeg::codec::Context::new_with_codec(codec);
        extradata::set(&mut context, audio_specific_config).map_err(|reason| MediaError::Open {
            codec: NAME,
            reason: reason.to_owned(),
        })?;
        let decoder = context
            .decoder()
            .open_as(codec)
            .map_err(|e| MediaError::Open {
                codec: NAME,
                reason: e.to_string(),
            })?;
        Ok(Self {
            decoder,
            frame: ffmpeg::frame::Audio::empty(),
            rate_hz: 0,
        })
    }

    /// Decodes one frame and appends its first channel to `mono`, range -1 to 1. Returns the
    /// number of samples: 1024 for AAC-LC, 0 while the decoder waits for more.
    ///
    /// # Errors
    /// [`MediaError::Aac`] when it is not a frame; the decoder may be used on.
    pub fn decode(&mut self, frame: &[u8], mono: &mut Vec<f32>) -> Result<usize, MediaError> {
        self.decode_channels(frame, std::slice::from_mut(mono))
    }

    /// Decodes one frame and appends its channels to those of `channels`, in the order of the
    /// configuration; left, then right for stereo. Channels that the stream does not have get nothing.
    /// Returns what [`decode`](Self::decode) does.
    ///
    /// # Errors
    /// [`MediaError::Aac`] when it is not a frame; the decoder may be used on.
    pub fn decode_channels(
        &mut self,
        frame: &[u8],
        channels: &mut [Vec<f32>],
    ) -> Result<usize, MediaError> {
        if frame.is_empty() || frame.len() > AAC_FRAME_BYTES_MAX {
            return Err(MediaError::Aac(format!("{} bytes", frame.len())));
        }
        let refused = |e: ffmpeg::Error| MediaError::Aac(e.to_string());
        self.decoder
            .send_packet(&ffmpeg::Packet::copy(frame))
            .map_err(refused)?;
        let mut samples = 0;
        while self.decoder.receive_frame(&mut self.frame).is_ok() {
            // The decoder may change its format when the stream does; other than float it has none
            // that this type promises.
            if self.frame.format() == Sample::F32(Type::Planar) && self.frame.planes() > 0 {
                let planes = 0..self.frame.planes();
                for (channel, plane) in channels.iter_mut().zip(planes) {
                    channel.extend_from_slice(self.frame.plane::<f32>(plane));
                }
                samples += self.frame.samples();
                self.rate_hz = self.frame.rate();
            }
        }
        Ok(samples)
    }

    /// Sample rate of the last frame in hertz; 0 before the first.
    pub fn sample_rate_hz(&self) -> u32 {
        self.rate_hz
    }
}

impl fmt::Debug for AacDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AacDecoder").finish_non_exhaustive()
    }
}
