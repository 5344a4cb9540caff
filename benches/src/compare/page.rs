//! A comparison as people read it.

use super::{CompareOptions, CompareReport, Ingest, OURS, Profile};
use crate::load::Window;
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
    let way = match (server == OURS, report.ingest) {
        (true, _) | (false, Ingest::Whip) => "WebRTC in, RTMP out",
        (false, Ingest::Rtmp) => "RTMP in, RTMP out",
    };
    format!("{server} ({way})")
}

fn lead(report: &CompareReport, options: &CompareOptions) -> Vec<String> {
    let mut lines = Vec::new();
    for broadcasts in &options.broadcasts {
        let cost = |server: &str| {
            let each = |w: &Window| Some(w.media_cpu_percent / f64::from((*broadcasts).max(1)));
            let cpu = report.spread(server, *broadcasts, each);
            let p99 = report.spread(server, *broadcasts, |w| Some(w.delay_ms?.p99));
            let text = |spread: Option<Spread>, digits: usize| {
                spread.map_or("-".to_owned(), |s| format!("{:.digits$}", s.median))
            };
            format!(
                "{} needs {} % of a core and {} ms (p99)",
                name(report, server),
                text(cpu, 3),
                text(p99, 1)
            )
        };
        lines.push(format!(
            "At {broadcasts} broadcasts, for each: {}; {}.",
            cost(OURS),
            cost(&report.other)
        ));
    }
    lines.push(match report.ingest {
        Ingest::Rtmp => format!(
            "The two do not do the same work. {OURS} takes WebRTC: it decrypts SRTP, puts packets in order, answers losses, and turns Opus into AAC. {} is given RTMP with AAC and passes it on.",
            report.other
        ),
        Ingest::Whip => "Both take WebRTC and send RTMP with AAC.".to_owned(),
    });
    if options.profile == Profile::MediaMtx {
        lines.push(
            "The figures of mediamtx contain those of the ffmpeg that it starts for each stream."
                .to_owned(),
        );
    }
    for run in &report.runs {
        if let Some(error) = &run.error {
            let error = error.lines().next().unwrap_or_default();
            lines.push(format!("{} at {}: {error}.", run.server, run.broadcasts));
        }
        if let Some(limit) = &run.generator_limit {
            lines.push(format!(
                "{} at {}: the generator may be part of the delay: {limit}.",
                run.server, run.broadcasts
            ));
        }
    }
    lines
}

fn settings(options: &CompareOptions) -> Vec<(String, String)> {
    let setup = &options.setup;
    let command = options.command.clone();
    [
        ("Each broadcast", options.mix.text()),
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
            y: Axis::linear("server and broadcasts"),
            kind: PlotKind::Bars(bars(report, options, value)),
        })
        .into()
}

fn bars(report: &CompareReport, options: &CompareOptions, value: Value) -> Vec<Bar> {
    let mut bars = Vec::new();
    for broadcasts in &options.broadcasts {
        for server in [OURS, report.other.as_str()] {
            if let Some(spread) = report.spread(server, *broadcasts, value) {
                bars.push(Bar {
                    name: format!("{server}, {broadcasts} broadcasts"),
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
            "each, % of a core",
            "p50, ms",
            "p99, ms",
            "MB",
            "lost",
        ],
    );
    for broadcasts in options.broadcasts.iter().copied() {
        for server in [OURS, report.other.as_str()] {
            let cell = |digits: usize, value: &dyn Fn(&Window) -> Option<f64>| {
                let spread = report.spread(server, broadcasts, value);
                spread.map_or("-".to_owned(), |s| {
                    format!(
                        "{:.digits$} ({:.digits$}–{:.digits$})",
                        s.median, s.min, s.max
                    )
                })
            };
            let its = report.runs.iter().filter(|run| run.server == server);
            let lost: u64 = its
                .filter(|run| run.broadcasts == broadcasts)
                .map(|run| run.frames_lost)
                .sum();
            table.row([
                name(report, server),
                broadcasts.to_string(),
                cell(3, &|w: &Window| {
                    Some(w.media_cpu_percent / f64::from(broadcasts.max(1)))
                }),
                cell(2, &|w: &Window| Some(w.delay_ms?.p50)),
                cell(2, &|w: &Window| Some(w.delay_ms?.p99)),
                cell(0, &|w: &Window| Some(w.media_mb)),
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
        let mut row = vec![run.server.clone(), run.broadcasts.to_string()];
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
