//! How long frames take from the publisher's send call to a destination's read call: idle, under half of
//! the load that a machine carries, and beside an encoder.

mod page;

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use shardcast_link::RenditionSpec;
use tokio::time::sleep;

pub use page::page;

use crate::BenchError;
use crate::live::ServerSetup;
use crate::load::{Clips, Door, Load, LoadEnd, Mix, Processes, ShowKind, Window};
use crate::stats::Spread;

/// Longest delay that the histogram holds, in microseconds; longer ones count as this.
const DELAY_US_MAX: u64 = 60_000_000;
/// Digits that the histogram keeps.
const DIGITS: u8 = 3;
/// Steps of the percentiles up to each half of the rest.
const TICKS_PER_HALF: u32 = 8;

/// What is measured.
#[derive(Clone, Debug)]
pub struct LatencyOptions {
    /// Broadcasts of half load.
    pub half_load: u32,
    /// The rendition of the broadcast that is encoded beside.
    pub rendition: RenditionSpec,
    /// Runs of all states, in turn.
    pub runs: u32,
    /// The Shardcast and its cores.
    pub setup: ServerSetup,
    /// The broadcasts; of a mix, the first kind is measured when idle.
    pub kind: ShowKind,
    /// Time from the last start to the measurement.
    pub warm_up: Duration,
    /// Length of each measurement.
    pub duration: Duration,
}

/// What else the shard does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing: one broadcast.
    Idle,
    /// As many broadcasts as half of the capacity.
    HalfLoad,
    /// A rendition is made on the same core.
    BesideEncoder,
}

impl State {
    const ALL: [Self; 3] = [Self::Idle, Self::HalfLoad, Self::BesideEncoder];

    /// The state in words.
    pub fn text(self, options: &LatencyOptions) -> String {
        match self {
            Self::Idle => "idle: 1 broadcast".to_owned(),
            Self::HalfLoad => format!("half load: {} broadcasts", options.half_load),
            Self::BesideEncoder => format!(
                "1 broadcast beside the encoder of another ({}p)",
                options.rendition.height
            ),
        }
    }
}

/// Delays in one state, over all runs.
#[derive(Clone, Debug, Serialize)]
pub struct StateReport {
    /// What else the shard did.
    pub state: State,
    /// Frames measured.
    pub frames: u64,
    /// Frames lost.
    pub frames_lost: u64,
    /// Medians of the runs, in milliseconds.
    pub p50_ms: Option<Spread>,
    /// 99th percentiles of the runs.
    pub p99_ms: Option<Spread>,
    /// 99.9th percentiles of the runs.
    pub p999_ms: Option<Spread>,
    /// Longest delay.
    pub max_ms: f64,
    /// The histogram of all runs as percentiles: percentile, and delay in milliseconds.
    pub percentiles: Vec<(f64, f64)>,
    /// The histogram itself: delay in microseconds, and number of frames.
    pub histogram: Vec<(u64, u64)>,
    /// Why the generator may be what was measured; one for each run in which it may.
    pub generator_limits: Vec<String>,
    /// Defects of the streams.
    pub faults: Vec<String>,
}

/// Delays in all states.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyReport {
    /// The states in their order.
    pub states: Vec<StateReport>,
}

/// Delays of one state while they are collected.
struct Collected {
    state: State,
    histogram: Histogram<u64>,
    runs: Vec<[f64; 3]>,
    frames_lost: u64,
    generator_limits: Vec<String>,
    faults: Vec<String>,
}

/// Measures all states in turn, `runs` times. `progress` is called with a line of text before each.
///
/// # Errors
/// When something does not start; among others, when the rendition is refused.
pub async fn latency(
    options: &LatencyOptions,
    progress: impl Fn(&str),
) -> Result<LatencyReport, BenchError> {
    let clips = Clips::default();
    let mut all = Vec::new();
    for state in State::ALL {
        all.push(Collected {
            state,
            histogram: histogram()?,
            runs: Vec::new(),
            frames_lost: 0,
            generator_limits: Vec::new(),
            faults: Vec::new(),
        });
    }
    for run in 1..=options.runs.max(1) {
        for one in &mut all {
            progress(&format!("run {run}, {} …", one.state.text(options)));
            let (window, delays_ms, end) = measure(options, one.state, &clips).await?;
            one.add(&window, &delays_ms, end);
            if let Some(delay) = window.delay_ms {
                progress(&format!(
                    "p50 {:.2}, p99 {:.2}, p99.9 {:.2} ms",
                    delay.p50, delay.p99, delay.p999
                ));
            }
        }
    }
    let states = all.iter().map(Collected::report).collect();
    Ok(LatencyReport { states })
}

