//! The shard: everything that happens to the broadcasts of one CPU core, without I/O.
//!
//! [`Shard`] is a pure state machine. Bytes, time and answers come in by [`Shard::handle`], what
//! shall be done comes out of [`Shard::poll`] ([`io`] lists both). There are no sockets, clocks,
//! threads or codecs in here, so a whole shard runs in a test faster than life.
//!
//! The shard is a switchboard: an input goes to the broadcast that it is for, and the machines there
//! put their effects into one context.
//!
//! ```text
//!  datagram ─► webrtc::Publisher ─► Broadcast ─► ring ─► Destination ─► gathering TCP writes
//!               (str0m, timeline)   (one clock)  (shared  (rtmp::client,
//!                                                 units)   own cursor)
//! ```
#![forbid(unsafe_code)]

mod broadcast;
mod bucket;
pub mod codec;
mod config;
mod context;
mod destination;
#[cfg(feature = "simulation")]
pub mod hot_paths;
mod ids;
mod ingest_event;
pub mod io;
mod limits;
mod preview_job;
mod record_job;
pub mod rtmp;
mod shard;
mod timeline;
mod timers;
mod transcode_budget;
mod webrtc;

pub use codec::{h264, is_keyframe, opus};
pub use config::ShardConfig;
pub use destination::AddressRules;
pub use shard::Shard;
#[cfg(feature = "simulation")]
pub use shard::simulation_hook;
