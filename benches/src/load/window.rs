//! What was used and how long frames took, over one measurement.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

use super::{GeneratorFigures, HlsFigures, Ingest, Load};
use crate::BenchError;
use crate::harness::{CorePlan, CoreTimes, Cores, Harness, LagProbe, Usage, process_tree, usage};
use crate::publisher::Publisher;
use crate::stats::Percentiles;

/// The processes of a server, and the cores of both sides.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// The processes that move media; with all their descendants.
    pub media: Vec<i32>,
    /// The others: Shardcast's control.
    pub others: Vec<i32>,
    /// Cores of the server; `None` when it shares all.
    pub server_cores: Option<Cores>,
    /// Cores of the generator.
    pub generator_cores: Option<Cores>,
    /// Threads in which the generator runs.
    pub generator_threads: usize,
}

impl Processes {
    /// Those of a Shardcast.
    pub fn of(harness: &Harness, plan: &CorePlan) -> Self {
        Self {
            media: vec![harness.engine_pid()],
            others: vec![harness.control_pid()],
            server_cores: plan.engine.clone(),
            generator_cores: plan.generator.clone(),
            generator_threads: generator_threads(),
        }
    }
}

/// Worker threads of the runtime in which publishers and sinks run.
pub(crate) fn generator_threads() -> usize {
    tokio::runtime::Handle::current().metrics().num_workers()
}

/// One measurement of a running load.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    /// Its length.
    pub seconds: f64,
    /// CPU time of the processes that move media, in percent of a core.
    pub media_cpu_percent: f64,
    /// CPU time of the server's other processes.
    pub others_cpu_percent: f64,
    /// Resident memory of the processes that move media, in MB, at the end.
    pub media_mb: f64,
    /// Growth of it.
    pub media_mb_grown: f64,
    /// Time in which the server's cores were not idle, in percent; of all cores when it has none of its
    /// own.
    pub server_cores_busy_percent: f64,
    /// Time of the server's cores that other programs had, in percent; `None` when the server has no cores
    /// of its own. Interrupts of the network count with it.
    pub foreign_percent: Option<f64>,
    /// Time that a hypervisor kept from the server's cores, in percent.
    pub steal_percent: f64,
    /// Bytes of media that one publisher sent, in kbit/s; the mean.
    pub publisher_kbps: f64,
    /// From the publisher's send call to the arrival at the destination's socket.
    pub delay_ms: Option<Percentiles>,
    /// The same for each way in which some of the broadcasts are published.
    pub delay_by_ingest: Vec<IngestDelay>,
    /// From the publisher's send call to the last packet of the frame at a viewer.
    pub viewer_delay_ms: Option<Percentiles>,
    /// Of each broadcast, the 99th percentile of the delay at its slowest destination minus that at its
    /// fastest; the largest. `None` when no broadcast has two destinations.
    pub added_p99_ms: Option<f64>,
    /// What HLS pollers did; `None` without any.
    pub hls: Option<HlsFigures>,
    /// How the generator was.
    pub generator: GeneratorFigures,
}

/// Delays of the broadcasts that are published in one way.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct IngestDelay {
    /// The way.
    pub ingest: Ingest,
    /// How many they are.
    pub broadcasts: u32,
    /// From the publisher's send call to the arrival at the destination's socket.
    pub delay_ms: Option<Percentiles>,
}

/// Counters at one moment.
struct Sample {
    at: Instant,
    media: Usage,
    others: Usage,
    own: Usage,
    server_cores: CoreTimes,
    generator_cores: CoreTimes,
    sent: Sent,
}

#[derive(Clone, Copy, Default)]
struct Sent {
    bytes: u64,
    frames: u64,
    late: u64,
}

