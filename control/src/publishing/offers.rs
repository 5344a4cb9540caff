//! Offers and candidates on their way to a shard.
//!
//! Reading an offer takes an executor, which carries other broadcasts, up to some milliseconds, and
//! any client may send offers. So each client and each shard has a budget ([`super::offer_queue`]); offers
//! beyond it wait, and clients take turns.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use shardcast_link::{BroadcastId, SessionId};

use super::{
    client::{ClientKey, SocketId},
    effect::Effect,
    hub::Hub,
    message::ServerMessage,
    offer_queue::{Waiting, cost},
    session::Phase,
};
use crate::limits;

impl Hub {
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        socket: SocketId,
        broadcast: &BroadcastId,
        sdp: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let refuse = |definition| Effect::Send {
            socket,
            message: ServerMessage::error(broadcast.stream(), definition),
        };
        let Some((id, session)) = self.claim_of(broadcast, socket) else {
            return out.push(refuse("not_initialized_yet"));
        };
        if session.phase != Phase::AwaitingOffer {
            return self.offer_again(now, &id, sdp, out);
        }
        let Some(sdp) = sdp.filter(|sdp| !sdp.is_empty()) else {
            return out.push(refuse("notSetRemoteDescription"));
        };
        session.renegotiation.is_ice_restart(&sdp);
        session.phase = Phase::AwaitingShard { sdp: sdp.clone() };
        let start_timeout_ms = session.start_timeout_ms;
        out.push(Effect::Offer {
            session: id,
            broadcast: broadcast.clone(),
            sdp,
            start_timeout_ms,
        });
    }

    /// The offer of `session` is on its way to `shard`; candidates follow it.
    pub(crate) fn offer_handed_over(
        &mut self,
        session: &SessionId,
        shard: u16,
        out: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.sessions.get_mut(session) else {
            return;
        };
        entry.phase = Phase::Offered;
        entry.shard = Some(shard);
        entry.hand_candidates_over(session, shard, out);
    }

    pub(crate) fn candidate(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
        candidate: String,
        out: &mut Vec<Effect>,
    ) {
        if self.view_candidate(socket, broadcast, &candidate, out) {
            return;
        }
        let used = self.sockets.get(&socket).is_some_and(|socket| socket.used);
        let Some((id, session)) = self.claim_of(broadcast, socket) else {
            // Behind a `stop` they are stragglers.
            if !used {
                let message = ServerMessage::error(broadcast.stream(), "not_initialized_yet");
                out.push(Effect::Send { socket, message });
            }
            return;
        };
        // An empty one says that no more will come.
        if candidate.is_empty()
            || candidate.len() > limits::CANDIDATE_BYTES_MAX
            || session.candidate_count >= limits::CANDIDATES_PER_SESSION_MAX
            || session.candidates_waiting.len() >= limits::CANDIDATES_PER_SESSION_MAX
        {
            return;
        }
        session.candidate_count += 1;
        // Candidates of an ICE restart follow its offer.
        match session.shard.filter(|_| !session.renegotiation.waits()) {
            Some(shard) => out.push(Effect::Candidate {
                session: id,
                shard,
                candidate,
            }),
            None => session.candidates_waiting.push(candidate),
        }
    }

    /// Whether the offer of `session` may go to `shard` now. If not, it is handed over again by an
    /// [`Effect::Offer`] when it is its turn.
    pub(crate) fn take_turn(&mut self, now: Instant, session: &SessionId, shard: u16) -> bool {
        let Some(entry) = self.sessions.get_mut(session) else {
            return false;
        };
        if std::mem::take(&mut entry.has_turn) {
            return true;
        }
        let Phase::AwaitingShard { sdp } = &entry.phase else {
            return false;
        };
        let (client, cost) = (entry.client, cost(sdp));
        let offer = Waiting {
            session: session.clone(),
            client,
            shard,
            cost,
            is_further: false,
            since: now,
        };
        self.offer_queue.admit(now, offer)
    }

    /// Hands over the offers whose turn it is: the oldest of each client, then the second of each; of
    /// clients the one first that has spent the least of its budget. An offer that its shard or its
    /// client cannot afford holds back those behind it: else cheap offers would keep a costly one
    /// waiting for ever. Refuses further offers that have waited for too long.
    pub(crate) fn tick_turns(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut seen: HashMap<ClientKey, usize> = HashMap::new();
        let mut waiting: Vec<(usize, u32, Waiting)> = Vec::new();
        for entry in std::mem::take(&mut self.offer_queue.waiting) {
            if !self.is_offered(&entry, out) {
                continue;
            }
            if entry.is_overdue(now) {
                self.refuse_overdue(&entry.session, out);
            } else {
                let nth = seen.entry(entry.client.key()).or_default();
                let spent = self.offer_queue.spent_permille(now, entry.client);
                waiting.push((*nth, spent, entry));
                *nth += 1;
            }
        }
        waiting.sort_by_key(|(nth, spent, _)| (*nth, *spent));
        let mut short: HashSet<u16> = HashSet::new();
        let mut short_clients: HashSet<ClientKey> = HashSet::new();
        for (.., entry) in waiting {
            let client = entry.client.key();
            if short.contains(&entry.shard) || short_clients.contains(&client) {
                self.offer_queue.waiting.push(entry);
            } else if self.offer_queue.take(now, &entry) {
                if entry.is_further {
                    self.hand_further_over(&entry.session, out);
                } else {
                    self.give_turn(&entry.session, out);
                }
            } else {
                if self.offer_queue.shard_has(now, &entry) {
                    short_clients.insert(client);
                } else {
                    short.insert(entry.shard);
                }
                self.offer_queue.waiting.push(entry);
            }
        }
        self.offer_queue.short = short;
        self.offer_queue.tidy(now);
    }

    /// Whether the session of `offer` still wants it handed over.
    fn is_offered(&mut self, offer: &Waiting, out: &mut Vec<Effect>) -> bool {
        let Some(session) = self.sessions.get(&offer.session) else {
            return false;
        };
        match session.phase {
            Phase::AwaitingShard { .. } => !offer.is_further,
            Phase::Answered | Phase::Publishing => {
                offer.is_further && session.renegotiation.waits()
            }
            _ => {
                self.withdraw_further(&offer.session, out);
                false
            }
        }
    }

    fn give_turn(&mut self, id: &SessionId, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Phase::AwaitingShard { sdp } = &session.phase {
            session.has_turn = true;
            out.push(Effect::Offer {
                session: id.clone(),
                broadcast: session.broadcast.clone(),
                sdp: sdp.clone(),
                start_timeout_ms: session.start_timeout_ms,
            });
        }
    }
}
