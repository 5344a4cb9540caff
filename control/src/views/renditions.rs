//! The renditions and the decoder of a broadcast, as clients read them.

use serde::Serialize;
use shardcast_link::{BroadcastStatus, DecoderStatus, Preset, RenditionStatus, VideoCodec};

use crate::video_settings::RenditionOverrides;

/// One rendition that is being made, under the names of [`RenditionStatus`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rendition {
    /// As clients ask for one.
    spec: RenditionOverrides,
    width: u32,
    height: u32,
    destinations: u32,
    viewers: u32,
    frames: u64,
    repeated: u64,
    dropped: u64,
    keyframes: u64,
    scale_us: u64,
    encode_us: u64,
    bitrate_bps: u64,
    preset: Preset,
    frames_per_second: u32,
    problem: Option<String>,
}

impl From<&RenditionStatus> for Rendition {
    fn from(status: &RenditionStatus) -> Self {
        Self {
            spec: RenditionOverrides::from(&status.spec),
            width: status.width,
            height: status.height,
            destinations: status.destinations,
            viewers: status.viewers,
            frames: status.frames,
            repeated: status.repeated,
            dropped: status.dropped,
            keyframes: status.keyframes,
            scale_us: status.scale_us,
            encode_us: status.encode_us,
            bitrate_bps: status.bitrate_bps,
            preset: status.preset,
            frames_per_second: status.frames_per_second,
            problem: status.problem.clone(),
        }
    }
}

/// The renditions of a broadcast.
pub(super) fn of(live: &BroadcastStatus) -> Vec<Rendition> {
    live.renditions.iter().map(Rendition::from).collect()
}

/// The one decoder of a broadcast, under the names of [`DecoderStatus`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decoder {
    codec: VideoCodec,
    width: u32,
    height: u32,
    frames: u64,
    errors: u64,
    late: u64,
    cpu_us: u64,
}

impl From<DecoderStatus> for Decoder {
    fn from(status: DecoderStatus) -> Self {
        Self {
            codec: status.codec,
            width: status.width,
            height: status.height,
            frames: status.frames,
            errors: status.errors,
            late: status.late,
            cpu_us: status.cpu_us,
        }
    }
}
