//! Decoding, scaling and encoding with nothing around them: what re-encoding costs at least.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use shardcast_link::{RenditionSpec, VideoCodec};
use shardcast_media::{
    Picture, Preset, Profile, RenditionSettings, Scaler, VideoDecoder, VideoEncoder,
};

use super::PictureCost;
use crate::BenchError;
use crate::clip::Clip;

/// Pictures before the measurement: caches and rate control come into their stride.
const WARM_UP_PICTURES: usize = 60;

/// One rendition on its way: what it is drawn on, and what encodes it.
struct Rung {
    settings: RenditionSettings,
    scaler: Scaler,
    canvas: Picture,
    encoder: VideoEncoder,
}

/// Makes these renditions, the largest first, of so many pictures on this thread. A smaller one is
/// drawn from the next larger one.
pub(super) fn measure(
    clip: &Clip,
    specs: &[RenditionSpec],
    pictures: usize,
) -> Result<PictureCost, BenchError> {
    let mut decoder = VideoDecoder::new(codec(clip.format.codec), clip.record().map(|r| &r[..]))?;
    let mut source = Picture::empty();
    let mut rungs: Vec<Rung> = Vec::new();
    let mut spent = [Duration::ZERO; 3];
    for (n, unit) in clip.units().take(WARM_UP_PICTURES + pictures).enumerate() {
        if n == WARM_UP_PICTURES {
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
    let per_picture = |spent: Duration| spent.as_secs_f64() * 1e6 / pictures.max(1) as f64;
    let [decode_us, scale_us, encode_us] = spent.map(per_picture);
    Ok(PictureCost {
        decode_us,
        scale_us,
        encode_us,
    })
}

fn open(specs: &[RenditionSpec], first: &Picture) -> Result<Vec<Rung>, BenchError> {
    let rung = |spec: &RenditionSpec| {
        let settings = settings(spec);
        let width = spec.width.unwrap_or(spec.height * 16 / 9 / 2 * 2);
        Ok(Rung {
            settings,
            scaler: Scaler::default(),
            canvas: Picture::black(width, spec.height)?,
            encoder: VideoEncoder::new(width, spec.height, &settings, first)?,
        })
    };
    specs.iter().map(rung).collect()
}

fn settings(spec: &RenditionSpec) -> RenditionSettings {
    RenditionSettings {
        width: spec.width,
        height: spec.height,
        frames_per_second: spec.frames_per_second,
        video_bps: spec.video_bps,
        gop_ms: spec.gop_ms,
        preset: match spec.preset {
            shardcast_link::Preset::Ultrafast => Preset::Ultrafast,
            shardcast_link::Preset::Superfast => Preset::Superfast,
            shardcast_link::Preset::Veryfast => Preset::Veryfast,
            shardcast_link::Preset::Faster => Preset::Faster,
        },
        profile: match spec.profile {
            shardcast_link::Profile::Baseline => Profile::Baseline,
            shardcast_link::Profile::Main => Profile::Main,
            shardcast_link::Profile::High => Profile::High,
        },
    }
}

fn codec(codec: VideoCodec) -> shardcast_media::VideoCodec {
    match codec {
        VideoCodec::H264 => shardcast_media::VideoCodec::H264,
        VideoCodec::Vp8 => shardcast_media::VideoCodec::Vp8,
        VideoCodec::Vp9 => shardcast_media::VideoCodec::Vp9,
        VideoCodec::Av1 => shardcast_media::VideoCodec::Av1,
    }
}

/// Adds the CPU time of this thread that something takes.
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
