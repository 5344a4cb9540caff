//! The shard: everything that happens to the broadcasts of one core, without I/O.
//!
//! [`Shard`] is a pure state machine. Bytes, time and answers come in by [`Shard::handle`], what
//! shall be done comes out of [`Shard::poll`] ([`io`] lists both). There are no sockets, clocks,
//! threads or codecs in here, so a whole shard runs in a test faster than life.
//!
//! The shard is a switchboard between small machines that speak the same verbs:
//!
//! ```text
//!  datagram ─► webrtc::Publisher ─► Broadcast ─► ring ─► Destination ─► gathering TCP writes
//!               (str0m, timeline)    (one clock)  (shared units)  (rtmp::publish, own queue)
//! ```
#![forbid(unsafe_code)]

mod broadcast;
mod destination;
mod frame_size;
pub mod h264;
pub mod io;
mod keyframe;
mod limits;
pub mod opus;
mod rendition;
mod ring;
pub mod rtmp;
mod shard;
mod sink;
mod timeline;
mod timers;
mod webrtc;

pub use destination::AddressRules;
pub use keyframe::is_keyframe;
pub use shard::{Shard, ShardConfig};
