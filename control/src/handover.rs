//! Hands the offers of publishers to their shards.

use std::{sync::Arc, time::Instant};

use shardcast_link::{BroadcastId, Command, Fault, Problem, SessionId, VideoCodec};
use shardcast_log::Limiter;
use tokio::time::MissedTickBehavior;

use crate::{control::Control, limits, settings::OpusChannels, signalling::Hub};

// Anybody outside can cause it as often as he likes where tokens are off.
static NO_SHARD: Limiter = Limiter::refusals();

impl Control {
    /// Places the broadcast and gives its shard the wanted state, then the offer. Without a
    /// reachable shard, or before its client's turn, the offer stays with the hub.
    pub(crate) fn hand_over(
        &self,
        hub: &mut Hub,
        session: &SessionId,
        broadcast: BroadcastId,
        sdp: String,
        start_timeout_ms: u64,
    ) {
        if hub.replaces_foreign_media(session, self.last_media(&broadcast)) {
            let mut effects = Vec::new();
            hub.refuse_in_use(session, &mut effects);
            return self.carry_out(hub, effects);
        }
        let Some(shard) = self.shards.place(&broadcast) else {
            if let Some(left_out) = NO_SHARD.admit(Instant::now()) {
                tracing::warn!(%broadcast, left_out, "no shard is reachable; the offer waits for one");
            }
            return;
        };
        if !hub.take_turn(Instant::now(), session, shard) {
            return;
        }
        let wanted = self.want(shard, &broadcast);
        let codecs = self.codecs(&broadcast);
        let publish = Command::Publish {
            session: session.clone(),
            sdp,
            start_timeout_ms,
            codecs,
            stereo: self.asks_for_stereo(&broadcast),
            broadcast,
        };
        if wanted && self.shards.send(shard, publish) {
            let mut effects = Vec::new();
            hub.offer_handed_over(session, shard, &mut effects);
            self.carry_out(hub, effects);
        }
    }

    /// Gives a further offer of a session to the shard that has it.
    pub(crate) fn renegotiate(&self, hub: &mut Hub, session: &SessionId, shard: u16, sdp: String) {
        let command = Command::Renegotiate {
            session: session.clone(),
            sdp,
        };
        if !self.shards.send(shard, command) {
            let problem = Problem {
                fault: Fault::Internal,
                message: "the media server is away for a moment: offer again".to_owned(),
            };
            let mut effects = Vec::new();
            hub.not_renegotiated(session, problem, &mut effects);
            self.carry_out(hub, effects);
        }
    }

    /// What the video of `id` may be coded with, the best first. All but H.264 must be re-encoded.
    fn codecs(&self, id: &BroadcastId) -> Vec<VideoCodec> {
        if !self.settings.engine.reencode_enabled {
            return vec![VideoCodec::H264];
        }
        let application = self.application(id.application());
        application.map_or_else(Vec::new, |application| {
            application.encoding.offered.in_order()
        })
    }

    /// Whether publishers of `id` are asked for sound in stereo.
    fn asks_for_stereo(&self, id: &BroadcastId) -> bool {
        let application = self.application(id.application());
        application
            .is_some_and(|application| application.encoding.opus_channels == OpusChannels::Stereo)
    }

    /// Hands over offers whose turn it is, until the process ends.
    pub(crate) async fn run_turns(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(limits::OFFER_TURN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.with_hub(|hub, out| hub.tick_turns(Instant::now(), out));
        }
    }
}
