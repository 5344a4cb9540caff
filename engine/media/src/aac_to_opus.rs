//! The audio transcoder of an encoder's broadcast: its AAC frames in, Opus packets for WebRTC viewers out.

use std::{fmt, time::Instant};

use bytes::Bytes;
use opus::{Application, Bitrate, Channels, Encoder};

use crate::limits::{FILL_SAMPLES_MAX, OPUS_PACKET_BYTES_MADE_MAX};
use crate::resampler::{HALF, Resampler};
use crate::{
    AAC_SAMPLES_PER_FRAME, AacDecoder, AudioReport, CHANNELS, MediaError, OPUS_DELAY_SAMPLES,
    SAMPLE_RATE_HZ,
};

/// Samples (per channel) of one packet: 20 ms, what browsers send.
const PACKET_SAMPLES: usize = 960;
/// Of libopus, from 0 to 10. Above this an encoder takes half as much again for what nobody hears at 96 kbit/s.
const COMPLEXITY: i32 = 5;
/// A packet of 20 ms of digital silence in stereo (RFC 6716, 4.3).
const SILENCE: &[u8] = &[0xFC, 0xFF, 0xFE];

const FRAME: usize = AAC_SAMPLES_PER_FRAME as usize;

/// Decodes AAC-LC and encodes Opus: 48 kHz, stereo, packets of 20 ms.
///
/// Time runs by samples at 48 kHz: each frame is appended with 1024 × 48000 / its rate of them, exactly over
/// time, and each 960 samples become one packet. So with the time *t* of the first frame:
///
/// ```text
/// time of packet k = t + k × 20 ms − delay_samples / 48000 s
/// ```
pub struct AacToOpus {
    decoder: AacDecoder,
    /// Decoded samples of each channel; kept so that no frame allocates.
    planes: [Vec<f32>; CHANNELS],
    is_mono: bool,
    resampler: Resampler,
    /// Interleaved, and not in a packet yet.
    pcm: Vec<f32>,
    encoder: Encoder,
    report: AudioReport,
}

impl AacToOpus {
    /// Opens both codecs: for AAC-LC of this `AudioSpecificConfig`, which has this rate in hertz and so many
    /// channels, and for Opus of this bit rate in bits per second.
    ///
    /// # Errors
    /// [`MediaError::Open`] and [`MediaError::CodecMissing`] when a codec cannot be opened.
    pub fn new(
        config: &[u8],
        rate_hz: u32,
        channels: u32,
        bitrate_bps: i32,
    ) -> Result<Self, MediaError> {
        if !matches!(rate_hz, 44_100 | 48_000) || !matches!(channels, 1 | 2) {
            return Err(MediaError::Open {
                codec: "AAC decoder",
                reason: format!("{channels} channels at {rate_hz} Hz"),
            });
        }
        let encoder = encoder(bitrate_bps).map_err(|e| MediaError::Open {
            codec: "Opus encoder",
            reason: e.to_string(),
        })?;
        Ok(Self {
            decoder: AacDecoder::new(config)?,
            planes: [Vec::new(), Vec::new()],
            is_mono: channels == 1,
            resampler: Resampler::new(rate_hz),
            pcm: Vec::new(),
            encoder,
            report: AudioReport::default(),
        })
    }

    /// By how many samples at 48 kHz the sound in a packet is behind the time at which it was given: what Opus
    /// looks ahead, and half a kernel of the resampler.
    pub fn delay_samples(rate_hz: u32) -> u32 {
        OPUS_DELAY_SAMPLES + HALF as u32 * SAMPLE_RATE_HZ / rate_hz.max(1)
    }

    /// What was done so far, and what it took.
    pub fn report(&self) -> AudioReport {
        self.report
    }

    /// Appends one raw AAC frame, made `stretch` samples longer. Packets that became whole go to `out`.
    ///
    /// # Errors
    /// [`MediaError::Aac`] when it is not a frame: its time was appended as silence.
    pub fn decode(
        &mut self,
        frame: &[u8],
        stretch: i32,
        out: &mut Vec<Bytes>,
    ) -> Result<(), MediaError> {
        let begun = Instant::now();
        self.planes.iter_mut().for_each(Vec::clear);
        let decoded = self.decoder.decode_channels(frame, &mut self.planes);
        self.report.aac_time += begun.elapsed();
        self.report.frames += 1;
        if decoded.is_err() {
            self.planes.iter_mut().for_each(Vec::clear);
        }
        self.append(stretch);
        self.encode(out);
        decoded.map(drop)
    }

    /// Appends the time of a frame that is not there as silence. Packets that became whole go to `out`.
    pub fn skip(&mut self, out: &mut Vec<Bytes>) {
        self.planes.iter_mut().for_each(Vec::clear);
        self.append(0);
        self.encode(out);
    }

    /// Appends so many samples (per channel) of silence. Packets that became whole go to `out`.
    ///
    /// # Errors
    /// [`MediaError::FillTooLong`] above ten seconds.
    pub fn silence(&mut self, samples: u32, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        if samples > FILL_SAMPLES_MAX {
            return Err(MediaError::FillTooLong { samples });
        }
        let mut left = samples as usize;
        while left > 0 {
            let piece = left.min(PACKET_SAMPLES);
            self.pcm.resize(self.pcm.len() + CHANNELS * piece, 0.0);
            self.encode(out);
            left -= piece;
        }
        Ok(())
    }

    /// Puts what was decoded behind the other samples: always a whole frame, whatever libavcodec made of it.
    fn append(&mut self, stretch: i32) {
        self.planes.iter_mut().for_each(|it| it.resize(FRAME, 0.0));
        let [left, right] = &self.planes;
        let right = if self.is_mono { left } else { right };
        if let (Some(left), Some(right)) = (left.first_chunk(), right.first_chunk()) {
            self.resampler.push([left, right], stretch, &mut self.pcm);
        }
    }

    fn encode(&mut self, out: &mut Vec<Bytes>) {
        let begun = Instant::now();
        let whole = self.pcm.chunks_exact(CHANNELS * PACKET_SAMPLES);
        let mut taken = 0;
        for samples in whole {
            let mut packet = [0; OPUS_PACKET_BYTES_MADE_MAX];
            // libopus refuses no finite samples; should it, time goes on.
            let length = self.encoder.encode_float(samples, &mut packet).unwrap_or(0);
            let packet = packet.get(..length).filter(|packet| !packet.is_empty());
            out.push(packet.map_or(Bytes::from_static(SILENCE), Bytes::copy_from_slice));
            taken += samples.len();
        }
        self.pcm.drain(..taken);
        if taken > 0 {
            self.report.opus_time += begun.elapsed();
        }
    }
}

fn encoder(bitrate_bps: i32) -> Result<Encoder, opus::Error> {
    let mut encoder = Encoder::new(SAMPLE_RATE_HZ, Channels::Stereo, Application::Audio)?;
    encoder.set_bitrate(Bitrate::Bits(bitrate_bps))?;
    encoder.set_complexity(COMPLEXITY)?;
    Ok(encoder)
}

impl fmt::Debug for AacToOpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AacToOpus").finish_non_exhaustive()
    }
}
