//! The engine: executors, sockets and codecs around the pure shards of `shardcast-core`.
//!
//! One glommio executor is pinned to each core and drives one shard: it feeds the shard what
//! arrives and does what the shard asks for. Nothing here decides anything about media. This is
//! the only crate of the workspace that makes system calls, so it is also the only one (with the
//! codec bindings) that may hold `unsafe`, each block with its reason.

pub mod cli;
mod codecs;
mod completions;
mod driver;
pub mod error;
mod fragments;
mod limits;
mod link_server;
mod os;
mod probe;
mod recordings;
mod run;
mod tcp;
mod tls_front;
mod udp;
mod work;

pub use codecs::CodecPlan;
pub use driver::{
    machine::Machine,
    thread::{ShardEnd, ShardPlan, Shards},
};
pub use fragments::FragmentQueue;
pub use os::memory::prepare as prepare_memory;
pub use run::run;
pub use shardcast_media::AacCoder;
pub use tcp::{
    listener::Listener,
    socket_lot::SocketLot,
    trust::{RootsError, TrustedRoots},
};
pub use udp::socket::{BoundUdp, UdpOptions};
