//! Reports as text for people.

mod crowd;
mod density;
mod reencoding;
mod watching;

use serde::Serialize;
use shardcast_bench::{
    BenchError,
    live::FirstFrameReport,
    publisher::PublisherReport,
    sink::{ConnectionReport, VbvReport, VideoReport},
    stats::{Percentiles, Spread},
};

use crate::cli::Output;

pub(crate) use crowd::hls_crowd;
pub(crate) use density::{compared, fan_out, live};
pub(crate) use reencoding::{bitrate, hostile, interference, overload, reencode};
pub(crate) use watching::watch;

pub(crate) fn publishers(reports: &[PublisherReport], output: &Output) -> Result<(), BenchError> {
    if !output.flat("Publishers", &reports)? {
        return Ok(());
    }
    for report in reports {
        println!(
            "{}: connected in {}, {} frames ({} keyframes, {} requested, {} late), \
             {} audio packets, {} kB, loss {:.2} %, round trip {}, {} attempts",
            report.stream_id,
            milliseconds(report.connect_ms),
            report.frames_sent,
            report.keyframes_sent,
            report.keyframes_requested,
            report.frames_late,
            report.audio_packets_sent,
            report.media_bytes_sent / 1_000,
            report.lost_fraction * 100.0,
            milliseconds(report.rtt_ms),
            report.attempts,
        );
        for error in &report.errors {
            println!("  {error}");
        }
    }
    Ok(())
}

/// What a sink has received.
#[derive(Debug, Serialize)]
pub(crate) struct Received {
    pub(crate) connections: Vec<ConnectionReport>,
    /// The decoder buffer of each connection, if it was asked for.
    pub(crate) vbv: Vec<VbvReport>,
}

pub(crate) fn received(received: &Received, output: &Output) -> Result<(), BenchError> {
    if !output.flat("Streams received", received)? {
        return Ok(());
    }
    for report in &received.connections {
        println!(
            "{}{} {}/{}: {} frames ({} keyframes), {} audio frames ({} of Opus), first media after {}, delay {}, \
             keyframes every {}, largest gap {}/{} ms (video/audio), audio minus video {}, {}",
            report.peer,
            if report.tls { " (TLS)" } else { "" },
            report.application,
            shortened(&report.stream_key),
            report.video_frames,
            report.keyframes,
            report.audio_frames,
            report.opus_packets,
            milliseconds(report.first_media_ms),
            percentiles(report.delay_ms),
            spread(report.keyframe_interval_ms),
            report.video_gap_ms_max,
            report.audio_gap_ms_max,
            spread(report.sync_ms),
            report
                .ended
                .as_ref()
                .map_or("open".to_owned(), |ended| format!("{ended:?}")),
        );
        println!("  {}", video(&report.video));
        for fault in report.faults() {
            println!("  {fault}");
        }
    }
    vbv(&received.vbv);
    Ok(())
}

/// One line about the video of a stream.
fn video(video: &VideoReport) -> String {
    let sizes: Vec<String> = video
        .sizes
        .iter()
        .map(|(w, h)| format!("{w}×{h}"))
        .collect();
    let fps = video.frames_per_second.unwrap_or_default();
    format!(
        "video {}, header changed {} times, {fps:.2} frames a second (frame distance {}, deviation from \
         an even grid at most {}), {:.0} frames from keyframe to keyframe, {} in 10 s",
        sizes.join(", "),
        video.header_changes,
        spread(video.frame_distance_ms),
        milliseconds(video.grid_deviation_ms),
        video.keyframe_interval_frames.map_or(0.0, |s| s.median),
        video.window_kbps.map_or("-".to_owned(), |s| {
            format!(
                "{:.0}/{:.0}/{:.0} kbit/s (min/median/max)",
                s.min, s.median, s.max
            )
        }),
    )
}

fn vbv(reports: &[VbvReport]) {
    for report in reports {
        println!(
            "decoder buffer empty {} times, at least {:.0} % left",
            report.violations, report.lowest_percent
        );
    }
}

pub(crate) fn first_frame(report: &FirstFrameReport, output: &Output) -> Result<(), BenchError> {
    if !output.flat("Time to the first frame", report)? {
        return Ok(());
    }
    println!(
        "video and audio after   {}",
        percentiles(report.first_frame_ms)
    );
    println!("connect                 {}", percentiles(report.connect_ms));
    Ok(())
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"))
}

fn percentiles(value: Option<Percentiles>) -> String {
    value.map_or("-".to_owned(), |p| {
        format!(
            "p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms ({} values)",
            p.p50, p.p99, p.p999, p.max, p.count
        )
    })
}

fn spread(value: Option<Spread>) -> String {
    value.map_or("-".to_owned(), |s| {
        format!(
            "{:.1}/{:.1}/{:.1} ms (min/median/max)",
            s.min, s.median, s.max
        )
    })
}

/// The first four characters of a key, too few to publish with.
fn shortened(key: &str) -> String {
    let start: String = key.chars().take(4).collect();
    if start.len() < key.len() {
        format!("{start}…")
    } else {
        start
    }
}
