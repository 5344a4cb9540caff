//! What the shards' work consisted of: counters since the start of the engine, so rates and the mean
//! of two of them are for Prometheus to make.

use std::fmt::Write as _;

use shardcast_link::WorkCounters;

use super::Text;

type Row = (&'static str, &'static str, fn(&WorkCounters) -> u64);

const COUNTS: [Row; 12] = [
    (
        "shardcast_shard_sleeps_total",
        "times the shard's thread gave up its core to wait",
        |w| w.sleeps,
    ),
    (
        "shardcast_shard_turns_total",
        "turns of the shard's loop",
        |w| w.turns,
    ),
    (
        "shardcast_shard_timer_wakes_total",
        "turns of the shard's loop that a timer began",
        |w| w.timer_wakes,
    ),
    (
        "shardcast_shard_udp_drains_total",
        "times the UDP socket was read until it was empty",
        |w| w.udp_drains,
    ),
    (
        "shardcast_shard_udp_drains_empty_total",
        "drains of the UDP socket that found nothing",
        |w| w.udp_drains_empty,
    ),
    (
        "shardcast_shard_udp_datagrams_total",
        "datagrams that drains of the UDP socket found",
        |w| w.udp_datagrams,
    ),
    (
        "shardcast_shard_udp_sends_total",
        "system calls that sent datagrams",
        |w| w.udp_sends,
    ),
    (
        "shardcast_shard_tcp_writes_total",
        "system calls that wrote to destinations",
        |w| w.tcp_writes,
    ),
    (
        "shardcast_shard_tcp_written_bytes_total",
        "bytes written to destinations, as TLS sealed them",
        |w| w.tcp_written_bytes,
    ),
    (
        "shardcast_shard_tcp_reads_total",
        "system calls that read from destinations",
        |w| w.tcp_reads,
    ),
    (
        "shardcast_shard_tcp_reads_empty_total",
        "reads from destinations that found nothing",
        |w| w.tcp_reads_empty,
    ),
    (
        "shardcast_shard_payload_copied_bytes_total",
        "bytes of media copied on their way to destinations, TLS left aside",
        |w| w.payload_copied_bytes,
    ),
];

const CODECS: [Row; 2] = [
    (
        "shardcast_shard_opus_seconds_total",
        "time spent decoding Opus, by the wall clock",
        |w| w.opus_us,
    ),
    (
        "shardcast_shard_aac_seconds_total",
        "time spent encoding AAC, by the wall clock",
        |w| w.aac_us,
    ),
];

impl Text {
    pub(super) fn work(&mut self, shards: &[(u16, WorkCounters)]) {
        for (name, help, value) in COUNTS {
            self.family(name, "counter", help);
            for (shard, work) in shards {
                self.row(name, &format!("{{shard=\"{shard}\"}}"), value(work));
            }
        }
        for (name, help, micros) in CODECS {
            self.family(name, "counter", help);
            for (shard, work) in shards {
                let seconds = micros(work) as f64 / 1e6;
                // Writing to a String cannot fail.
                let _ = writeln!(self.0, "{name}{{shard=\"{shard}\"}} {seconds:.6}");
            }
        }
    }
}
