//! A capacity as people read it.

use super::{Attempt, Bound, CapacityOptions, CapacityReport, Outcome};
use crate::load::BUSY_PERCENT;
use crate::report::{Axis, Limit, Page, Plot, PlotKind, Series, Table};

/// Delays above so many times the limit are drawn at the upper edge.
const DELAY_SHOWN: f64 = 3.0;

/// The page of a capacity.
pub fn page(report: &CapacityReport, options: &CapacityOptions) -> Page {
    Page {
        title: "Capacity of Shardcast".to_owned(),
        lead: lead(report, options),
        settings: settings(options),
        plots: vec![delays(report, options), cores(report), cost(report)],
        tables: vec![runs(report), attempts(report)],
        data: attempts(report),
    }
}

fn lead(report: &CapacityReport, options: &CapacityOptions) -> Vec<String> {
    let Some(highest) = report.highest else {
        return Vec::new();
    };
    let count = match (report.runs.len(), highest.min, highest.max) {
        (1, ..) => format!("{:.0} broadcasts", highest.median),
        (runs, min, max) => format!(
            "{:.0} broadcasts (median of {runs} runs, {min:.0} to {max:.0})",
            highest.median
        ),
    };
    let levels = &options.levels;
    let mut lines = Vec::new();
    if report.is_of_server() {
        lines.push(format!("Highest load that holds: {count}."));
    } else {
        lines.push(format!(
            "At least {count}; this is not the limit of the server."
        ));
    }
    lines.push(format!("Each broadcast: {}.", options.mix.text()));
    lines.push(format!(
        "Service levels: {} frames lost, 99th percentile of the delay at most {} ms, an added destination at most {} ms later.",
        levels.frames_lost, levels.p99_ms, levels.added_ms
    ));
    if options.mix.has_viewers() {
        let p99 = levels.viewer_p99_ms;
        lines.push(format!(
            "Of viewers, the same percentile is at most {p99} ms."
        ));
    }
    if options.mix.has_hls_pollers() {
        lines.push("HLS pollers have neither an error nor a stall.".to_owned());
    }
    if (report.runs.len() as u32) < options.runs {
        let (made, asked) = (report.runs.len(), options.runs);
        lines.push(format!("The time allowed {made} of {asked} runs."));
    }
    for (n, run) in report.runs.iter().enumerate() {
        let number = n + 1;
        match &run.bound {
            Bound::Server(_) => {}
            Bound::Generator(why) => {
                lines.push(format!("Run {number} was ended by the generator: {why}."));
            }
            Bound::Disturbed(why) => {
                lines.push(format!("Run {number} was ended by other programs: {why}."));
            }
            Bound::Limit => lines.push(format!(
                "Run {number} ended at the highest number to try; --limit raises it."
            )),
            Bound::Time => lines.push(format!(
                "Run {number} was ended by its time before the search was over."
            )),
        }
    }
    lines
}

