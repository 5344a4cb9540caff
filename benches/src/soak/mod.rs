//! Watches the processes of Shardcast for hours: broadcasts that last, publishers that come and go,
//! destinations that are added and removed by REST, some of which fail.
//!
//! ```text
//!  first round    all of it for a while, with a stall of both processes, then nothing ──► the base: what a
//!                 process has that has worked once
//!  warm-up        all of it again; caches fill
//!  measurement    memory over time, of which the slope is taken
//!  rest           nothing ──► must be as the base
//! ```

mod churn;
mod page;
mod sample;

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::sleep;

pub use page::page;
pub use sample::{ProcessSample, SoakSample};

use crate::BenchError;
use crate::harness::{Harness, pause, resume};
use crate::load::{Clips, Door, Load, LoadEnd, Mix};
use crate::stats::{Line, Percentiles};
use churn::Churn;

/// Faults that are reported in full.
const FAULTS_MAX: usize = 32;
/// Samples over less than this have no slope: one allocation more would be megabytes an hour.
const SLOPE_TIME_MIN: Duration = Duration::from_secs(600);
/// Interval of the lines that say how it goes on.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

/// Load and times of a soak.
#[derive(Clone, Debug)]
pub struct SoakOptions {
    /// Broadcasts that last the whole time.
    pub broadcasts: u32,
    /// Their kinds; publishers that come and go publish the first.
    pub mix: Mix,
    /// Publishers that come and go, at the same time.
    pub publishers: u32,
    /// Length of one of their shows, without its start.
    pub show: Duration,
    /// Destinations that come and go at the lasting broadcasts, at the same time; every second one
    /// fails.
    pub destinations: u32,
    /// How long such a destination stays.
    pub stay: Duration,
    /// Length of the first round; none when zero.
    pub first_round: Duration,
    /// How long both processes are stopped halfway through the first round, as by a machine whose cores others
    /// have; zero for not at all. What has piled up meanwhile touches receive buffers and queues for the first time,
    /// once, which is no growth, so the base has to have it.
    pub stall: Duration,
    /// Time before the measurement.
    pub warm_up: Duration,
    /// Length of the measurement.
    pub duration: Duration,
    /// Time of nothing after a round, before its memory is read.
    pub rest: Duration,
    /// Interval of the samples.
    pub sample_interval: Duration,
    /// Largest slope of the engine's and of control's memory, in MB an hour, that is no growth.
    pub mb_per_hour: f64,
    /// Most MB that may be left of each process after the end.
    pub mb_left: f64,
}

/// Result of a soak.
#[derive(Clone, Debug, Serialize)]
pub struct SoakReport {
    /// Broadcasts that lasted.
    pub broadcasts: u32,
    /// The processes before any broadcast.
    pub fresh: SoakSample,
    /// The processes after the first round and its rest: the base.
    pub base: SoakSample,
    /// Seconds from the start of the second round to the measurement.
    pub warm_up_s: f64,
    /// All samples of the second round.
    pub samples: Vec<SoakSample>,
    /// After the end and its rest.
    pub end: SoakSample,
    /// Slope of the engine's memory after the warm-up, in MB an hour; `None` when the measurement was
    /// shorter than ten minutes.
    pub engine_mb_per_hour: Option<f64>,
    /// The same of control.
    pub control_mb_per_hour: Option<f64>,
    /// Frames that the lasting broadcasts sent.
    pub frames_sent: u64,
    /// Frames that the destinations of all broadcasts did not receive.
    pub frames_lost: u64,
    /// Delay at the destinations of the lasting broadcasts, the warm-up left out.
    pub delay_ms: Option<Percentiles>,
    /// Shows that came and went.
    pub shows: u32,
    /// Destinations that came and went without a fault of their own.
    pub healthy_destinations: u32,
    /// Destinations that came, failed and went.
    pub failing_destinations: u32,
    /// Frames of lasting broadcasts that left more than 5 ms after their time.
    pub frames_late_5_ms: u64,
    /// Defects of streams, and calls that were refused; the first 32.
    pub faults: Vec<String>,
    /// What is not as it has to be, in sentences; empty when the soak was passed.
    pub shortfalls: Vec<String>,
}

/// What a round of the load left.
#[derive(Default)]
struct Round {
    end: LoadEnd,
    delay_ms: Option<Percentiles>,
    samples: Vec<SoakSample>,
    churn: churn::ChurnTotals,
}

