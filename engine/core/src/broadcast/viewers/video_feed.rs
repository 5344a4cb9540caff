//! What of a ring's video one viewer is sent, when, and under which time.
//!
//! A viewer begins at the newest keyframe of the ring, at once. What lies between that and the live
//! edge it needs to decode the rest, but its time has passed: these pictures get times one
//! millisecond apart that end at the live edge, so the client shows them as fast as it decodes and
//! then is live. With their own times the client would stay behind by the age of the keyframe.
//!
//! ```text
//!  ring      I · · · · · · · · · · ·│· · ·     │ live edge when the viewer came
//!  media     0   100 200 300 400  500
//!  as sent                 ··········│· · ·
//! ```
//!
//! It goes over to another ring in the same way: between two pictures, at a keyframe that has just come
//! there. Nothing is waited for, so the picture does not stand still; a rendition is some tens of
//! milliseconds behind the publisher's video, and these are shown twice, or left out on the way back.

use std::{sync::Arc, time::Instant};

use super::pacer::{Pace, Pacer};
use crate::{
    broadcast::{
        renditions::Rings,
        ring::{Kind, Ring, RingId, Unit},
    },
    limits::{VIEWER_BEHIND_US_MAX, VIEWER_SWITCH_US_MAX},
    webrtc::viewer::RtpPayload,
};

/// Distance of the pictures that are caught up with, in microseconds.
const CATCH_UP_US: i64 = 1_000;

/// What a viewer is to be sent, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// From which ring, as soon as that can be; `None` while it is not made.
    pub(super) wanted: Option<RingId>,
    /// Browsers take the publisher's video. Of one that they do not take no picture is begun: a rendition will come.
    pub(super) takes_source: bool,
    /// No picture of another ring than the wanted one is begun: the network is full of them.
    pub(super) is_held: bool,
    /// Bits a second that the network carries; `None`: enough.
    pub(super) carried_bps: Option<u64>,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this packet, of a picture of that time; the last one of it has the marker.
    Packet(RtpPayload),
    /// More is due then.
    At(Instant),
    /// Everything was sent.
    Nothing,
    /// There is no keyframe to begin with.
    KeyframeWanted,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct VideoFeed {
    /// What it is sent from.
    ring: RingId,
    /// The unit, and the packet of it, that is sent next; `None` before the first keyframe.
    position: Option<(u64, usize)>,
    /// Units before this one were there before the viewer.
    live_from: u64,
    /// Time of the unit that was begun last.
    at_us: i64,
    pacer: Pacer,
}

