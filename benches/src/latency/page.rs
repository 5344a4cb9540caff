//! Delays as people read them.

use super::{LatencyOptions, LatencyReport, StateReport};
use crate::load::Ingest;
use crate::report::{Axis, Page, Plot, PlotKind, Series, Table};
use crate::stats::Spread;

/// The page of the delays.
pub fn page(report: &LatencyReport, options: &LatencyOptions) -> Page {
    Page {
        title: "Delay of Shardcast".to_owned(),
        lead: lead(report, options),
        settings: settings(options),
        plots: vec![percentiles(report, options)],
        tables: vec![states(report, options)],
        data: histogram(report),
    }
}

fn lead(report: &LatencyReport, options: &LatencyOptions) -> Vec<String> {
    let median = |spread: Option<Spread>| spread.map_or(0.0, |spread| spread.median);
    let mut lines = Vec::new();
    for one in &report.states {
        lines.push(format!(
            "{}: p50 {:.2}, p99 {:.2}, p99.9 {:.2} ms.",
            one.state.text(options),
            median(one.p50_ms),
            median(one.p99_ms),
            median(one.p999_ms)
        ));
    }
    let included = match options.kind.publisher {
        Ingest::WebRtc => ", its packetising and encryption included,",
        Ingest::Rtmp => "",
    };
    lines.push(format!(
        "Measured from the publisher's send call of a frame{included} to the read call of the destination that has all of it. Generator and server share one machine and its loopback."
    ));
    for one in &report.states {
        for limit in &one.generator_limits {
            let state = one.state.text(options);
            lines.push(format!(
                "{state}: the generator may be what was measured: {limit}."
            ));
        }
        if one.frames_lost > 0 || !one.faults.is_empty() {
            let state = one.state.text(options);
            let (lost, faults) = (one.frames_lost, one.faults.join("; "));
            lines.push(format!("{state}: {lost} frames lost; faults: {faults}."));
        }
    }
    lines
}

fn settings(options: &LatencyOptions) -> Vec<(String, String)> {
    let setup = &options.setup;
    [
        ("Each broadcast", options.kind.text()),
        ("Cores of the engine", setup.cores.engine_text()),
        (
            "Cores of publishers, sinks and control",
            setup.cores.generator_text(),
        ),
        ("Runs", options.runs.to_string()),
        ("Warm-up", format!("{} s", options.warm_up.as_secs_f64())),
        (
            "Measurement",
            format!("{} s", options.duration.as_secs_f64()),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn percentiles(report: &LatencyReport, options: &LatencyOptions) -> Plot {
    let series = report.states.iter().map(|one| Series {
        name: one.state.text(options),
        points: one.percentiles.clone(),
        line: true,
    });
    Plot {
        title: "Delay by percentile".to_owned(),
        note: "The histogram of all runs. At 99, one frame of a hundred took longer.".to_owned(),
        x: Axis::percentiles("percentile of the frames, %"),
        y: Axis::linear("delay, ms"),
        kind: PlotKind::Lines {
            series: series.collect(),
            limits: Vec::new(),
        },
    }
}

fn states(report: &LatencyReport, options: &LatencyOptions) -> Table {
    let mut table = Table::new(
        "States: median (smallest to largest) of the runs",
        &[
            "state",
            "p50, ms",
            "p99, ms",
            "p99.9, ms",
            "longest, ms",
            "frames",
            "lost",
        ],
    );
    let cell = |spread: Option<Spread>| {
        spread.map_or(String::new(), |s| {
            format!("{:.2} ({:.2}–{:.2})", s.median, s.min, s.max)
        })
    };
    for one in &report.states {
        let StateReport {
            frames,
            frames_lost,
            max_ms,
            ..
        } = one;
        table.row([
            one.state.text(options),
            cell(one.p50_ms),
            cell(one.p99_ms),
            cell(one.p999_ms),
            format!("{max_ms:.1}"),
            frames.to_string(),
            frames_lost.to_string(),
        ]);
    }
    table
}

fn histogram(report: &LatencyReport) -> Table {
    let mut table = Table::new("Histogram", &["state", "delay, µs", "frames"]);
    for one in &report.states {
        let state = serde_json::to_value(one.state).unwrap_or_default();
        let name = state.as_str().unwrap_or_default();
        for (us, count) in &one.histogram {
            table.row([name.to_owned(), us.to_string(), count.to_string()]);
        }
    }
    table
}
