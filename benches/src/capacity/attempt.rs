//! One load on one Shardcast, and whether it holds its service levels.

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::CapacityOptions;
use crate::BenchError;
use crate::harness::CoreTimes;
use crate::load::{BUSY_PERCENT, Clips, Door, Load, LoadEnd, Processes, Window};

/// Share of the server's cores, in percent, above which other programs disturb. Interrupts of the network
/// stay below.
const FOREIGN_PERCENT: f64 = 25.0;
/// Faults of an attempt that are reported in full.
const FAULTS_MAX: usize = 8;

/// Service levels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Levels {
    /// Most frames lost, all destinations together.
    pub frames_lost: u64,
    /// Largest 99th percentile of the delay from the publisher's send call to a destination's read
    /// call, in milliseconds.
    pub p99_ms: f64,
    /// Largest difference of that percentile between the slowest and the fastest destination of one
    /// broadcast, in milliseconds.
    pub added_ms: f64,
    /// Largest 99th percentile of the delay to the last packet of a frame at a viewer, in milliseconds.
    pub viewer_p99_ms: f64,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            frames_lost: 0,
            p99_ms: 5.0,
            added_ms: 20.0,
            viewer_p99_ms: 50.0,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All levels were met.
    Holds,
    /// They were not, and the generator had room left or the server had none.
    ServerFails,
    /// They were not, but the generator was at its limit and the server was not.
    GeneratorLimits,
    /// They were not, but other programs had much of the server's cores.
    Disturbed,
}

/// One number of broadcasts.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Number of the search.
    pub run: u32,
    /// Broadcasts at the same time.
    pub broadcasts: u32,
    /// Destinations and renditions of all broadcasts.
    pub connections: u32,
    /// Viewers of all broadcasts.
    pub viewers: u32,
    /// HLS pollers of all broadcasts.
    pub hls_pollers: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it does not hold.
    pub reason: Option<String>,
    /// The measurement; `None` when the load did not start.
    pub window: Option<Window>,
    /// Frames sent by all publishers.
    pub frames_sent: u64,
    /// Frames lost by all destinations and viewers.
    pub frames_lost: u64,
    /// Other defects of the streams; the first eight.
    pub faults: Vec<String>,
}

impl Attempt {
    /// The attempt in a line.
    pub fn line(&self) -> String {
        let verdict = match (self.outcome, &self.reason) {
            (Outcome::Holds, _) => "holds".to_owned(),
            (_, Some(reason)) => format!("does not hold: {reason}"),
            (_, None) => "does not hold".to_owned(),
        };
        let figures = self.window.as_ref().map_or(String::new(), |window| {
            let delay = window.delay_ms.map_or(String::new(), |delay| {
                format!("p50 {:.1}, p99 {:.1} ms, ", delay.p50, delay.p99)
            });
            format!(
                "; {delay}server's cores {:.0} % busy, generator's {:.0} %",
                window.server_cores_busy_percent, window.generator.cores_busy_percent
            )
        });
        format!("{} broadcasts: {verdict}{figures}", self.broadcasts)
    }
}

pub(super) async fn make(
    options: &CapacityOptions,
    clips: &Clips,
    run: u32,
    broadcasts: u32,
) -> Attempt {
    let mut attempt = Attempt {
        run,
        broadcasts,
        connections: 0,
        viewers: 0,
        hls_pollers: 0,
        outcome: Outcome::Holds,
        reason: None,
        window: None,
        frames_sent: 0,
        frames_lost: 0,
        faults: Vec::new(),
    };
    let plan = &options.setup.cores;
    let times = || {
        let server = CoreTimes::now(plan.engine.as_ref());
        (server, CoreTimes::now(plan.generator.as_ref()))
    };
    let before = times();
    let (outcome, reason) = match measure(options, clips, broadcasts, &mut attempt).await {
        Ok((window, end)) => {
            let verdict = judge(&window, &end, &options.levels);
            attempt.window = Some(window);
            attempt.frames_sent = end.frames_sent;
            attempt.frames_lost = end.frames_lost;
            attempt.faults = end.faults;
            attempt.faults.truncate(FAULTS_MAX);
            verdict
        }
        Err(error) => {
            let after = times();
            let server = after.0.since(&before.0).busy_percent();
            let generator = after.1.since(&before.1).busy_percent();
            failed_start(&error, server, generator)
        }
    };
    attempt.outcome = outcome;
    attempt.reason = reason;
    attempt
}

async fn measure(
    options: &CapacityOptions,
    clips: &Clips,
    broadcasts: u32,
    attempt: &mut Attempt,
) -> Result<(Window, LoadEnd), BenchError> {
    let (harness, _pinned) = options.setup.start().await?;
    let processes = Processes::of(&harness, &options.setup.cores);
    let door = Door::Shardcast(&harness);
    let sinks = Load::sinks(&options.mix)?;
    let load = Load::start(&door, &options.mix, broadcasts, sinks, clips).await?;
    attempt.connections = load.connections();
    attempt.viewers = load.viewers();
    attempt.hls_pollers = load.hls_pollers();
    sleep(options.warm_up.max(Duration::from_millis(100))).await;
    let window = Window::measure(&load, &processes, options.duration).await?;
    Ok((window, load.stop().await))
}

/// Whether a measurement meets the levels, and why not.
pub fn judge(window: &Window, end: &LoadEnd, levels: &Levels) -> (Outcome, Option<String>) {
    let Some(reason) = shortfall(window, end, levels) else {
        return (Outcome::Holds, None);
    };
    if let Some(foreign) = window.foreign_percent.filter(|it| *it > FOREIGN_PERCENT) {
        let reason = format!("{reason}; other programs had {foreign:.0} % of the server's cores");
        return (Outcome::Disturbed, Some(reason));
    }
    let server_is_full = window.server_cores_busy_percent >= BUSY_PERCENT;
    match window.generator.limit(levels.p99_ms) {
        Some(limit) if !server_is_full => {
            let reason = format!("{reason}; the generator is the limit: {limit}");
            (Outcome::GeneratorLimits, Some(reason))
        }
        _ => (Outcome::ServerFails, Some(reason)),
    }
}

fn shortfall(window: &Window, end: &LoadEnd, levels: &Levels) -> Option<String> {
    if end.frames_lost > levels.frames_lost {
        return Some(format!("{} frames lost", end.frames_lost));
    }
    if let Some(fault) = end.faults.first() {
        return Some(fault.clone());
    }
    // A mix of renditions alone has no stamped frames, and no delay.
    if let Some(delay) = window.delay_ms.filter(|delay| delay.p99 > levels.p99_ms) {
        return Some(format!("p99 {:.1} ms", delay.p99));
    }
    let viewers = window.viewer_delay_ms.map(|delay| delay.p99);
    if let Some(p99) = viewers.filter(|p99| *p99 > levels.viewer_p99_ms) {
        return Some(format!("p99 {p99:.1} ms at viewers"));
    }
    let added = window.added_p99_ms.filter(|added| *added > levels.added_ms);
    added.map(|added| format!("an added destination is {added:.1} ms later"))
}

/// A load that did not start: by whom.
fn failed_start(error: &BenchError, server: f64, generator: f64) -> (Outcome, Option<String>) {
    let text = error.to_string();
    // The report of a stream that did not come is long.
    let text = text.split(" (last seen").next().unwrap_or_default();
    if generator >= BUSY_PERCENT && server < BUSY_PERCENT {
        let reason =
            format!("{text}; the generator is the limit: its cores were {generator:.0} % busy");
        return (Outcome::GeneratorLimits, Some(reason));
    }
    (Outcome::ServerFails, Some(text.to_owned()))
}
