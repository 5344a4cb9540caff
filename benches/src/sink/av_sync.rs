//! Measures the offset between audio and video: the beep against the flash.

use shardcast_media::AacDecoder;

use crate::stats::Spread;
use crate::test_clip::BEEP_INTERVAL_MS;

/// Half of the beep's amplitude; all other audio of the test clip is below a sixth of it.
const LOUD: f32 = 0.25;
/// Quiet samples before a beep begins (200 ms); within a beep, loud samples are 48 apart at most.
const QUIET_SAMPLES: u64 = 9_600;
/// Flashes and beeps kept: one hour, at one a second.
const EVENTS_MAX: usize = 3_600;

/// Collects the times of flashes and beeps on the clock of the RTMP stream.
#[derive(Debug, Default)]
pub(super) struct AvSync {
    decoder: Option<AacDecoder>,
    mono: Vec<f32>,
    quiet_for: u64,
    flashes_ms: Vec<f64>,
    beeps_ms: Vec<f64>,
    /// AAC frames that could not be decoded.
    pub(super) undecodable: u64,
}

impl AvSync {
    /// Takes a new AAC sequence header (ISO/IEC 14496-3 1.6.2.1).
    pub(super) fn configure(&mut self, audio_specific_config: &[u8]) {
        self.decoder = AacDecoder::new(audio_specific_config).ok();
    }

    /// Takes the presentation time of a frame that flashes.
    pub(super) fn flash(&mut self, pts_ms: f64) {
        if self.flashes_ms.len() < EVENTS_MAX {
            self.flashes_ms.push(pts_ms);
        }
    }

    /// Takes a raw AAC frame with its presentation time.
    pub(super) fn audio(&mut self, pts_ms: f64, frame: &[u8]) {
        self.mono.clear();
        let decoded = self
            .decoder
            .as_mut()
            .map(|d| d.decode(frame, &mut self.mono));
        let Some(Ok(_)) = decoded else {
            self.undecodable += 1;
            return;
        };
        let rate_hz = self
            .decoder
            .as_ref()
            .map_or(0, AacDecoder::sample_rate_hz)
            .max(1);
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
