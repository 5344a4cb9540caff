//! Noise-to-mask ratio after ITU-R BS.1387 (PEAQ), basic version with the FFT ear model.
//!
//! Per frame of 2048 samples (Hann window, half overlapped): spectrum at 92 dB SPL for a full-scale
//! sine, weighting of the outer and middle ear, bands of 0.25 Bark from 80 Hz to 18 kHz, internal
//! noise, level-dependent spreading to both sides, smearing in time, mask 3 dB below the excitation
//! up to 12 Bark and 0.25 dB/Bark × z above. The noise is the difference of the weighted amplitude
//! spectra, grouped in the same bands. The result is the mean of noise ÷ mask over bands and frames in
//! dB (Total NMR): below about -10 dB hardly anything is audible, above 0 dB the noise is.

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

use crate::clip::RATE_HZ;

const FRAME: usize = 2048;
const HOP: usize = FRAME / 2;
const BAND_BARK: f64 = 0.25;
const LOW_HZ: f64 = 80.0;
const HIGH_HZ: f64 = 18_000.0;
/// Level of a full-scale sine.
const LEVEL_DB: f64 = 92.0;
/// Of a bin that reaches into no other band, so that no band is empty.
const ENERGY_MIN: f64 = 1e-12;

struct Band {
    /// Share of each bin's energy: (bin, weight).
    bins: Vec<(usize, f64)>,
    centre_bark: f64,
    centre_hz: f64,
    internal_noise: f64,
    /// Mask below the excitation, as a factor.
    offset: f64,
    /// Part of the last frame's excitation that is still heard.
    decay: f64,
    /// What spreading adds at 0 dB, divided out.
    spread_norm: f64,
}

pub struct Nmr {
    fft: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    /// Amplitude weight of each bin: level and ear.
    weights: Vec<f64>,
    bands: Vec<Band>,
}

fn bark(hz: f64) -> f64 {
    7.0 * (hz / 650.0).asinh()
}

fn hz(bark: f64) -> f64 {
    650.0 * (bark / 7.0).sinh()
}

impl Nmr {
    pub fn new() -> Self {
        let window: Vec<f64> = (0..FRAME)
            .map(|i| 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / FRAME as f64).cos())
            .collect();
        // A full-scale sine in the middle of a bin has the amplitude Σ window / 2 there.
        let level = 10_f64.powf(LEVEL_DB / 20.0) / (window.iter().sum::<f64>() / 2.0);
        let bin_hz = f64::from(RATE_HZ) / FRAME as f64;
        let ear = |khz: f64| {
            -2.184 * khz.powf(-0.8) + 6.5 * (-0.6 * (khz - 3.3).powi(2)).exp()
                - 1e-3 * khz.powf(3.6)
        };
        let weights = (0..=FRAME / 2)
            .map(|bin| level * 10_f64.powf(ear((bin.max(1) as f64 * bin_hz) / 1000.0) / 20.0))
            .collect();
        let mut bands = bands(bin_hz);
        let flat = vec![1.0; bands.len()];
        let norms = spread(&bands, &flat);
        bands
            .iter_mut()
            .zip(norms)
            .for_each(|(band, norm)| band.spread_norm = norm);
        Self {
            fft: RealFftPlanner::new().plan_fft_forward(FRAME),
            window,
            weights,
            bands,
        }
    }

    /// Noise ÷ mask of one channel, as a factor of each frame that is not silent in the reference.
    pub fn frames(&self, reference: &[f32], test: &[f32]) -> Vec<f64> {
        let mut smeared = vec![0.0; self.bands.len()];
        let mut ratios = Vec::new();
        let starts = (0..)
            .map(|f| f * HOP)
            .take_while(|s| s + FRAME <= reference.len());
        for start in starts {
            let clean = self.spectrum(&reference[start..start + FRAME]);
            let coded = self.spectrum(&test[start..start + FRAME]);
            let noise: Vec<f64> = clean
                .iter()
                .zip(&coded)
                .map(|(a, b)| (a - b).powi(2))
                .collect();
            let energy: Vec<f64> = clean.iter().map(|a| a * a).collect();
            let mut excitation = self.group(&energy);
            excitation
                .iter_mut()
                .zip(&self.bands)
                .for_each(|(e, b)| *e += b.internal_noise);
            let excitation = spread(&self.bands, &excitation);
            let mut sum = 0.0;
            for (i, (band, noise)) in self.bands.iter().zip(self.group(&noise)).enumerate() {
                let now = excitation[i] / band.spread_norm;
                smeared[i] = band.decay * smeared[i] + (1.0 - band.decay) * now;
                sum += noise / (now.max(smeared[i]) * band.offset);
            }
            ratios.push(sum / self.bands.len() as f64);
        }
        ratios
    }

    fn spectrum(&self, samples: &[f32]) -> Vec<f64> {
        let mut windowed: Vec<f64> = samples
            .iter()
            .zip(&self.window)
            .map(|(&s, w)| f64::from(s) * w)
            .collect();
        let mut spectrum = self.fft.make_output_vec();
        self.fft
            .process(&mut windowed, &mut spectrum)
            .expect("lengths of the plan");
        spectrum
            .iter()
            .zip(&self.weights)
            .map(|(x, w)| x.norm() * w)
            .collect()
    }

    fn group(&self, energy: &[f64]) -> Vec<f64> {
        let of_band = |b: &Band| b.bins.iter().map(|&(bin, w)| energy[bin] * w).sum::<f64>();
        self.bands
            .iter()
            .map(|b| of_band(b).max(ENERGY_MIN))
            .collect()
    }
}

