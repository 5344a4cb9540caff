//! The messages between control and a shard, and the vocabulary that both share.
//!
//! The link is declarative: control sends the *wanted* state of a broadcast and the shard
//! reconciles towards it, so every command may be repeated. The shard sends events as they happen
//! and one [`ShardStatus`] a second. Both sides open with a hello that carries a version; fields
//! that one side does not know are ignored, so two neighbouring versions can talk to each other.
//!
//! On the wire: frames of a 32-bit big-endian length and that many bytes of JSON ([`frame`]).
#![forbid(unsafe_code)]

mod address_rules;
pub mod cidr;
mod destination_status;
pub mod fragment;
pub mod frame;
pub mod id;
pub mod machine;
mod message;
mod offer;
mod problem;
mod report;
pub mod rtmp_url;
#[cfg(feature = "settings")]
pub mod settings;
mod silence;
pub mod socket_lot;
mod status;
pub mod tls_front;
mod video;
mod viewing;
mod wanted;
mod work;

pub use address_rules::{AddressRules, is_link_local};
pub use cidr::CidrList;
pub use destination_status::{
    DestinationState, DestinationStatus, VideoPath, VideoSelectionStatus,
};
pub use id::{BroadcastId, DestinationId, InvalidBroadcastId, SessionId};
pub use message::{
    Command, ControlHello, DataMessage, DataSender, EndReason, Event, HandedOver, ShardHello,
};
pub use offer::{OFFER_BYTES_MAX, OfferTooLarge, check_offer};
pub use problem::{Fault, Problem};
pub use report::{Assembly, Report};
pub use rtmp_url::{RtmpUrl, UrlError};
pub use silence::Silence;
pub use status::{
    AudioStatus, BroadcastStatus, CodecStatus, DataStatus, DecoderStatus, IngestProtocol,
    PublisherStatus, RecordingStatus, RenditionStatus, ShardStatus, SinkStatus, TcpPeersStatus,
    VideoStatus,
};
pub use video::{
    PassthroughOverrides, Preset, Profile, Reencode, RenditionSpec, VideoCodec, VideoSettings,
    video_bps_for,
};
pub use viewing::{ViewEndReason, ViewRefusal, ViewerReport};
pub use wanted::{
    DataChannels, DataFromViewers, PreviewFormat, RetryPolicy, WantedBroadcast, WantedDestination,
    WantedHls, WantedPreview, WantedRecording,
};
pub use work::WorkCounters;

/// Most bytes of one message over a data channel, and of one that REST sends. A chunk of Ant Media's SDK has 16,004.
pub const DATA_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// The version this crate speaks. Raised when a message changes its meaning; new optional fields
/// do not raise it.
pub const VERSION: u32 = 1;
