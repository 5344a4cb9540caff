//! A comparison as people read it.

use super::{CompareOptions, CompareReport, OURS, Profile};
use crate::load::{Ingest, Mix, Window};
use crate::report::{Axis, Bar, Page, Plot, PlotKind, Table};
use crate::stats::Spread;

type Value = fn(&Window) -> Option<f64>;

/// The page of a comparison.
pub fn page(report: &CompareReport, options: &CompareOptions) -> Page {
    Page {
        title: format!("{OURS} beside {}", report.other),
        lead: lead(report, options),
        settings: settings(options),
        plots: plots(report, options),
        tables: vec![summary(report, options), runs(report)],
        data: runs(report),
    }
}

fn name(report: &CompareReport, server: &str) -> String {
    let ingest = if server == OURS {
        report.ours
    } else {
        report.ingest
    };
    format!("{server} ({} in, RTMP out)", ingest.name())
}

fn lead(report: &CompareReport, options: &CompareOptions) -> Vec<String> {
    let mut lines = Vec::new();
    for (size, _) in options.sizes() {
        let cost = |server: &str| {
            let cpu = report.cpu_percent_each(server, size);
            let p50 = report.spread(server, size, |w| Some(w.delay_ms?.p50));
            let p99 = report.spread(server, size, |w| Some(w.delay_ms?.p99));
            let text = |spread: Option<Spread>, digits: usize| {
                spread.map_or("-".to_owned(), |s| format!("{:.digits$}", s.median))
            };
            format!(
                "{} needs {} % of a core and adds {} ms (p50), {} ms (p99)",
                name(report, server),
                text(cpu, 3),
                text(p50, 2),
                text(p99, 2)
            )
        };
        lines.push(format!(
            "{}, for each broadcast: {}; {}.",
            size.text(),
            cost(OURS),
            cost(&report.other)
        ));
    }
    lines.extend(options.broadcasts.iter().filter_map(|broadcasts| {
        let added = |server: &str| report.cpu_percent_per_added(server, *broadcasts);
        let (ours, others) = (added(OURS)?, added(&report.other)?);
        Some(format!(
            "At {broadcasts} broadcasts each further destination costs {OURS} {ours:.3} % of a core, {} {others:.3} %.",
            report.other
        ))
    }));
    lines.push(work(report));
    if options.profile == Profile::MediaMtx {
        lines.push(
            "The figures of mediamtx contain those of the ffmpeg that it starts for each stream."
                .to_owned(),
        );
    }
    for run in &report.runs {
        if let Some(error) = &run.error {
            let error = error.lines().next().unwrap_or_default();
            lines.push(format!("{} at {}: {error}.", run.server, run.size.text()));
        }
        if let Some(limit) = &run.generator_limit {
            lines.push(format!(
                "{} at {}: the generator may be part of the delay: {limit}.",
                run.server,
                run.size.text()
            ));
        }
    }
    lines
}

/// Whether both do the same work.
fn work(report: &CompareReport) -> String {
    let other = &report.other;
    match (report.ours, report.ingest) {
        (Ingest::Rtmp, Ingest::Rtmp) => {
            "Both are given RTMP with H.264 and AAC and pass it on.".to_owned()
        }
        (Ingest::WebRtc, Ingest::WebRtc) => "Both take WebRTC and send RTMP with AAC.".to_owned(),
        (Ingest::WebRtc, Ingest::Rtmp) => format!(
            "The two do not do the same work. {OURS} takes WebRTC: it decrypts SRTP, puts packets in order, answers losses, and turns Opus into AAC. {other} is given RTMP with AAC and passes it on."
        ),
        (Ingest::Rtmp, Ingest::WebRtc) => format!(
            "The two do not do the same work. {OURS} is given RTMP with AAC and passes it on. {other} takes WebRTC, and turns Opus into AAC."
        ),
    }
}

