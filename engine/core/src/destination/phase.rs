//! Where a destination is on its way to its server, and what it holds there.

use std::{net::SocketAddr, time::Instant};

use super::{feed::Feed, race::Race};
use crate::{
    ids::{ConnId, LookupId},
    rtmp::PublishClient,
};

/// The boxes of the drawing in [`super`].
#[derive(Debug)]
pub(super) enum Phase {
    Idle,
    Resolving {
        lookup: LookupId,
        until: Instant,
    },
    Connecting {
        race: Race,
    },
    /// From TCP connected to the answer to `publish`.
    Opening {
        conn: ConnId,
        until: Instant,
        address: SocketAddr,
        client: Box<PublishClient>,
    },
    Open {
        conn: ConnId,
        client: Box<PublishClient>,
        feed: Box<Feed>,
        since: Instant,
    },
    BackingOff {
        until: Instant,
    },
    Ended,
    /// As many retries failed as the policy allows.
    GivenUp,
    /// The URL cannot be used as it stands.
    Unusable,
}

impl Phase {
    /// Whether `conn` is the connection that is open, or one of those that are being made.
    pub(super) fn owns(&self, conn: ConnId) -> bool {
        match self {
            Self::Connecting { race } => race.is_making(conn),
            Self::Opening { conn: open, .. } | Self::Open { conn: open, .. } => *open == conn,
            _ => false,
        }
    }
}
