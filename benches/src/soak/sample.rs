//! Shardcast at one moment: memory, descriptors, threads, and what it has to do.

use std::{fs, time::Instant};

use serde::Serialize;

use crate::BenchError;
use crate::harness::{DestinationState, Harness, usage};

/// Both processes at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SoakSample {
    /// Seconds since the soak began.
    pub at_s: f64,
    /// The engine.
    pub engine: ProcessSample,
    /// Control.
    pub control: ProcessSample,
    /// Broadcasts that control knows.
    pub broadcasts: usize,
    /// Destinations that the engine reports.
    pub destinations: usize,
}

/// One process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ProcessSample {
    /// Its number.
    pub pid: i32,
    /// Resident memory in MB.
    pub resident_mb: f64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
}

impl SoakSample {
    pub(super) async fn take(harness: &Harness, started: Instant) -> Result<Self, BenchError> {
        let runtime = harness.runtime();
        // Of an engine that was started again, the number is another one.
        let engine = runtime.and_then(|runtime| runtime.engine_pid);
        let engine = ProcessSample::take(engine.unwrap_or_else(|| harness.engine_pid()))?;
        let control = ProcessSample::take(harness.control_pid())?;
        // After the counts: the request is a connection of control, which may outlast the answer.
        let status = harness.status().await?;
        let live = |one: &&DestinationState| matches!(one, DestinationState::Live(_));
        Ok(Self {
            at_s: started.elapsed().as_secs_f64(),
            engine,
            control,
            broadcasts: status.broadcasts.len(),
            destinations: status
                .broadcasts
                .iter()
                .map(|broadcast| broadcast.destinations.iter().filter(live).count())
                .sum(),
        })
    }

    /// The sample as text.
    pub fn line(&self) -> String {
        let process = |one: &ProcessSample| {
            format!(
                "{:.1} MB {} descriptors {} threads",
                one.resident_mb, one.descriptors, one.threads
            )
        };
        format!(
            "{:>6.0} s  engine {}, control {}, {} broadcasts, {} destinations",
            self.at_s,
            process(&self.engine),
            process(&self.control),
            self.broadcasts,
            self.destinations
        )
    }
}

impl ProcessSample {
    fn take(pid: i32) -> Result<Self, BenchError> {
        let count =
            |what: &str| Ok::<_, BenchError>(fs::read_dir(format!("/proc/{pid}/{what}"))?.count());
        Ok(Self {
            pid,
            resident_mb: usage(pid)?.resident_bytes as f64 / (1_024.0 * 1_024.0),
            descriptors: count("fd")?,
            threads: count("task")?,
        })
    }
}
