//! The audio transcoder: Opus packets in, AAC frames out. The audio timeline is gapless.

use std::{
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::aac_encoder::{AacCoder, AacEncoder, SILENCE_MAX};
use crate::limits::{
    CONCEAL_SAMPLES_MAX, FILL_SAMPLES_MAX, OPUS_PACKET_BYTES_MAX, OPUS_SAMPLES_MAX,
};
use crate::opus_decoder::{Decoded, OpusDecoder};
use crate::silent_packets::SilentPackets;
use crate::{CHANNELS, MediaError};

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
    decoder: OpusDecoder,
    encoder: AacEncoder,
    /// Interleaved samples of one packet; kept so that no packet allocates.
    pcm: Box<[f32]>,
    opus_time: Duration,
    silent: SilentPackets,
    silent_packets: u64,
}

/// What a transcoder, in either direction, has done since it was opened. Times are by the wall clock: while the thread is not
/// interrupted they are its CPU time, at a tenth of the price of asking for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioReport {
    /// AAC frames made, or decoded.
    pub frames: u64,
    /// Of these, frames whose channels were the same, so that one was encoded for both.
    pub mono_frames: u64,
    /// Of these, frames of silence that repeat the one before.
    pub repeated_frames: u64,
    /// Opus packets of silence that were not decoded, since those before them were the same.
    pub silent_packets: u64,
    /// Time that Opus took: decoding and concealing, or encoding.
    pub opus_time: Duration,
    /// Time that AAC took.
    pub aac_time: Duration,
}

impl OpusToAac {
    /// Opens both codecs; the AAC will have this bit rate in bits per second, 32 000 to 320 000
    /// ([`AAC_BITRATE_BPS`](crate::AAC_BITRATE_BPS) unless somebody wants another).
    ///
    /// # Errors
    /// [`MediaError::AacBitRate`] outside of that; else when libavcodec has no AAC encoder and is to
    /// encode, or memory is short.
    pub fn new(coder: AacCoder, bitrate_bps: usize) -> Result<Self, MediaError> {
        let decoder = OpusDecoder::new().map_err(|e| MediaError::Open {
            codec: "Opus decoder",
            reason: e.to_string(),
        })?;
        let pcm = vec![0.0; OPUS_SAMPLES_MAX * CHANNELS].into_boxed_slice();
        Ok(Self {
            decoder,
            encoder: AacEncoder::new(coder, bitrate_bps)?,
            pcm,
            opus_time: Duration::ZERO,
            silent: SilentPackets::default(),
            silent_packets: 0,
        })
    }

    /// What was done so far, and what it took.
    pub fn report(&self) -> AudioReport {
        AudioReport {
            opus_time: self.opus_time,
            silent_packets: self.silent_packets,
            ..self.encoder.report()
        }
    }

    /// Appends one Opus packet, 2.5 to 120 ms. Packets of one or two bytes are the pauses of DTX
    /// and last as long as their header says. Frames that became whole go to `out`.
    ///
    /// # Errors
    /// [`MediaError::Opus`] when it is not a packet: nothing was appended.
    pub fn decode(&mut self, packet: &[u8], out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        check_packet(packet)?;
        if let Some(samples) = self.silent.known(packet) {
            self.silent_packets += 1;
            return self.encoder.push_silence(samples, out);
        }
        let decoded = self.timed(|decoder, pcm| decoder.decode(packet, pcm))?;
        let pcm = self.pcm.get(..decoded.samples * decoded.channels);
        self.silent.decoded(packet, decoded.samples, || {
            let mut pcm = pcm.unwrap_or_default().iter();
            pcm.all(|sample| sample.abs() < SILENCE_MAX)
        });
        self.push_decoded(decoded, out)
    }

    /// Appends so many samples (per channel) that were lost in front of `packet`: from its in-band
    /// redundancy (RFC 6716, 2.1.7), or concealed by libopus where it carries none. The packet itself
    /// is not appended. Frames that became whole go to `out`.
    ///
    /// # Errors
    /// [`MediaError::Opus`] when it is not a packet, or `samples` is no multiple of 2.5 ms or above
    /// 120 ms: nothing was appended.
    pub fn recover(
        &mut self,
        packet: &[u8],
        samples: u32,
        out: &mut Vec<Bytes>,
    ) -> Result<(), MediaError> {
        check_packet(packet)?;
        let whole = samples.is_multiple_of(CONCEAL_STEP_SAMPLES);
        let samples = samples as usize;
        if !whole || !(1..=OPUS_SAMPLES_MAX).contains(&samples) {
            return Err(MediaError::Opus(format!("{samples} samples to recover")));
        }
        self.silent.interrupted();
        let decoded = self.timed(|decoder, pcm| decoder.fill(Some(packet), samples, pcm))?;
        self.push_decoded(decoded, out)?;
        // Whatever libopus decided, time goes on by what was asked for.
        let missing = samples.saturating_sub(decoded.samples);
        self.encoder.push_silence(missing, out)
    }

    /// Appends so many samples (per channel) that were lost, invented from what came before: for
    /// at most 100 ms, then silence. Frames that became whole go to `out`.
    ///
    /// # Errors
    /// [`MediaError::FillTooLong`] above ten seconds.
    pub fn conceal(&mut self, samples: u32, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        check_fill(samples)?;
        self.silent.interrupted();
        let mut left = samples.min(CONCEAL_SAMPLES_MAX) / CONCEAL_STEP_SAMPLES;
        let mut concealed = 0;
        while left > 0 {
            // 20 ms, the usual packet, is what libopus extrapolates best.
            let now = left.min(8) * CONCEAL_STEP_SAMPLES;
            let Ok(decoded) = self.timed(|decoder, pcm| decoder.fill(None, now as usize, pcm))
            else {
                break;
            };
            self.push_decoded(decoded, out)?;
            concealed += decoded.samples as u32;
            left -= now / CONCEAL_STEP_SAMPLES;
        }
        let silent = samples.saturating_sub(concealed) as usize;
        self.encoder.push_silence(silent, out)
    }

    /// Appends so many samples (per channel) of silence. Frames that became whole go to `out`.
    ///
    /// # Errors
    /// [`MediaError::FillTooLong`] above ten seconds.
    pub fn silence(&mut self, samples: u32, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        check_fill(samples)?;
        self.encoder.push_silence(samples as usize, out)
    }

    /// Lets libopus decode or fill into the buffer.
    fn timed(
        &mut self,
        run: impl FnOnce(&mut OpusDecoder, &mut [f32]) -> Result<Decoded, opus::Error>,
    ) -> Result<Decoded, MediaError> {
        let begun = Instant::now();
        let decoded = run(&mut self.decoder, &mut self.pcm);
        self.opus_time += begun.elapsed();
        decoded.map_err(|e| MediaError::Opus(e.to_string()))
    }

    fn push_decoded(&mut self, decoded: Decoded, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        let Decoded { samples, channels } = decoded;
        let pcm = self.pcm.get(..samples * channels).unwrap_or_default();
        self.encoder.push(pcm, channels, out)
    }
}

impl fmt::Debug for OpusToAac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusToAac").finish_non_exhaustive()
    }
}

fn check_packet(packet: &[u8]) -> Result<(), MediaError> {
    if packet.is_empty() || packet.len() > OPUS_PACKET_BYTES_MAX {
        return Err(MediaError::Opus(format!("{} bytes", packet.len())));
    }
    Ok(())
}

fn check_fill(samples: u32) -> Result<(), MediaError> {
    if samples > FILL_SAMPLES_MAX {
        Err(MediaError::FillTooLong { samples })
    } else {
        Ok(())
    }
}
