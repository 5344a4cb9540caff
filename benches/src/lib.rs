//! Load generator, sinks and test harness: what measures Shardcast, and what its tests stand on.
//!
//! [`publisher`] is the browser, [`sink`] is the platforms, good and bad, [`harness`] starts a
//! whole Shardcast between them. The binary `shardcast-bench` gives the same to people.
#![forbid(unsafe_code)]

pub mod beside;
pub mod bitrate;
pub mod clip;
pub mod clock;
mod error;
pub mod fan_out;
pub mod harness;
pub mod hostile;
pub mod limits;
pub mod live;
pub mod mark;
pub mod overload;
pub mod publisher;
pub mod reencode;
pub mod sink;
pub mod stats;
pub mod witness;

pub use error::BenchError;
