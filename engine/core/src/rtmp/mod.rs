//! The RTMP wire: bytes in, bytes out. No sockets, no clocks, nothing is logged.
//!
//! ```text
//!  RtmpUrl ──► client::PublishClient ─┐                    ┌─ server::ServerSession
//!                                     ├─ wire::connection ─┤
//!  wire::flv ──► wire::body (out) ────┘  handshake, acks,  └─ ingest: encoders, the test sink
//!                                        pings, wire::chunk (in)
//! ```
//!
//! Follows "Adobe's Real Time Messaging Protocol 1.0" (December 2012), called *the RTMP
//! specification* in this folder. Reading is ours and not the `rml_rtmp` crate's because that one
//! keeps one buffer for all chunk streams (a legal interleaving of audio into a video message makes
//! it panic) and allocates whatever length the peer announces. Writing is ours so that a message
//! body can be shared by every destination. The handshake is `rml_rtmp`'s.

pub mod client;
pub(crate) mod ingest;
pub mod platform;
pub mod server;
mod wire;

pub use wire::{amf, body, chunk, command, enhanced, flv, limits, message};

pub use chunk::{ChunkError, ChunkReader};
pub use client::{PublishClient, PublishConfig, PublishError, PublishOutput};
pub use message::{MediaKind, Message};
pub use platform::Platform;
pub use server::{ServerConfig, ServerOutput, ServerSession, UnpublishedBy};
pub use shardcast_link::rtmp_url as url;
pub use url::{RtmpUrl, UrlError};
pub use wire::connection::ConnectionError;