/// Runs a soak. `progress` is called with a line of text now and then.
///
/// # Errors
/// When the load does not start, or a process of Shardcast is gone.
pub async fn soak(
    harness: &Harness,
    options: &SoakOptions,
    progress: impl Fn(&str),
) -> Result<SoakReport, BenchError> {
    let run = Run {
        harness,
        options,
        clips: Clips::default(),
        started: Instant::now(),
        progress: &progress,
    };
    let fresh = run.sample().await?;
    let base = if options.first_round.is_zero() {
        fresh.clone()
    } else {
        progress("first round");
        let round = run.round(options.first_round, Duration::ZERO);
        let (round, stalled) = tokio::join!(round, run.stall(options.first_round / 2));
        round?;
        stalled?;
        run.rest().await?
    };
    progress(&format!("base: {}", base.line()));
    let second = Instant::now();
    let Round {
        end: load,
        delay_ms,
        samples,
        churn,
    } = run.round(options.duration, options.warm_up).await?;
    let end = run.rest().await?;
    progress(&format!("end:  {}", end.line()));

    let start_s = (second - run.started).as_secs_f64();
    let measured_from = start_s + options.warm_up.as_secs_f64();
    let slope = |of| mb_per_hour(&samples, measured_from, options.duration, of);
    let mut faults = load.faults;
    faults.extend(churn.faults);
    let mut report = SoakReport {
        broadcasts: options.broadcasts,
        warm_up_s: measured_from,
        engine_mb_per_hour: slope(|sample| sample.engine.resident_mb),
        control_mb_per_hour: slope(|sample| sample.control.resident_mb),
        fresh,
        base,
        samples,
        end,
        frames_sent: load.frames_sent,
        frames_lost: load.frames_lost + churn.frames_lost,
        delay_ms,
        shows: churn.shows,
        healthy_destinations: churn.healthy,
        failing_destinations: churn.failing,
        frames_late_5_ms: load.publishers.iter().map(|one| one.frames_late_5_ms).sum(),
        shortfalls: Vec::new(),
        faults: Vec::new(),
    };
    report.shortfalls = shortfalls(&report, faults.len(), options);
    faults.truncate(FAULTS_MAX);
    report.faults = faults;
    Ok(report)
}

/// Slope of the memory of one process after the warm-up; `None` when the measurement was too short.
fn mb_per_hour(
    samples: &[SoakSample],
    measured_from: f64,
    duration: Duration,
    of: fn(&SoakSample) -> f64,
) -> Option<f64> {
    if duration < SLOPE_TIME_MIN {
        return None;
    }
    let late = samples.iter().filter(|sample| sample.at_s >= measured_from);
    let points: Vec<_> = late.map(|sample| (sample.at_s, of(sample))).collect();
    Some(Line::through(&points)?.slope * 3_600.0)
}

/// What is not as it has to be.
fn shortfalls(report: &SoakReport, faults: usize, options: &SoakOptions) -> Vec<String> {
    let mut found = Vec::new();
    if report.frames_lost > 0 {
        found.push(format!("{} frames were lost", report.frames_lost));
    }
    if faults > 0 {
        found.push(format!("{faults} other faults"));
    }
    let (base, end) = (&report.base, &report.end);
    for (name, slope, base, end) in [
        (
            "engine",
            report.engine_mb_per_hour,
            &base.engine,
            &end.engine,
        ),
        (
            "control",
            report.control_mb_per_hour,
            &base.control,
            &end.control,
        ),
    ] {
        if let Some(slope) = slope.filter(|slope| *slope > options.mb_per_hour) {
            found.push(format!("the {name} grew by {slope:.1} MB an hour"));
        }
        let left = end.resident_mb - base.resident_mb;
        if left > options.mb_left {
            found.push(format!("the {name} kept {left:.1} MB"));
        }
        if end.descriptors > base.descriptors {
            let (had, has) = (base.descriptors, end.descriptors);
            found.push(format!("the {name} has {has} descriptors instead of {had}"));
        }
        if end.threads > base.threads {
            let (had, has) = (base.threads, end.threads);
            found.push(format!("the {name} has {has} threads instead of {had}"));
        }
        if end.pid != base.pid {
            found.push(format!("the {name} is another process"));
        }
    }
    for (name, base, end) in [
        ("broadcasts", base.broadcasts, end.broadcasts),
        ("destinations", base.destinations, end.destinations),
    ] {
        if end > base {
            found.push(format!("{end} {name} are left, {base} before"));
        }
    }
    found
}

struct Run<'a, P> {
    harness: &'a Harness,
    options: &'a SoakOptions,
    clips: Clips,
    started: Instant,
    progress: &'a P,
}

