//! Measures what a crowd of HLS pollers does to the delay of shows: the same shows without and with them, one after
//! the other, in one run of Shardcast.
//!
//! Pollers ask control, which has the parts in memory; what reaches the shard is the packaging alone.

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::BenchError;
use crate::live::ServerSetup;
use crate::load::{Clips, Door, Load, Mix, Processes, Window};
use crate::stats::Spread;

/// The shows and the pollers.
#[derive(Clone, Debug)]
pub struct HlsCrowdOptions {
    /// Shows at the same time.
    pub broadcasts: u32,
    /// What they are; pollers of their own would be there without the crowd too.
    pub mix: Mix,
    /// Pollers of all shows together, spread evenly over them.
    pub pollers: u32,
    /// Runs, each with a Shardcast of its own.
    pub runs: u32,
    /// The Shardcast and its cores.
    pub setup: ServerSetup,
    /// Time before each of the two measurements of a run.
    pub warm_up: Duration,
    /// Length of each measurement.
    pub duration: Duration,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct HlsCrowdRun {
    /// The shows alone.
    pub without: Window,
    /// The same shows beside the pollers.
    pub with: Window,
    /// 99th percentile of the shows' delay beside the pollers, as a multiple of that without.
    pub p99_ratio: Option<f64>,
    /// Frames lost by all destinations, of both measurements.
    pub frames_lost: u64,
    /// Other defects, those of pollers among them.
    pub faults: Vec<String>,
    /// Why the generator may be what was measured.
    pub generator_limit: Option<String>,
}

/// All runs.
#[derive(Clone, Debug, Serialize)]
pub struct HlsCrowdReport {
    /// Shows at the same time.
    pub broadcasts: u32,
    /// Pollers of all shows together.
    pub pollers: u32,
    /// 99th percentile of the shows' delay in milliseconds, without pollers.
    pub p99_without_ms: Option<Spread>,
    /// The same with pollers.
    pub p99_with_ms: Option<Spread>,
    /// The ratio of the two of each run.
    pub p99_ratio: Option<Spread>,
    /// In their order.
    pub runs: Vec<HlsCrowdRun>,
}

impl HlsCrowdReport {
    /// Whether the shows lost nothing, no poller stalled or failed, and the median of the ratios is at most this.
    pub fn holds(&self, ratio_max: f64) -> bool {
        let is_fine = |run: &HlsCrowdRun| run.frames_lost == 0 && run.faults.is_empty();
        let ratio = self.p99_ratio.map(|ratio| ratio.median);
        self.runs.iter().all(is_fine) && ratio.is_some_and(|ratio| ratio <= ratio_max)
    }
}

/// Makes all runs. `progress` is called with a line of text before each measurement.
///
/// # Errors
/// When something does not start.
pub async fn hls_crowd(
    options: &HlsCrowdOptions,
    progress: impl Fn(&str),
) -> Result<HlsCrowdReport, BenchError> {
    let clips = Clips::default();
    let mut runs = Vec::new();
    for run in 1..=options.runs.max(1) {
        let say = |text: &str| progress(&format!("run {run}: {text}"));
        runs.push(measure(options, &clips, say).await?);
    }
    let over =
        |of: fn(&HlsCrowdRun) -> Option<f64>| Spread::of(runs.iter().filter_map(of).collect());
    Ok(HlsCrowdReport {
        broadcasts: options.broadcasts,
        pollers: options.pollers,
        p99_without_ms: over(|run| Some(run.without.delay_ms?.p99)),
        p99_with_ms: over(|run| Some(run.with.delay_ms?.p99)),
        p99_ratio: over(|run| run.p99_ratio),
        runs,
    })
}

async fn measure(
    options: &HlsCrowdOptions,
    clips: &Clips,
    say: impl Fn(&str),
) -> Result<HlsCrowdRun, BenchError> {
    let (harness, _pinned) = options.setup.start().await?;
    let processes = Processes::of(&harness, &options.setup.cores);
    let (door, sinks) = (Door::Shardcast(&harness), Load::sinks(&options.mix)?);
    let mut load = Load::start(&door, &options.mix, options.broadcasts, sinks, clips).await?;
    say("the shows alone …");
    sleep(options.warm_up).await;
    let without = Window::measure(&load, &processes, options.duration).await?;
    say("the pollers begin …");
    load.add_hls_pollers(&spread(options.pollers, options.broadcasts))
        .await?;
    say("the shows beside them …");
    sleep(options.warm_up).await;
    let with = Window::measure(&load, &processes, options.duration).await?;
    let end = load.stop().await;
    let p99 = |window: &Window| Some(window.delay_ms?.p99);
    Ok(HlsCrowdRun {
        p99_ratio: p99(&with)
            .zip(p99(&without))
            .map(|(with, without)| with / without),
        generator_limit: p99(&with).and_then(|p99| with.generator.limit(p99)),
        frames_lost: end.frames_lost,
        faults: end.faults,
        without,
        with,
    })
}

/// How many pollers each broadcast has.
fn spread(pollers: u32, broadcasts: u32) -> Vec<u32> {
    let (each, more) = (pollers / broadcasts.max(1), pollers % broadcasts.max(1));
    let of = |number| each + u32::from(number < more);
    (0..broadcasts).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pollers_are_spread_evenly() {
        assert_eq!(spread(1_000, 10), [100; 10]);
        assert_eq!(spread(7, 3), [3, 2, 2]);
        assert_eq!(spread(1, 2), [1, 0]);
        assert_eq!(spread(5, 0), [0; 0]);
    }
}
