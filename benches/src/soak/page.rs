//! A soak as people read it.

use super::{ProcessSample, SoakOptions, SoakReport, SoakSample};
use crate::report::{Axis, Page, Plot, PlotKind, Series, Table};
use crate::stats::Line;

/// The page of a soak.
pub fn page(report: &SoakReport, options: &SoakOptions) -> Page {
    Page {
        title: "Soak of Shardcast".to_owned(),
        lead: lead(report),
        settings: settings(options),
        plots: vec![memory(report), descriptors(report), work(report)],
        tables: vec![states(report), traffic(report), faults(report)],
        data: samples(report),
    }
}

fn lead(report: &SoakReport) -> Vec<String> {
    let slope = |value: Option<f64>| {
        value.map_or(
            "not measured (shorter than ten minutes)".to_owned(),
            |slope| format!("{slope:+.2} MB an hour"),
        )
    };
    let mut lines = vec![if report.shortfalls.is_empty() {
        format!(
            "Passed: no frame of {} was lost, and memory, descriptors and threads are back to their base.",
            report.frames_sent
        )
    } else {
        format!("Not passed: {}.", report.shortfalls.join("; "))
    }];
    lines.push(format!(
        "Slope of the memory after the warm-up: engine {}, control {}.",
        slope(report.engine_mb_per_hour),
        slope(report.control_mb_per_hour)
    ));
    lines.push(format!(
        "{} broadcasts lasted; {} shows, {} healthy and {} failing destinations came and went.",
        report.broadcasts, report.shows, report.healthy_destinations, report.failing_destinations
    ));
    lines
}

