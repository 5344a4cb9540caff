//! The shell with its real sockets, around small machines instead of the shard: what the shell
//! promises to any machine, and what the process promises to whoever runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

mod descriptors;
#[cfg(feature = "x264")]
mod film;
mod hang;
#[cfg(feature = "x264")]
mod lane_damage;
#[cfg(feature = "x264")]
mod lane_overload;
#[cfg(feature = "x264")]
mod lane_pictures;
mod lane_refused;
#[cfg(feature = "x264")]
mod lane_threads;
mod link;
mod names;
mod panics;
mod process;
mod rig;
mod stills;
mod stop;
mod tcp_end;
mod tcp_write;
mod timer;
mod tls;
mod udp;
