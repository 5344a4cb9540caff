//! How late the generator is: the time from the moment at which something is there for a task until the
//! task runs. Sinks read, and publishers send, as late as that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinHandle};

use crate::stats::Percentiles;

/// Often enough for a 99th percentile of a measurement of some seconds.
const INTERVAL: Duration = Duration::from_millis(5);
/// Probes that wait at most: a runtime that hangs for a second.
const WAITING_MAX: usize = 200;
/// Lags kept: an hour.
const LAGS_MAX: usize = 720_000;

/// A running measurement in the present runtime.
#[derive(Debug)]
pub struct LagProbe {
    ends: Arc<AtomicBool>,
    lags_ms: JoinHandle<Vec<f64>>,
}

impl LagProbe {
    /// Starts a thread that rings every 5 ms, and a task that listens.
    pub fn start() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (ring, mut rung) = mpsc::channel::<Instant>(WAITING_MAX);
        let lags_ms = tokio::spawn(async move {
            let mut lags_ms = Vec::new();
            while let Some(at) = rung.recv().await {
                if lags_ms.len() < LAGS_MAX {
                    lags_ms.push(at.elapsed().as_secs_f64() * 1_000.0);
                }
            }
            lags_ms
        });
        let over = Arc::clone(&ends);
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                thread::sleep(INTERVAL);
                // A full queue holds the lag already.
                let _ = ring.try_send(Instant::now());
            }
        });
        Self { ends, lags_ms }
    }

    /// Ends it. `None` when nothing was measured.
    pub async fn stop(self) -> Option<Percentiles> {
        self.ends.store(true, Ordering::Relaxed);
        Percentiles::of(self.lags_ms.await.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_task_that_does_not_yield_is_seen() {
        let probe = LagProbe::start();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let hog = tokio::spawn(async { thread::sleep(Duration::from_millis(300)) });
        hog.await.unwrap();
        let lag = probe.stop().await.unwrap();
        assert!(lag.max >= 100.0, "{lag:?}");
    }
}
