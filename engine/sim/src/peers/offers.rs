//! Further offers of clients that publish.

use shardcast_link::{Command, Event};

use super::{World, session};

impl World {
    /// Hands over the last offer of a client that publishes. The reason, if it is refused;
    /// otherwise the client has taken the answer.
    pub fn renegotiate(&mut self, name: &str, client: usize) -> Option<String> {
        let sdp = self.clients[client].offer.clone();
        let refusal = self.renegotiate_with(name, sdp);
        let now = self.now;
        match (&refusal, self.answer_of(name)) {
            (None, Some(answer)) => self.clients[client].answer(now, &answer),
            _ => self.clients[client].roll_back(),
        }
        refusal
    }

    /// Hands over an offer. The reason, if it is refused.
    pub fn renegotiate_with(&mut self, name: &str, sdp: String) -> Option<String> {
        self.events.clear();
        self.command(Command::Renegotiate {
            session: session(name),
            sdp,
        });
        self.events.iter().find_map(|event| match event {
            Event::NotRenegotiated {
                session: of,
                problem,
            } if *of == session(name) => Some(problem.message.clone()),
            _ => None,
        })
    }

    /// The last SDP answer for session `name`.
    pub fn answer_of(&self, name: &str) -> Option<String> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Answer {
                session: of, sdp, ..
            } if *of == session(name) => Some(sdp.clone()),
            _ => None,
        })
    }
}
