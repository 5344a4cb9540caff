//! The players of a load that poll HLS.

use std::time::Instant;

use serde::Serialize;

use super::{Load, START_TIME_LIMIT, generator_threads};
use crate::BenchError;
use crate::harness::APPLICATION;
use crate::hls::{PollerTotals, Pollers};
use crate::stats::Percentiles;

/// What HLS pollers did during a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct HlsFigures {
    /// Pollers of all broadcasts.
    pub pollers: u32,
    /// Requests that were answered in a second.
    pub requests_per_second: f64,
    /// Parts among them.
    pub parts_per_second: f64,
    /// Megabits of the bodies in a second.
    pub mbit_per_second: f64,
    /// Requests that failed or were refused.
    pub errors: u64,
    /// How often a poller had nothing to play.
    pub stalls: u64,
    /// For how long, all together.
    pub stalled_ms: u64,
    /// From the request for a part to its last byte.
    pub part_ms: Option<Percentiles>,
}

/// All pollers of a load.
#[derive(Debug)]
pub(super) struct Crowd {
    pollers: Pollers,
    /// When all had begun to play.
    begun: PollerTotals,
}

impl Crowd {
    pub(super) fn count(&self) -> u32 {
        self.pollers.count()
    }

    /// What was wrong since all had begun to play.
    pub(super) fn fault(&self) -> Option<String> {
        let PollerTotals {
            errors,
            stalls,
            stalled_ms,
            ..
        } = self.pollers.totals().since(&self.begun);
        let first = self.pollers.errors().into_iter().next();
        let first = first.map_or(String::new(), |error| format!(", such as: {error}"));
        (errors + stalls > 0).then(|| {
            format!(
                "HLS: {} pollers had {stalls} stalls of {stalled_ms} ms together, and {errors} errors{first}",
                self.count()
            )
        })
    }
}

/// Counters of the pollers at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct HlsSample {
    at: Instant,
    totals: PollerTotals,
}

impl Load {
    /// Adds pollers to the broadcasts, so many to the first, the second and each further one, and waits until all
    /// play.
    ///
    /// # Errors
    /// When some do not begin, or the server is no Shardcast.
    pub async fn add_hls_pollers(&mut self, counts: &[u32]) -> Result<(), BenchError> {
        if counts.iter().all(|count| *count == 0) {
            return Ok(());
        }
        let http = self.http.ok_or_else(|| {
            BenchError::Argument("HLS is measured with Shardcast only".to_owned())
        })?;
        let mut pollers = Pollers::start(generator_threads())?;
        for (show, count) in self.shows.iter().zip(counts) {
            let path = format!("/{APPLICATION}/streams/{}.m3u8", show.id);
            pollers.add(http, &path, *count);
        }
        pollers.playing(START_TIME_LIMIT).await?;
        let begun = pollers.totals();
        self.crowd = Some(Crowd { pollers, begun });
        Ok(())
    }

    /// Counters of the pollers now, from which times of parts are collected; `None` without pollers.
    pub(super) fn begin_hls(&self) -> Option<HlsSample> {
        let pollers = &self.crowd.as_ref()?.pollers;
        pollers.take_part_ms();
        Some(HlsSample {
            at: Instant::now(),
            totals: pollers.totals(),
        })
    }

    /// What the pollers did since.
    pub(super) fn end_hls(&self, since: Option<HlsSample>) -> Option<HlsFigures> {
        let (pollers, since) = (&self.crowd.as_ref()?.pollers, since?);
        let seconds = since.at.elapsed().as_secs_f64();
        let done = pollers.totals().since(&since.totals);
        Some(HlsFigures {
            pollers: pollers.count(),
            requests_per_second: done.requests as f64 / seconds,
            parts_per_second: done.parts as f64 / seconds,
            mbit_per_second: done.bytes as f64 * 8.0 / 1e6 / seconds,
            errors: done.errors,
            stalls: done.stalls,
            stalled_ms: done.stalled_ms,
            part_ms: Percentiles::of(pollers.take_part_ms()),
        })
    }
}
