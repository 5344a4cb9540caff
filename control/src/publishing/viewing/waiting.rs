//! Viewers who came before the publisher. Control has their broadcast as live and its shard has nothing on air: the engine
//! is another one, and both come back at once. An SDK that is refused tries again after three seconds, so it is not:
//! it is sent the offer as soon as media arrives.

use std::time::Instant;

use shardcast_link::{BroadcastId, SessionId};

use super::Wish;
use crate::publishing::{Hub, effect::Effect, message::ServerMessage};

impl Hub {
    /// The shard of a viewer has nothing on air; whether the viewer waits for it. A client of WHEP or RTMP does not: it
    /// waits for the answer to its request.
    pub(super) fn view_waits(&mut self, id: &SessionId) -> bool {
        let view = self.views.sessions.get_mut(id).filter(|view| !view.offers);
        view.map(|view| view.is_waiting = true).is_some()
    }

    /// Media of a broadcast has come: those who wait for it are told to its shard again.
    pub(in crate::publishing) fn views_go_on(
        &mut self,
        broadcast: &BroadcastId,
        out: &mut Vec<Effect>,
    ) {
        let waiting = self.views.sessions.iter_mut();
        let waiting = waiting.filter(|(_, view)| view.is_waiting && view.broadcast == *broadcast);
        for (id, view) in waiting {
            view.is_waiting = false;
            let (shard, timeout_ms) = (view.shard, view.start_timeout_ms);
            let command = Wish::Browser(None).command(id.clone(), broadcast.clone(), timeout_ms);
            out.push(Effect::View { shard, command });
        }
    }

    /// Refuses those whose publisher has not come in time.
    pub(super) fn tick_waiting_views(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for id in self
            .views
            .ids(|view| view.is_waiting && now >= view.waits_until)
        {
            if let Some(view) = self.views.remove(&id) {
                let stream = view.broadcast.stream().to_owned();
                self.send_if_open(view.socket, ServerMessage::NoStream { stream }, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shardcast_link::{Command, Fault, Problem, ViewRefusal};

    use super::*;
    use crate::publishing::{
        ViewRequest,
        hub_tests::{A, B, Stage, words},
    };

    const NO_STREAM: &str = "NoStream { stream: \"s\" }";

    /// The sessions that shard 0 is asked to begin.
    fn begun(effects: &[Effect]) -> Vec<SessionId> {
        let begun = effects.iter().filter_map(|effect| match effect {
            Effect::View {
                shard: 0,
                command: Command::View { session, .. },
            } => Some(session.clone()),
            _ => None,
        });
        begun.collect()
    }

    /// `B` watches by this wish, and the shard has nothing on air.
    fn refused(stage: &mut Stage, by: Wish) -> (SessionId, Vec<Effect>) {
        let request = ViewRequest {
            broadcast: stage.id(),
            by,
            admission: Ok(0),
            subscriber_id: String::new(),
            start_timeout_ms: 10_000,
        };
        let asked = stage.act(|hub, now, out| hub.view(now, B, request, out));
        let sessions = begun(&asked);
        let [session] = &sessions[..] else {
            panic!("{asked:?}");
        };
        let problem = Problem {
            fault: Fault::Publisher,
            message: "the broadcast is not on air".to_owned(),
        };
        let effects = stage.act(|hub, _, out| {
            hub.view_refused(session, ViewRefusal::NotOnAir, problem, out);
        });
        (session.clone(), effects)
    }

    #[test]
    fn who_comes_before_the_publisher_is_begun_when_media_comes() {
        let mut stage = Stage::new();
        let (session, effects) = refused(&mut stage, Wish::Browser(None));
        assert!(effects.is_empty(), "{effects:?}");
        assert!(stage.pass(500).is_empty());
        stage.publish(A);
        let publisher = stage.offer(A);
        let id = stage.id();
        let effects = stage.act(|hub, _, out| hub.publishing(&publisher, &id, out));
        assert_eq!(begun(&effects), [session]);
        assert!(begun(&stage.pass(5_000)).is_empty());
        assert_eq!(stage.hub.viewer_count(&stage.id()), 1);
    }

    #[test]
    fn a_publisher_that_does_not_come_is_not_waited_for_long() {
        let mut stage = Stage::new();
        refused(&mut stage, Wish::Browser(None));
        assert_eq!(words(&stage.pass(3_000), B), [NO_STREAM]);
        assert_eq!(stage.hub.viewer_count(&stage.id()), 0);
    }

    #[test]
    fn a_client_of_whep_is_answered_at_once() {
        let mut stage = Stage::new();
        let (_, effects) = refused(&mut stage, Wish::Browser(Some("v=0".to_owned())));
        assert_eq!(words(&effects, B), [NO_STREAM]);
    }
}
