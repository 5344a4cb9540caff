//! ICE restarts of viewers (RFC 8445, 9): the client has another network, and its session goes on there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use shardcast_link::Event;

use crate::{broadcast::Broadcast, context::Context, ids::SessionKey};

impl Broadcast {
    /// Takes the offer of a viewer under other ICE credentials. Media goes on, whatever becomes of it.
    pub(crate) fn restart_viewer(&mut self, ctx: &mut Context, key: SessionKey, sdp: &str) {
        let Some(session) = self.viewers.sessions.get_mut(&key) else {
            return;
        };
        let viewer = &mut session.viewer;
        let id = viewer.session.clone();
        let restart = || viewer.restart(ctx.now, &ctx.identity, sdp);
        match catch_unwind(AssertUnwindSafe(restart)) {
            Ok(Ok(answer)) => {
                ctx.demux.rename(key, &answer.ufrag);
                ctx.event(Event::ViewDescribed {
                    session: id,
                    sdp: answer.sdp,
                    candidates: answer.candidates,
                });
                self.receive_viewer(ctx, key);
            }
            Ok(Err(problem)) => {
                let session = id;
                ctx.event(Event::NotRenegotiated { session, problem });
            }
            Err(_) => self.viewer_failed(ctx, key),
        }
    }
}
