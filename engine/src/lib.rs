//! The engine: executors, sockets and codecs around the pure shards of `shardcast-core`.
//!
//! One glommio executor is pinned to each core and drives one shard: it feeds the shard what
//! arrives and does what the shard asks for. Nothing here decides anything about media. This is
//! the only crate of the workspace that makes system calls, so it is also the only one (with the
//! codec bindings) that may hold `unsafe`, each block with its reason.

mod audio;
pub mod cli;
mod clock;
pub mod error;
pub mod executor;
mod host;
mod lanes;
mod limits;
mod link;
mod machine;
mod pacemaker;
mod resolve;
mod rtmp_port;
mod run;
mod sched;
mod shell;
mod signals;
mod still;
mod tcp;
mod udp;

pub use lanes::CodecPlan;
pub use machine::Machine;
pub use rtmp_port::RtmpPort;
pub use run::run;
pub use tcp::trust::{RootsError, TrustedRoots};
pub use udp::socket::{BoundUdp, UdpOptions};