fn settings(options: &SoakOptions) -> Vec<(String, String)> {
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs_f64());
    [
        ("Lasting broadcasts", options.broadcasts.to_string()),
        ("Each of them", options.mix.text()),
        (
            "Publishers that come and go",
            format!(
                "{} at the same time, {} each",
                options.publishers,
                seconds(options.show)
            ),
        ),
        (
            "Destinations that come and go",
            format!(
                "{} at the same time, {} each, every second one fails",
                options.destinations,
                seconds(options.stay)
            ),
        ),
        (
            "First round",
            format!(
                "{}, both processes stopped for {} in it",
                seconds(options.first_round),
                seconds(options.stall)
            ),
        ),
        ("Warm-up", seconds(options.warm_up)),
        ("Measurement", seconds(options.duration)),
        ("Rest", seconds(options.rest)),
        (
            "Limits",
            format!(
                "memory grows by {} MB an hour at most and leaves {} MB at most",
                options.mb_per_hour, options.mb_left
            ),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A line of a plot: its name, and its value of a sample.
type Drawn = (&'static str, fn(&SoakSample) -> f64);

fn over_time(title: &str, note: &str, y: Axis, report: &SoakReport, lines: &[Drawn]) -> Plot {
    let of = |value: fn(&SoakSample) -> f64| {
        let samples = report.samples.iter();
        samples.map(move |s| (s.at_s / 60.0, value(s))).collect()
    };
    let series = lines.iter().map(|(name, value)| Series {
        name: (*name).to_owned(),
        points: of(*value),
        line: true,
    });
    Plot {
        title: title.to_owned(),
        note: note.to_owned(),
        x: Axis::close_up("time since the start, minutes"),
        y,
        kind: PlotKind::Lines {
            series: series.collect(),
            limits: Vec::new(),
        },
    }
}

fn memory(report: &SoakReport) -> Plot {
    let note = "Resident memory. The straight line is the regression after the warm-up.";
    let mut plot = over_time(
        "Memory",
        note,
        Axis::linear("resident memory, MB"),
        report,
        &[
            ("engine", |s| s.engine.resident_mb),
            ("control", |s| s.control.resident_mb),
        ],
    );
    let late = report.samples.iter().filter(|s| s.at_s >= report.warm_up_s);
    let points: Vec<_> = late
        .map(|s| (s.at_s / 60.0, s.engine.resident_mb))
        .collect();
    if let (Some(line), PlotKind::Lines { series, .. }) = (Line::through(&points), &mut plot.kind) {
        let ends = [points.first(), points.last()].into_iter().flatten();
        series.push(Series {
            name: format!("engine, regression: {:+.2} MB an hour", line.slope * 60.0),
            points: ends.map(|(x, _)| (*x, line.at(*x))).collect(),
            line: true,
        });
    }
    plot
}

fn descriptors(report: &SoakReport) -> Plot {
    over_time(
        "Descriptors and threads",
        "Open file descriptors of both processes, and threads of the engine.",
        Axis::linear("number"),
        report,
        &[
            ("descriptors of the engine", |s| s.engine.descriptors as f64),
            ("descriptors of control", |s| s.control.descriptors as f64),
            ("threads of the engine", |s| s.engine.threads as f64),
        ],
    )
}

fn work(report: &SoakReport) -> Plot {
    over_time(
        "Broadcasts and destinations",
        "What Shardcast reported of itself.",
        Axis::linear("number"),
        report,
        &[
            ("broadcasts", |s| s.broadcasts as f64),
            ("destinations", |s| s.destinations as f64),
        ],
    )
}

/// Moments whose memory is compared.
fn states(report: &SoakReport) -> Table {
    let mut table = Table::new(
        "Before and after",
        &[
            "when",
            "engine, MB",
            "descriptors",
            "threads",
            "control, MB",
            "descriptors",
            "threads",
            "broadcasts",
            "destinations",
        ],
    );
    let last = report.samples.last();
    for (name, sample) in [
        ("started", Some(&report.fresh)),
        ("base, after the first round", Some(&report.base)),
        ("last sample under load", last),
        ("after the end", Some(&report.end)),
    ] {
        let Some(sample) = sample else { continue };
        let process = |one: &ProcessSample| {
            [
                format!("{:.1}", one.resident_mb),
                one.descriptors.to_string(),
                one.threads.to_string(),
            ]
        };
        let mut row = vec![name.to_owned()];
        row.extend(process(&sample.engine));
        row.extend(process(&sample.control));
        row.extend([sample.broadcasts, sample.destinations].map(|n| n.to_string()));
        table.rows.push(row);
    }
    table
}

fn traffic(report: &SoakReport) -> Table {
    let mut table = Table::new("Media", &["value", "measured"]);
    let delay = report.delay_ms.map_or("-".to_owned(), |delay| {
        format!(
            "{:.1} / {:.1} / {:.1} / {:.1} ms",
            delay.p50, delay.p99, delay.p999, delay.max
        )
    });
    for (name, value) in [
        (
            "frames sent by lasting broadcasts",
            report.frames_sent.to_string(),
        ),
        (
            "frames lost, all destinations",
            report.frames_lost.to_string(),
        ),
        (
            "delay of lasting broadcasts, p50 / p99 / p99.9 / max",
            delay,
        ),
        (
            "frames that left the generator more than 5 ms late",
            report.frames_late_5_ms.to_string(),
        ),
    ] {
        table.row([name.to_owned(), value]);
    }
    table
}

fn faults(report: &SoakReport) -> Table {
    let mut table = Table::new("Faults", &["fault"]);
    for fault in &report.faults {
        table.row([fault.clone()]);
    }
    if report.faults.is_empty() {
        table.row(["none".to_owned()]);
    }
    table
}

fn samples(report: &SoakReport) -> Table {
    let mut table = Table::new(
        "Samples",
        &[
            "time, s",
            "engine memory, MB",
            "engine descriptors",
            "engine threads",
            "control memory, MB",
            "control descriptors",
            "control threads",
            "broadcasts",
            "destinations",
        ],
    );
    for s in &report.samples {
        table.row([
            format!("{:.1}", s.at_s),
            format!("{:.2}", s.engine.resident_mb),
            s.engine.descriptors.to_string(),
            s.engine.threads.to_string(),
            format!("{:.2}", s.control.resident_mb),
            s.control.descriptors.to_string(),
            s.control.threads.to_string(),
            s.broadcasts.to_string(),
            s.destinations.to_string(),
        ]);
    }
    table
}