fn settings(options: &CompareOptions) -> Vec<(String, String)> {
    let setup = &options.setup;
    let command = options.command.clone();
    let of = |mix: &Mix, ingest| mix.clone().published_by(ingest).text();
    let mixes = |ingest| {
        let mixes = options.mixes.iter().map(|mix| of(mix, ingest));
        mixes.collect::<Vec<_>>().join(" / ")
    };
    [
        ("Each broadcast, at Shardcast", mixes(options.ours)),
        ("Each broadcast, at the other server", mixes(options.ingest)),
        ("Cores of either server", setup.cores.engine_text()),
        (
            "Cores of publishers and sinks, and of Shardcast's control",
            setup.cores.generator_text(),
        ),
        (
            "Command of the other server",
            command.unwrap_or_else(|| "the profile's own".to_owned()),
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

fn plots(report: &CompareReport, options: &CompareOptions) -> Vec<Plot> {
    let figures: [(&str, &str, Value); 3] = [
        (
            "CPU time of all broadcasts",
            "processes that move media, % of a core",
            |w| Some(w.media_cpu_percent),
        ),
        ("Delay", "99th percentile of the delay, ms", |w| {
            Some(w.delay_ms?.p99)
        }),
        (
            "Memory",
            "resident memory of the processes that move media, MB",
            |w| Some(w.media_mb),
        ),
    ];
    figures
        .map(|(title, label, value)| Plot {
            title: title.to_owned(),
            note: "Median of the runs, and the smallest and the largest; lower is better."
                .to_owned(),
            x: Axis::linear(label),
            y: Axis::linear("server and load"),
            kind: PlotKind::Bars(bars(report, options, value)),
        })
        .into()
}

fn bars(report: &CompareReport, options: &CompareOptions, value: Value) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (size, _) in options.sizes() {
        for server in [OURS, report.other.as_str()] {
            if let Some(spread) = report.spread(server, size, value) {
                bars.push(Bar {
                    name: format!("{server}, {}", size.text()),
                    min: spread.min,
                    median: spread.median,
                    max: spread.max,
                });
            }
        }
    }
    bars
}

fn summary(report: &CompareReport, options: &CompareOptions) -> Table {
    let mut table = Table::new(
        "Median (smallest to largest) of the runs",
        &[
            "server",
            "broadcasts",
            "destinations of each",
            "each, % of a core",
            "p50, ms",
            "p99, ms",
            "MB",
            "lost",
        ],
    );
    for (size, _) in options.sizes() {
        for server in [OURS, report.other.as_str()] {
            let cell = |digits: usize, spread: Option<Spread>| {
                spread.map_or("-".to_owned(), |s| {
                    format!(
                        "{:.digits$} ({:.digits$}–{:.digits$})",
                        s.median, s.min, s.max
                    )
                })
            };
            let its = report.runs.iter().filter(|run| run.server == server);
            let lost: u64 = its
                .filter(|run| run.size == size)
                .map(|run| run.frames_lost)
                .sum();
            let spread = |value: Value| report.spread(server, size, value);
            table.row([
                name(report, server),
                size.broadcasts.to_string(),
                size.destinations.to_string(),
                cell(3, report.cpu_percent_each(server, size)),
                cell(2, spread(|w| Some(w.delay_ms?.p50))),
                cell(2, spread(|w| Some(w.delay_ms?.p99))),
                cell(0, spread(|w| Some(w.media_mb))),
                lost.to_string(),
            ]);
        }
    }
    table
}

fn runs(report: &CompareReport) -> Table {
    let mut table = Table::new(
        "Runs",
        &[
            "server",
            "broadcasts",
            "destinations of each",
            "CPU, % of a core",
            "p50, ms",
            "p99, ms",
            "p99.9, ms",
            "MB",
            "lost",
            "server's cores, % busy",
            "generator's cores, % busy",
            "fault",
        ],
    );
    for run in &report.runs {
        let mut row = vec![
            run.server.clone(),
            run.size.broadcasts.to_string(),
            run.size.destinations.to_string(),
        ];
        if let Some(w) = &run.window {
            let delay = |of: fn(&crate::stats::Percentiles) -> f64| {
                w.delay_ms
                    .as_ref()
                    .map_or(String::new(), |d| format!("{:.2}", of(d)))
            };
            row.extend([
                format!("{:.1}", w.media_cpu_percent),
                delay(|d| d.p50),
                delay(|d| d.p99),
                delay(|d| d.p999),
                format!("{:.0}", w.media_mb),
                run.frames_lost.to_string(),
                format!("{:.0}", w.server_cores_busy_percent),
                format!("{:.0}", w.generator.cores_busy_percent),
            ]);
        }
        row.resize(table.columns.len() - 1, String::new());
        let fault = run.error.clone().or_else(|| run.faults.first().cloned());
        row.push(fault.unwrap_or_default());
        table.rows.push(row);
    }
    table
}