impl<P: Fn(&str)> Run<'_, P> {
    async fn sample(&self) -> Result<SoakSample, BenchError> {
        SoakSample::take(self.harness, self.started).await
    }

    /// Waits for the time of nothing, and takes a sample.
    async fn rest(&self) -> Result<SoakSample, BenchError> {
        sleep(self.options.rest).await;
        self.sample().await
    }

    /// Stops both processes for a while, `after` that time.
    async fn stall(&self, after: Duration) -> Result<(), BenchError> {
        if self.options.stall.is_zero() {
            return Ok(());
        }
        sleep(after).await;
        (self.progress)(&format!(
            "both processes stand still for {} s",
            self.options.stall.as_secs_f64()
        ));
        let pids = [self.harness.engine_pid(), self.harness.control_pid()];
        pids.into_iter().try_for_each(pause)?;
        sleep(self.options.stall).await;
        pids.into_iter().try_for_each(resume)
    }

    /// All of the load, for a warm-up and a time, and its end.
    async fn round(&self, duration: Duration, warm_up: Duration) -> Result<Round, BenchError> {
        let options = self.options;
        let door = Door::Shardcast(self.harness);
        let sinks = Load::sinks(&options.mix)?;
        let load = Load::start(&door, &options.mix, options.broadcasts, sinks, &self.clips).await?;
        let kind = options.mix.kinds().next();
        let churn = Churn {
            harness: self.harness,
            clip: kind.map(|kind| self.clips.get(kind.format)).transpose()?,
            lasting: load.ids().map(str::to_owned).collect(),
            options,
            until: Instant::now() + warm_up + duration,
            totals: RefCell::default(),
            running: Cell::new(options.publishers + options.destinations),
        };
        let shows = join_all((0..options.publishers).map(|slot| churn.shows(slot)));
        let destinations = join_all((0..options.destinations).map(|slot| churn.destinations(slot)));
        let watch = self.watch(&load, &churn, warm_up);
        let (_, _, samples) = tokio::join!(shows, destinations, watch);
        let samples = samples?;
        let delays = load.destination_sinks().iter();
        let delay_ms = Percentiles::of(delays.flat_map(crate::sink::Sink::delays_ms).collect());
        let ids: Vec<String> = load.ids().map(str::to_owned).collect();
        let end = load.stop().await;
        for id in &ids {
            self.harness.delete(id).await?;
        }
        Ok(Round {
            end,
            delay_ms,
            samples,
            churn: churn.totals.into_inner(),
        })
    }

    /// Takes samples until the time is over and the last show has ended.
    async fn watch(
        &self,
        load: &Load,
        churn: &Churn<'_>,
        warm_up: Duration,
    ) -> Result<Vec<SoakSample>, BenchError> {
        let mut samples = Vec::new();
        let mut measured_from = Some(Instant::now() + warm_up);
        let mut next_line = Instant::now();
        loop {
            let sample = self.sample().await?;
            if Instant::now() >= next_line {
                next_line += PROGRESS_INTERVAL;
                (self.progress)(&format!("{}, {}", sample.line(), churn.line()));
            }
            samples.push(sample);
            if churn.is_over() {
                return Ok(samples);
            }
            if measured_from.take_if(|at| *at <= Instant::now()).is_some() {
                for sink in load.destination_sinks() {
                    sink.forget_delays();
                }
            }
            sleep(self.options.sample_interval).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::ShowKind;
    use crate::test_clip::TestClipFormat;

    fn options() -> SoakOptions {
        let second = Duration::from_secs(1);
        SoakOptions {
            broadcasts: 1,
            mix: Mix::of(ShowKind::new(1, TestClipFormat::small())),
            publishers: 1,
            show: second,
            destinations: 1,
            stay: second,
            first_round: second,
            stall: Duration::ZERO,
            warm_up: second,
            duration: second,
            rest: second,
            sample_interval: second,
            mb_per_hour: 5.0,
            mb_left: 10.0,
        }
    }

    #[test]
    fn what_is_not_back_to_the_base_is_said() {
        let process = |resident_mb, descriptors| ProcessSample {
            pid: 7,
            resident_mb,
            descriptors,
            threads: 3,
        };
        let sample = |engine| SoakSample {
            engine,
            control: process(20.0, 30),
            ..SoakSample::default()
        };
        let report = |end, slope| SoakReport {
            broadcasts: 1,
            fresh: sample(process(40.0, 30)),
            base: sample(process(50.0, 40)),
            warm_up_s: 0.0,
            samples: Vec::new(),
            end: sample(end),
            engine_mb_per_hour: slope,
            control_mb_per_hour: None,
            frames_sent: 10,
            frames_lost: 0,
            delay_ms: None,
            shows: 0,
            healthy_destinations: 0,
            failing_destinations: 0,
            frames_late_5_ms: 0,
            faults: Vec::new(),
            shortfalls: Vec::new(),
        };
        let fine = report(process(55.0, 40), Some(-3.0));
        assert_eq!(shortfalls(&fine, 0, &options()), [""; 0]);
        let bad = report(process(70.0, 41), Some(6.0));
        assert_eq!(
            shortfalls(&bad, 2, &options()),
            [
                "2 other faults",
                "the engine grew by 6.0 MB an hour",
                "the engine kept 20.0 MB",
                "the engine has 41 descriptors instead of 40",
            ]
        );
    }
}
