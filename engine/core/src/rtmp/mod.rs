//! The RTMP wire: bytes in, bytes out. No sockets, no clocks, nothing is logged.
//!
//! ```text
//!  RtmpUrl ──► publish::PublishClient ─┐                    ┌─ server::ServerSession
//!                                      ├─ connection ───────┤
//!  flv bodies ──► body (chunks out) ───┘  handshake, acks,  └─ (bench sink, ingest)
//!                                         pings, chunk (in)
//! ```
//!
//! Follows "Adobe's Real Time Messaging Protocol 1.0" (December 2012), called *the RTMP
//! specification* in this folder. Reading is ours and not the `rml_rtmp` crate's because that one
//! keeps one buffer for all chunk streams (a legal interleaving of audio into a video message makes
//! it panic) and allocates whatever length the peer announces. Writing is ours so that a message
//! body can be shared by every destination. The handshake is `rml_rtmp`'s.

pub mod amf;
pub mod body;
pub mod chunk;
pub mod command;
mod connection;
mod cursor;
pub mod flv;
pub mod limits;
pub mod message;
pub mod platform;
pub mod publish;
pub mod server;

pub use chunk::{ChunkError, ChunkReader};
pub use connection::ConnectionError;
pub use message::{MediaKind, Message};
pub use platform::Platform;
pub use publish::{PublishClient, PublishConfig, PublishError, PublishOutput};
pub use server::{ServerConfig, ServerOutput, ServerSession, UnpublishedBy};
pub use shardcast_link::rtmp_url as url;
pub use url::{RtmpUrl, UrlError};
