//! What a broadcast does with the sessions of encoders, beside what it does with all sessions.

use shardcast_link::IngestProtocol;

use super::{catch_up::TAKEN_US_MIN, decode_clock::Stamp, session::IngestSession};
use crate::{
    broadcast::Broadcast,
    codec::h264::VideoUnit,
    context::Context,
    ids::{ConnId, ConnOwner, SessionKey},
    io::TcpEvent,
    rtmp::ingest::{EncoderOffer, RtmpPublisher},
};

impl Broadcast {
    /// Takes an encoder that wants to publish here.
    pub(crate) fn accept_encoder(&mut self, ctx: &mut Context, offer: EncoderOffer) {
        let key = SessionKey {
            broadcast: self.key,
            number: ctx.ids.next(),
        };
        let session = offer.session.clone();
        let publisher = RtmpPublisher::accept(ctx, ConnId(ConnOwner::Publisher(key)), offer);
        self.sessions.insert(key, IngestSession::rtmp(publisher));
        ctx.demux.add_encoder(key, session);
        self.receive(ctx, key);
    }

    /// Something happened on the connection of an encoder.
    pub(crate) fn encoder_tcp(&mut self, ctx: &mut Context, key: SessionKey, event: &TcpEvent<'_>) {
        let now = ctx.now;
        self.with_session(ctx, key, |session| {
            if let Some(publisher) = session.rtmp_mut() {
                publisher.tcp(now, event);
            }
        });
    }

    /// Media of `session` is used from now on.
    pub(crate) fn start_ingest(&mut self, ctx: &mut Context, session: SessionKey, video: bool) {
        let session = self.sessions.get(&session);
        let encoder = session.is_some_and(|session| session.speaks() == IngestProtocol::Rtmp);
        if encoder != self.ingest.has_aac() {
            self.close_audio_transcoders(ctx);
        }
        if encoder {
            self.ingest.start_encoder(ctx.now);
        } else {
            self.ingest.end_aac();
            self.ingest.start(ctx.now, video);
        }
    }

    /// A picture of an encoder.
    pub(super) fn access_unit(
        &mut self,
        ctx: &mut Context,
        key: SessionKey,
        stamp: Stamp,
        unit: VideoUnit,
    ) {
        let (now, now_us) = (ctx.now, ctx.now_us());
        let (frame, led_us) = self.ingest.access_unit(now, now_us, stamp, unit);
        if led_us >= TAKEN_US_MIN
            && let Some(publisher) = self
                .sessions
                .get_mut(&key)
                .and_then(IngestSession::rtmp_mut)
        {
            publisher.lead(led_us);
        }
        if let Some(frame) = frame {
            self.decode(ctx, frame);
        }
    }
}
