//! Checks a rendition at its destination: bit rate, decoder buffer, frame rate, keyframe distance and
//! size must be those requested, whatever the frame rate of the source is.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use shardcast_link::RenditionSpec;

use crate::BenchError;
use crate::harness::Harness;
use crate::publisher::{Pace, Publisher, PublisherOptions};
use crate::sink::{FrameLog, Sink, VBV_BUFFER_MS, VbvReport, VideoReport, WINDOW_MS};
use crate::stats::Spread;
use crate::test_clip::{TestClip, TestClipFormat};

const START_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Beginning of the stream that is left out, until rate control is in its steady state.
const SETTLE_MS: u32 = 4_000;
/// Rounding of RTMP timestamps at both ends of a distance, in milliseconds.
const GRID_TOLERANCE_MS: f64 = 1.5;

/// Sources and the requested rendition.
#[derive(Clone, Debug)]
pub struct BitrateOptions {
    /// Test clips to publish, one after the other, and their frame spacing.
    pub sources: Vec<(TestClipFormat, Pace)>,
    /// The rendition that is requested of each source.
    pub spec: RenditionSpec,
    /// How long each source is measured.
    pub duration: Duration,
}

/// Results of one source.
#[derive(Clone, Debug, Serialize)]
pub struct BitrateSource {
    /// Frame rate of the source, as text.
    pub source: String,
    /// Deviation of the mean bit rate over ten seconds from the requested one, in percent.
    pub window_percent: Option<Spread>,
    /// The decoder buffer at the requested bit rate.
    pub vbv: VbvReport,
    /// Sizes, parameter sets and spacing of the frames received.
    #[serde(rename = "picture")]
    pub video: VideoReport,
    /// Deviations from the request, as text.
    pub faults: Vec<String>,
}

/// Results of all sources.
#[derive(Clone, Debug, Serialize)]
pub struct BitrateReport {
    /// The rendition that was requested.
    pub spec: RenditionSpec,
    /// One entry for each source, in the order of the options.
    pub sources: Vec<BitrateSource>,
}

/// Publishes one source after the other, and measures the rendition of each.
///
/// # Errors
/// When something does not start.
pub async fn bitrate(
    harness: &Harness,
    options: &BitrateOptions,
) -> Result<BitrateReport, BenchError> {
    let mut sources = Vec::new();
    for (number, (format, pace)) in options.sources.iter().enumerate() {
        let clip = TestClip::load(*format)?;
        let stream_id = format!("bitrate{number}");
        let log = watch(harness, &clip, *pace, &stream_id, options).await?;
        sources.push(look(name(format, *pace), &log, &options.spec));
    }
    Ok(BitrateReport {
        spec: options.spec,
        sources,
    })
}

/// Sources of 15, 24, 30 and 60 frames a second, and one of 30 with varying distances.
pub fn usual_sources(format: TestClipFormat) -> Vec<(TestClipFormat, Pace)> {
    let constant = [15, 24, 30, 60].map(|fps| (TestClipFormat { fps, ..format }, Pace::Constant));
    let varying = (TestClipFormat { fps: 30, ..format }, Pace::Varying);
    constant.into_iter().chain([varying]).collect()
}

fn name(format: &TestClipFormat, pace: Pace) -> String {
    let varying = if pace == Pace::Varying {
        ", varying"
    } else {
        ""
    };
    format!("{} frames a second{varying}", format.fps)
}

async fn watch(
    harness: &Harness,
    clip: &Arc<TestClip>,
    pace: Pace,
    stream_id: &str,
    options: &BitrateOptions,
) -> Result<(VideoReport, FrameLog), BenchError> {
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
    let time_limit = START_TIME_LIMIT + Duration::from_secs(2 * seconds);
    sink.frames(stream_id, frames, time_limit).await?;
    let stream = sink.stream(stream_id).unwrap_or_default();
    let log = sink.log(stream_id);
    publisher.stop().await;
    // The rendition of the next source needs its capacity.
    let _ = harness.delete(stream_id).await;
    harness
        .wait_status("end of the rendition", START_TIME_LIMIT, |status| {
            status.renditions(stream_id).is_empty()
        })
        .await?;
    Ok((stream.video, log))
}

/// Compares the received stream with the request.
fn look(
    source: String,
    (video, log): &(VideoReport, FrameLog),
    spec: &RenditionSpec,
) -> BitrateSource {
    let settled = log.after(SETTLE_MS);
    let percent = |bps: f64| (bps / f64::from(spec.video_bps) - 1.0) * 100.0;
    let windows = settled.windows_bps(WINDOW_MS).into_iter().map(percent);
    let window_percent = Spread::of(windows.collect());
    let vbv = log.vbv(spec.video_bps, VBV_BUFFER_MS);
    let mut faults = Vec::new();
    let mut fault = |bad: bool, text: String| {
        if bad {
            faults.push(text);
        }
    };
    match window_percent {
        Some(Spread { min, max, .. }) => fault(
            min < -5.0 || max > 5.0,
            format!("{min:+.1} to {max:+.1} % of the bit rate"),
        ),
        None => fault(true, "the stream is shorter than ten seconds".to_owned()),
    }
    fault(
        vbv.violations > 0,
        format!("the decoder buffer was empty {} times", vbv.violations),
    );
    let group = f64::from(spec.gop_ms * spec.frames_per_second / 1_000);
    let distances = video.keyframe_interval_frames;
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
    fault(video.sizes.len() != 1, format!("sizes {:?}", video.sizes));
    fault(
        video.header_changes > 0,
        format!("{} other parameter sets", video.header_changes),
    );
    BitrateSource {
        source,
        window_percent,
        vbv,
        video: video.clone(),
        faults,
    }
}