/// Total NMR in dB of the frames of all channels.
pub fn total_db(frames: &[f64]) -> f64 {
    10.0 * (frames.iter().sum::<f64>() / frames.len().max(1) as f64)
        .max(1e-12)
        .log10()
}

fn bands(bin_hz: f64) -> Vec<Band> {
    let (low, high) = (bark(LOW_HZ), bark(HIGH_HZ));
    let count = ((high - low) / BAND_BARK).ceil() as usize;
    (0..count)
        .map(|i| {
            let from = low + i as f64 * BAND_BARK;
            let to = (from + BAND_BARK).min(high);
            let (from_hz, to_hz, centre_bark) = (hz(from), hz(to), f64::midpoint(from, to));
            let centre_hz = hz(centre_bark);
            // The share of a bin is the part of its width that lies in the band.
            let bins = (0..=FRAME / 2)
                .map(|bin| {
                    let centre = bin as f64 * bin_hz;
                    let inside =
                        (centre + bin_hz / 2.0).min(to_hz) - (centre - bin_hz / 2.0).max(from_hz);
                    (bin, inside / bin_hz)
                })
                .filter(|&(_, weight)| weight > 0.0)
                .collect();
            let offset_db = if centre_bark <= 12.0 {
                3.0
            } else {
                0.25 * centre_bark
            };
            let tau = 0.008 + 100.0 / centre_hz * (0.030 - 0.008);
            Band {
                bins,
                centre_bark,
                centre_hz,
                internal_noise: 10_f64.powf(1.456 * (centre_hz / 1000.0).powf(-0.8) / 10.0),
                offset: 10_f64.powf(-offset_db / 10.0),
                decay: (-(HOP as f64) / f64::from(RATE_HZ) / tau).exp(),
                spread_norm: 1.0,
            }
        })
        .collect()
}

/// Spreads each band's energy over its neighbours: 27 dB/Bark below, 24 + 230/f - 0.2 L dB/Bark above.
/// Contributions add with the exponent 0.4.
fn spread(bands: &[Band], energy: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; bands.len()];
    let mut line = vec![0.0; bands.len()];
    for (i, band) in bands.iter().enumerate() {
        let level_db = 10.0 * energy[i].log10();
        let upper_db = (-24.0 - 230.0 / band.centre_hz + 0.2 * level_db).min(-1.0);
        let (down, up) = (
            10_f64.powf(-2.7 * BAND_BARK),
            10_f64.powf(upper_db / 10.0 * BAND_BARK),
        );
        line[i] = 1.0;
        (0..i).rev().for_each(|k| line[k] = line[k + 1] * down);
        (i + 1..bands.len()).for_each(|k| line[k] = line[k - 1] * up);
        let total: f64 = line.iter().sum();
        for (sum, share) in sums.iter_mut().zip(&line) {
            let part = energy[i] * share / total;
            if part > 0.0 {
                *sum += part.powf(0.4);
            }
        }
        debug_assert!(band.centre_bark > 0.0);
    }
    sums.iter().map(|s: &f64| s.powf(2.5)).collect()
}
