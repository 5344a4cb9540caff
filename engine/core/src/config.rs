//! What the engine tells a shard when it makes it.

use std::{net::SocketAddr, time::Instant};

use shardcast_link::AddressRules;

/// Configuration of a shard.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Number of this shard, from 0.
    pub shard: u16,
    /// How many shards the engine has.
    pub shards: u16,
    /// Unique per start of the engine process.
    pub engine: String,
    /// Addresses that go into SDP answers: those of the UDP socket, or what a 1:1 NAT makes of them.
    pub advertise: Vec<SocketAddr>,
    /// TCP connections come to these addresses too, so they are offered (RFC 6544).
    pub tcp_candidates: bool,
    /// Of all randomness but that of DTLS and ICE.
    pub seed: u64,
    /// Start of the shard's media clock.
    pub epoch: Instant,
    /// What the wall clock shows at `epoch`, in milliseconds since 1970.
    pub epoch_unix_ms: u64,
    /// Relative weight in placement, 100 for a whole core.
    pub capacity: u32,
    /// Where destinations may be.
    pub address_rules: AddressRules,
    /// What may be spent on video codecs, in thousandths of a core; 0 re-encodes nothing.
    pub codec_capacity_permille: u32,
    /// Codecs run on the core of the shard, which comes first there.
    pub codecs_beside: bool,
}
