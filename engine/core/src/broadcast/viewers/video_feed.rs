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

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    broadcast::ring::{Kind, Ring},
    limits::{VIEWER_BURST_BYTES, VIEWER_CATCH_UP_BPS_MIN, VIEWER_LIVE_BPS, VIEWER_PACE_STEP_MS},
};

/// Distance of the pictures that are caught up with, in microseconds.
const CATCH_UP_US: i64 = 1_000;

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this packet.
    Packet {
        payload: Arc<[u8]>,
        /// Media time of its picture.
        at_us: i64,
        /// The last one of its picture.
        last: bool,
    },
    /// More is due then.
    At(Instant),
    /// Everything was sent.
    Nothing,
    /// There is no keyframe to begin with.
    KeyframeWanted,
    /// The video has B-frames, which browsers do not take.
    Unplayable,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct VideoFeed {
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
            position: None,
            live_from: 0,
            at_us: i64::MIN,
            pacer: Pacer::new(now),
        }
    }

    /// Nothing more is sent until the viewer begins anew.
    pub(super) fn restart(&mut self) {
        self.position = None;
    }

    pub(super) fn next(&mut self, now: Instant, ring: &Ring, video_bps: u64) -> Next {
        loop {
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
                Kind::Audio | Kind::Opus { .. } => None,
            };
            let Some((payloads, payload)) = payloads.and_then(|all| Some((all, all.get(packet)?)))
            else {
                self.position = Some((seq + 1, 0));
                continue;
            };
            if unit.pts_us != unit.dts_us {
                return Next::Unplayable;
            }
            let is_past = seq < self.live_from;
            let bps = bits_per_second(is_past, video_bps);
            if let Err(at) = self.pacer.take(now, payload.len(), bps) {
                return Next::At(at);
            }
            if packet == 0 {
                self.at_us = match is_past {
                    true => self.at_us + CATCH_UP_US,
                    false => unit.pts_us.max(self.at_us + 1),
                };
            }
            let last = packet + 1 == payloads.len();
            self.position = Some(if last {
                (seq + 1, 0)
            } else {
                (seq, packet + 1)
            });
            return Next::Packet {
                payload: Arc::clone(payload),
                at_us: self.at_us,
                last,
            };
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

/// The pace of what was there before the viewer, or of what has just come.
fn bits_per_second(is_past: bool, video_bps: u64) -> u64 {
    let catch_up = (video_bps.saturating_mul(5) / 2).max(VIEWER_CATCH_UP_BPS_MIN);
    match is_past {
        true => catch_up,
        false => catch_up.max(VIEWER_LIVE_BPS),
    }
}

/// Spreads what is sent at once: a keyframe, and what is caught up with.
#[derive(Debug)]
struct Pacer {
    /// Bytes that may be sent now; below 0 for the last packet.
    credit: i64,
    at: Instant,
}

impl Pacer {
    fn new(now: Instant) -> Self {
        Self {
            credit: VIEWER_BURST_BYTES.into(),
            at: now,
        }
    }

    /// Sends `bytes` now, or says when.
    fn take(&mut self, now: Instant, bytes: usize, bits_per_s: u64) -> Result<(), Instant> {
        let bytes_per_s = bits_per_s / 8;
        let since_us = now.saturating_duration_since(self.at).as_micros();
        let since_us = u64::try_from(since_us).unwrap_or(u64::MAX);
        let earned = since_us.saturating_mul(bytes_per_s) / 1_000_000;
        if earned > 0 {
            let earned = i64::try_from(earned).unwrap_or(i64::MAX);
            self.credit = self
                .credit
                .saturating_add(earned)
                .min(VIEWER_BURST_BYTES.into());
            self.at = now;
        }
        if self.credit <= 0 {
            return Err(now + Duration::from_millis(VIEWER_PACE_STEP_MS));
        }
        self.credit -= i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;
    use shardcast_sim::picture::{PPS, SPS_720P};

    use super::*;
    use crate::{broadcast::ring::Unit, codec::h264::ParameterSets};

    const FRAME_US: i64 = 33_333;
    const VIDEO_BPS: u64 = 2_500_000;

    fn unit(n: i64, key: bool, bytes: usize) -> Unit {
        let sets = ParameterSets::new(&Bytes::from_static(SPS_720P), &[Bytes::from_static(PPS)]);
        let mut payload = u32::try_from(bytes).unwrap().to_be_bytes().to_vec();
        payload.resize(bytes + 4, if key { 0x65 } else { 0x41 });
        Unit {
            kind: Kind::Video {
                key,
                config: Rc::new(sets.unwrap()),
            },
            pts_us: n * FRAME_US,
            dts_us: n * FRAME_US,
            payload: payload.into(),
        }
    }

    fn push(ring: &mut Ring, n: i64) {
        let key = n % 60 == 0;
        ring.push(unit(n, key, if key { 60_000 } else { 9_000 }), None);
    }

    /// What is sent until nothing is due, with the time that passes by the pacer.
    fn drain(feed: &mut VideoFeed, now: &mut Instant, ring: &Ring) -> Vec<(Arc<[u8]>, i64, bool)> {
        let mut sent = Vec::new();
        loop {
            match feed.next(*now, ring, VIDEO_BPS) {
                Next::Packet {
                    payload,
                    at_us,
                    last,
                } => sent.push((payload, at_us, last)),
                Next::At(at) => *now = at,
                Next::Nothing => return sent,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_viewer_begins_at_the_newest_keyframe_and_ends_at_the_live_edge_in_time() {
        let (mut ring, mut now) = (Ring::default(), Instant::now());
        (0..100).for_each(|n| push(&mut ring, n));
        let mut feed = VideoFeed::new(now);
        let sent = drain(&mut feed, &mut now, &ring);
        // STAP-A first: parameter sets.
        assert_eq!(sent[0].0[0] & 0x1f, 24);
        let times: Vec<i64> = sent.iter().filter(|it| it.2).map(|it| it.1).collect();
        assert_eq!(times.len(), 40);
        assert_eq!(*times.last().unwrap(), 99 * FRAME_US);
        assert!(
            times
                .windows(2)
                .all(|pair| pair[1] - pair[0] == CATCH_UP_US)
        );
        push(&mut ring, 100);
        let sent = drain(&mut feed, &mut now, &ring);
        assert!(sent.iter().all(|(_, at_us, _)| *at_us == 100 * FRAME_US));
    }

    #[test]
    fn a_group_is_not_sent_in_one_burst() {
        let (mut ring, mut now) = (Ring::default(), Instant::now());
        (0..60).for_each(|n| push(&mut ring, n));
        let (mut feed, start) = (VideoFeed::new(now), now);
        let mut at_once = 0;
        while let Next::Packet { payload, .. } = feed.next(now, &ring, VIDEO_BPS) {
            at_once += payload.len();
        }
        let burst = VIEWER_BURST_BYTES as usize;
        assert!((burst..burst + 2_000).contains(&at_once), "{at_once}");
        drain(&mut feed, &mut now, &ring);
        let took = now - start;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn a_keyframe_of_a_viewer_that_is_live_is_out_within_milliseconds() {
        let (mut ring, mut now) = (Ring::default(), Instant::now());
        (0..60).for_each(|n| push(&mut ring, n));
        let mut feed = VideoFeed::new(now);
        drain(&mut feed, &mut now, &ring);
        now += Duration::from_millis(33);
        ring.push(unit(60, true, 100_000), None);
        let came = now;
        assert!(drain(&mut feed, &mut now, &ring).len() > 80);
        let took = now - came;
        assert!(took <= Duration::from_millis(10), "{took:?}");
    }

    #[test]
    fn a_viewer_that_begins_anew_goes_on_in_time() {
        let (mut ring, mut now) = (Ring::default(), Instant::now());
        (0..90).for_each(|n| push(&mut ring, n));
        let mut feed = VideoFeed::new(now);
        let before = drain(&mut feed, &mut now, &ring).pop().unwrap().1;
        feed.restart();
        let sent = drain(&mut feed, &mut now, &ring);
        assert_eq!(sent[0].0[0] & 0x1f, 24);
        assert!(sent.iter().all(|(_, at_us, _)| *at_us > before));
    }

    #[test]
    fn nothing_is_sent_before_a_keyframe_and_b_frames_are_told() {
        let (mut ring, now) = (Ring::default(), Instant::now());
        let mut feed = VideoFeed::new(now);
        ring.push(unit(1, false, 100), None);
        assert!(matches!(feed.next(now, &ring, 0), Next::KeyframeWanted));
        let mut late = unit(2, true, 100);
        late.dts_us -= 10;
        ring.push(late, None);
        assert!(matches!(feed.next(now, &ring, 0), Next::Unplayable));
    }
}
