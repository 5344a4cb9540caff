//! Measures two builds of Shardcast in turn with the same generator on the same machine.
//!
//! Runs of the two alternate, and which of them is first alternates too, so that what else the machine
//! does falls on both.

use std::path::PathBuf;

use serde::Serialize;

use crate::BenchError;
use crate::live::{LiveOptions, LiveReport, ServerSetup, live};
use crate::load::Clips;
use crate::stats::Spread;

/// The two builds, and how they are measured.
#[derive(Clone, Debug)]
pub struct CompareBuildsOptions {
    /// Executable `shardcast` or its directory, of the older build.
    pub before: PathBuf,
    /// The same of the newer build.
    pub after: PathBuf,
    /// Numbers of broadcasts at the same time.
    pub broadcasts: Vec<u32>,
    /// Runs of each build with each number.
    pub runs: u32,
    /// Shards and cores; `server` is not used.
    pub setup: ServerSetup,
    /// The load; `broadcasts` is not used.
    pub load: LiveOptions,
}

/// Both builds with one number of broadcasts.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedLoad {
    /// Broadcasts at the same time.
    pub broadcasts: u32,
    /// The older build.
    pub before: BuildFigures,
    /// The newer build.
    pub after: BuildFigures,
    /// CPU time of the newer build as a share of that of the older one, by the medians.
    pub cpu_ratio: Option<f64>,
}

/// What one build needed in all its runs. A spread is over the runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BuildFigures {
    /// CPU time of the engine for one broadcast, in percent of a core.
    pub cpu_percent_per_broadcast: Option<Spread>,
    /// Resident memory of the engine for one broadcast, in MB.
    pub mb_per_broadcast: Option<Spread>,
    /// Medians of the delay in milliseconds.
    pub delay_p50_ms: Option<Spread>,
    /// 99th percentiles of the delay.
    pub delay_p99_ms: Option<Spread>,
    /// 99.9th percentiles of the delay.
    pub delay_p999_ms: Option<Spread>,
    /// Frames lost in all runs.
    pub frames_lost: u64,
    /// Other defects, and reasons of runs that failed.
    pub faults: Vec<String>,
    /// The reports of the single runs.
    pub runs: Vec<LiveReport>,
}

impl BuildFigures {
    fn add(&mut self, run: Result<LiveReport, BenchError>) {
        match run {
            Ok(report) => {
                self.frames_lost += report.frames_lost;
                self.faults.extend(report.faults.iter().cloned());
                self.runs.push(report);
            }
            Err(error) => self.faults.push(format!("a run failed: {error}")),
        }
        let over = |of: fn(&LiveReport) -> Option<f64>| {
            Spread::of(self.runs.iter().filter_map(of).collect())
        };
        self.cpu_percent_per_broadcast = over(|run| Some(run.engine_cpu_percent_per_broadcast));
        self.mb_per_broadcast = over(|run| Some(run.engine_mb_per_broadcast));
        self.delay_p50_ms = over(|run| Some(run.delay_ms?.p50));
        self.delay_p99_ms = over(|run| Some(run.delay_ms?.p99));
        self.delay_p999_ms = over(|run| Some(run.delay_ms?.p999));
    }
}

/// Makes all runs; a run that fails is reported and does not end the others. `progress` is called
/// with a line of text before and after each run.
pub async fn compare_builds(
    clips: &Clips,
    options: &CompareBuildsOptions,
    progress: impl Fn(&str),
) -> Vec<ComparedLoad> {
    let mut loads = Vec::new();
    for broadcasts in options.broadcasts.iter().copied() {
        let (mut before, mut after) = (BuildFigures::default(), BuildFigures::default());
        for run in 0..options.runs {
            for second in [false, true] {
                let is_after = second != (run % 2 == 1);
                let (name, figures, server) = if is_after {
                    ("after", &mut after, &options.after)
                } else {
                    ("before", &mut before, &options.before)
                };
                let number = run + 1;
                progress(&format!("{broadcasts} broadcasts, run {number}, {name} …"));
                let setup = ServerSetup {
                    server: Some(server.clone()),
                    ..options.setup.clone()
                };
                let load = LiveOptions {
                    broadcasts,
                    ..options.load.clone()
                };
                let result = measure(&setup, clips, &load).await;
                progress(&match &result {
                    Ok(report) => format!(
                        "{:.3} % of a core per broadcast, {} frames lost",
                        report.engine_cpu_percent_per_broadcast, report.frames_lost
                    ),
                    Err(error) => format!("failed: {error}"),
                });
                figures.add(result);
            }
        }
        let median = |figures: &BuildFigures| Some(figures.cpu_percent_per_broadcast?.median);
        loads.push(ComparedLoad {
            broadcasts,
            cpu_ratio: median(&after).zip(median(&before)).map(|(a, b)| a / b),
            before,
            after,
        });
    }
    loads
}

/// Starts Shardcast for one measurement.
async fn measure(
    setup: &ServerSetup,
    clips: &Clips,
    load: &LiveOptions,
) -> Result<LiveReport, BenchError> {
    let (harness, _pinned) = setup.start().await?;
    live(&harness, &setup.cores, clips, load).await
}
