//! What the harness refuses to exceed, and why.

use std::time::Duration;

/// Longest wait for the answer to a signalling message. The SDK gives up after 3 s; a machine that
/// is busy with everything else in a test gets more.
pub const SIGNALLING_TIMEOUT: Duration = Duration::from_secs(10);

/// Delays kept per connection of a sink: an hour of 30 frames a second. Later ones are counted as
/// frames, but no longer measured.
pub const DELAY_SAMPLES_MAX: usize = 108_000;

/// Coded pictures kept per connection of a sink, with time and size: an hour of 30 frames a second.
pub const FRAMES_KEPT_MAX: usize = 108_000;

/// Connections a sink keeps reports of. A destination that is retried twice a second for an hour
/// makes 7,200.
pub const SINK_CONNECTIONS_MAX: usize = 10_000;

/// Orders that wait for the port of a sink. More than one restart at a time is one restart.
pub const SINK_ORDERS_MAX: usize = 16;

/// Largest body of an HTTP answer that is read, in bytes: a list of all broadcasts is far below.
pub const HTTP_BODY_BYTES_MAX: usize = 16 << 20;

/// Largest picture of a clip, in pixels a side: the raw pictures of two seconds are held in memory
/// while it is made (190 MB at 1080p30).
pub const CLIP_SIDE_MAX: u32 = 1_920;

/// Most frames a second of a clip.
pub const CLIP_FPS_MAX: u32 = 60;
