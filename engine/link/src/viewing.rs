//! Words about viewers, used in [`Command`](crate::Command)s and [`Event`](crate::Event)s.
//!
//! A viewer is a client that watches a broadcast over WebRTC. Control chooses its [`SessionId`](crate::SessionId),
//! from the same names as those of publishers. Either side may make the SDP offer:
//!
//! ```text
//!  the shard offers (the SDK's `play`)              the client offers (WHEP)
//!  control ── View { offer: None } ──►              control ── View { offer: Some } ──►
//!          ◄── ViewDescribed (offer) ──                     ◄── ViewDescribed (answer) ──
//!          ── ViewAnswer ──►
//!                                  ◄── Viewing ──   media flows
//!                                  ◄── ViewerReport ── every few seconds
//!                                  ◄── ViewEnded ── once, whoever ended it
//! ```

use serde::{Deserialize, Serialize};

/// What one viewer is sent and how it arrives, by the reports of its client (RFC 3550 §6.4.2). Sent every few
/// seconds while media flows. Counts are of the whole session and rates of the time since the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewerReport {
    /// `address:port` of the client.
    pub remote: String,
    /// How long media has flowed, in milliseconds.
    pub watched_ms: u64,
    /// Video packets sent, repeated ones included.
    pub video_packets: u64,
    /// Their bytes.
    pub video_bytes: u64,
    /// Audio packets sent.
    pub audio_packets: u64,
    /// Their bytes.
    pub audio_bytes: u64,
    /// Pictures sent.
    pub frames: u64,
    /// Video sent, in bit/s.
    pub video_bps: u64,
    /// Audio sent, in bit/s.
    pub audio_bps: u64,
    /// Video packets sent a second.
    pub video_packets_per_second: u32,
    /// Audio packets sent a second.
    pub audio_packets_per_second: u32,
    /// Pictures sent a second.
    pub frames_per_second: u32,
    /// Packets that the client has missed, before any was sent again.
    pub packets_lost: u64,
    /// Share of the video packets (of the audio packets, where there is no video) that the client has missed
    /// since its last report, in thousandths; `None` before the first.
    pub loss_permille: Option<u32>,
    /// Interarrival jitter of video (of audio, where there is no video), in milliseconds; `None` before the
    /// first report of the client.
    pub jitter_ms: Option<u32>,
    /// Round-trip time, in milliseconds; `None` while unknown.
    pub rtt_ms: Option<u32>,
    /// Requests to repeat packets.
    pub nacks: u64,
    /// Requests for a keyframe.
    pub plis: u64,
    /// What the way to the client is estimated to carry, in bit/s; `None` where nothing estimates it.
    pub estimate_bps: Option<u64>,
}

/// Why a client may not watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ViewRefusal {
    /// The broadcast is not on air here.
    NotOnAir,
    /// The shard or the broadcast has as many viewers as it may.
    Full,
    /// The broadcast's video cannot be sent to browsers as it is.
    Unplayable,
    /// The SDP cannot be used.
    BadDescription,
    /// Our fault; the log has the details.
    Internal,
}

/// Why a viewer's session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ViewEndReason {
    /// Control asked for it ([`Command::EndView`](crate::Command::EndView)).
    Requested,
    /// The broadcast is over.
    BroadcastEnded,
    /// Connectivity was lost.
    Lost,
    /// The client closed DTLS.
    PeerClosed,
    /// ICE and DTLS did not stand within the start time-out.
    StartTimeout,
    /// The client's answer cannot be used.
    BadDescription,
    /// The publisher has changed to video that browsers do not take.
    Unplayable,
    /// Our fault; the log has the details.
    Internal,
}
