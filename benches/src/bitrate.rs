//! Whether a rendition is what it was asked to be, told from what its destination receives: bit rate,
//! decoder's buffer, frame rate, keyframe distance, size. Sources of other frame rates, and of one
//! that varies, must not be seen in it.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use shardcast_link::RenditionSpec;

use crate::BenchError;
use crate::clip::{Clip, ClipFormat};
use crate::harness::Harness;
use crate::publisher::{Pace, Publisher, PublisherOptions};
use crate::sink::{FrameLog, PictureReport, Sink, VBV_BUFFER_MS, VbvReport, WINDOW_MS};
use crate::stats::Spread;

const START_PATIENCE: Duration = Duration::from_secs(60);
/// What rate control does with the first pictures is not looked at.
const SETTLE_MS: u32 = 4_000;
/// Rounding of RTMP's timestamps: both ends of a distance.
const GRID_TOLERANCE_MS: f64 = 1.5;

/// What is made of which sources.
#[derive(Clone, Debug)]
pub struct BitrateOptions {
    pub sources: Vec<(ClipFormat, Pace)>,
    pub spec: RenditionSpec,
    /// How long each is watched.
    pub duration: Duration,
}

/// One source.
#[derive(Clone, Debug, Serialize)]
pub struct BitrateSource {
    pub source: String,
    /// Largest and smallest mean over ten seconds against what was asked for, in percent of it.
    pub window_percent: Option<Spread>,
    pub vbv: VbvReport,
    pub picture: PictureReport,
    /// What is not as it was asked for, in words.
    pub faults: Vec<String>,
}

/// All sources, one after the other.
#[derive(Clone, Debug, Serialize)]
pub struct BitrateReport {
    pub spec: RenditionSpec,
    pub sources: Vec<BitrateSource>,
}

/// Publishes one source after the other, and looks at what is made of it.
///
/// # Errors
/// When something does not start.
pub async fn bitrate(
    harness: &Harness,
    options: &BitrateOptions,
) -> Result<BitrateReport, BenchError> {
    let mut sources = Vec::new();
    for (number, (format, pace)) in options.sources.iter().enumerate() {
        let clip = Clip::load(*format)?;
        let stream_id = format!("bitrate{number}");
        let log = watch(harness, &clip, *pace, &stream_id, options).await?;
        sources.push(look(name(format, *pace), &log, &options.spec));
    }
    Ok(BitrateReport {
        spec: options.spec,
        sources,
    })
}

/// 15, 24, 30 and 60 frames a second, and 30 that vary.
pub fn usual_sources(format: ClipFormat) -> Vec<(ClipFormat, Pace)> {
    let constant = [15, 24, 30, 60].map(|fps| (ClipFormat { fps, ..format }, Pace::Constant));
    let varying = (ClipFormat { fps: 30, ..format }, Pace::Varying);
    constant.into_iter().chain([varying]).collect()
}

fn name(format: &ClipFormat, pace: Pace) -> String {
    let varying = if pace == Pace::Varying {
        ", varying"
    } else {
        ""
    };
    format!("{} frames a second{varying}", format.fps)
}

async fn watch(
    harness: &Harness,
    clip: &Arc<Clip>,
    pace: Pace,
    stream_id: &str,
    options: &BitrateOptions,
) -> Result<(PictureReport, FrameLog), BenchError> {
    let sink = Sink::start()?;
    harness.create(stream_id).await?;
    harness
        .add_rendition(stream_id, &sink.url(stream_id), &options.spec)
        .await?;
    let publisher = PublisherOptions {
        pace,
        ..PublisherOptions::new(harness.signalling(), stream_id)
    };
    let publisher = Publisher::start(Arc::clone(clip), publisher);
    let seconds = options.duration.as_secs() + u64::from(SETTLE_MS / 1_000);
    let frames = seconds * u64::from(options.spec.frames_per_second);
    let patience = START_PATIENCE + Duration::from_secs(2 * seconds);
    sink.frames(stream_id, frames, patience).await?;
    let stream = sink.stream(stream_id).unwrap_or_default();
    let log = sink.log(stream_id);
    publisher.stop().await;
    // The next source needs the room.
    let _ = harness.delete(stream_id).await;
    harness
        .wait_status("end of the rendition", START_PATIENCE, |status| {
            status.renditions(stream_id).is_empty()
        })
        .await?;
    Ok((stream.picture, log))
}

/// Compares what came with what was asked for.
fn look(
    source: String,
    (picture, log): &(PictureReport, FrameLog),
    spec: &RenditionSpec,
) -> BitrateSource {
    let settled = log.after(SETTLE_MS);
    let percent = |bps: f64| (bps / f64::from(spec.video_bps) - 1.0) * 100.0;
    let windows = settled.windows_bps(WINDOW_MS).into_iter().map(percent);
    let window_percent = Spread::of(windows.collect());
    let vbv = log.vbv(spec.video_bps, VBV_BUFFER_MS);
    let mut faults = Vec::new();
    let mut fault = |bad: bool, words: String| {
        if bad {
            faults.push(words);
        }
    };
    match window_percent {
        Some(Spread { min, max, .. }) => fault(
            min < -5.0 || max > 5.0,
            format!("{min:+.1} to {max:+.1} % of the bit rate"),
        ),
        None => fault(true, "no ten seconds to look at".to_owned()),
    }
    fault(
        vbv.violations > 0,
        format!("the decoder's buffer was empty {} times", vbv.violations),
    );
    let group = f64::from(spec.gop_ms * spec.frames_per_second / 1_000);
    let distances = picture.keyframe_interval_frames;
    let constant = distances.is_none_or(|d| d.min == group && d.max == group);
    fault(
        !constant,
        format!("keyframes are not {group} frames apart: {distances:?}"),
    );
    let deviation_ms = log.grid_deviation_ms().unwrap_or_default();
    fault(
        deviation_ms > GRID_TOLERANCE_MS,
        format!("frames are up to {deviation_ms:.1} ms off an even grid"),
    );
    let fps = log.frames_per_second().unwrap_or_default();
    fault(
        (fps - f64::from(spec.frames_per_second)).abs() > 0.05,
        format!("{fps:.2} frames a second"),
    );
    fault(
        picture.sizes.len() != 1,
        format!("sizes {:?}", picture.sizes),
    );
    fault(
        picture.header_changes > 0,
        format!("{} other parameter sets", picture.header_changes),
    );
    BitrateSource {
        source,
        window_percent,
        vbv,
        picture: picture.clone(),
        faults,
    }
}
