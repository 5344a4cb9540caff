//! What comes and goes during a soak: publishers with a destination each, and destinations of the lasting
//! broadcasts.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::SoakOptions;
use crate::BenchError;
use crate::fan_out::FAULTS;
use crate::harness::Harness;
use crate::load::START_TIME_LIMIT;
use crate::publisher::{Publisher, PublisherOptions};
use crate::sink::{ConnectionFaults, ConnectionReport, Sink, SinkOptions};
use crate::test_clip::TestClip;

/// Pause after a failed call, so that a server that refuses everything is not asked without end.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// Distance of the starts of two slots.
const STAGGER: Duration = Duration::from_millis(137);

/// What has come and gone.
#[derive(Debug, Default)]
pub(super) struct ChurnTotals {
    pub(super) shows: u32,
    pub(super) healthy: u32,
    pub(super) failing: u32,
    pub(super) frames_lost: u64,
    pub(super) faults: Vec<String>,
}

/// A running churn.
pub(super) struct Churn<'a> {
    pub(super) harness: &'a Harness,
    /// What publishers send; none come without it.
    pub(super) clip: Option<Arc<TestClip>>,
    /// Ids of the lasting broadcasts.
    pub(super) lasting: Vec<String>,
    pub(super) options: &'a SoakOptions,
    /// Nothing comes later than this.
    pub(super) until: Instant,
    pub(super) totals: RefCell<ChurnTotals>,
    /// Slots that have not ended.
    pub(super) running: Cell<u32>,
}

impl Churn<'_> {
    /// Whether the time is over and everything has gone.
    pub(super) fn is_over(&self) -> bool {
        self.running.get() == 0 && Instant::now() >= self.until
    }

    /// What has come and gone, as text.
    pub(super) fn line(&self) -> String {
        let totals = self.totals.borrow();
        format!(
            "{} shows, {} healthy and {} failing destinations came and went, {} frames lost, {} faults",
            totals.shows,
            totals.healthy,
            totals.failing,
            totals.frames_lost,
            totals.faults.len()
        )
    }

    /// One show after the other.
    pub(super) async fn shows(&self, slot: u32) {
        sleep(STAGGER * slot).await;
        let mut number = 0;
        while let Some(clip) = self.clip.as_ref().filter(|_| Instant::now() < self.until) {
            let id = format!("churn{slot}-{number}");
            let show = self.show(&id, clip).await;
            // A broadcast that failed half-way must not be what is left at the end.
            let _ = self.harness.delete(&id).await;
            number += 1;
            self.came_and_went(&id, show, |totals| totals.shows += 1)
                .await;
        }
        self.running.set(self.running.get() - 1);
    }

    async fn show(&self, id: &str, clip: &Arc<TestClip>) -> Result<ConnectionReport, BenchError> {
        let sink = Sink::start()?;
        self.harness.create(id).await?;
        self.harness.add(id, &sink.url("key")).await?;
        let options = PublisherOptions::new(self.harness.signalling(), id);
        let publisher = Publisher::start(Arc::clone(clip), options);
        sink.frames("key", 1, START_TIME_LIMIT).await?;
        sleep(self.options.show).await;
        publisher.stop().await;
        sink.wait("key", "end", START_TIME_LIMIT, |s| s.ended.is_some())
            .await
    }

    /// One destination after the other, each at another lasting broadcast. Slots with an even number are
    /// of destinations that take everything, the others of such that fail.
    pub(super) async fn destinations(&self, slot: u32) {
        sleep(STAGGER * slot).await;
        let fails = slot % 2 == 1;
        for number in slot as usize.. {
            let Some(id) = self.lasting.get(number % self.lasting.len().max(1)) else {
                break;
            };
            if Instant::now() >= self.until {
                break;
            }
            if fails {
                let fault = FAULTS
                    .get(number % FAULTS.len())
                    .copied()
                    .unwrap_or("silent");
                let done = self.failing(id, fault).await;
                let name = format!("{id}, destination with {fault}");
                self.came_and_went(
                    &name,
                    done.map(|()| ConnectionReport::default()),
                    |totals| {
                        totals.failing += 1;
                    },
                )
                .await;
            } else {
                let done = self.healthy(id).await;
                let name = format!("{id}, added destination");
                self.came_and_went(&name, done, |totals| totals.healthy += 1)
                    .await;
            }
        }
        self.running.set(self.running.get() - 1);
    }

    async fn healthy(&self, id: &str) -> Result<ConnectionReport, BenchError> {
        let sink = Sink::start()?;
        let endpoint = self.harness.add(id, &sink.url("added")).await?;
        sink.frames("added", 1, START_TIME_LIMIT).await?;
        sleep(self.options.stay).await;
        self.harness.remove(id, &endpoint).await?;
        sink.wait("added", "end", START_TIME_LIMIT, |s| s.ended.is_some())
            .await
    }

    async fn failing(&self, id: &str, fault: &str) -> Result<(), BenchError> {
        let faults: ConnectionFaults = fault.parse()?;
        let sink = Sink::with(SinkOptions::with(faults))?;
        let endpoint = self.harness.add(id, &sink.url("fails")).await?;
        sleep(self.options.stay).await;
        self.harness.remove(id, &endpoint).await
    }

    async fn came_and_went(
        &self,
        name: &str,
        done: Result<ConnectionReport, BenchError>,
        count: impl FnOnce(&mut ChurnTotals),
    ) {
        let failed = done.is_err();
        {
            let mut totals = self.totals.borrow_mut();
            match done {
                Ok(stream) => {
                    totals.frames_lost += stream.frames_missing;
                    let faults = stream.faults().into_iter();
                    totals
                        .faults
                        .extend(faults.map(|fault| format!("{name}: {fault}")));
                    count(&mut totals);
                }
                Err(error) => totals.faults.push(format!("{name}: {error}")),
            }
        }
        if failed {
            sleep(AFTER_FAILURE).await;
        }
    }
}
