//! One session that publishes, whatever it speaks.

use std::time::{Duration, Instant};

use shardcast_link::{EndReason, IngestProtocol, SessionId};

use crate::{
    context::Context,
    ingest_event::IngestEvent,
    rtmp::ingest::RtmpPublisher,
    webrtc::publisher::{Publisher, Reception},
};

/// A session and the protocol that it speaks.
#[derive(Debug)]
pub(super) enum Protocol {
    WebRtc(Box<Publisher>),
    Rtmp(Box<RtmpPublisher>),
}

/// One session, from its offer to its end.
#[derive(Debug)]
pub(crate) struct IngestSession {
    pub(super) protocol: Protocol,
    pub(super) first_media: Option<Instant>,
    pub(super) bytes_at_last_status: u64,
}

impl IngestSession {
    pub(super) fn web_rtc(publisher: Publisher) -> Self {
        Self::new(Protocol::WebRtc(Box::new(publisher)))
    }

    pub(super) fn rtmp(publisher: RtmpPublisher) -> Self {
        Self::new(Protocol::Rtmp(Box::new(publisher)))
    }

    fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            first_media: None,
            bytes_at_last_status: 0,
        }
    }

    pub(in crate::broadcast) fn web_rtc_mut(&mut self) -> Option<&mut Publisher> {
        match &mut self.protocol {
            Protocol::WebRtc(publisher) => Some(publisher),
            Protocol::Rtmp(_) => None,
        }
    }

    pub(super) fn rtmp_mut(&mut self) -> Option<&mut RtmpPublisher> {
        match &mut self.protocol {
            Protocol::WebRtc(_) => None,
            Protocol::Rtmp(publisher) => Some(publisher),
        }
    }

    /// What it speaks.
    pub(crate) fn speaks(&self) -> IngestProtocol {
        match &self.protocol {
            Protocol::WebRtc(_) => IngestProtocol::WebRtc,
            Protocol::Rtmp(_) => IngestProtocol::Rtmp,
        }
    }

    /// The name that control has given it.
    pub(super) fn id(&self) -> &SessionId {
        match &self.protocol {
            Protocol::WebRtc(publisher) => &publisher.session,
            Protocol::Rtmp(publisher) => &publisher.session,
        }
    }

    /// Whether it sends video, or is to be expected to.
    pub(super) fn offers_video(&self) -> bool {
        match &self.protocol {
            Protocol::WebRtc(publisher) => publisher.offers().video,
            Protocol::Rtmp(_) => true,
        }
    }

    pub(super) fn poll(&mut self, ctx: &mut Context) -> Option<IngestEvent> {
        match &mut self.protocol {
            Protocol::WebRtc(publisher) => publisher.poll(ctx),
            Protocol::Rtmp(publisher) => publisher.poll(ctx),
        }
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        match &mut self.protocol {
            Protocol::WebRtc(publisher) => publisher.timeout(now),
            Protocol::Rtmp(publisher) => publisher.timeout(now),
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.protocol {
            Protocol::WebRtc(publisher) => publisher.next_timeout(),
            Protocol::Rtmp(publisher) => publisher.next_timeout(),
        }
    }

    /// Whether it was asked for a keyframe. RTMP has no such question.
    pub(super) fn request_keyframe(&mut self, now: Instant) -> bool {
        self.web_rtc_mut()
            .is_some_and(|publisher| publisher.request_keyframe(now))
    }

    pub(super) fn close(&mut self, ctx: &mut Context, reason: EndReason) {
        match &mut self.protocol {
            Protocol::WebRtc(publisher) => publisher.close(ctx),
            Protocol::Rtmp(publisher) => publisher.close(ctx, reason),
        }
    }

    /// It has failed: nothing more is asked of its protocol, and nothing of it stays open.
    pub(super) fn abandon(&mut self, ctx: &mut Context) {
        if let Protocol::Rtmp(publisher) = &self.protocol {
            publisher.abandon(ctx);
        }
    }

    pub(super) fn media_age(&self, now: Instant) -> Duration {
        match &self.protocol {
            Protocol::WebRtc(publisher) => publisher.media_age(now),
            Protocol::Rtmp(publisher) => publisher.media_age(now),
        }
    }

    pub(super) fn reception(&self) -> &Reception {
        match &self.protocol {
            Protocol::WebRtc(publisher) => publisher.reception(),
            Protocol::Rtmp(publisher) => publisher.reception(),
        }
    }

    /// `address:port` that media comes from; empty until it is known.
    pub(super) fn remote(&self) -> String {
        match &self.protocol {
            Protocol::WebRtc(publisher) => {
                let remote = publisher.remote().map(|remote| remote.to_string());
                remote.unwrap_or_default()
            }
            Protocol::Rtmp(publisher) => publisher.remote().to_owned(),
        }
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        self.bytes_at_last_status = self.reception().bytes;
    }
}
