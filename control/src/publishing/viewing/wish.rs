//! A wish to watch.

use shardcast_link::{BroadcastId, Command, HandedOver, SessionId};

use crate::publishing::message::ServerMessage;

/// How a client wants to watch.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// Over WebRTC, with the client's SDP offer (WHEP); `None`: the shard offers (the SDK's `play`).
    Browser(Option<String>),
    /// By RTMP, over a connection that was left with the engine.
    Rtmp(HandedOver),
}

/// A wish to watch, and what is known around it.
#[derive(Clone, Debug)]
pub(crate) struct ViewRequest {
    pub(crate) broadcast: BroadcastId,
    pub(crate) by: Wish,
    /// The shard that has the broadcast, or what the client is told instead.
    pub(crate) admission: Result<u16, ServerMessage>,
    /// For webhooks.
    pub(crate) subscriber_id: String,
    pub(crate) start_timeout_ms: u64,
}

impl Wish {
    /// What a shard is told of it.
    pub(super) fn command(
        self,
        session: SessionId,
        broadcast: BroadcastId,
        start_timeout_ms: u64,
    ) -> Command {
        match self {
            Self::Browser(offer) => Command::View {
                session,
                broadcast,
                offer,
                start_timeout_ms,
            },
            Self::Rtmp(connection) => Command::ViewRtmp {
                session,
                broadcast,
                connection,
                start_timeout_ms,
            },
        }
    }
}
