//! Hands the offers of publishers to their shards.

use std::time::Instant;

use shardcast_link::{BroadcastId, Command, Fault, HandedOver, Problem, SessionId, VideoCodec};
use shardcast_log::Limiter;

use crate::{
    publishing::{Effect, Hub, SocketId},
    settings::OpusChannels,
    state::Control,
    wants,
};

// Any client can cause it as often as it likes where tokens are off.
static NO_SHARD: Limiter = Limiter::refusals();

/// A first offer on its way to a shard.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) session: SessionId,
    pub(crate) broadcast: BroadcastId,
    pub(crate) sdp: String,
    /// Without media for so long after the offer, the session is ended.
    pub(crate) start_timeout_ms: u64,
}

/// Places the broadcast and gives its shard the wanted state, then the offer. Without a
/// reachable shard that takes it, or before its client's turn, the offer stays with the hub.
///
/// What the hub decides because of it is appended to `out`.
pub(crate) fn hand_over(control: &Control, hub: &mut Hub, offer: Offer, out: &mut Vec<Effect>) {
    let Offer {
        session,
        broadcast,
        sdp,
        start_timeout_ms,
    } = offer;
    if hub.replaces_foreign_media(&session, control.last_media(&broadcast)) {
        return hub.refuse_in_use(&session, out);
    }
    let Some(shard) = control.shards.place(&broadcast) else {
        if let Some(left_out) = NO_SHARD.admit(Instant::now()) {
            tracing::warn!(%broadcast, left_out, "no shard takes it; the offer waits for one");
        }
        return;
    };
    if !hub.take_turn(Instant::now(), &session, shard) {
        return;
    }
    let wanted = wants::want(control, shard, &broadcast);
    let codecs = codecs(control, &broadcast);
    let publish = Command::Publish {
        session: session.clone(),
        sdp,
        start_timeout_ms,
        codecs,
        stereo: asks_for_stereo(control, &broadcast),
        broadcast,
    };
    if wanted && control.shards.send(shard, publish) {
        hub.offer_handed_over(&session, shard, out);
    }
}

/// Places the broadcast of an encoder that the hub has let in over `socket`, and gives its shard the wanted state
/// and then the encoder's connection.
///
/// # Errors
/// The word of refusal, when no shard is reachable or media of another client has come meanwhile. The session
/// is over then.
pub(crate) fn hand_over_encoder(
    control: &Control,
    hub: &mut Hub,
    socket: SocketId,
    broadcast: &BroadcastId,
    connection: HandedOver,
    out: &mut Vec<Effect>,
) -> Result<(), &'static str> {
    let Some((session, start_timeout_ms)) = hub.encoder_to_hand_over(socket, broadcast) else {
        return Err("publishTimeoutError");
    };
    if hub.replaces_foreign_media(&session, control.last_media(broadcast)) {
        hub.drop_encoder(&session);
        return Err("streamIdInUse");
    }
    if let Some(shard) = control.shards.place(broadcast) {
        let wanted = wants::want(control, shard, broadcast);
        let publish = Command::PublishRtmp {
            session: session.clone(),
            broadcast: broadcast.clone(),
            connection,
            start_timeout_ms,
        };
        if wanted && control.shards.send(shard, publish) {
            hub.offer_handed_over(&session, shard, out);
            return Ok(());
        }
    }
    hub.drop_encoder(&session);
    Err("highResourceUsage")
}

/// Gives a further offer of a session to the shard that has it.
pub(crate) fn renegotiate(
    control: &Control,
    hub: &mut Hub,
    session: &SessionId,
    shard: u16,
    sdp: String,
    out: &mut Vec<Effect>,
) {
    let command = Command::Renegotiate {
        session: session.clone(),
        sdp,
    };
    if !control.shards.send(shard, command) {
        let problem = Problem {
            fault: Fault::Internal,
            message: "the media server is away for a moment: offer again".to_owned(),
        };
        hub.not_renegotiated(session, problem, out);
    }
}

/// The video codecs that publishers of `id` may use, the preferred first. All but H.264 are re-encoded.
fn codecs(control: &Control, id: &BroadcastId) -> Vec<VideoCodec> {
    if !control.settings.engine.reencode_enabled() {
        return vec![VideoCodec::H264];
    }
    let application = control.application(id.application());
    application.map_or_else(Vec::new, |application| {
        application.encoding.offered.in_order()
    })
}

/// Whether publishers of `id` are asked for stereo audio.
fn asks_for_stereo(control: &Control, id: &BroadcastId) -> bool {
    let application = control.application(id.application());
    application
        .is_some_and(|application| application.encoding.opus_channels == OpusChannels::Stereo)
}
