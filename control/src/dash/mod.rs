//! DASH (ISO/IEC 23009-1) over the segments of HLS: a manifest, the names of files, and each track in files of its own. No
//! I/O: [`crate::streams`] answers from it.
//!
//! ```text
//!  Period          what goes on without a discontinuity of the publisher's video, under one init segment
//!  AdaptationSet   video: the publisher's, and the rungs that are made; audio: the publisher's
//!  Segment         of the video, or of the audio, of a segment of HLS: one fragment, made when it is asked for
//! ```

mod manifest;
#[cfg(test)]
mod manifest_tests;
pub(crate) mod names;
#[cfg(test)]
mod xml;

pub(crate) use self::manifest::{Manifest, Presentation};
use crate::hls::{Kind, Segment};
use bytes::Bytes;
use shardcast_cmaf::{fragment, init_segment};

/// The init segment of one track.
pub(crate) fn init(segment: &Segment, kind: Kind) -> Option<Bytes> {
    let track = segment.init.track(kind)?.clone();
    Some(init_segment(&[track]))
}

/// One track of a segment: the head, and payload that is shared.
pub(crate) fn media(segment: &Segment, kind: Kind) -> Option<Vec<Bytes>> {
    let run = segment.run(kind)?;
    // Numbers of fragments rise (ISO/IEC 14496-12, 8.8.5).
    let sequence = u32::try_from(segment.number % u64::from(u32::MAX)).unwrap_or(0) + 1;
    fragment(sequence, vec![run]).ok()
}
