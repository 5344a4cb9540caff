//! What control asks for about viewers.

use std::time::Duration;

use shardcast_link::{BroadcastId, Command, Event, Fault, Problem, ViewEndReason, ViewRefusal};

use super::Shard;
use crate::broadcast::ViewRequest;

impl Shard {
    /// Takes a command about a viewer; others are passed over.
    pub(super) fn of_viewer(&mut self, command: Command) {
        match command {
            Command::View {
                session,
                broadcast,
                offer,
                start_timeout_ms,
            } => {
                let request = ViewRequest {
                    session,
                    offer,
                    start_timeout: Duration::from_millis(start_timeout_ms),
                };
                self.view(&broadcast, request);
            }
            Command::ViewAnswer { session, sdp } => {
                self.with_session(&session, |broadcast, ctx, key| {
                    broadcast.view_answer(ctx, key, &sdp);
                });
            }
            Command::ViewTracks {
                session,
                video,
                audio,
            } => self.with_session(&session, |broadcast, ctx, key| {
                broadcast.view_tracks(ctx, key, (video, audio));
            }),
            Command::EndView { session } => {
                self.with_session(&session, |broadcast, ctx, key| {
                    broadcast.end_viewer(ctx, key, ViewEndReason::Requested);
                });
            }
            _ => {}
        }
    }

    fn view(&mut self, id: &BroadcastId, request: ViewRequest) {
        if self.ctx.demux.session(&request.session).is_some() {
            return; // A command may be repeated.
        }
        let Some(key) = self.broadcast_keys.get(id).copied() else {
            let problem = Problem {
                fault: Fault::Publisher,
                message: "the broadcast is not on air".into(),
            };
            return self.ctx.event(Event::ViewRefused {
                session: request.session,
                refusal: ViewRefusal::NotOnAir,
                problem,
            });
        };
        self.with(key, |broadcast, ctx| broadcast.view(ctx, request));
    }
}
