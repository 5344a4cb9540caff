//! What control asks for about viewers.

use std::time::Duration;

use shardcast_link::{BroadcastId, Command, Event, Fault, Problem, ViewEndReason, ViewRefusal};

use super::Shard;
use crate::{
    broadcast::{PlayRefusal, ViewRequest, refuse_player},
    destination::PlayOffer,
    ids::{ConnId, ConnOwner},
};

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
            Command::ViewRtmp {
                session,
                broadcast,
                connection,
                start_timeout_ms,
            } => {
                let offer = PlayOffer {
                    session,
                    connection,
                    start_timeout: Duration::from_millis(start_timeout_ms),
                };
                self.play_rtmp(&broadcast, offer);
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
            Command::ViewQuality { session, height } => {
                self.with_session(&session, |broadcast, ctx, key| {
                    broadcast.view_quality(ctx, key, height);
                });
            }
            Command::EndView { session } => {
                self.with_session(&session, |broadcast, ctx, key| {
                    broadcast.end_viewer(ctx, key, ViewEndReason::Requested);
                });
            }
            Command::Data { broadcast, text } => {
                if let Some(key) = self.broadcast_keys.get(&broadcast).copied() {
                    self.with(key, |broadcast, ctx| broadcast.send_data(ctx, &text));
                }
            }
            _ => {}
        }
    }

    fn play_rtmp(&mut self, id: &BroadcastId, offer: PlayOffer) {
        if self.ctx.demux.session(&offer.session).is_some() {
            return; // A command may be repeated.
        }
        match self.broadcast_keys.get(id).copied() {
            Some(key) => self.with(key, |broadcast, ctx| broadcast.play_rtmp(ctx, offer)),
            None => {
                let conn = ConnId(ConnOwner::Ingest(self.ctx.ids.next()));
                refuse_player(&mut self.ctx, conn, offer, PlayRefusal::not_on_air());
            }
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