/// A histogram of microseconds.
///
/// # Errors
/// Never with these bounds.
fn histogram() -> Result<Histogram<u64>, BenchError> {
    Histogram::new_with_bounds(1, DELAY_US_MAX, DIGITS)
        .map_err(|error| BenchError::Argument(format!("histogram: {error}")))
}

async fn measure(
    options: &LatencyOptions,
    state: State,
    clips: &Clips,
) -> Result<(Window, Vec<f64>, LoadEnd), BenchError> {
    let (harness, _pinned) = options.setup.start().await?;
    let processes = Processes::of(&harness, &options.setup.cores);
    let encoded = ShowKind {
        destinations: 0,
        renditions: vec![options.rendition],
        ..options.kind.clone()
    };
    let (mix, broadcasts) = match state {
        State::Idle => (Mix::of(options.kind.clone()), 1),
        State::HalfLoad => (Mix::of(options.kind.clone()), options.half_load),
        State::BesideEncoder => (Mix::equally([options.kind.clone(), encoded]), 2),
    };
    let door = Door::Shardcast(&harness);
    let load = Load::start(&door, &mix, broadcasts, Load::sinks(&mix)?, clips).await?;
    sleep(options.warm_up).await;
    let window = Window::measure(&load, &processes, options.duration).await?;
    let sinks = load.destination_sinks().iter();
    let delays_ms = sinks.flat_map(crate::sink::Sink::delays_ms).collect();
    Ok((window, delays_ms, load.stop().await))
}

impl Collected {
    fn add(&mut self, window: &Window, delays_ms: &[f64], end: LoadEnd) {
        for ms in delays_ms {
            self.histogram.saturating_record((ms * 1_000.0) as u64);
        }
        if let Some(delay) = window.delay_ms {
            self.runs.push([delay.p50, delay.p99, delay.p999]);
            // A tenth of the delay that is measured would be enough to spoil it.
            self.generator_limits
                .extend(window.generator.limit(delay.p99));
        }
        self.frames_lost += end.frames_lost;
        self.faults.extend(end.faults);
    }

    fn report(&self) -> StateReport {
        let over = |n: usize| {
            let values = self.runs.iter().filter_map(|run| run.get(n).copied());
            Spread::of(values.collect())
        };
        let ms = |us: u64| us as f64 / 1_000.0;
        let quantiles = self.histogram.iter_quantiles(TICKS_PER_HALF);
        let percentiles = quantiles
            .filter(|step| step.quantile_iterated_to() < 1.0)
            .map(|step| {
                let percentile = step.quantile_iterated_to() * 100.0;
                (percentile, ms(step.value_iterated_to()))
            });
        let recorded = self.histogram.iter_recorded();
        StateReport {
            state: self.state,
            frames: self.histogram.len(),
            frames_lost: self.frames_lost,
            p50_ms: over(0),
            p99_ms: over(1),
            p999_ms: over(2),
            max_ms: ms(self.histogram.max()),
            percentiles: percentiles.collect(),
            histogram: recorded
                .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
                .collect(),
            generator_limits: self.generator_limits.clone(),
            faults: self.faults.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_has_every_frame_and_its_percentiles_ascend() {
        let mut collected = Collected {
            state: State::Idle,
            histogram: histogram().unwrap(),
            runs: vec![[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]],
            frames_lost: 0,
            generator_limits: Vec::new(),
            faults: Vec::new(),
        };
        for us in 1..=10_000 {
            collected.histogram.saturating_record(us);
        }
        let report = collected.report();
        assert_eq!(report.frames, 10_000);
        assert_eq!(
            report.histogram.iter().map(|(_, count)| count).sum::<u64>(),
            10_000
        );
        assert!(
            report
                .percentiles
                .is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1)
        );
        let half = report.percentiles.iter().find(|at| at.0 >= 50.0).unwrap();
        assert!((half.1 - 5.0).abs() < 0.01, "{half:?}");
        assert_eq!(
            report.p99_ms.map(|spread| (spread.min, spread.max)),
            Some((2.0, 4.0))
        );
    }
}
