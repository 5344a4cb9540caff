//! Measures Shardcast and another server in turn, in one run, on the same cores with the same sinks.
//!
//! Both are published to in the same way unless something else is asked for: by RTMP where the other server
//! relays RTMP, such as nginx, and by WebRTC where it turns that into RTMP too. Where the ways differ, the two do
//! not do the same work, and the report says so.

mod page;
mod profile;
mod server;

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

pub use page::page;
pub use profile::Profile;
pub use server::{OtherServer, Ports};

use crate::BenchError;
use crate::live::ServerSetup;
use crate::load::{Clips, Door, Ingest, Load, LoadEnd, Mix, Processes, Window};
use crate::stats::Spread;

/// The servers and the load.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// The other server.
    pub profile: Profile,
    /// How the other server is published to.
    pub ingest: Ingest,
    /// How Shardcast is published to.
    pub ours: Ingest,
    /// Command of the other server, in which `{config}` is the file and `{dir}` the folder of its configuration; `None`:
    /// the profile's own.
    pub command: Option<String>,
    /// Numbers of broadcasts at the same time.
    pub broadcasts: Vec<u32>,
    /// The broadcasts, with every number of each of these mixes; how they are published is not used.
    pub mixes: Vec<Mix>,
    /// Runs of each server with each size of the load, in turn.
    pub runs: u32,
    /// The Shardcast, and the cores of either server and of the generator.
    pub setup: ServerSetup,
    /// Time from the last start to the measurement.
    pub warm_up: Duration,
    /// Length of each measurement.
    pub duration: Duration,
}

impl CompareOptions {
    /// The sizes of the load in their order, and what the broadcasts are.
    pub fn sizes(&self) -> impl Iterator<Item = (Size, &Mix)> {
        self.mixes.iter().flat_map(move |mix| {
            let numbers = self.broadcasts.iter();
            numbers.map(move |broadcasts| (Size::new(*broadcasts, mix), mix))
        })
    }
}

/// Size of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Broadcasts at the same time.
    pub broadcasts: u32,
    /// RTMP destinations of each; of a mix, the most.
    pub destinations: u32,
}

impl Size {
    fn new(broadcasts: u32, mix: &Mix) -> Self {
        Self {
            broadcasts,
            destinations: mix.destinations_max(),
        }
    }

    /// The size in words.
    pub fn text(self) -> String {
        let plural = |count| if count == 1 { "" } else { "s" };
        let (broadcasts, destinations) = (self.broadcasts, self.destinations);
        format!(
            "{broadcasts} broadcast{} to {destinations} destination{}",
            plural(broadcasts),
            plural(destinations)
        )
    }
}

/// One measurement of one server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerRun {
    /// Name of the server.
    pub server: String,
    /// Size of the load.
    #[serde(flatten)]
    pub size: Size,
    /// What was measured; `None` when the server or the load did not start.
    pub window: Option<Window>,
    /// Why not.
    pub error: Option<String>,
    /// Frames sent by all publishers.
    pub frames_sent: u64,
    /// Frames lost by all destinations.
    pub frames_lost: u64,
    /// Other defects of the streams; the first eight.
    pub faults: Vec<String>,
    /// Why the generator may be what was measured.
    pub generator_limit: Option<String>,
}

/// All measurements.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    /// Name of the other server.
    pub other: String,
    /// How it was published to.
    pub ingest: Ingest,
    /// How Shardcast was published to.
    pub ours: Ingest,
    /// In their order.
    pub runs: Vec<ServerRun>,
}

/// Name of ours in reports.
pub const OURS: &str = "Shardcast";
const FAULTS_MAX: usize = 8;

impl CompareReport {
    /// The values of one server with one size of the load, over its runs.
    pub fn spread(
        &self,
        server: &str,
        size: Size,
        of: impl Fn(&Window) -> Option<f64>,
    ) -> Option<Spread> {
        let runs = self.runs.iter();
        let its = runs.filter(|run| run.server == server && run.size == size);
        Spread::of(its.filter_map(|run| of(run.window.as_ref()?)).collect())
    }

    /// CPU time of one broadcast, in percent of a core.
    pub fn cpu_percent_each(&self, server: &str, size: Size) -> Option<Spread> {
        let broadcasts = f64::from(size.broadcasts.max(1));
        self.spread(server, size, |w| Some(w.media_cpu_percent / broadcasts))
    }

