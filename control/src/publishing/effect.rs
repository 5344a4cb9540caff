//! What the hub decides, for others to carry out.

use shardcast_link::{BroadcastId, Command, SessionId};

use super::{client::SocketId, message::ServerMessage};

/// What shall happen, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Send {
        socket: SocketId,
        message: ServerMessage,
    },
    /// Close with this WebSocket code.
    Close {
        socket: SocketId,
        code: u16,
    },
    /// Hand the offer to a shard; the outcome comes back by [`Hub::offer_handed_over`](super::hub::Hub::offer_handed_over).
    Offer {
        session: SessionId,
        broadcast: BroadcastId,
        sdp: String,
        start_timeout_ms: u64,
    },
    /// Hand a further offer to the shard that has the session.
    Renegotiate {
        session: SessionId,
        shard: u16,
        sdp: String,
    },
    Candidate {
        session: SessionId,
        shard: u16,
        candidate: String,
    },
    Unpublish {
        session: SessionId,
        shard: u16,
    },
    /// Send a shard a command about a viewer. If the viewer's first one cannot be sent, that comes back by
    /// [`Hub::view_unreachable`](super::hub::Hub::view_unreachable).
    View {
        shard: u16,
        command: Command,
    },
    /// Media flows.
    Started {
        broadcast: BroadcastId,
        by_rtmp: bool,
        name: String,
        meta_data: String,
    },
    /// The broadcast is over, and its destinations with it.
    Finish {
        broadcast: BroadcastId,
    },
    /// Media of a viewer flows.
    PlayStarted {
        broadcast: BroadcastId,
        subscriber_id: String,
    },
    /// A viewer whose media has flowed is gone.
    PlayStopped {
        broadcast: BroadcastId,
        subscriber_id: String,
    },
    /// A publisher was sent a time-out: its media has not come.
    TimedOut {
        broadcast: BroadcastId,
    },
}

pub(super) fn notify(
    socket: SocketId,
    broadcast: &BroadcastId,
    definition: &'static str,
) -> Effect {
    let stream = broadcast.stream().to_owned();
    Effect::Send {
        socket,
        message: ServerMessage::Notification { stream, definition },
    }
}