fn settings(options: &CapacityOptions) -> Vec<(String, String)> {
    let setup = &options.setup;
    [
        ("Each broadcast", options.mix.text()),
        ("Shards", setup.shards.to_string()),
        ("Cores of the engine", setup.cores.engine_text()),
        (
            "Cores of publishers, sinks and control",
            setup.cores.generator_text(),
        ),
        ("Runs", options.runs.to_string()),
        (
            "Attempts at a number before it fails",
            (options.retries + 1).to_string(),
        ),
        ("Warm-up", format!("{} s", options.warm_up.as_secs_f64())),
        (
            "Measurement",
            format!("{} s", options.duration.as_secs_f64()),
        ),
        (
            "Frames lost at most",
            options.levels.frames_lost.to_string(),
        ),
        (
            "p99 of the delay at most",
            format!("{} ms", options.levels.p99_ms),
        ),
        (
            "Added destination at most",
            format!("{} ms", options.levels.added_ms),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Points of the attempts of one outcome.
fn points(
    report: &CapacityReport,
    outcome: Outcome,
    value: impl Fn(&Attempt) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let attempts = report.attempts.iter();
    let of_outcome = attempts.filter(|attempt| attempt.outcome == outcome);
    of_outcome
        .filter_map(|attempt| Some((f64::from(attempt.broadcasts), value(attempt)?)))
        .collect()
}

fn delays(report: &CapacityReport, options: &CapacityOptions) -> Plot {
    let p99 = |attempt: &Attempt| Some(attempt.window.as_ref()?.delay_ms?.p99);
    let limit = options.levels.p99_ms;
    let series = [
        ("holds", Outcome::Holds),
        ("does not hold", Outcome::ServerFails),
        ("generator is the limit", Outcome::GeneratorLimits),
        ("other programs disturbed", Outcome::Disturbed),
    ];
    let series = series.map(|(name, outcome)| Series {
        name: name.to_owned(),
        points: points(report, outcome, p99),
        line: false,
    });
    Plot {
        title: "Delay of each attempt".to_owned(),
        note: format!(
            "From the publisher's send call to the destination's read call. Values above {:.0} ms are drawn at the upper edge; the table has them.",
            limit * DELAY_SHOWN
        ),
        x: Axis::linear("broadcasts at the same time"),
        y: Axis::linear("99th percentile of the delay, ms").up_to(limit * DELAY_SHOWN),
        kind: PlotKind::Lines {
            series: series.into(),
            limits: vec![Limit {
                name: format!("service level {limit} ms"),
                at: limit,
            }],
        },
    }
}

fn all_points(report: &CapacityReport, value: impl Fn(&Attempt) -> Option<f64>) -> Vec<(f64, f64)> {
    let attempts = report.attempts.iter();
    attempts
        .filter_map(|attempt| Some((f64::from(attempt.broadcasts), value(attempt)?)))
        .collect()
}

fn cores(report: &CapacityReport) -> Plot {
    let server = |attempt: &Attempt| Some(attempt.window.as_ref()?.server_cores_busy_percent);
    let generator = |attempt: &Attempt| Some(attempt.window.as_ref()?.generator.cores_busy_percent);
    Plot {
        title: "How busy the cores were".to_owned(),
        note: "Time in which the cores were not idle, interrupts and other programs included."
            .to_owned(),
        x: Axis::linear("broadcasts at the same time"),
        y: Axis::linear("busy, % of the cores of each side"),
        kind: PlotKind::Lines {
            series: vec![
                Series {
                    name: "cores of the engine".to_owned(),
                    points: all_points(report, server),
                    line: false,
                },
                Series {
                    name: "cores of publishers, sinks and control".to_owned(),
                    points: all_points(report, generator),
                    line: false,
                },
            ],
            limits: vec![Limit {
                name: format!("full: {BUSY_PERCENT} %"),
                at: BUSY_PERCENT,
            }],
        },
    }
}

fn cost(report: &CapacityReport) -> Plot {
    let each = |attempt: &Attempt| {
        let cpu = attempt.window.as_ref()?.media_cpu_percent;
        Some(cpu / f64::from(attempt.broadcasts.max(1)))
    };
    Plot {
        title: "CPU time of a broadcast".to_owned(),
        note: "CPU time of the engine divided by the number of broadcasts.".to_owned(),
        x: Axis::linear("broadcasts at the same time"),
        y: Axis::linear("engine per broadcast, % of a core"),
        kind: PlotKind::Lines {
            series: vec![Series {
                name: "engine".to_owned(),
                points: all_points(report, each),
                line: false,
            }],
            limits: Vec::new(),
        },
    }
}

fn runs(report: &CapacityReport) -> Table {
    let mut table = Table::new(
        "Runs",
        &[
            "run",
            "highest that holds",
            "lowest that does not",
            "ended by",
        ],
    );
    for (n, run) in report.runs.iter().enumerate() {
        let by = match &run.bound {
            Bound::Server(why) => format!("server: {why}"),
            Bound::Generator(why) => format!("generator: {why}"),
            Bound::Disturbed(why) => format!("other programs: {why}"),
            Bound::Limit => "highest number to try".to_owned(),
            Bound::Time => "time".to_owned(),
        };
        let failed = run
            .failed
            .map_or(String::new(), |failed| failed.to_string());
        table.row([(n + 1).to_string(), run.highest.to_string(), failed, by]);
    }
    table
}

const COLUMNS: [&str; 20] = [
    "run",
    "broadcasts",
    "destinations",
    "viewers",
    "HLS pollers",
    "p50, ms",
    "p99, ms",
    "p99.9, ms",
    "added, ms",
    "viewers' p99, ms",
    "HLS requests a second",
    "lost",
    "engine, % of a core",
    "each, %",
    "MB",
    "engine's cores, % busy",
    "generator's cores, % busy",
    "generator's lag p99, ms",
    "steal, %",
    "outcome",
];

fn attempts(report: &CapacityReport) -> Table {
    let mut table = Table::new("Attempts", &COLUMNS);
    for attempt in &report.attempts {
        let outcome = match attempt.outcome {
            Outcome::Holds => "holds".to_owned(),
            _ => attempt.reason.clone().unwrap_or_default(),
        };
        let mut row = vec![
            attempt.run.to_string(),
            attempt.broadcasts.to_string(),
            attempt.connections.to_string(),
            attempt.viewers.to_string(),
            attempt.hls_pollers.to_string(),
        ];
        if let Some(w) = &attempt.window {
            let delay = |of: fn(&crate::stats::Percentiles) -> f64| {
                w.delay_ms
                    .as_ref()
                    .map_or(String::new(), |d| format!("{:.2}", of(d)))
            };
            let lag = w.generator.lag_ms.map_or(0.0, |lag| lag.p99);
            row.extend([
                delay(|d| d.p50),
                delay(|d| d.p99),
                delay(|d| d.p999),
                w.added_p99_ms
                    .map_or(String::new(), |ms| format!("{ms:.2}")),
                w.viewer_delay_ms
                    .map_or(String::new(), |delay| format!("{:.2}", delay.p99)),
                w.hls.as_ref().map_or(String::new(), |hls| {
                    format!("{:.0}", hls.requests_per_second)
                }),
                attempt.frames_lost.to_string(),
                format!("{:.1}", w.media_cpu_percent),
                format!(
                    "{:.3}",
                    w.media_cpu_percent / f64::from(attempt.broadcasts.max(1))
                ),
                format!("{:.0}", w.media_mb),
                format!("{:.0}", w.server_cores_busy_percent),
                format!("{:.0}", w.generator.cores_busy_percent),
                format!("{lag:.2}"),
                format!("{:.1}", w.steal_percent),
            ]);
        }
        row.resize(table.columns.len() - 1, String::new());
        row.push(outcome);
        table.rows.push(row);
    }
    table
}
