//! The machine that the driver drives: the shard, seen through its verbs only.

use std::time::Instant;

use shardcast_core::{
    Shard,
    io::{ConnId, Incoming, Input, Output},
};
use shardcast_link::{BroadcastId, WorkCounters};

/// A pure machine: takes inputs, gives outputs, does no I/O. [`Shard`] is the one that serves; tests
/// drive the same sockets with smaller ones.
pub trait Machine {
    /// Something happened. [`Self::poll`] is called until it is empty before the next one.
    fn handle(&mut self, now: Instant, input: Input<'_>);
    /// What to do next; `None` when there is nothing.
    fn poll(&mut self) -> Option<Output>;
    /// When [`Input::Timeout`] is due.
    fn next_timeout(&self) -> Option<Instant>;
    /// Whether the last [`Input::Timeout`] left something that is due for the next.
    fn is_interrupted(&self) -> bool {
        false
    }
    /// CPU time of the thread over the last second, in thousandths of a core.
    fn set_cpu_permille(&mut self, permille: u32);
    /// What the driver has done since it started.
    fn set_work(&mut self, work: WorkCounters) {
        let _ = work;
    }
    /// A control process has connected and is owed a hello and a status.
    fn control_connected(&mut self, now: Instant);
    /// Somebody connected to a port of the shard: what the connection is called, or `None` to close it.
    fn accept(&mut self, now: Instant, incoming: Incoming) -> Option<ConnId> {
        let _ = (now, incoming);
        None
    }
    /// All broadcasts it holds.
    fn broadcast_ids(&self) -> Vec<BroadcastId>;
}

impl Machine for Shard {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        Self::handle(self, now, input);
    }

    fn poll(&mut self) -> Option<Output> {
        Self::poll(self)
    }

    fn next_timeout(&self) -> Option<Instant> {
        Self::next_timeout(self)
    }

    fn is_interrupted(&self) -> bool {
        Self::is_interrupted(self)
    }

    fn set_cpu_permille(&mut self, permille: u32) {
        Self::set_cpu_permille(self, permille);
    }

    fn set_work(&mut self, work: WorkCounters) {
        Self::set_work(self, work);
    }

    fn control_connected(&mut self, now: Instant) {
        Self::control_connected(self, now);
    }

    fn accept(&mut self, now: Instant, incoming: Incoming) -> Option<ConnId> {
        Self::accept(self, now, incoming)
    }

    fn broadcast_ids(&self) -> Vec<BroadcastId> {
        Self::broadcast_ids(self)
    }
}
