//! Limits of waits, memory and queues, each with its reason.

use std::time::Duration;

/// Longest wait for the answer to a signalling message. The SDK gives up after 3 s; a machine that
/// runs the rest of a test at the same time needs more.
pub const SIGNALLING_TIMEOUT: Duration = Duration::from_secs(10);

/// Delays kept for each connection of a sink: one hour at 30 frames a second. Later frames are
/// counted, but their delays are not kept.
pub const DELAY_SAMPLES_MAX: usize = 108_000;

/// Coded frames kept for each connection of a sink, with time and size: one hour at 30 frames a
/// second.
pub const FRAMES_KEPT_MAX: usize = 108_000;

/// Connections of which a sink keeps reports. A destination that is retried twice a second for one
/// hour makes 7,200.
pub const SINK_CONNECTIONS_MAX: usize = 10_000;

/// Commands in the queue of a sink's port. Several restarts at the same time have the effect of one.
pub const SINK_COMMANDS_MAX: usize = 16;

/// Largest body of an HTTP response in bytes. A list of all broadcasts is far smaller.
pub const HTTP_BODY_BYTES_MAX: usize = 16 << 20;

/// Largest side of a test clip in pixels: two seconds of raw frames are held in memory while it is
/// made (190 MB at 1080p30).
pub const CLIP_SIDE_MAX: u32 = 1_920;

/// Highest frame rate of a test clip; the memory above grows with it.
pub const CLIP_FPS_MAX: u32 = 60;
