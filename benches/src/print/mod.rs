//! Reports as text for people and as JSON for programs.

mod reencoding;

use serde::Serialize;
use shardcast_bench::{
    fan_out::FanOutReport,
    live::{FirstFrameReport, LiveReport},
    publisher::PublisherReport,
    sink::{ConnectionReport, PictureReport, VbvReport},
    stats::{Percentiles, Spread},
};

pub(crate) use reencoding::{beside, bitrate, hostile, overload, reencode};

pub(crate) fn publishers(reports: &[PublisherReport], json: bool) {
    if json {
        return as_json(&reports);
    }
    for report in reports {
        println!(
            "{}: connected in {}, {} frames ({} keyframes, {} asked for, {} late), \
             {} packets of sound, {} kB, loss {:.2} %, round trip {}, {} attempts",
            report.stream_id,
            milliseconds(report.connect_ms),
            report.frames_sent,
            report.keyframes_sent,
            report.keyframes_requested,
            report.frames_late,
            report.packets_of_sound_sent,
            report.media_bytes_sent / 1_000,
            report.lost_fraction * 100.0,
            milliseconds(report.rtt_ms),
            report.attempts,
        );
        for error in &report.errors {
            println!("  {error}");
        }
    }
}

pub(crate) fn connections(reports: &[ConnectionReport], json: bool) {
    if json {
        return as_json(&reports);
    }
    for report in reports {
        println!(
            "{}{} {}/{}: {} frames ({} keyframes), {} sounds, first media after {}, delay {}, \
             keyframes every {}, largest gap {}/{} ms (picture/sound), sound minus picture {}, {}",
            report.peer,
            if report.tls { " (TLS)" } else { "" },
            report.application,
            shortened(&report.stream_key),
            report.video_frames,
            report.keyframes,
            report.audio_frames,
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
        println!("  {}", picture(&report.picture));
        for fault in report.faults() {
            println!("  {fault}");
        }
    }
}

fn picture(picture: &PictureReport) -> String {
    let sizes: Vec<String> = picture
        .sizes
        .iter()
        .map(|(w, h)| format!("{w}×{h}"))
        .collect();
    let fps = picture.frames_per_second.unwrap_or_default();
    format!(
        "picture {}, header changed {} times, {fps:.2} frames a second (frames apart by {}, off an even \
         grid by at most {}), {:.0} frames from keyframe to keyframe, {} in 10 s",
        sizes.join(", "),
        picture.header_changes,
        spread(picture.frame_distance_ms),
        milliseconds(picture.grid_deviation_ms),
        picture.keyframe_interval_frames.map_or(0.0, |s| s.median),
        picture.window_kbps.map_or("-".to_owned(), |s| {
            format!(
                "{:.0}/{:.0}/{:.0} kbit/s (min/median/max)",
                s.min, s.median, s.max
            )
        }),
    )
}

pub(crate) fn vbv(reports: &[VbvReport], json: bool) {
    if json {
        return as_json(&reports);
    }
    for report in reports {
        println!(
            "decoder's buffer empty {} times, at least {:.0} % left",
            report.violations, report.lowest_percent
        );
    }
}

pub(crate) fn live(report: &LiveReport, json: bool) {
    if json {
        return as_json(report);
    }
    println!(
        "{} broadcasts to {} destinations each, {:.0} s, {:.0} kbit/s each",
        report.broadcasts, report.destinations, report.seconds, report.video_kbps
    );
    println!("frames sent            {}", report.frames_sent);
    println!("frames lost            {}", report.frames_lost);
    println!(
        "engine per broadcast   {:.2} % of a core, {:.2} MB",
        report.engine_cpu_percent_per_broadcast, report.engine_mb_per_broadcast
    );
    println!("engine grew by         {:.2} MB", report.engine_mb_grown);
    println!(
        "control                {:.2} % of a core",
        report.control_cpu_percent
    );
    println!(
        "generator and sinks    {:.1} % of a core",
        report.generator_cpu_percent
    );
    println!("delay                  {}", percentiles(report.delay_ms));
    println!("connect                {}", percentiles(report.connect_ms));
    println!(
        "longest keyframe gap   {}",
        spread(report.keyframe_interval_ms)
    );
    println!("sound minus picture    {}", spread(report.sync_ms));
    if report.frames_sent_late > 0 {
        println!(
            "{} frames left the generator late: delays are partly its own",
            report.frames_sent_late
        );
    }
    for fault in &report.faults {
        println!("fault: {fault}");
    }
}

pub(crate) fn fan_out(report: &FanOutReport, json: bool) {
    if json {
        return as_json(report);
    }
    println!(
        "1 broadcast to {} destinations, {} of them faulty, {:.0} kbit/s each",
        report.destinations,
        report.faulty.len(),
        report.video_kbps
    );
    println!("frames sent            {}", report.frames_sent);
    println!("frames lost            {}", report.frames_lost);
    if report.frames_missing_everywhere > 0 {
        println!(
            "frames nobody got      {}",
            report.frames_missing_everywhere
        );
    }
    println!(
        "engine                 {:.2} % of a core with one destination, {:.2} % with all",
        report.engine_cpu_percent_of_one, report.engine_cpu_percent_of_all
    );
    println!(
        "each added destination {:.3} % of a core, {:.2} MB",
        report.engine_cpu_percent_per_added, report.engine_mb_per_added
    );
    println!(
        "generator and sinks    {:.1} % of a core",
        report.generator_cpu_percent
    );
    println!("delay                  {}", percentiles(report.delay_ms));
    if report.frames_sent_late > 0 {
        println!(
            "{} frames left the generator late: delays are partly its own",
            report.frames_sent_late
        );
    }
    for faulty in &report.faulty {
        println!(
            "{}: {} connections, {} at once: {}",
            faulty.fault, faulty.connections, faulty.at_once_max, faulty.problem
        );
    }
    for fault in &report.faults {
        println!("fault: {fault}");
    }
}

pub(crate) fn first_frame(report: &FirstFrameReport, json: bool) {
    if json {
        return as_json(report);
    }
    println!(
        "picture and sound after {}",
        percentiles(report.first_frame_ms)
    );
    println!("connect                 {}", percentiles(report.connect_ms));
}

fn as_json(report: &impl Serialize) {
    match serde_json::to_string_pretty(report) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("shardcast-bench: {error}"),
    }
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"))
}

fn percentiles(value: Option<Percentiles>) -> String {
    value.map_or("-".to_owned(), |p| {
        format!(
            "p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} values)",
            p.p50, p.p95, p.p99, p.max, p.count
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

/// So little of a key that it cannot be used.
fn shortened(key: &str) -> String {
    let start: String = key.chars().take(4).collect();
    if start.len() < key.len() {
        format!("{start}…")
    } else {
        start
    }
}
