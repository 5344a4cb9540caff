//! Decodes, scales and encodes without Shardcast: the lower bound of the cost of a re-encode.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use shardcast_link::RenditionSpec;
use shardcast_media::{Picture, Scaler, VideoDecoder, VideoEncoder};

use super::FrameCost;
use crate::BenchError;
use crate::test_clip::TestClip;

/// Frames before the measurement, until caches and rate control are in their steady state.
const WARM_UP_FRAMES: usize = 60;

/// One rendition: its settings, its scaled frame and its encoder.
struct Rung {
    settings: RenditionSpec,
    scaler: Scaler,
    canvas: Picture,
    encoder: VideoEncoder,
}

/// Makes these renditions, the largest first, of `frames` frames on this thread. Each rendition is
/// scaled from the next larger one, as in the product.
pub(super) fn measure(
    clip: &TestClip,
    specs: &[RenditionSpec],
    frames: usize,
) -> Result<FrameCost, BenchError> {
    let mut decoder = VideoDecoder::new(clip.format.codec, clip.record().map(|r| &r[..]))?;
    let mut source = Picture::empty();
    let mut rungs: Vec<Rung> = Vec::new();
    let mut spent = [Duration::ZERO; 3];
    for (n, unit) in clip.units().take(WARM_UP_FRAMES + frames).enumerate() {
        if n == WARM_UP_FRAMES {
            spent = [Duration::ZERO; 3];
        }
        let [decode, scale, encode] = &mut spent;
        let pts_us = n as i64 * 1_000_000 / i64::from(clip.format.fps);
        let decoded = timed(decode, || {
            decoder.send(&unit, pts_us)?;
            decoder.receive(&mut source)
        })?;
        if !decoded {
            continue;
        }
        if rungs.is_empty() {
            rungs = open(specs, &source)?;
        }
        let mut larger: &Picture = &source;
        for rung in &mut rungs {
            let Rung {
                settings,
                scaler,
                canvas,
                encoder,
            } = rung;
            timed(scale, || scaler.draw(larger, canvas))?;
            let group = u64::from(settings.gop_ms) * u64::from(clip.format.fps) / 1_000;
            let idr = (n as u64).is_multiple_of(group.max(1));
            let mut out = Vec::new();
            timed(encode, || encoder.encode(canvas, idr, &mut out))?;
            larger = canvas;
        }
    }
    let per_frame = |spent: Duration| spent.as_secs_f64() * 1e6 / frames.max(1) as f64;
    let [decode_us, scale_us, encode_us] = spent.map(per_frame);
    Ok(FrameCost {
        decode_us,
        scale_us,
        encode_us,
    })
}

fn open(specs: &[RenditionSpec], first: &Picture) -> Result<Vec<Rung>, BenchError> {
    let rung = |spec: &RenditionSpec| {
        let width = spec.width.unwrap_or(spec.height * 16 / 9 / 2 * 2);
        Ok(Rung {
            settings: *spec,
            scaler: Scaler::default(),
            canvas: Picture::black(width, spec.height)?,
            encoder: VideoEncoder::new(width, spec.height, spec, first)?,
        })
    };
    specs.iter().map(rung).collect()
}

/// Runs `work` and adds its CPU time on this thread to `spent`.
fn timed<T>(spent: &mut Duration, work: impl FnOnce() -> T) -> T {
    let before = thread_cpu();
    let done = work();
    *spent += thread_cpu().saturating_sub(before);
    done
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
}
