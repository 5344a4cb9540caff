//! What a shard's work consisted of during a measurement: differences of its counters, as rates.

use std::time::{Duration, Instant};

use serde::Serialize;
use shardcast_link::WorkCounters;
use tokio::time::sleep;

use crate::harness::{Harness, Status};

/// AAC frames a second, of 1,024 samples at 48 kHz.
const AAC_FRAMES_PER_SECOND: f64 = 48_000.0 / 1_024.0;
/// Opus packets a second, of 20 ms each.
const OPUS_PACKETS_PER_SECOND: f64 = 50.0;

const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// A second and a half.
const REPORT_POLLS: u32 = 60;

/// Work of all shards for each second of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WorkRates {
    /// Times that a shard's thread gave up its core to wait.
    pub sleeps: f64,
    /// Turns of the drivers' loops.
    pub turns: f64,
    /// Turns that a timer began.
    pub timer_wakes: f64,
    /// Looks at the UDP sockets.
    pub udp_drains: f64,
    /// Of these, looks that found nothing.
    pub udp_drains_empty: f64,
    /// Datagrams that a look found, on average.
    pub datagrams_per_drain: f64,
    /// System calls that sent datagrams.
    pub udp_sends: f64,
    /// System calls that wrote to destinations.
    pub tcp_writes: f64,
    /// Bytes of a write, on average.
    pub bytes_per_write: f64,
    /// System calls that read from destinations.
    pub tcp_reads: f64,
    /// Of these, reads that found nothing.
    pub tcp_reads_empty: f64,
    /// Wall-clock time of decoding one Opus packet of 20 ms, in microseconds.
    pub opus_us_per_packet: f64,
    /// Wall-clock time of encoding one AAC frame of 1,024 samples, in microseconds.
    pub aac_us_per_frame: f64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkSample {
    at: Instant,
    counters: WorkCounters,
}

impl WorkSample {
    /// The counters of a report that has just come: shards report once a second, and the age of a
    /// report would be an error of the rates. `None` when the server does not count, or its status
    /// cannot be read, which an older release may cause.
    pub(crate) async fn take(harness: &Harness) -> Option<Self> {
        let old = Self::of(&harness.status().await.ok()?)?;
        for _ in 0..REPORT_POLLS {
            sleep(POLL_INTERVAL).await;
            let new = Self::of(&harness.status().await.ok()?)?;
            if new.counters != old.counters {
                return Some(new);
            }
        }
        Some(old)
    }

    /// The sum over the shards; `None` when the server is too old to count.
    pub(crate) fn of(status: &Status) -> Option<Self> {
        let mut shards = status.shards.iter().filter_map(|shard| shard.work);
        let first = shards.next()?;
        Some(Self {
            at: Instant::now(),
            counters: shards.fold(first, sum),
        })
    }

    /// The rates since `before`, with `broadcasts` that have audio.
    pub(crate) fn since(&self, before: &Self, broadcasts: f64) -> WorkRates {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(0.001);
        let (old, new) = (&before.counters, &self.counters);
        let count = |of: fn(&WorkCounters) -> u64| of(new).saturating_sub(of(old)) as f64;
        let rate = |of| count(of) / seconds;
        let ratio = |of, by| match count(by) {
            0.0 => 0.0,
            by => count(of) / by,
        };
        let each = seconds * broadcasts.max(1.0);
        WorkRates {
            sleeps: rate(|w| w.sleeps),
            turns: rate(|w| w.turns),
            timer_wakes: rate(|w| w.timer_wakes),
            udp_drains: rate(|w| w.udp_drains),
            udp_drains_empty: rate(|w| w.udp_drains_empty),
            datagrams_per_drain: ratio(|w| w.udp_datagrams, |w| w.udp_drains),
            udp_sends: rate(|w| w.udp_sends),
            tcp_writes: rate(|w| w.tcp_writes),
            bytes_per_write: ratio(|w| w.tcp_written_bytes, |w| w.tcp_writes),
            tcp_reads: rate(|w| w.tcp_reads),
            tcp_reads_empty: rate(|w| w.tcp_reads_empty),
            opus_us_per_packet: count(|w| w.opus_us) / each / OPUS_PACKETS_PER_SECOND,
            aac_us_per_frame: count(|w| w.aac_us) / each / AAC_FRAMES_PER_SECOND,
        }
    }
}

fn sum(a: WorkCounters, b: WorkCounters) -> WorkCounters {
    WorkCounters {
        sleeps: a.sleeps + b.sleeps,
        turns: a.turns + b.turns,
        timer_wakes: a.timer_wakes + b.timer_wakes,
        udp_drains: a.udp_drains + b.udp_drains,
        udp_drains_empty: a.udp_drains_empty + b.udp_drains_empty,
        udp_datagrams: a.udp_datagrams + b.udp_datagrams,
        udp_sends: a.udp_sends + b.udp_sends,
        tcp_writes: a.tcp_writes + b.tcp_writes,
        tcp_written_bytes: a.tcp_written_bytes + b.tcp_written_bytes,
        tcp_reads: a.tcp_reads + b.tcp_reads,
        tcp_reads_empty: a.tcp_reads_empty + b.tcp_reads_empty,
        payload_copied_bytes: a.payload_copied_bytes + b.payload_copied_bytes,
        opus_us: a.opus_us + b.opus_us,
        aac_us: a.aac_us + b.aac_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_over_time() {
        let start = Instant::now();
        let counters = |n: u64| WorkCounters {
            sleeps: 10 + n,
            udp_drains: n,
            udp_datagrams: 4 * n,
            aac_us: 100 * n,
            ..WorkCounters::default()
        };
        let before = WorkSample {
            at: start,
            counters: counters(0),
        };
        let after = WorkSample {
            at: start + Duration::from_secs(2),
            counters: counters(1_000),
        };
        let rates = after.since(&before, 10.0);
        assert!((rates.sleeps - 500.0).abs() < 1e-6);
        assert!((rates.datagrams_per_drain - 4.0).abs() < 1e-6);
        // 100,000 µs in two seconds of ten broadcasts.
        assert!((rates.aac_us_per_frame - 5_000.0 / 46.875).abs() < 1e-6);
        assert!((rates.bytes_per_write - 0.0).abs() < 1e-6);
    }

    #[test]
    fn a_server_without_counters_has_no_rates() {
        let status = r#"{"shards": [{"cpu_permille": 3}], "broadcasts": []}"#;
        let status: Status = serde_json::from_str(status).unwrap();
        assert!(WorkSample::of(&status).is_none());
    }
}
