//! RTMP: bytes in, bytes out. No sockets, no clocks, nothing is logged.
//!
//! ```text
//!  RtmpUrl ──► client::PublishClient ─┐
//!                                     ├─ wire::connection ── server::ServerSession
//!  wire::flv ──► wire::body (out) ────┘  handshake, acks,
//!                                        pings, wire::chunk (in)
//! ```
//!
//! Both processes speak it: control reads what an encoder sends up to its `publish`, the shard goes on from
//! there, and is the client of destinations.
//!
//! Follows "Adobe's Real Time Messaging Protocol 1.0" (December 2012), called *the RTMP
//! specification* in this crate. Reading is ours and not the `rml_rtmp` crate's because that one
//! keeps one buffer for all chunk streams (a legal interleaving of audio into a video message makes
//! it panic) and allocates whatever length the peer announces. Writing is ours so that a message
//! body can be shared by every destination. The handshake is `rml_rtmp`'s.
#![forbid(unsafe_code)]

pub mod client;
pub mod platform;
pub mod server;
mod wire;
mod writer;

pub use wire::{amf, body, chunk, command, enhanced, flv, limits, message, tag};

pub use chunk::{ChunkError, ChunkReader};
pub use client::{PublishClient, PublishConfig, PublishError, PublishOutput};
pub use message::{MediaKind, Message};
pub use platform::Platform;
pub use server::{ServerConfig, ServerOutput, ServerSession, UnpublishedBy};
pub use shardcast_link::rtmp_url as url;
pub use url::{RtmpUrl, UrlError};
pub use wire::connection::ConnectionError;
pub use writer::MediaWriter;
