//! How far sound and picture are apart: the beep against the flash.

use shardcast_media::AacDecoder;

use crate::clip::BEEP_INTERVAL_MS;
use crate::stats::Spread;

/// Half of the beep's amplitude; everything else in the clip is below a sixth of it.
const LOUD: f32 = 0.25;
/// A beep begins after so many quiet samples; its own waves are apart by 48 at most.
const QUIET_SAMPLES: u64 = 9_600;
/// Flashes and beeps kept: an hour of them.
const EVENTS_MAX: usize = 3_600;

/// Collects when the picture flashes and when the sound beeps, on the clock of the RTMP stream.
#[derive(Debug, Default)]
pub(super) struct Sync {
    decoder: Option<AacDecoder>,
    mono: Vec<f32>,
    quiet_for: u64,
    flashes_ms: Vec<f64>,
    beeps_ms: Vec<f64>,
    /// AAC frames that could not be decoded.
    pub(super) undecodable: u64,
}

impl Sync {
    /// A new AAC sequence header.
    pub(super) fn configure(&mut self, audio_specific_config: &[u8]) {
        self.decoder = AacDecoder::new(audio_specific_config).ok();
    }

    /// A frame with the flash mark is shown at this time.
    pub(super) fn flash(&mut self, pts_ms: f64) {
        if self.flashes_ms.len() < EVENTS_MAX {
            self.flashes_ms.push(pts_ms);
        }
    }

    /// A raw AAC frame that begins to sound at this time.
    pub(super) fn sound(&mut self, pts_ms: f64, frame: &[u8]) {
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

    /// Sound minus picture in milliseconds: positive when the sound is late.
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