    /// CPU time of each destination beyond the fewest that were measured, in percent of a core: by the medians with
    /// the fewest and with the most of them. `None` with one number of destinations.
    pub fn cpu_percent_per_added(&self, server: &str, broadcasts: u32) -> Option<f64> {
        let sizes = self.runs.iter().map(|run| run.size);
        let sizes = sizes.filter(|size| size.broadcasts == broadcasts);
        let fewest = sizes.clone().min_by_key(|size| size.destinations)?;
        let most = sizes.max_by_key(|size| size.destinations)?;
        let added = most.destinations - fewest.destinations;
        let cpu = |size| Some(self.cpu_percent_each(server, size)?.median);
        (added > 0).then_some((cpu(most)? - cpu(fewest)?) / f64::from(added))
    }
}

/// Makes all runs; which server is first alternates. `progress` is called with a line of text before and
/// after each.
///
/// # Errors
/// When the options cannot be met by the profile.
pub async fn compare(
    options: &CompareOptions,
    progress: impl Fn(&str),
) -> Result<CompareReport, BenchError> {
    options.profile.check(options.ingest)?;
    let clips = Clips::default();
    let other = options.profile.name().to_owned();
    let mut runs = Vec::new();
    for (size, mix) in options.sizes() {
        for run in 0..options.runs.max(1) {
            for second in [false, true] {
                let is_other = second != (run % 2 == 1);
                let server = if is_other { other.as_str() } else { OURS };
                progress(&format!("{}, run {}, {server} …", size.text(), run + 1));
                let broadcasts = size.broadcasts;
                let measured = if is_other {
                    measure_other(options, &clips, mix, broadcasts).await
                } else {
                    measure_ours(options, &clips, mix, broadcasts).await
                };
                let one = server_run(server, size, measured);
                progress(&one.line());
                runs.push(one);
            }
        }
    }
    Ok(CompareReport {
        other,
        ingest: options.ingest,
        ours: options.ours,
        runs,
    })
}

fn server_run(
    server: &str,
    size: Size,
    measured: Result<(Window, LoadEnd), BenchError>,
) -> ServerRun {
    let (measured, error) = match measured {
        Ok(measured) => (Some(measured), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let (window, end) = measured.unzip();
    let LoadEnd {
        frames_sent,
        frames_lost,
        mut faults,
        ..
    } = end.unwrap_or_default();
    faults.truncate(FAULTS_MAX);
    let limit = |window: &Window| window.generator.limit(window.delay_ms?.p99);
    ServerRun {
        server: server.to_owned(),
        size,
        generator_limit: window.as_ref().and_then(limit),
        window,
        error,
        frames_sent,
        frames_lost,
        faults,
    }
}

impl ServerRun {
    fn line(&self) -> String {
        match (&self.window, &self.error) {
            (Some(window), _) => {
                let p99 = window.delay_ms.map_or(0.0, |delay| delay.p99);
                format!(
                    "{:.3} % of a core per broadcast, p99 {p99:.1} ms, {} frames lost",
                    window.media_cpu_percent / f64::from(self.size.broadcasts.max(1)),
                    self.frames_lost
                )
            }
            (None, error) => format!("failed: {}", error.as_deref().unwrap_or_default()),
        }
    }
}

async fn measure_ours(
    options: &CompareOptions,
    clips: &Clips,
    mix: &Mix,
    broadcasts: u32,
) -> Result<(Window, LoadEnd), BenchError> {
    let mix = mix.clone().published_by(options.ours);
    let (harness, _pinned) = options.setup.start().await?;
    let processes = Processes::of(&harness, &options.setup.cores);
    let sinks = Load::sinks(&mix)?;
    let door = Door::Shardcast(&harness);
    let load = Load::start(&door, &mix, broadcasts, sinks, clips).await?;
    measure(options, load, &processes).await
}

async fn measure_other(
    options: &CompareOptions,
    clips: &Clips,
    mix: &Mix,
    broadcasts: u32,
) -> Result<(Window, LoadEnd), BenchError> {
    let mix = mix.clone().published_by(options.ingest);
    let sinks = Load::sinks(&mix)?;
    let addresses: Vec<_> = sinks.iter().map(crate::sink::Sink::address).collect();
    let server = OtherServer::start(options, &addresses).await?;
    let _pinned = options.setup.cores.pin_generator()?;
    let processes = server.processes(&options.setup.cores);
    let door = server.door(options.ingest);
    let load = Load::start(&door, &mix, broadcasts, sinks, clips).await;
    let measured = match load {
        Ok(load) => measure(options, load, &processes).await,
        Err(error) => Err(error),
    };
    measured.map_err(|error| server.explain(&error))
}

async fn measure(
    options: &CompareOptions,
    load: Load,
    processes: &Processes,
) -> Result<(Window, LoadEnd), BenchError> {
    sleep(options.warm_up).await;
    let window = Window::measure(&load, processes, options.duration).await?;
    Ok((window, load.stop().await))
}
