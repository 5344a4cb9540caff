//! Further offers of a session: a track more or less, or an ICE restart. The session and its broadcast go
//! on, whatever becomes of the offer.

use std::time::Instant;

use shardcast_link::{Fault, Problem, SessionId};

use super::{
    effect::Effect,
    hub::Hub,
    message::ServerMessage,
    offer_queue::{Waiting, cost},
    renegotiation::Renegotiation,
    session::Phase,
};

impl Hub {
    /// Takes an offer of a session that has had one.
    pub(super) fn offer_again(
        &mut self,
        now: Instant,
        id: &SessionId,
        sdp: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let (socket, stream) = (session.socket, session.broadcast.stream().to_owned());
        let mut refuse = |definition| {
            let message = ServerMessage::error(&stream, definition);
            out.push(Effect::Send { socket, message });
        };
        let is_answered = matches!(session.phase, Phase::Answered | Phase::Publishing);
        let Some(shard) = session.shard.filter(|_| is_answered) else {
            return refuse("already_publishing");
        };
        let Some(sdp) = sdp.filter(|sdp| !sdp.is_empty()) else {
            return refuse("notSetRemoteDescription");
        };
        let client = session.client;
        if !self.offer_queue.has_place_for_further(client) || !session.renegotiation.is_in_time(now)
        {
            return refuse("highResourceUsage");
        }
        // An ICE restart gathers candidates anew.
        if session.renegotiation.is_ice_restart(&sdp) {
            session.candidate_count = 0;
        }
        let offer = Waiting {
            session: id.clone(),
            client,
            shard,
            // str0m reads the offer thrice: on trial, with the one before it, and for good.
            cost: 3 * cost(&sdp),
            is_further: true,
            since: now,
        };
        session.renegotiation.wait(sdp);
        if self.offer_queue.admit(now, offer) {
            self.hand_further_over(id, out);
        } else if let Some(displaced) = self.offer_queue.take_surplus() {
            self.refuse_further(&displaced.session, Renegotiation::refuse_newest, out);
        }
    }

    /// Hands the oldest further offer that waits to the shard of its session, and behind the last one
    /// the candidates that came meanwhile.
    pub(super) fn hand_further_over(&mut self, id: &SessionId, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(shard) = session.shard else {
            return;
        };
        let Some(sdp) = session.renegotiation.begin() else {
            return;
        };
        out.push(Effect::Renegotiate {
            session: id.clone(),
            shard,
            sdp,
        });
        if !session.renegotiation.waits() {
            session.hand_candidates_over(id, shard, out);
        }
    }

    /// Refuses the oldest further offer of the session that waits, which has waited for too long.
    pub(super) fn refuse_overdue(&mut self, id: &SessionId, out: &mut Vec<Effect>) {
        self.refuse_further(id, Renegotiation::refuse_oldest, out);
    }

    /// Refuses the further offer of the session that `refuse` forgets. The candidates that came
    /// meanwhile go to the shard behind the last one: they may belong to the offer that is in force.
    fn refuse_further(
        &mut self,
        id: &SessionId,
        refuse: fn(&mut Renegotiation) -> bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if !refuse(&mut session.renegotiation) || matches!(session.phase, Phase::Stopping { .. }) {
            return;
        }
        if let Some(shard) = session.shard.filter(|_| !session.renegotiation.waits()) {
            session.hand_candidates_over(id, shard, out);
        }
        let message = ServerMessage::error(session.broadcast.stream(), "highResourceUsage");
        let socket = session.socket;
        self.send_if_open(socket, message, out);
    }

    /// Refuses the further offers of a session that another one has superseded. Behind a `stop` there
    /// is no answer: the next attempt of the same page would take it for its own.
    pub(super) fn withdraw_further(&mut self, id: &SessionId, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let count = session.renegotiation.withdraw();
        if matches!(session.phase, Phase::Stopping { .. }) {
            return;
        }
        let (socket, stream) = (session.socket, session.broadcast.stream().to_owned());
        for _ in 0..count {
            let message = ServerMessage::error(&stream, "highResourceUsage");
            self.send_if_open(socket, message, out);
        }
    }

    /// The shard has refused a further offer, or could not be asked.
    pub(crate) fn not_renegotiated(
        &mut self,
        id: &SessionId,
        problem: Problem,
        out: &mut Vec<Effect>,
    ) {
        let definition = match problem.fault {
            Fault::Publisher | Fault::Destination => "notSetRemoteDescription",
            Fault::Operator => "highResourceUsage",
            Fault::Internal => "server_error_check_logs",
        };
        let Some(session) = self.sessions.get_mut(id) else {
            return self.view_not_restarted(id, definition, Some(problem.message), out);
        };
        if !session.renegotiation.end() {
            return;
        }
        let message = ServerMessage::Error {
            stream: Some(session.broadcast.stream().to_owned()),
            definition,
            message: Some(problem.message),
        };
        let socket = session.socket;
        self.send_if_open(socket, message, out);
    }
}
