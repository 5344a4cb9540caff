//! What control and a shard say to each other.
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
pub mod frame;
pub mod id;
mod message;
mod offer;
mod picture;
mod report;
pub mod rtmp_url;
mod silence;
mod status;
mod wanted;

pub use address_rules::{AddressRules, is_link_local};
pub use cidr::CidrList;
pub use id::{BroadcastId, DestinationId, InvalidBroadcastId, SessionId};
pub use message::{Command, ControlHello, EndReason, Event, Fault, Problem, ShardHello};
pub use offer::{OFFER_BYTES_MAX, OfferTooLarge, check_offer};
pub use picture::{
    ContractOverrides, Preset, Profile, Reencode, RenditionSpec, VideoCodec, WantedPicture,
    video_bps_for,
};
pub use report::{Assembly, Report};
pub use rtmp_url::{RtmpUrl, UrlError};
pub use silence::Silence;
pub use status::{
    AudioStatus, BroadcastStatus, CodecStatus, DecoderStatus, DestinationState, DestinationStatus,
    PicturePath, PictureStatus, PublisherStatus, RenditionStatus, ShardStatus, SinkStatus,
    VideoStatus,
};
pub use wanted::{RetryPolicy, WantedBroadcast, WantedDestination};

/// The version this crate speaks. Raised when a message changes its meaning; new optional fields
/// do not raise it.
pub const VERSION: u32 = 1;
