//! Pollers of Low-Latency HLS, as seen from the server: each keeps a connection, reloads the playlist by blocking
//! requests (RFC 8216bis, 6.2.5.2), fetches each part once it is listed, and counts when it would have nothing to
//! play. They decode nothing.
//!
//! They run in threads of their own with a lower priority than publishers and sinks, which would otherwise wait for
//! them, and the delay of the shows would be the generator's.

mod connection;
mod playlist;
mod poller;
mod totals;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustix::process::{Resource, getpriority_process, getrlimit, setpriority_process, setrlimit};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};

pub use totals::PollerTotals;

use crate::BenchError;
use poller::Poller;
use totals::Shared;

/// How much nicer the threads are than others (setpriority(2)): behind everything else of the measurement.
const NICE: i32 = 5;
/// Distance of the starts of two players.
const STAGGER: Duration = Duration::from_millis(2);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Running players. Dropping them closes their connections.
#[derive(Debug)]
pub struct Pollers {
    /// `None` once it was told to end.
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
    count: u32,
}

impl Pollers {
    /// None yet, and so many threads for those that come.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(threads: usize) -> Result<Self, BenchError> {
        raise_descriptors();
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("hls-pollers")
            .on_thread_start(|| {
                // Of this thread; without it the delays of the shows are less exact.
                let own = getpriority_process(None).unwrap_or_default();
                let _ = setpriority_process(None, own + NICE);
            })
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            shared: Arc::default(),
            count: 0,
        })
    }

    /// Adds so many players of the playlist at `path`.
    pub fn add(&mut self, server: SocketAddr, path: &str, count: u32) {
        let Some(runtime) = &self.runtime else {
            return;
        };
        for _ in 0..count {
            let poller = Poller::new(server, path, Arc::clone(&self.shared));
            let wait = STAGGER * self.count;
            runtime.spawn(async move {
                sleep(wait).await;
                poller.run().await;
            });
            self.count += 1;
        }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Waits until all play.
    ///
    /// # Errors
    /// [`BenchError::Late`] with the errors so far, when they do not in time.
    pub async fn playing(&self, time_limit: Duration) -> Result<(), BenchError> {
        let time_limit = time_limit + STAGGER * self.count;
        let deadline = Instant::now() + time_limit;
        while self.totals().begun < self.count {
            if Instant::now() >= deadline {
                let (begun, errors) = (self.totals().begun, self.errors());
                let what = format!("HLS: {begun} of {} play, errors {errors:?}", self.count);
                return Err(BenchError::Late {
                    what,
                    waited: time_limit,
                });
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// What they have counted so far.
    pub fn totals(&self) -> PollerTotals {
        self.shared.totals()
    }

    /// Milliseconds from the request for a part that is listed to its last byte, since the last call; of so many
    /// parts as [`DELAY_SAMPLES_MAX`](crate::limits::DELAY_SAMPLES_MAX).
    pub fn take_part_ms(&self) -> Vec<f64> {
        self.shared.take_part_ms()
    }

    /// The first errors as text.
    pub fn errors(&self) -> Vec<String> {
        self.shared.errors()
    }
}

impl Drop for Pollers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for its threads is not allowed in a task.
            runtime.shutdown_background();
        }
    }
}

/// Each player has a connection, and many systems begin with 1,024 descriptors.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it stays, connections fail and say so.
    let _ = setrlimit(Resource::Nofile, limit);
}
