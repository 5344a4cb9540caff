//! The driver with its real sockets, around small machines instead of the shard: the promises of the
//! driver to any machine, and those of the process to its operator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

#[cfg(feature = "x264")]
mod codec_damage;
#[cfg(feature = "x264")]
mod codec_frames;
#[cfg(feature = "x264")]
mod codec_overload;
mod codec_refused;
#[cfg(feature = "x264")]
mod codec_workers;
mod file_descriptors;
mod hang;
mod link;
mod names;
mod panics;
mod process;
mod rig;
mod still_frames;
mod stop;
mod tcp_accept;
mod tcp_end;
mod tcp_write;
#[cfg(feature = "x264")]
mod test_clip;
mod timer;
mod tls;
mod udp;
