//! The other end of a signalling socket, and what it asks for.

use std::net::IpAddr;

use shardcast_link::BroadcastId;

use crate::{connection_limits::Network, limits};

/// A signalling socket; never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SocketId(pub(crate) u64);

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// Its own, not that of a proxy in front of us. Unspecified where the proxy does not name it.
    pub(crate) address: IpAddr,
    /// The address may use REST. It may be a proxy that does not say for whom it speaks.
    pub(crate) is_trusted: bool,
}

/// What counts as one client where places and budgets are counted: its network, and whether it is
/// trusted. Strangers in the network of a trusted client do not spend what is its own, and clients
/// that no proxy names share the places of one.
pub(crate) type ClientKey = (Network, bool);

impl Client {
    /// As whose its places and budgets are counted.
    pub(super) fn key(self) -> ClientKey {
        (Network::of(self.address), self.is_trusted)
    }
}

/// A `publish` and what is known around it.
#[derive(Clone, Debug)]
pub(crate) struct PublishRequest {
    pub(crate) broadcast: BroadcastId,
    pub(crate) name: String,
    pub(crate) meta_data: String,
    /// The word of refusal, when tokens or settings do not allow it.
    pub(crate) admission: Result<(), &'static str>,
    /// The backend was asked ([`Hub::begin_question`](super::hub::Hub::begin_question)) and has admitted it.
    pub(crate) was_asked: bool,
    pub(crate) last_media: Option<LastMedia>,
    pub(crate) start_timeout_ms: u64,
}

/// Media of a broadcast as its shard last reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastMedia {
    pub(crate) age_ms: u64,
    /// Where it came from, when the shard has reported that.
    pub(crate) from: Option<IpAddr>,
}

impl LastMedia {
    /// Whether it is young enough to be flowing: at most [`limits::MEDIA_STALE_MS`] old.
    pub(super) fn is_fresh(&self) -> bool {
        self.age_ms <= limits::MEDIA_STALE_MS
    }
}

/// Whether two addresses are likely one client's. The unspecified address is that of many clients
/// whom no proxy names: none of them may take over what another one publishes.
pub(super) fn is_same_client(one: IpAddr, other: IpAddr) -> bool {
    !one.is_unspecified() && !other.is_unspecified() && Network::of(one) == Network::of(other)
}
