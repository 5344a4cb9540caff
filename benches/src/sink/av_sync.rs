//! Measures the offset between audio and video: the beep against the flash.

use std::fmt;

use shardcast_media::{AacDecoder, limits::OPUS_SAMPLES_MAX};

use super::audio_tag::AudioHeader;

use crate::stats::Spread;
use crate::test_clip::BEEP_INTERVAL_MS;

/// Half of the beep's amplitude; all other audio of the test clip is below a sixth of it.
const LOUD: f32 = 0.25;
/// Quiet samples before a beep begins (200 ms); within a beep, loud samples are 48 apart at most.
const QUIET_SAMPLES: u64 = 9_600;
/// Flashes and beeps kept: one hour, at one a second.
const EVENTS_MAX: usize = 3_600;

/// Begin of an identification header (RFC 7845, 5.1).
const OPUS_HEAD: &[u8] = b"OpusHead";
/// What Opus is decoded to.
const OPUS_RATE_HZ: u32 = 48_000;

/// Decodes the audio of one stream.
enum Decoder {
    Aac(AacDecoder),
    Opus(opus::Decoder),
}

impl Decoder {
    /// Puts the samples of a frame into `mono`, which is empty: how many there are a second.
    fn decode(&mut self, frame: &[u8], mono: &mut Vec<f32>) -> Option<u32> {
        match self {
            Self::Aac(decoder) => {
                decoder.decode(frame, mono).ok()?;
                Some(decoder.sample_rate_hz().max(1))
            }
            Self::Opus(decoder) => {
                mono.resize(OPUS_SAMPLES_MAX, 0.0);
                let samples = decoder.decode_float(frame, mono, false).ok()?;
                mono.truncate(samples);
                Some(OPUS_RATE_HZ)
            }
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aac(_) => "Aac",
            Self::Opus(_) => "Opus",
        })
    }
}

/// Collects the times of flashes and beeps on the clock of the RTMP stream.
#[derive(Debug, Default)]
pub(super) struct AvSync {
    decoder: Option<Decoder>,
    mono: Vec<f32>,
    quiet_for: u64,
    flashes_ms: Vec<f64>,
    beeps_ms: Vec<f64>,
    /// AAC frames or Opus packets that could not be decoded.
    pub(super) undecodable: u64,
}

impl AvSync {
    /// Takes a new sequence header.
    pub(super) fn configure(&mut self, header: AudioHeader<'_>) {
        self.decoder = match header {
            AudioHeader::Aac(config) => AacDecoder::new(config).ok().map(Decoder::Aac),
            AudioHeader::Opus(head) if head.starts_with(OPUS_HEAD) => {
                let decoder = opus::Decoder::new(OPUS_RATE_HZ, opus::Channels::Mono);
                decoder.ok().map(Decoder::Opus)
            }
            AudioHeader::Opus(_) => None,
        };
    }

    /// Takes the presentation time of a frame that flashes.
    pub(super) fn flash(&mut self, pts_ms: f64) {
        if self.flashes_ms.len() < EVENTS_MAX {
            self.flashes_ms.push(pts_ms);
        }
    }

    /// Takes a raw AAC frame or an Opus packet with its presentation time.
    pub(super) fn audio(&mut self, pts_ms: f64, frame: &[u8]) {
        self.mono.clear();
        let decoder = self.decoder.as_mut();
        let Some(rate_hz) = decoder.and_then(|it| it.decode(frame, &mut self.mono)) else {
            self.undecodable += 1;
            return;
        };
        for (n, sample) in self.mono.iter().enumerate() {
            if sample.abs() < LOUD {
                self.quiet_for += 1;
                continue;
            }
            if self.quiet_for >= QUIET_SAMPLES && self.beeps_ms.len() < EVENTS_MAX {
                self.beeps_ms
                    .push(pts_ms + n as f64 * 1_000.0 / f64::from(rate_hz));
            }
            self.quiet_for = 0;
        }
    }

    /// Audio minus video in milliseconds: positive when the audio is late.
    pub(super) fn offsets_ms(&self) -> Option<Spread> {
        let reach = f64::from(BEEP_INTERVAL_MS) / 2.0;
        let nearest = |flash: &f64| {
            let offsets = self.beeps_ms.iter().map(|beep| beep - flash);
            offsets
                .filter(|o| o.abs() < reach)
                .min_by(|a, b| a.abs().total_cmp(&b.abs()))
        };
        Spread::of(self.flashes_ms.iter().filter_map(nearest).collect())
    }
}
