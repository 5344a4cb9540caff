//! What a session that publishes hands on, whatever its protocol.

use std::sync::Arc;

use shardcast_link::{EndReason, VideoCodec};

use crate::webrtc::audio_receiver::PlacedPacket;

/// What a session hands to its broadcast.
#[derive(Debug)]
pub(crate) enum IngestEvent {
    /// A frame of the publisher, placed on the media clock.
    Video {
        pts_us: i64,
        codec: VideoCodec,
        /// As a decoder takes it: H.264 in Annex B.
        access_unit: Arc<[u8]>,
        /// Nothing was lost since the unit before.
        contiguous: bool,
    },
    /// A frame came that cannot be put together, and the frames that follow refer to it.
    Unreadable,
    Audio(PlacedPacket),
    /// Audio came whose place is decided later; it is there from this time on, in microseconds.
    AudioHeld(i64),
    /// The session is over, by the peer or by time.
    Ended(EndReason),
}
