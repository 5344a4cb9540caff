//! The audio lane: Opus packets in, AAC frames out, without a gap.

use std::fmt;

use bytes::Bytes;

use crate::aac_encoder::AacEncoder;
use crate::limits::{
    CONCEAL_SAMPLES_MAX, FILL_SAMPLES_MAX, OPUS_PACKET_BYTES_MAX, OPUS_SAMPLES_MAX,
};
use crate::{CHANNELS, MediaError, SAMPLE_RATE_HZ};

/// libopus conceals in steps of 2.5 ms only.
const CONCEAL_STEP_SAMPLES: u32 = 120;

/// Decodes Opus and encodes AAC-LC: 48 kHz, stereo, raw frames without ADTS.
///
/// Time runs by samples: everything that is given, decoded or filled, is appended, and each 1024
/// samples become one AAC frame. The first 1024 samples give no frame, so frame number *k*
/// (from 0) comes when (*k* + 2) × 1024 samples have been given and decodes to the samples
/// (*k* − 1) × 1024 … *k* × 1024; those in turn sound [`OPUS_DELAY_SAMPLES`] after the time of
/// their packet. So with the first packet's timestamp *t*:
///
/// ```text
/// time of frame k = t + (k × 1024 − AAC_DELAY_SAMPLES − OPUS_DELAY_SAMPLES) / 48000 s
/// ```
///
/// [`OPUS_DELAY_SAMPLES`]: crate::OPUS_DELAY_SAMPLES
pub struct OpusToAac {
    decoder: opus::Decoder,
    encoder: AacEncoder,
    /// Interleaved samples of one packet; kept so that no packet allocates.
    pcm: Box<[f32]>,
}

impl OpusToAac {
    /// Opens both codecs; the AAC will have this bit rate in bits per second, 32 000 to 320 000
    /// ([`AAC_BITRATE_BPS`](crate::AAC_BITRATE_BPS) unless somebody wants another).
    ///
    /// # Errors
    /// [`MediaError::AacBitRate`] outside of that; else when libavcodec has no AAC encoder, or memory is
    /// short.
    pub fn new(bitrate_bps: usize) -> Result<Self, MediaError> {
        let decoder = opus::Decoder::new(SAMPLE_RATE_HZ, opus::Channels::Stereo).map_err(|e| {
            MediaError::Open {
                codec: "Opus decoder",
                reason: e.to_string(),
            }
        })?;
        let pcm = vec![0.0; OPUS_SAMPLES_MAX * CHANNELS].into_boxed_slice();
        Ok(Self {
            decoder,
            encoder: AacEncoder::new(bitrate_bps)?,
            pcm,
        })
    }

    /// Appends one Opus packet, 2.5 to 120 ms. Packets of one or two bytes are the pauses of DTX
    /// and last as long as their header says.
    ///
    /// # Errors
    /// [`MediaError::Opus`] when it is not a packet: nothing was appended.
    pub fn decode(&mut self, packet: &[u8]) -> Result<Vec<Bytes>, MediaError> {
        if packet.is_empty() || packet.len() > OPUS_PACKET_BYTES_MAX {
            return Err(MediaError::Opus(format!("{} bytes", packet.len())));
        }
        let samples = self
            .decoder
            .decode_float(packet, &mut self.pcm, false)
            .map_err(|e| MediaError::Opus(e.to_string()))?;
        let mut out = Vec::new();
        self.push_decoded(samples, &mut out)?;
        Ok(out)
    }

    /// Appends so many samples (per channel) that were lost in front of `packet`: from its in-band
    /// redundancy (RFC 6716, 2.1.7), or concealed by libopus where it carries none. The packet itself
    /// is not appended.
    ///
    /// # Errors
    /// [`MediaError::Opus`] when it is not a packet, or `samples` is no multiple of 2.5 ms or above
    /// 120 ms: nothing was appended.
    pub fn recover(&mut self, packet: &[u8], samples: u32) -> Result<Vec<Bytes>, MediaError> {
        if packet.is_empty() || packet.len() > OPUS_PACKET_BYTES_MAX {
            return Err(MediaError::Opus(format!("{} bytes", packet.len())));
        }
        let whole = samples.is_multiple_of(CONCEAL_STEP_SAMPLES);
        let Some(pcm) = self
            .pcm
            .get_mut(..samples as usize * CHANNELS)
            .filter(|pcm| whole && !pcm.is_empty())
        else {
            return Err(MediaError::Opus(format!("{samples} samples to recover")));
        };
        let decoded = self
            .decoder
            .decode_float(packet, pcm, true)
            .map_err(|e| MediaError::Opus(e.to_string()))?;
        let mut out = Vec::new();
        self.push_decoded(decoded, &mut out)?;
        // Whatever libopus decided, time goes on by what was asked for.
        let missing = (samples as usize).saturating_sub(decoded);
        self.encoder.push_silence(missing, &mut out)?;
        Ok(out)
    }

    /// Appends so many samples (per channel) that were lost, invented from what came before: for
    /// at most 100 ms, then silence.
    ///
    /// # Errors
    /// [`MediaError::FillTooLong`] above ten seconds.
    pub fn conceal(&mut self, samples: u32) -> Result<Vec<Bytes>, MediaError> {
        check_fill(samples)?;
        let mut out = Vec::new();
        let mut left = samples.min(CONCEAL_SAMPLES_MAX) / CONCEAL_STEP_SAMPLES;
        let mut concealed = 0;
        while left > 0 {
            // 20 ms, the usual packet, is what libopus extrapolates best.
            let now = left.min(8) * CONCEAL_STEP_SAMPLES;
            let pcm = self
                .pcm
                .get_mut(..now as usize * CHANNELS)
                .unwrap_or_default();
            let Ok(decoded) = self.decoder.decode_float(&[], pcm, false) else {
                break;
            };
            self.push_decoded(decoded, &mut out)?;
            concealed += decoded as u32;
            left -= now / CONCEAL_STEP_SAMPLES;
        }
        self.encoder
            .push_silence(samples.saturating_sub(concealed) as usize, &mut out)?;
        Ok(out)
    }

    /// Appends so many samples (per channel) of silence.
    ///
    /// # Errors
    /// [`MediaError::FillTooLong`] above ten seconds.
    pub fn silence(&mut self, samples: u32) -> Result<Vec<Bytes>, MediaError> {
        check_fill(samples)?;
        let mut out = Vec::new();
        self.encoder.push_silence(samples as usize, &mut out)?;
        Ok(out)
    }

    fn push_decoded(&mut self, samples: usize, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        self.encoder
            .push(self.pcm.get(..samples * CHANNELS).unwrap_or_default(), out)
    }
}

impl fmt::Debug for OpusToAac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusToAac").finish_non_exhaustive()
    }
}

fn check_fill(samples: u32) -> Result<(), MediaError> {
    if samples > FILL_SAMPLES_MAX {
        Err(MediaError::FillTooLong { samples })
    } else {
        Ok(())
    }
}
