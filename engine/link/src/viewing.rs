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
//!                                  ◄── ViewEnded ── once, whoever ended it
//! ```

use serde::{Deserialize, Serialize};

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