impl VideoFeed {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            ring: RingId::Source,
            position: None,
            live_from: 0,
            at_us: i64::MIN,
            pacer: Pacer::new(now),
        }
    }

    /// What comes next is a keyframe. A picture that is begun is sent to its end: packets are numbered without a gap,
    /// so a client could not tell that the rest is missing.
    pub(super) fn restart(&mut self) {
        if !self.is_in_picture() {
            self.position = None;
        }
    }

    /// Whether a picture was begun whose last packet was not sent.
    pub(super) fn is_in_picture(&self) -> bool {
        self.position.is_some_and(|(_, packet)| packet > 0)
    }

    /// Media time of the picture that was begun last, as it is sent.
    pub(super) fn at_us(&self) -> i64 {
        self.at_us
    }

    /// What it is sent from.
    pub(super) fn ring(&self) -> RingId {
        self.ring
    }

    /// What comes next, from the ring that is `wanted` as soon as that can be. Of a publisher's video that
    /// browsers do not take (`takes_source`) no picture is begun: a rendition will come.
    pub(super) fn next(&mut self, now: Instant, rings: Rings<'_>, terms: Terms) -> Next {
        self.go_over(rings, terms.wanted);
        if rings.get(self.ring).is_none() {
            // The rendition is no longer made.
            (self.ring, self.position) = (RingId::Source, None);
        }
        let Some((ring, facts)) = rings.get(self.ring) else {
            return Next::Nothing;
        };
        let is_taken = terms.takes_source || self.ring != RingId::Source;
        let is_held = terms.is_held && terms.wanted != Some(self.ring);
        loop {
            if is_held && self.position.is_none_or(|(_, packet)| packet == 0) {
                return Next::Nothing;
            }
            if !is_taken && self.position.is_none_or(|(_, packet)| packet == 0) {
                self.position = None;
                return Next::Nothing;
            }
            let Some((seq, packet)) = self.position.filter(|(seq, _)| *seq >= ring.start()) else {
                if !self.begin(ring) {
                    return Next::KeyframeWanted;
                }
                continue;
            };
            let Some(unit) = ring.get(seq) else {
                return Next::Nothing;
            };
            let payloads = match &unit.kind {
                Kind::Video { .. } => ring.payloads(seq),
                Kind::Audio { .. } | Kind::Opus { .. } => None,
            };
            let Some((payloads, payload)) = payloads.and_then(|all| Some((all, all.get(packet)?)))
            else {
                self.position = Some((seq + 1, 0));
                continue;
            };
            let is_past = seq < self.live_from;
            if packet == 0 && self.is_left_behind(ring, unit.pts_us) {
                self.begin(ring);
                continue;
            }
            let pace = Pace::of(is_past, facts.video_bps, terms.carried_bps);
            if let Err(at) = self.pacer.take(now, payload.len(), pace) {
                return Next::At(at);
            }
            if packet == 0 {
                self.at_us = self.time_us(is_past, unit.pts_us);
            }
            let last = packet + 1 == payloads.len();
            self.position = Some(if last {
                (seq + 1, 0)
            } else {
                (seq, packet + 1)
            });
            return Next::Packet(RtpPayload {
                at_us: self.at_us,
                payload: Arc::clone(payload),
                marker: last,
            });
        }
    }

    /// The time of a picture, which is one of the past or has just come.
    fn time_us(&self, is_past: bool, pts_us: i64) -> i64 {
        match is_past {
            true => self.at_us + CATCH_UP_US,
            // Clients take two pictures of one RTP time, which has 90 ticks to a millisecond, for one.
            false => pts_us.max(self.at_us + CATCH_UP_US),
        }
    }

    /// Whether so much is behind the picture of this time that a newer keyframe is better.
    fn is_left_behind(&self, ring: &Ring, pts_us: i64) -> bool {
        let behind = |newest: &Unit| newest.pts_us - pts_us > VIEWER_BEHIND_US_MAX;
        let next = self.position.map_or(0, |(seq, _)| seq);
        next >= self.live_from
            && ring.newest().is_some_and(behind)
            && ring.newest_keyframe().is_some_and(|seq| seq > next)
    }

    /// Whether a viewer could go over to this ring now.
    pub(super) fn can_begin(ring: &Ring) -> bool {
        let keyframe = ring.newest_keyframe().and_then(|seq| ring.get(seq));
        let both = keyframe.zip(ring.newest());
        both.is_some_and(|(keyframe, newest)| {
            newest.pts_us - keyframe.pts_us <= VIEWER_SWITCH_US_MAX
        })
    }

    /// Goes over to the ring that is wanted, if a keyframe has just come there.
    fn go_over(&mut self, rings: Rings<'_>, wanted: Option<RingId>) {
        let is_between = self.position.is_none_or(|(_, packet)| packet == 0);
        let other = wanted.filter(|wanted| *wanted != self.ring && is_between);
        let found = other.and_then(|wanted| Some((wanted, rings.get(wanted)?.0)));
        let Some((wanted, ring)) = found else {
            return;
        };
        // Who is sent nothing yet begins where others do.
        let is_first = self.position.is_none() && ring.newest_keyframe().is_some();
        if is_first || Self::can_begin(ring) {
            self.ring = wanted;
            self.begin(ring);
        }
    }

    /// Begins at the newest keyframe; whether there is one.
    fn begin(&mut self, ring: &Ring) -> bool {
        let Some(keyframe) = ring.newest_keyframe() else {
            self.position = None;
            return false;
        };
        let pictures = (keyframe..ring.end()).filter_map(|seq| ring.get(seq));
        let pictures = pictures.filter(|unit| matches!(unit.kind, Kind::Video { .. }));
        let (mut count, mut edge_us) = (0, 0);
        for picture in pictures {
            count += 1;
            edge_us = picture.pts_us;
        }
        self.position = Some((keyframe, 0));
        self.live_from = ring.end();
        // One more than the first keyframe's, which is counted from it.
        self.at_us = self.at_us.max(edge_us - count * CATCH_UP_US);
        true
    }
}

#[cfg(test)]
#[path = "video_feed_tests.rs"]
mod tests;
