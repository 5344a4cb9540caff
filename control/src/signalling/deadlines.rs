//! What becomes due without anybody saying anything.

use std::time::{Duration, Instant};

use shardcast_link::{BroadcastId, EndReason, SessionId};

use super::{Effect, Hub, hub::unpublish, session::Phase};
use crate::limits;

impl Hub {
    /// Runs what has become due; to be called a few times a second.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
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
            // The shard has not confirmed; whoever waits is not kept waiting.
            Phase::Stopping { since, .. } if now >= since + limits::SHARD_CONFIRM => {
                self.ended(now, id, EndReason::Wished, out);
            }
            // The shard has not said that it was replaced, though the new one publishes.
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
