//! What broadcasts take of a shard, and how much a shard has: CPU of its executor, CPU of codecs,
//! memory. What runs is known from the shard's reports; what is expected is estimated. Pure, but for
//! the size of the machine's memory.

use std::sync::OnceLock;

use shardcast_link::{BroadcastStatus, CodecStatus, ShardStatus};

use super::transcode_admission;
use crate::limits;

/// What is asked for beside a publisher of a broadcast that has not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedLoad {
    /// Of the publisher, in bit/s.
    pub(crate) bitrate_bps: u64,
    /// Destinations that are sent the stream.
    pub(crate) destinations: u64,
    /// Heights of its renditions in pixels, at 30 frames a second.
    pub(crate) rendition_heights: Vec<u32>,
}

impl Default for ExpectedLoad {
    fn default() -> Self {
        Self {
            bitrate_bps: limits::EXPECTED_BITRATE_BPS,
            destinations: 1,
            rendition_heights: Vec::new(),
        }
    }
}

/// A cost, or a capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Of the executor, in millionths of a core.
    pub(crate) executor_ppm: u64,
    /// Of codecs, in thousandths of a core.
    pub(crate) codec_permille: u64,
    pub(crate) memory_bytes: u64,
}

impl Cost {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            executor_ppm: self.executor_ppm.saturating_add(other.executor_ppm),
            codec_permille: self.codec_permille.saturating_add(other.codec_permille),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    /// Whether each part is within that of `capacity`; one that is not asked for always is.
    pub(crate) fn is_within(self, added: Self, capacity: Self) -> bool {
        let fits = |used: u64, added: u64, most: u64| added == 0 || used + added <= most;
        fits(self.executor_ppm, added.executor_ppm, capacity.executor_ppm)
            && fits(
                self.codec_permille,
                added.codec_permille,
                capacity.codec_permille,
            )
            && fits(self.memory_bytes, added.memory_bytes, capacity.memory_bytes)
    }

    /// All CPU of it, in millionths of a core: what placement balances.
    pub(crate) fn cpu_ppm(self) -> u64 {
        let codecs = self.codec_permille.saturating_mul(1_000);
        self.executor_ppm.saturating_add(codecs)
    }
}

/// What `expected` will cost a shard whose codecs are as `codec` says.
pub(crate) fn expected(expected: &ExpectedLoad, codec: &CodecStatus) -> Cost {
    Cost {
        executor_ppm: executor_ppm(expected.bitrate_bps, expected.destinations),
        codec_permille: transcode_admission::expected_permille(codec, &expected.rendition_heights),
        memory_bytes: memory_bytes(expected.bitrate_bps),
    }
}

/// What a broadcast that runs costs by what is reported of it, without codecs, which are reported as
/// a sum.
pub(crate) fn live(status: &BroadcastStatus) -> Cost {
    let bitrate_bps = status.publisher.as_ref().map_or(0, |p| p.bitrate_bps);
    Cost {
        executor_ppm: executor_ppm(bitrate_bps, status.destinations.len() as u64),
        codec_permille: 0,
        memory_bytes: memory_bytes(0).saturating_add(status.ring_bytes),
    }
}

/// What a shard spends: `live` broadcasts by their estimates, or what it has measured if that is more.
pub(crate) fn measured(status: &ShardStatus, live: Cost) -> Cost {
    Cost {
        executor_ppm: live
            .executor_ppm
            .max(u64::from(status.cpu_permille) * 1_000),
        codec_permille: status.codec.used_permille.into(),
        memory_bytes: live.memory_bytes,
    }
}

/// What a shard of `weight` (100 is a core) may spend, beside as many others as `shards` says.
pub(crate) fn capacity(weight: u32, status: &ShardStatus, shards: usize) -> Cost {
    let whole = u64::from(weight) * 10_000;
    Cost {
        executor_ppm: whole * limits::PLACEMENT_CPU_PERCENT_MAX / 100,
        // Rungs that viewers alone are sent are in use, and end where a destination needs what they take.
        codec_permille: u64::from(status.codec.capacity_permille)
            + u64::from(status.codec.yielding_permille),
        memory_bytes: machine_memory_bytes() * limits::PLACEMENT_MEMORY_PERCENT_MAX
            / 100
            / (shards.max(1) as u64),
    }
}

/// Receiving, audio and the first packet of each frame are there at any bit rate; the rest grows with
/// packets, and so with the bit rate. Fitted to docs/benchmarks.md ("Delay, and another server beside", "A
/// broadcast that is passed on"): 2.5 Mbit/s and one destination take 1.2 % of a core at twenty broadcasts, and
/// less each the more there are; each further destination takes 0.034 %.
fn executor_ppm(bitrate_bps: u64, destinations: u64) -> u64 {
    let of_bitrate = |ppm: u64| bitrate_bps.saturating_mul(ppm) / 1_000_000;
    6_000_u64
        .saturating_add(of_bitrate(2_300))
        .saturating_add(of_bitrate(136).saturating_mul(destinations))
}

/// Session and codecs, and ten seconds of media: a ring has 3.5 s, six in a long group of pictures, and a slow
/// destination keeps three more. What is measured with prompt destinations is 2.0 to 2.3 MB at 2.5 Mbit/s.
fn memory_bytes(bitrate_bps: u64) -> u64 {
    (2_u64 << 20).saturating_add(bitrate_bps / 8 * 10)
}

/// Memory of this machine; where it cannot be read, a terabyte, so that other limits decide.
fn machine_memory_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.map_or(1 << 40, |kib| kib * 1_024)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_what_was_measured() {
        let one = executor_ppm(2_500_000, 1);
        assert!(one.abs_diff(12_000) < 200, "{one}");
        let each = (executor_ppm(2_500_000, 200) - one) / 199;
        assert!(each.abs_diff(340) < 10, "{each}");
    }

    #[test]
    fn the_measured_use_counts_when_it_is_above_the_estimate() {
        let status = ShardStatus {
            cpu_permille: 300,
            ..ShardStatus::default()
        };
        let estimate = |executor_ppm| Cost {
            executor_ppm,
            ..Cost::default()
        };
        assert_eq!(measured(&status, estimate(12_000)).executor_ppm, 300_000);
        assert_eq!(measured(&status, estimate(400_000)).executor_ppm, 400_000);
    }

    #[test]
    fn each_part_has_its_own_limit_and_what_is_not_asked_for_has_none() {
        let capacity = Cost {
            executor_ppm: 100,
            codec_permille: 0,
            memory_bytes: 10,
        };
        let cost = |executor_ppm, codec_permille, memory_bytes| Cost {
            executor_ppm,
            codec_permille,
            memory_bytes,
        };
        let used = cost(50, 7, 5);
        assert!(used.is_within(cost(50, 0, 5), capacity));
        assert!(!used.is_within(cost(51, 0, 5), capacity));
        assert!(!used.is_within(cost(50, 1, 5), capacity));
        assert!(!used.is_within(cost(50, 0, 6), capacity));
    }
}
