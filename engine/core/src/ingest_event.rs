//! What a session that publishes hands on, whatever its protocol.

use std::sync::Arc;

use bytes::Bytes;
use shardcast_link::{EndReason, VideoCodec};

use crate::{
    codec::{aac::AacConfig, h264::VideoUnit},
    webrtc::{audio_receiver::PlacedPacket, data_channel::DataEvent},
};

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
    /// An access unit of a publisher that tells when it is decoded too.
    AccessUnit {
        pts_us: i64,
        dts_us: i64,
        unit: Box<VideoUnit>,
    },
    /// A frame came that cannot be put together, and the frames that follow refer to it.
    Unreadable,
    Audio(PlacedPacket),
    /// What the AAC that follows is.
    AacConfig(AacConfig),
    /// An AAC frame, placed on the media clock.
    Aac {
        pts_us: i64,
        config: AacConfig,
        frame: Bytes,
    },
    /// Audio came whose place is decided later; it is there from this time on, in microseconds.
    AudioHeld(i64),
    /// The data channel of the session has opened or closed, or a message has come.
    Data(DataEvent),
    /// The session is over, by the peer or by time.
    Ended(EndReason),
}
