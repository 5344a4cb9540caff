//! Time-outs of sessions, and broadcasts whose publisher has not come back.

use std::time::{Duration, Instant};

use shardcast_link::{BroadcastId, EndReason, SessionId};

use super::{
    effect::Effect,
    hub::{Hub, Returning},
    message::ServerMessage,
    session::{Phase, unpublish},
};
use crate::limits;

impl Hub {
    /// Runs what has become due; to be called a few times a second.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        debug_assert!(
            self.claims
                .values()
                .all(|id| self.sessions.contains_key(id)),
            "a claim belongs to a session"
        );
        self.tick_views(now, out);
        let ids: Vec<SessionId> = self.sessions.keys().cloned().collect();
        for id in ids {
            self.tick_session(now, &id, out);
        }
        let due: Vec<BroadcastId> = self
            .returning
            .iter()
            .filter(|(_, returning)| now >= returning.deadline)
            .map(|(broadcast, _)| broadcast.clone())
            .collect();
        for broadcast in due {
            self.returning.remove(&broadcast);
            if !self.claims.contains_key(&broadcast) {
                out.push(Effect::Finish { broadcast });
            }
        }
        for socket in self.sockets.values_mut() {
            socket
                .closing
                .retain(|_, at| now < *at + limits::SOCKET_DEAD);
        }
    }

    /// The shard of `broadcast` cannot be heard: whether it is over is decided when it can.
    pub(crate) fn end_later(&mut self, now: Instant, broadcast: BroadcastId) {
        let returning = Returning {
            deadline: now + Duration::from_millis(limits::AWAY_MS_MIN),
            // The client that asked is not known here, so no client's next session may end it by its `stop`.
            stopped_by: None,
        };
        self.returning.entry(broadcast).or_insert(returning);
    }

    /// Broadcasts that would end, and whose shard cannot be heard, are given the time that a
    /// publisher needs to come back once it can.
    pub(crate) fn wait_for_shards(
        &mut self,
        now: Instant,
        is_unreachable: impl Fn(&BroadcastId) -> bool,
    ) {
        let later = now + Duration::from_millis(limits::AWAY_MS_MIN);
        for (broadcast, returning) in &mut self.returning {
            if is_unreachable(broadcast) {
                returning.deadline = returning.deadline.max(later);
            }
        }
    }

    /// While all shards are silent (`is_silent`), no client is notified that its stream has finished: most
    /// often the SDK is reconnecting, and its user would read that the broadcast is over.
    pub(crate) fn leave_open_while(&self, is_silent: bool, out: &mut Vec<Effect>) {
        let is_end = |effect: &Effect| match effect {
            Effect::Send { message, .. } => matches!(
                message,
                ServerMessage::Notification {
                    definition: "publish_finished",
                    ..
                }
            ),
            _ => false,
        };
        out.retain(|effect| !is_silent || !is_end(effect));
    }

    fn tick_session(&mut self, now: Instant, id: &SessionId, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let holder = self.claim(&session.broadcast);
        let replaced_by_starting = holder.is_some_and(|(_, holder)| holder.is_starting());
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let start_due = session.since + Duration::from_millis(session.start_timeout_ms);
        match session.phase {
            // The shard has not confirmed in time.
            Phase::Stopping { since, .. } if now >= since + limits::SHARD_CONFIRM => {
                self.ended(now, id, EndReason::Requested, out);
            }
            // The shard has not reported that it was replaced, though the new one publishes.
            Phase::Superseded { since }
                if !replaced_by_starting
                    && now >= since + Duration::from_millis(session.start_timeout_ms) =>
            {
                unpublish(id, session, out);
                self.drop_session(id);
            }
            Phase::Stopping { .. } | Phase::Superseded { .. } => {}
            _ if session
                .gone
                .is_some_and(|gone| now >= gone + limits::RETURN_GRACE) =>
            {
                unpublish(id, session, out);
                self.drop_session(id);
            }
            Phase::AwaitingOffer | Phase::AwaitingShard { .. } if now >= start_due => {
                self.ended(now, id, EndReason::StartTimeout, out);
            }
            Phase::Offered | Phase::Answered if now >= start_due + limits::SHARD_CONFIRM => {
                unpublish(id, session, out);
                self.ended(now, id, EndReason::StartTimeout, out);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_come_back_begins_when_the_shard_can_be_heard() {
        let (mut hub, start) = (Hub::new("test".into()), Instant::now());
        let id = BroadcastId::new("app", "one").unwrap();
        let finish = Effect::Finish {
            broadcast: id.clone(),
        };
        hub.end_later(start, id);
        let mut ended = |seconds: u64, is_heard: bool| {
            let (now, mut out) = (start + Duration::from_secs(seconds), Vec::new());
            hub.wait_for_shards(now, |_| !is_heard);
            hub.tick(now, &mut out);
            out.contains(&finish)
        };
        for seconds in 0..100 {
            assert!(!ended(seconds, false), "after {seconds} s of silence");
        }
        let away = limits::AWAY_MS_MIN / 1_000;
        for seconds in 100..99 + away {
            assert!(!ended(seconds, true), "at {seconds} s");
        }
        assert!(ended(100 + away, true));
    }
}
