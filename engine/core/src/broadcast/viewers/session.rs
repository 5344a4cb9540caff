//! One viewer: its session, which video it is sent, and what of it is next.

use std::time::Instant;

use shardcast_link::ViewEndReason;

use super::{
    padding::Padding,
    quality::Quality,
    video_feed::{Next, Terms, VideoFeed},
};
use crate::{
    broadcast::{
        ingest::decode_clock::STEP_US_MIN,
        renditions::{Rings, VideoSource},
        ring::{Kind, Ring, RingId},
    },
    context::Context,
    ids::RenditionId,
    webrtc::{
        delivery::PathSample,
        viewer::{RtpPayload, Viewer},
    },
};

/// One viewer.
#[derive(Debug)]
pub(in crate::broadcast) struct ViewerSession {
    pub(in crate::broadcast) viewer: Viewer,
    pub(super) quality: Quality,
    pub(super) video: VideoFeed,
    pub(super) padding: Padding,
    /// The client wants video now.
    pub(super) wants_video: bool,
    pub(super) wants_audio: bool,
    /// Video goes on then, by its pace.
    pub(super) video_at: Option<Instant>,
    /// The unit of the ring behind the last Opus packet; audio begins at the live edge.
    pub(super) audio: Option<u64>,
    /// Time of the last Opus packet that was sent.
    pub(super) audio_us: Option<i64>,
}

/// What sending to a viewer has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Something was.
    pub(super) written: bool,
    /// It is of another ring than before.
    pub(super) switched: Option<RingId>,
    pub(super) keyframe_wanted: bool,
    /// It waits for a keyframe of this rung.
    pub(super) lacks_keyframe: Option<RenditionId>,
    pub(super) ended: Option<ViewEndReason>,
}

impl ViewerSession {
    /// Sends what the rings have and the pace allows.
    pub(super) fn send(&mut self, ctx: &mut Context, rings: Rings<'_>) -> Sent {
        let mut sent = Sent::default();
        self.video_at = None;
        if !self.viewer.is_connected() {
            return sent;
        }
        sent.written = self.send_audio(ctx, rings.source);
        let before = self.video.ring();
        let terms = Terms {
            wanted: self.quality.ring(rings),
            takes_source: self.quality.takes_source(),
            is_held: self.quality.is_full(ctx.now),
            carried_bps: self.quality.carried_bps(),
        };
        if self.quality.selected() == VideoSource::None
            && self.wants_video
            && self.viewer.takes_video()
        {
            sent.ended = Some(ViewEndReason::Unplayable);
            return sent;
        }
        if self.viewer.takes_video() {
            let mut packets = VideoPackets {
                now: ctx.now,
                rings,
                terms,
                feed: &mut self.video,
                quality: &self.quality,
                padding: &mut self.padding,
                wants_video: self.wants_video,
                padding_left: 0,
                end: None,
            };
            sent.written |= self.viewer.write_video(ctx, &mut packets);
            match packets.end {
                Some(Next::At(at)) => self.video_at = Some(at),
                Some(Next::KeyframeWanted) => sent.keyframe_wanted = true,
                Some(Next::Nothing | Next::Packet(_)) | None => {}
            }
        }
        if sent.written {
            self.viewer.run(ctx.now);
        }
        sent.switched = Some(self.video.ring()).filter(|ring| *ring != before);
        sent.lacks_keyframe = self.lacks_keyframe(rings, terms.wanted);
        sent
    }

    /// The rung that it is to be sent, where that has no keyframe to go over at.
    fn lacks_keyframe(&self, rings: Rings<'_>, wanted: Option<RingId>) -> Option<RenditionId> {
        let (Some(ring @ RingId::Rendition(id)), true) = (wanted, self.wants_video) else {
            return None;
        };
        let waits = ring != self.video.ring();
        let (ring, _) = rings.get(ring).filter(|_| waits)?;
        (!VideoFeed::can_begin(ring)).then_some(id)
    }

    /// Takes how the path is; whether another video is to be selected.
    pub(super) fn path(&mut self, path: PathSample, rings: Rings<'_>) -> bool {
        let in_use = match self.video.ring() {
            RingId::Source => Some(VideoSource::Passthrough),
            RingId::Rendition(id) => rings
                .rendition(id)
                .map(|it| VideoSource::Rendition(it.spec)),
        };
        let in_use = in_use.filter(|_| self.wants_video && self.viewer.takes_video());
        let is_changed = in_use.is_some_and(|in_use| self.quality.path(path, in_use));
        if is_changed && self.quality.is_full(path.at) {
            // What was lost of the video before is of no use any more, and would be in the way of the next.
            self.viewer.forget_sent();
        }
        is_changed
    }

    /// Sends the Opus packets that are new in the ring; whether there were some. A publisher's sound may begin in the
    /// time of the one's before it, of which a transcoder's comes late: what was heard in that time is left out, as
    /// RTP time does not step back.
    fn send_audio(&mut self, ctx: &Context, ring: &Ring) -> bool {
        let new = self.audio.unwrap_or(ring.end()).max(ring.start())..ring.end();
        self.audio = Some(ring.end());
        let mut written = false;
        for seq in new {
            let Some(unit) = ring.get(seq).filter(|_| self.takes_opus()) else {
                continue;
            };
            let is_behind = |last_us: i64| unit.pts_us >= last_us + STEP_US_MIN;
            if let (Kind::Opus { .. }, Some([payload])) =
                (&unit.kind, ring.payloads(seq).map(|payloads| &payloads[..]))
                && self.audio_us.is_none_or(is_behind)
            {
                self.audio_us = Some(unit.pts_us);
                self.viewer.write_audio(ctx, unit.pts_us, payload);
                written = true;
            }
        }
        written
    }

    pub(super) fn takes_opus(&self) -> bool {
        self.wants_audio && self.viewer.is_connected() && self.viewer.takes_audio()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let session = self.viewer.next_timeout();
        session.map(|at| self.video_at.map_or(at, |video| video.min(at)))
    }
}

/// The video packets that are sent in one turn: those of the feed, and padding behind pictures while a better rung is tried.
struct VideoPackets<'a> {
    now: Instant,
    rings: Rings<'a>,
    terms: Terms,
    feed: &'a mut VideoFeed,
    quality: &'a Quality,
    padding: &'a mut Padding,
    /// A picture that is begun is sent to its end also where none is wanted any more.
    wants_video: bool,
    /// Of the picture that was sent last, at the time of that.
    padding_left: usize,
    /// Why there are no more.
    end: Option<Next>,
}

impl Iterator for VideoPackets<'_> {
    type Item = RtpPayload;

    fn next(&mut self) -> Option<RtpPayload> {
        if self.padding_left > 0 {
            return self.pad();
        }
        if !self.wants_video && !self.feed.is_in_picture() {
            return None;
        }
        let mut packet = match self.feed.next(self.now, self.rings, self.terms) {
            Next::Packet(packet) => packet,
            end => {
                self.end = Some(end);
                return None;
            }
        };
        self.padding.sent(packet.payload.len());
        if packet.marker {
            let trial_bps = self.quality.trial_bps(self.now);
            self.padding_left = self.padding.packets(self.now, trial_bps);
            packet.marker = self.padding_left == 0;
        }
        Some(packet)
    }
}

impl VideoPackets<'_> {
    fn pad(&mut self) -> Option<RtpPayload> {
        self.padding_left -= 1;
        Some(RtpPayload {
            at_us: self.feed.at_us(),
            payload: Padding::packet(),
            marker: self.padding_left == 0,
        })
    }
}
