//! The test clips: WAV files of 48 kHz and 16 bit, which every encoder gets sample for sample.

use std::path::Path;

/// What all encoders are measured at.
pub const RATE_HZ: u32 = 48_000;
/// Samples per channel of an AAC-LC frame.
pub const FRAME: usize = 1024;
/// Zeros behind a clip, so that the last sample leaves every encoder: the longest delay is 2 frames
/// of the encoder and 1 of the decoder.
const TAIL_FRAMES: usize = 4;

pub struct Clip {
    pub name: String,
    /// One vector for each channel, 1 or 2.
    pub channels: Vec<Vec<i16>>,
}

impl Clip {
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let fail = |reason: String| format!("{}: {reason}", path.display());
        let mut reader = hound::WavReader::open(path).map_err(|e| fail(e.to_string()))?;
        let spec = reader.spec();
        if spec.sample_rate != RATE_HZ || spec.bits_per_sample != 16 || spec.channels > 2 {
            return Err(fail(format!(
                "{spec:?} instead of 48 kHz, 16 bit, 1 or 2 channels"
            )));
        }
        let mut channels = vec![Vec::new(); spec.channels as usize];
        for (i, sample) in reader.samples::<i16>().enumerate() {
            channels[i % spec.channels as usize].push(sample.map_err(|e| fail(e.to_string()))?);
        }
        Ok(Self { name, channels })
    }

    /// Two seconds of white noise, by which the delay of each encoder is found.
    pub fn noise(channels: usize) -> Self {
        let mut state = 1_u32;
        let mut sample = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i16) / 8
        };
        let channels = (0..channels)
            .map(|_| (0..96_000).map(|_| sample()).collect())
            .collect();
        Self {
            name: "noise".to_owned(),
            channels,
        }
    }

    pub fn samples(&self) -> usize {
        self.channels[0].len()
    }

    /// Frames that an encoder is fed with, the zeros of the tail among them.
    pub fn frames(&self) -> usize {
        self.samples().div_ceil(FRAME) + TAIL_FRAMES
    }

    pub fn channel_f32(&self, channel: usize) -> Vec<f32> {
        self.channels[channel]
            .iter()
            .map(|&s| f32::from(s) / 32_768.0)
            .collect()
    }

    /// The frames of one channel as floats in -1..1.
    pub fn frames_f32(&self, channel: usize) -> Vec<[f32; FRAME]> {
        let samples = self.channel_f32(channel);
        (0..self.frames())
            .map(|f| std::array::from_fn(|i| samples.get(f * FRAME + i).copied().unwrap_or(0.0)))
            .collect()
    }

    /// The frames with their channels interleaved.
    pub fn frames_interleaved(&self) -> Vec<Vec<i16>> {
        let sample = |i: usize, c: usize| self.channels[c].get(i).copied().unwrap_or(0);
        let count = self.channels.len();
        (0..self.frames())
            .map(|f| {
                (0..FRAME * count)
                    .map(|i| sample(f * FRAME + i / count, i % count))
                    .collect()
            })
            .collect()
    }
}
