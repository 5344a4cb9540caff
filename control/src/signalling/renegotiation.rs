//! Further offers of a session: a track more or less, or an ICE restart. The session and its broadcast go
//! on, whatever becomes of the offer.

use std::time::Instant;

use shardcast_link::{Fault, Problem, SessionId};

use super::{Effect, Hub, message::ServerMessage, session::Phase, turns::cost};
use crate::limits;

/// The further offers of one session.
#[derive(Debug, Default)]
pub(super) struct Renegotiation {
    /// Those that the shard has and has not answered.
    unanswered: u32,
    /// When the last ones came, at most [`limits::RENEGOTIATIONS_MAX`].
    recent: Vec<Instant>,
}

impl Renegotiation {
    /// False if there were as many within [`limits::RENEGOTIATION_WINDOW`] as there may be.
    fn begin(&mut self, now: Instant) -> bool {
        self.recent
            .retain(|at| now.saturating_duration_since(*at) < limits::RENEGOTIATION_WINDOW);
        if self.recent.len() >= limits::RENEGOTIATIONS_MAX {
            return false;
        }
        self.recent.push(now);
        self.unanswered += 1;
        true
    }

    /// Takes the shard's answer to the oldest one. False if there is none.
    pub(super) fn end(&mut self) -> bool {
        let was_open = self.unanswered > 0;
        self.unanswered = self.unanswered.saturating_sub(1);
        was_open
    }
}

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
        // str0m reads the offer thrice: on trial, with the one before it, and for good.
        let is_affordable = session.renegotiation.begin(now)
            && self
                .turns
                .take_at_once(now, session.client, shard, 3 * cost(&sdp));
        if !is_affordable {
            return refuse("highResourceUsage");
        }
        // An ICE restart gathers candidates anew.
        session.candidate_count = 0;
        out.push(Effect::Renegotiate {
            session: id.clone(),
            shard,
            sdp,
        });
    }

    /// The shard has refused a further offer, or could not be asked.
    pub(crate) fn not_renegotiated(
        &mut self,
        id: &SessionId,
        problem: Problem,
        out: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if !session.renegotiation.end() {
            return;
        }
        let definition = match problem.fault {
            Fault::Publisher | Fault::Destination => "notSetRemoteDescription",
            Fault::Operator => "highResourceUsage",
            Fault::Internal => "server_error_check_logs",
        };
        let message = ServerMessage::Error {
            stream: Some(session.broadcast.stream().to_owned()),
            definition,
            message: Some(problem.message),
        };
        let socket = session.socket;
        self.send_if_open(socket, message, out);
    }
}
