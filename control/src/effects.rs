//! Carries out what the hub decides, while it is locked, so that effects happen in the order in which
//! they were decided. None of them waits.

use std::time::Instant;

use shardcast_link::{BroadcastId, Command};

use crate::{
    backend::StreamEvent,
    handover::{self, Offer},
    lifecycle,
    publishing::{Effect, Eviction, Hub, SocketId},
    state::Control,
    webhooks,
};

/// Runs `decide` on the hub and carries out what it decided.
pub(crate) fn with_hub<R>(
    control: &Control,
    decide: impl FnOnce(&mut Hub, &mut Vec<Effect>) -> R,
) -> R {
    let mut hub = control.lock_hub();
    let mut effects = Vec::new();
    let result = decide(&mut hub, &mut effects);
    carry_out(control, &mut hub, effects);
    result
}

/// Ends `id` for its publisher and its destinations.
pub(crate) fn end(control: &Control, id: &BroadcastId, why: Eviction) {
    with_hub(control, |hub, out| hub.evict(id, why, out));
    lifecycle::finish(control, id);
}

/// A signalling socket has closed.
pub(crate) fn socket_closed(control: &Control, socket: SocketId) {
    with_hub(control, |hub, out| {
        hub.end_views_of(socket, out);
        hub.socket_closed(Instant::now(), socket);
    });
}

fn carry_out(control: &Control, hub: &mut Hub, effects: Vec<Effect>) {
    for effect in effects {
        match effect {
            Effect::Send { socket, message } => control.sockets.send(socket, &message),
            Effect::Close { socket, code } => control.sockets.close(socket, code),
            Effect::Offer {
                session,
                broadcast,
                sdp,
                start_timeout_ms,
            } => {
                let offer = Offer {
                    session,
                    broadcast,
                    sdp,
                    start_timeout_ms,
                };
                let mut further = Vec::new();
                handover::hand_over(control, hub, offer, &mut further);
                carry_out(control, hub, further);
            }
            Effect::Candidate {
                session,
                shard,
                candidate,
            } => {
                control
                    .shards
                    .send(shard, Command::Candidate { session, candidate });
            }
            Effect::Renegotiate {
                session,
                shard,
                sdp,
            } => {
                let mut further = Vec::new();
                handover::renegotiate(control, hub, &session, shard, sdp, &mut further);
                carry_out(control, hub, further);
            }
            Effect::Unpublish { session, shard } => {
                control.shards.send(shard, Command::Unpublish { session });
            }
            Effect::View { shard, command } => of_viewer(control, hub, shard, command),
            Effect::Started {
                broadcast,
                by_rtmp,
                name,
                meta_data,
            } => lifecycle::started(control, &broadcast, by_rtmp, name, meta_data),
            Effect::Finish { broadcast } => finish(control, hub, broadcast),
            Effect::PlayStarted { .. } | Effect::PlayStopped { .. } | Effect::TimedOut { .. } => {
                report(control, &effect);
            }
        }
    }
}

/// A broadcast is over, unless its shard cannot say so now.
fn finish(control: &Control, hub: &mut Hub, broadcast: BroadcastId) {
    let now = Instant::now();
    if lifecycle::is_unreachable(control, now, &broadcast) {
        hub.end_later(now, broadcast);
    } else {
        lifecycle::finish(control, &broadcast);
    }
}

/// Reports to the receiver of webhooks what is for it alone.
fn report(control: &Control, effect: &Effect) {
    let (broadcast, event) = match effect {
        Effect::PlayStarted {
            broadcast,
            subscriber_id: subscriber,
        } => (broadcast, StreamEvent::PlayStarted { subscriber }),
        Effect::PlayStopped {
            broadcast,
            subscriber_id: subscriber,
        } => (broadcast, StreamEvent::PlayStopped { subscriber }),
        Effect::TimedOut { broadcast } => (broadcast, StreamEvent::TimedOut),
        _ => return,
    };
    webhooks::owe_soon(control, broadcast, &event);
}

/// Sends a command about a viewer. One that cannot begin because its shard is away ends here.
fn of_viewer(control: &Control, hub: &mut Hub, shard: u16, command: Command) {
    let waits = match &command {
        Command::View { session, .. }
        | Command::ViewRtmp { session, .. }
        | Command::Renegotiate { session, .. } => Some(session.clone()),
        _ => None,
    };
    let begins = matches!(command, Command::View { .. } | Command::ViewRtmp { .. });
    if !control.shards.send(shard, command)
        && let Some(session) = waits
    {
        let mut further = Vec::new();
        if begins {
            hub.view_unreachable(&session, &mut further);
        } else {
            hub.view_not_restarted(&session, "highResourceUsage", None, &mut further);
        }
        carry_out(control, hub, further);
    }
}
