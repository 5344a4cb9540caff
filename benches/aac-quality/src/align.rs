//! The delay of an encoder and decoder together, in samples.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use crate::clip::Clip;
use crate::decoders::lavc;
use crate::encoders::Kind;

const LENGTH: usize = 1 << 18;
/// The longest delay that makes sense: four frames.
const DELAY_MAX: usize = 4096;
/// Of the peak of the correlation, 1 being equal signals. Coded noise reaches 0.6 with an encoder that
/// replaces noise by other noise.
const CORRELATION_MIN: f32 = 0.3;

/// Codes noise at 128 kbit/s and finds where it comes out again.
pub fn delay(kind: Kind, channels: usize) -> Result<usize, String> {
    let noise = Clip::noise(channels);
    let reference = noise.channel_f32(0);
    let decoded = lavc::decode(&kind.encode(&noise, 128_000)?)?;
    let decoded = decoded.first().ok_or("nothing decoded")?;
    let (lag, peak) = correlate(&reference, decoded);
    if peak < CORRELATION_MIN {
        return Err(format!(
            "no delay found: correlation {peak:.2} at {lag} samples"
        ));
    }
    Ok(lag)
}

/// Lag of the second signal and the normalised correlation there.
fn correlate(reference: &[f32], decoded: &[f32]) -> (usize, f32) {
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (
        planner.plan_fft_forward(LENGTH),
        planner.plan_fft_inverse(LENGTH),
    );
    let transform = |signal: &[f32]| -> Vec<Complex<f32>> {
        let mut padded = vec![0.0; LENGTH];
        padded[..signal.len()].copy_from_slice(signal);
        let mut spectrum = forward.make_output_vec();
        forward
            .process(&mut padded, &mut spectrum)
            .expect("lengths of the plan");
        spectrum
    };
    let mut cross = transform(decoded);
    cross
        .iter_mut()
        .zip(transform(reference))
        .for_each(|(d, r)| *d *= r.conj());
    (cross[0].im, cross[LENGTH / 2].im) = (0.0, 0.0);
    let mut correlation = inverse.make_output_vec();
    inverse
        .process(&mut cross, &mut correlation)
        .expect("lengths of the plan");
    let energy = |signal: &[f32]| signal.iter().map(|s| s * s).sum::<f32>();
    let scale = LENGTH as f32 * (energy(reference) * energy(decoded)).sqrt();
    let best = (0..DELAY_MAX).max_by(|&a, &b| correlation[a].total_cmp(&correlation[b]));
    best.map_or((0, 0.0), |lag| (lag, correlation[lag] / scale))
}
