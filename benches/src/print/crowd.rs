//! Report of shows without and with a crowd of HLS pollers.

use shardcast_bench::{
    BenchError,
    hls_crowd::{HlsCrowdReport, HlsCrowdRun},
    load::Window,
    stats::Spread,
};

use super::density::hls;
use super::percentiles;
use crate::cli::Output;

pub(crate) fn hls_crowd(
    report: &HlsCrowdReport,
    ratio_max: f64,
    output: &Output,
) -> Result<(), BenchError> {
    if !output.flat("Shows beside a crowd of HLS pollers", report)? {
        return Ok(());
    }
    println!("{} shows, {} pollers", report.broadcasts, report.pollers);
    for (n, one) in report.runs.iter().enumerate() {
        println!("run {}", n + 1);
        run(one);
    }
    let text = |spread: Option<Spread>| {
        spread.map_or("-".to_owned(), |s| {
            format!("{:.2} ({:.2}-{:.2})", s.median, s.min, s.max)
        })
    };
    println!(
        "p99 of the shows       {} ms without and {} ms with pollers, {} times (at most {ratio_max} wanted)",
        text(report.p99_without_ms),
        text(report.p99_with_ms),
        text(report.p99_ratio)
    );
    Ok(())
}

fn run(run: &HlsCrowdRun) {
    for (name, window) in [
        ("without pollers", &run.without),
        ("with pollers", &run.with),
    ] {
        println!("delay {name:<16} {}", percentiles(window.delay_ms));
        println!("CPU time {name:<16} {}", cost(window));
    }
    if let Some(figures) = &run.with.hls {
        hls(figures);
    }
    println!("frames lost            {}", run.frames_lost);
    for fault in &run.faults {
        println!("fault: {fault}");
    }
    if let Some(limit) = &run.generator_limit {
        println!("the generator may be what was measured: {limit}");
    }
}

fn cost(window: &Window) -> String {
    format!(
        "engine {:.1} %, control {:.1} %, generator {:.1} % of a core",
        window.media_cpu_percent, window.others_cpu_percent, window.generator.cpu_percent
    )
}
