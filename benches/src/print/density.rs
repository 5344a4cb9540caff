//! Reports of the measurements of passthrough broadcasts.

use shardcast_bench::{
    BenchError,
    compare_builds::{BuildFigures, ComparedLoad},
    fan_out::FanOutReport,
    live::LiveReport,
    load::HlsFigures,
    stats::Spread,
    work::WorkRates,
};

use super::{percentiles, spread};
use crate::cli::Output;

pub(crate) fn live(report: &LiveReport, output: &Output) -> Result<(), BenchError> {
    if !output.flat("Shardcast under load", report)? {
        return Ok(());
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
    delays(report);
    println!("connect                {}", percentiles(report.connect_ms));
    println!(
        "longest keyframe gap   {}",
        spread(report.keyframe_interval_ms)
    );
    println!("audio minus video      {}", spread(report.sync_ms));
    if let Some(figures) = &report.hls {
        hls(figures);
    }
    if report.recorded_mb > 0.0 {
        println!("recorded               {:.1} MB", report.recorded_mb);
    }
    if let Some(rates) = &report.work_per_second {
        work(rates);
    }
    if report.frames_sent_late > 0 {
        println!(
            "{} frames left the generator late: it caused part of the delays",
            report.frames_sent_late
        );
    }
    for fault in &report.faults {
        println!("fault: {fault}");
    }
    Ok(())
}

fn delays(report: &LiveReport) {
    println!("delay                  {}", percentiles(report.delay_ms));
    if report.delay_by_ingest.len() < 2 {
        return;
    }
    for of in &report.delay_by_ingest {
        println!(
            "  of {:>3} by {:<6}       {}",
            of.broadcasts,
            of.ingest.name(),
            percentiles(of.delay_ms)
        );
    }
}

/// What pollers did.
pub(super) fn hls(figures: &HlsFigures) {
    println!(
        "HLS                    {} pollers, {:.0} requests a second ({:.0} parts), {:.0} Mbit/s, {} errors, \
         {} stalls of {} ms together",
        figures.pollers,
        figures.requests_per_second,
        figures.parts_per_second,
        figures.mbit_per_second,
        figures.errors,
        figures.stalls,
        figures.stalled_ms
    );
    println!("a part of HLS          {}", percentiles(figures.part_ms));
}

fn work(rates: &WorkRates) {
    println!(
        "each second            {:.0} sleeps, {:.0} turns, {:.0} begun by a timer",
        rates.sleeps, rates.turns, rates.timer_wakes
    );
    println!(
        "UDP                    {:.0} drains ({:.0} empty) of {:.2} datagrams, {:.0} sends",
        rates.udp_drains, rates.udp_drains_empty, rates.datagrams_per_drain, rates.udp_sends
    );
    println!(
        "TCP                    {:.0} writes of {:.0} bytes, {:.0} reads ({:.0} empty)",
        rates.tcp_writes, rates.bytes_per_write, rates.tcp_reads, rates.tcp_reads_empty
    );
    println!(
        "audio                  {:.1} µs for an Opus packet, {:.1} µs for an AAC frame",
        rates.opus_us_per_packet, rates.aac_us_per_frame
    );
}

pub(crate) fn fan_out(report: &FanOutReport, output: &Output) -> Result<(), BenchError> {
    if !output.flat("One broadcast to many destinations", report)? {
        return Ok(());
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
            "frames missing at all  {}",
            report.frames_missing_everywhere
        );
    }
    for stage in &report.stages {
        println!(
            "{:>4} destinations      {:.2} % of a core, each added one {:.3} %, {:.2} MB; delay {}",
            stage.destinations,
            stage.engine_cpu_percent,
            stage.engine_cpu_percent_per_added,
            stage.engine_mb_per_added,
            percentiles(stage.delay_ms)
        );
    }
    println!(
        "generator and sinks    {:.1} % of a core",
        report.generator_cpu_percent
    );
    if report.frames_sent_late > 0 {
        println!(
            "{} frames left the generator late: it caused part of the delays",
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
    Ok(())
}

pub(crate) fn compared(loads: &[ComparedLoad], output: &Output) -> Result<(), BenchError> {
    if !output.flat("Two builds of Shardcast", &loads)? {
        return Ok(());
    }
    println!("min/median/max of the runs; % of a core and MB are those of one broadcast");
    println!(
        "{:>4} {:<6} {:>20} {:>6} {:>17} {:>17} {:>17} {:>17} {:>5}",
        "N", "build", "% of a core", "ratio", "MB", "p50 ms", "p99 ms", "p99.9 ms", "lost"
    );
    for load in loads {
        let ratio = load.cpu_ratio.map(|ratio| format!("{ratio:.3}"));
        build(load.broadcasts, "before", &load.before, "");
        build(
            load.broadcasts,
            "after",
            &load.after,
            &ratio.unwrap_or_default(),
        );
    }
    for load in loads {
        for (name, build) in [("before", &load.before), ("after", &load.after)] {
            for fault in &build.faults {
                println!("{} broadcasts, {name}: {fault}", load.broadcasts);
            }
        }
    }
    Ok(())
}

fn build(broadcasts: u32, name: &str, figures: &BuildFigures, ratio: &str) {
    let range = |value: Option<Spread>, digits: usize| {
        value.map_or("-".to_owned(), |s| {
            format!(
                "{:.digits$}/{:.digits$}/{:.digits$}",
                s.min, s.median, s.max
            )
        })
    };
    println!(
        "{broadcasts:>4} {name:<6} {:>20} {ratio:>6} {:>17} {:>17} {:>17} {:>17} {:>5}",
        range(figures.cpu_percent_per_broadcast, 3),
        range(figures.mb_per_broadcast, 2),
        range(figures.delay_p50_ms, 2),
        range(figures.delay_p99_ms, 2),
        range(figures.delay_p999_ms, 2),
        figures.frames_lost,
    );
}
