//! What control asks for.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use shardcast_link::{
    BroadcastId, Command, EndReason, Event, Fault, Problem, SessionId, VideoCodec, WantedBroadcast,
};

use super::Shard;
use crate::{
    broadcast::{Broadcast, Slate},
    context::Context,
    ids::{BroadcastKey, ConnId, ConnOwner, SessionKey},
    io::{Close, Output},
    limits::{BROADCASTS_MAX, SESSIONS_MAX, SLATE_BYTES_MAX},
    rtmp::ingest::EncoderOffer,
    webrtc::offer::Terms,
};

impl Shard {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Hello(hello) => super::status::hello(&hello),
            Command::Want { broadcast } => self.want(broadcast),
            Command::Slate {
                broadcast,
                name,
                image_base64,
            } => self.slate(&broadcast, name, &image_base64),
            Command::Forget { broadcast } => self.forget(&broadcast),
            Command::Publish {
                session,
                broadcast,
                sdp,
                start_timeout_ms,
                codecs,
                stereo,
            } => {
                let start_timeout = Duration::from_millis(start_timeout_ms);
                let codecs = self.usable(codecs);
                let terms = Terms { codecs, stereo };
                self.publish(session, &broadcast, &sdp, start_timeout, &terms);
            }
            Command::PublishRtmp {
                session,
                broadcast,
                connection,
                start_timeout_ms,
            } => {
                let start_timeout = Duration::from_millis(start_timeout_ms);
                let offer = EncoderOffer {
                    session,
                    connection,
                    start_timeout,
                };
                self.publish_rtmp(&broadcast, offer);
            }
            Command::Sink { connection } => self.sink(connection),
            Command::Renegotiate { session, sdp } => self.renegotiate(session, &sdp),
            Command::Candidate { session, candidate } => {
                self.with_session(&session, |broadcast, ctx, key| {
                    broadcast.candidate(ctx, key, &candidate);
                });
            }
            Command::Unpublish { session } => {
                self.with_session(&session, |broadcast, ctx, key| {
                    broadcast.end_session(ctx, key, EndReason::Lost);
                });
            }
            Command::View { .. }
            | Command::ViewRtmp { .. }
            | Command::ViewAnswer { .. }
            | Command::ViewTracks { .. }
            | Command::Data { .. }
            | Command::ViewQuality { .. }
            | Command::EndView { .. } => self.of_viewer(command),
            _ => tracing::warn!("control sent a command of a newer version"),
        }
    }

    /// Runs something on the broadcast of a session, if the session is still there.
    pub(super) fn with_session(
        &mut self,
        session: &SessionId,
        run: impl FnOnce(&mut Broadcast, &mut Context, SessionKey),
    ) {
        if let Some(key) = self.ctx.demux.session(session) {
            self.with(key.broadcast, |broadcast, ctx| run(broadcast, ctx, key));
        }
    }

    /// The codecs that a publisher may send: H.264 alone where nothing is re-encoded, since RTMP carries no
    /// other.
    fn usable(&self, mut codecs: Vec<VideoCodec>) -> Vec<VideoCodec> {
        if self.config.codec_capacity_permille == 0 {
            codecs.retain(|codec| *codec == VideoCodec::H264);
        }
        codecs
    }

    fn want(&mut self, wanted: WantedBroadcast) {
        let Some(key) = self.broadcast_key(&wanted.id) else {
            tracing::error!(broadcast = %wanted.id, "the shard holds as many broadcasts as it may");
            return;
        };
        self.with(key, |broadcast, ctx| broadcast.want(ctx, wanted));
    }

    fn slate(&mut self, id: &BroadcastId, name: String, image_base64: &str) {
        let Some(key) = self.broadcast_keys.get(id).copied() else {
            return;
        };
        let image = match BASE64.decode(image_base64) {
            Ok(image) if image.len() <= SLATE_BYTES_MAX => Bytes::from(image),
            _ => {
                tracing::error!(broadcast = %id, "control sent a slate that is none, or too long");
                return;
            }
        };
        self.with(key, |broadcast, ctx| {
            broadcast.set_slate(ctx, Slate { name, image });
        });
    }

    fn forget(&mut self, id: &BroadcastId) {
        if let Some(key) = self.broadcast_keys.remove(id)
            && let Some(mut broadcast) = self.broadcasts.remove(&key)
        {
            broadcast.close(&mut self.ctx);
        }
    }

    fn publish(
        &mut self,
        session: SessionId,
        id: &BroadcastId,
        sdp: &str,
        start_timeout: Duration,
        terms: &Terms,
    ) {
        if self.ctx.demux.session(&session).is_some() {
            return; // A command may be repeated.
        }
        let Some(key) = self.key_to_publish(id) else {
            return self.refuse_full(session);
        };
        self.with(key, |broadcast, ctx| {
            broadcast.accept(ctx, session, sdp, start_timeout, terms);
        });
    }

    fn publish_rtmp(&mut self, id: &BroadcastId, offer: EncoderOffer) {
        if self.ctx.demux.session(&offer.session).is_some() {
            return; // A command may be repeated.
        }
        match self.key_to_publish(id) {
            Some(key) => self.with(key, |broadcast, ctx| broadcast.accept_encoder(ctx, offer)),
            None => {
                let conn = ConnId(ConnOwner::Ingest(self.ctx.ids.next()));
                let (socket, how) = (offer.connection.socket, Close::Abort);
                self.ctx.output(Output::Adopt { conn, socket });
                self.ctx.output(Output::Close { conn, how });
                self.refuse_full(offer.session);
            }
        }
    }

    /// The broadcast, if the shard may have one publisher more.
    fn key_to_publish(&mut self, id: &BroadcastId) -> Option<BroadcastKey> {
        let publishers = self.ctx.demux.len() - self.ctx.viewers.sessions;
        (publishers < SESSIONS_MAX)
            .then(|| self.broadcast_key(id))
            .flatten()
    }

    fn refuse_full(&mut self, session: SessionId) {
        let problem = Problem {
            fault: Fault::Operator,
            message: "this shard has as many publishers as it may: add shards or machines".into(),
        };
        self.ctx.event(Event::Refused { session, problem });
    }

    fn renegotiate(&mut self, session: SessionId, sdp: &str) {
        let Some(key) = self.ctx.demux.session(&session) else {
            let problem = Problem {
                fault: Fault::Publisher,
                message: "the session is over: publish again".into(),
            };
            return self.ctx.event(Event::NotRenegotiated { session, problem });
        };
        self.with(key.broadcast, |broadcast, ctx| {
            broadcast.renegotiate(ctx, key, sdp);
        });
    }

    fn broadcast_key(&mut self, id: &BroadcastId) -> Option<BroadcastKey> {
        if let Some(key) = self.broadcast_keys.get(id) {
            return Some(*key);
        }
        if self.broadcasts.len() >= BROADCASTS_MAX {
            return None;
        }
        let key = BroadcastKey(self.ctx.ids.next());
        self.broadcast_keys.insert(id.clone(), key);
        let broadcast = Broadcast::new(key, WantedBroadcast::new(id.clone()));
        self.broadcasts.insert(key, broadcast);
        Some(key)
    }
}