impl Window {
    /// Measures a load for this time. Delays from before are forgotten.
    ///
    /// # Errors
    /// When a process of the server is gone.
    pub async fn measure(
        load: &Load,
        processes: &Processes,
        duration: Duration,
    ) -> Result<Self, BenchError> {
        let probe = LagProbe::start();
        let before = Sample::take(load, processes)?;
        for sink in load.destination_sinks() {
            sink.forget_delays();
        }
        load.take_viewer_delays_ms();
        let hls = load.begin_hls();
        sleep(duration).await;
        let hls = load.end_hls(hls);
        let after = Sample::take(load, processes)?;
        let viewer_delay_ms = Percentiles::of(load.take_viewer_delays_ms());
        let lag_ms = probe.stop().await;
        let (delay_ms, delay_by_ingest) = delays(load);
        let seconds = (after.at - before.at).as_secs_f64();
        let percent = |of: fn(&Sample) -> Usage| {
            let used = of(&after).cpu.saturating_sub(of(&before).cpu);
            used.as_secs_f64() / seconds * 100.0
        };
        let publishers = f64::from(load.broadcasts().max(1));
        let server = after.server_cores.since(&before.server_cores);
        Ok(Self {
            seconds,
            media_cpu_percent: percent(|sample| sample.media),
            others_cpu_percent: percent(|sample| sample.others),
            media_mb: mb(after.media.resident_bytes),
            media_mb_grown: mb(after.media.resident_bytes) - mb(before.media.resident_bytes),
            server_cores_busy_percent: server.busy_percent(),
            foreign_percent: processes.server_cores.as_ref().map(|cores| {
                let own = percent(|sample| sample.media) / cores.numbers().len().max(1) as f64;
                (server.busy_percent() - own).max(0.0)
            }),
            steal_percent: server.steal_percent(),
            publisher_kbps: (after.sent.bytes - before.sent.bytes) as f64 * 8.0
                / 1_000.0
                / seconds
                / publishers,
            delay_ms,
            delay_by_ingest,
            viewer_delay_ms,
            added_p99_ms: added_p99_ms(load),
            generator: GeneratorFigures {
                lag_ms,
                cpu_percent: percent(|sample| sample.own),
                ..after.generator(&before, processes, hls.is_some())
            },
            hls,
        })
    }
}

impl Sample {
    fn take(load: &Load, processes: &Processes) -> Result<Self, BenchError> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        Ok(Self {
            at: Instant::now(),
            media: sum(&processes.media)?,
            others: sum(&processes.others)?,
            own: usage(own)?,
            server_cores: CoreTimes::now(processes.server_cores.as_ref()),
            generator_cores: CoreTimes::now(processes.generator_cores.as_ref()),
            sent: sent(load.publishers()),
        })
    }

    /// How the generator was since an earlier sample, without its CPU time and its lag.
    fn generator(
        &self,
        before: &Self,
        processes: &Processes,
        has_pollers: bool,
    ) -> GeneratorFigures {
        let cores = processes.generator_cores.as_ref();
        let cores = cores.map(|cores| cores.numbers().len());
        // Pollers have as many threads of their own.
        let threads = processes.generator_threads * if has_pollers { 2 } else { 1 };
        let frames = (self.sent.frames - before.sent.frames).max(1) as f64;
        let times = self.generator_cores.since(&before.generator_cores);
        GeneratorFigures {
            cpu_percent_max: cores.map_or(threads, |cores| cores.min(threads)) as f64 * 100.0,
            cores_busy_percent: times.busy_percent(),
            has_cores: cores.is_some(),
            late_share: (self.sent.late - before.sent.late) as f64 / frames,
            ..GeneratorFigures::default()
        }
    }
}

/// CPU time and memory of these processes and all their descendants.
fn sum(pids: &[i32]) -> Result<Usage, BenchError> {
    let mut all = Usage::default();
    for pid in pids {
        // The first has to be there; of the others, one may end meanwhile.
        let root = usage(*pid)?;
        let others = process_tree(*pid).into_iter().skip(1);
        for one in std::iter::once(root).chain(others.filter_map(|pid| usage(pid).ok())) {
            all.cpu += one.cpu;
            all.resident_bytes += one.resident_bytes;
        }
    }
    Ok(all)
}

fn sent<'a>(publishers: impl Iterator<Item = &'a Publisher>) -> Sent {
    publishers.fold(Sent::default(), |sum, publisher| {
        let report = publisher.report();
        Sent {
            bytes: sum.bytes + report.media_bytes_sent,
            frames: sum.frames + report.frames_sent,
            late: sum.late + report.frames_late_5_ms,
        }
    })
}

/// Delays of all broadcasts, and of those that are published in each way.
fn delays(load: &Load) -> (Option<Percentiles>, Vec<IngestDelay>) {
    let (mut all_ms, mut by_ingest) = (Vec::new(), Vec::new());
    for ingest in Ingest::ALL {
        let (broadcasts, delays_ms) = load.delays_ms_of(ingest);
        if broadcasts > 0 {
            all_ms.extend_from_slice(&delays_ms);
            by_ingest.push(IngestDelay {
                ingest,
                broadcasts,
                delay_ms: Percentiles::of(delays_ms),
            });
        }
    }
    (Percentiles::of(all_ms), by_ingest)
}

fn added_p99_ms(load: &Load) -> Option<f64> {
    let shows = load.streams_of_shows();
    let added = shows.iter().filter_map(|streams| {
        let p99 = streams.iter().filter_map(|s| Some(s.delay_ms?.p99));
        let (least, most) = (p99.clone().reduce(f64::min)?, p99.clone().reduce(f64::max)?);
        (streams.len() > 1).then_some(most - least)
    });
    added.reduce(f64::max)
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / (1_024.0 * 1_024.0)
}
