//! How often a shard has done what costs CPU time.

use serde::{Deserialize, Serialize};

/// Work of one shard, counted since it started. Rates are differences of two reports.
///
/// A field that the sender does not know is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkCounters {
    /// Times that the shard's thread gave up its core to wait, as the kernel counts them (`ru_nvcsw`
    /// of getrusage(2)). Each is followed by a wake.
    pub sleeps: u64,
    /// Turns of the driver's loop, each of which looks at all that could have happened.
    pub turns: u64,
    /// Turns that a due timer of the shard began, and neither the socket nor a completion.
    pub timer_wakes: u64,
    /// Times that the UDP socket was read until it was empty.
    pub udp_drains: u64,
    /// Drains that found nothing.
    pub udp_drains_empty: u64,
    /// Datagrams that drains found; those of one GRO message are counted apart.
    pub udp_datagrams: u64,
    /// System calls that sent datagrams; one may send several to the same peer.
    pub udp_sends: u64,
    /// System calls that wrote to TCP connections.
    pub tcp_writes: u64,
    /// Bytes that they wrote, sealed where TLS is spoken.
    pub tcp_written_bytes: u64,
    /// System calls that read from TCP connections.
    pub tcp_reads: u64,
    /// Reads that found nothing (`EAGAIN`).
    pub tcp_reads_empty: u64,
    /// Bytes of media payloads that were copied in user space between a ring and a connection, TLS left
    /// aside. 0 with every server that takes chunks longer than a tag's header.
    pub payload_copied_bytes: u64,
    /// Time spent decoding Opus by the wall clock, in microseconds.
    pub opus_us: u64,
    /// Time spent encoding AAC by the wall clock, in microseconds.
    pub aac_us: u64,
}
