//! Load generator, RTMP sinks and test harness: the measurements of Shardcast and the base of its
//! whole-product tests.
//!
//! [`publisher`] acts as the browser, [`sink`] as the platforms, with and without faults, and
//! [`harness`] runs Shardcast between them. The binary `shardcast-bench` offers the same on the
//! command line.
#![forbid(unsafe_code)]

mod arrival;
pub mod bitrate;
pub mod capacity;
pub mod clock;
pub mod compare;
pub mod compare_builds;
mod error;
pub mod fan_out;
pub mod frame_stamp;
pub mod harness;
pub mod hls;
pub mod hls_crowd;
pub mod hostile;
pub mod interference;
pub mod latency;
pub mod limits;
pub mod live;
pub mod load;
pub mod overload;
pub mod passthrough_probe;
pub mod publisher;
pub mod reencode;
pub mod report;
mod sdp_session;
pub mod sink;
pub mod soak;
pub mod stats;
pub mod test_clip;
pub mod viewer;
pub mod watch;
pub mod work;

pub use error::BenchError;
