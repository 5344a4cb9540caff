//! Counts what costs a shard CPU time, where it happens.

use std::cell::Cell;

use shardcast_link::WorkCounters;

use crate::os::clock::thread_sleeps;

/// A number that only grows. All of it stays on the shard's thread, so that counting is one addition.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn add(&self, more: usize) {
        self.0.set(self.0.get() + more as u64);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What a shard has done since it started; [`WorkCounters`] says what each field counts.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) turns: Counter,
    pub(crate) timer_wakes: Counter,
    pub(crate) udp_drains: Counter,
    pub(crate) udp_drains_empty: Counter,
    pub(crate) udp_datagrams: Counter,
    pub(crate) udp_sends: Counter,
    pub(crate) tcp_writes: Counter,
    pub(crate) tcp_written_bytes: Counter,
    pub(crate) tcp_reads: Counter,
    pub(crate) tcp_reads_empty: Counter,
}

impl Work {
    /// To be called on the shard's thread.
    pub(crate) fn read(&self) -> WorkCounters {
        WorkCounters {
            sleeps: thread_sleeps(),
            turns: self.turns.get(),
            timer_wakes: self.timer_wakes.get(),
            udp_drains: self.udp_drains.get(),
            udp_drains_empty: self.udp_drains_empty.get(),
            udp_datagrams: self.udp_datagrams.get(),
            udp_sends: self.udp_sends.get(),
            tcp_writes: self.tcp_writes.get(),
            tcp_written_bytes: self.tcp_written_bytes.get(),
            tcp_reads: self.tcp_reads.get(),
            tcp_reads_empty: self.tcp_reads_empty.get(),
            // Counted by the shard.
            payload_copied_bytes: 0,
            // Counted beside the codecs.
            opus_us: 0,
            aac_us: 0,
        }
    }
}
