//! What one encoder makes of one clip.

use std::path::{Path, PathBuf};

use audio_samples::{AudioSamples, sample_rate};
use audio_samples_qoe::AudioSamplesQoE;
use ndarray::Array1;

use crate::clip::{Clip, RATE_HZ};
use crate::decoders::{Pcm, fdk, lavc};
use crate::encoders::{Kind, Stream};
use crate::nmr::{Nmr, total_db};

/// What scoring needs.
pub struct Tools {
    pub nmr: Nmr,
    /// Where the decoded clips are written to.
    pub dump: Option<PathBuf>,
}

pub struct Score {
    pub mos: f64,
    pub nmr_db: f64,
    /// Share of the frames whose noise is above the mask by more than 1.5 dB, in %.
    pub disturbed: f64,
    pub bps: f64,
    /// Difference between the two decoders relative to the signal, in dB.
    pub decoders_db: f64,
}

/// # Errors
/// A text that names the decoder which complained, or what does not fit.
pub fn score(
    kind: Kind,
    clip: &Clip,
    bps: u32,
    delay: usize,
    tools: &Tools,
) -> Result<Score, String> {
    let stream = kind.encode(clip, bps)?;
    let decoded = lavc::decode(&stream)?;
    let decoders_db = compare(&decoded, &fdk::decode(&stream)?)?;
    check_frames(&stream)?;
    let test = cut(clip, decoded, delay)?;
    if let Some(folder) = &tools.dump {
        let path = folder.join(format!("{}-{}-{}.wav", clip.name, bps / 1000, kind.name()));
        write(&path, &test).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let reference: Pcm = (0..clip.channels.len())
        .map(|c| clip.channel_f32(c))
        .collect();
    let frames: Vec<f64> = reference
        .iter()
        .zip(&test)
        .flat_map(|(r, t)| tools.nmr.frames(r, t))
        .collect();
    let audible = frames.iter().filter(|&&ratio| ratio > 1.41).count();
    Ok(Score {
        mos: visqol(&reference, &test)?,
        nmr_db: total_db(&frames),
        disturbed: 100.0 * audible as f64 / frames.len().max(1) as f64,
        bps: stream.bits_per_second(),
        decoders_db,
    })
}

/// ISO 14496-3 allows 6144 bits for each channel of a frame.
fn check_frames(stream: &Stream) -> Result<(), String> {
    let limit = 768 * usize::from((stream.config[1] >> 3) & 0xf);
    match stream.frames.iter().find(|f| f.len() > limit) {
        Some(frame) => Err(format!("a frame of {} bytes, {limit} allowed", frame.len())),
        None => Ok(()),
    }
}

/// Takes the delay away. A mono clip that was coded as a pair must be the same on both sides.
fn cut(clip: &Clip, decoded: Pcm, delay: usize) -> Result<Pcm, String> {
    if clip.channels.len() == 1 && decoded.len() == 2 && decoded[0] != decoded[1] {
        return Err("mono, but the decoded channels differ".to_owned());
    }
    let to = delay + clip.samples();
    let cut: Pcm = decoded
        .iter()
        .take(clip.channels.len())
        .filter_map(|c| c.get(delay..to).map(<[f32]>::to_vec))
        .collect();
    if cut.len() == clip.channels.len() {
        Ok(cut)
    } else {
        Err("too few samples decoded".to_owned())
    }
}

/// Both decoders must agree, except where noise was replaced by other noise.
fn compare(lavc: &Pcm, fdk: &Pcm) -> Result<f64, String> {
    if lavc.len() > fdk.len() {
        return Err(format!(
            "{} channels from libavcodec, {} from fdk-aac",
            lavc.len(),
            fdk.len()
        ));
    }
    let (mut signal, mut noise) = (1e-9, 1e-9);
    for (a, b) in lavc.iter().zip(fdk) {
        for (a, b) in a.iter().zip(b) {
            signal += f64::from(a * a);
            noise += f64::from(a - b).powi(2);
        }
    }
    Ok(10.0 * (signal / noise).log10())
}

/// MOS-LQO of the mean of the channels, as the reference implementation does it.
fn visqol(reference: &Pcm, test: &Pcm) -> Result<f64, String> {
    let mono = |pcm: &Pcm| -> Result<AudioSamples<'static, f32>, String> {
        let scale = 1.0 / pcm.len() as f32;
        let sum = (0..pcm[0].len()).map(|i| pcm.iter().map(|c| c[i]).sum::<f32>() * scale);
        AudioSamples::new_mono(Array1::from_iter(sum), sample_rate!(48000))
            .map_err(|e| e.to_string())
    };
    mono(reference)?
        .visqol(&mono(test)?)
        .map_err(|e| e.to_string())
}

fn write(path: &Path, pcm: &Pcm) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: pcm.len() as u16,
        sample_rate: RATE_HZ,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(path, spec)?;
    for i in 0..pcm[0].len() {
        pcm.iter()
            .try_for_each(|channel| writer.write_sample(channel[i]))?;
    }
    writer.finalize()
}
