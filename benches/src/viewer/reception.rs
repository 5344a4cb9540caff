//! What a viewer sees of video packets: whole frames that can be decoded, losses, freezes and delays.
//! Pure: the caller gives the time.

use std::collections::BTreeMap;

use super::packet::Content;
use crate::frame_stamp::FrameStamp;
use crate::limits::DELAY_SAMPLES_MAX;

/// A missing packet is given up so long after the one behind it came. A browser asks for it again all that
/// time.
const GIVE_UP_US: u64 = 1_000_000;
/// Packets kept behind a missing one: three seconds at 8 Mbit/s.
const WAITING_MAX: usize = 2_500;
/// A pause of the video is a freeze if it is longer than three frame distances, and than one and 150 ms
/// (W3C webrtc-stats, `freezeCount`).
const FREEZE_FACTOR: u64 = 3;
const FREEZE_OVER_US: u64 = 150_000;
/// Frame distances that make the average.
const AVERAGE_OF: u64 = 30;

/// One packet as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct VideoPacket {
    /// Sequence number, extended beyond 16 bits.
    pub(super) sequence: u64,
    /// RTP timestamp, extended beyond 32 bits.
    pub(super) rtp_time: u64,
    /// The last packet of its frame.
    pub(super) marker: bool,
    pub(super) content: Content,
    pub(super) at_us: u64,
}

/// What was received so far.
#[derive(Clone, Debug, Default)]
pub(super) struct VideoReception {
    pub(super) packets: u64,
    /// Packets that never came.
    pub(super) packets_lost: u64,
    /// Frames that are whole and can be decoded.
    pub(super) frames: u64,
    pub(super) keyframes: u64,
    /// Frames that are damaged, or refer to one that is.
    pub(super) frames_damaged: u64,
    /// Frames of the publisher between two that were seen.
    pub(super) frames_missing: u64,
    pub(super) freezes: u64,
    pub(super) freeze_us_max: u64,
    /// Arrival of the first frame.
    pub(super) first_frame_us: Option<u64>,
    /// Whether the first frame was a keyframe.
    pub(super) begins_with_keyframe: Option<bool>,
    /// Milliseconds from the publisher's send call to the last packet of a frame.
    pub(super) delays_ms: Vec<f64>,
    /// Number of the next packet, in order.
    next: Option<u64>,
    waiting: BTreeMap<u64, VideoPacket>,
    frame: Option<OpenFrame>,
    /// The frames from the last keyframe on are whole.
    decodable: bool,
    /// Packets before the next one were given up.
    is_cut: bool,
    last_frame_us: Option<u64>,
    distance_us: u64,
    last_stamp: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    rtp_time: u64,
    is_idr: bool,
    stamp: Option<FrameStamp>,
    at_us: u64,
    /// None of its packets were given up.
    whole: bool,
}

impl VideoReception {
    /// Takes a packet. Says whether a keyframe is needed.
    pub(super) fn packet(&mut self, packet: VideoPacket) -> bool {
        let next = *self.next.get_or_insert(packet.sequence);
        if packet.sequence < next || self.waiting.contains_key(&packet.sequence) {
            return false;
        }
        self.packets += 1;
        self.waiting.insert(packet.sequence, packet);
        self.advance();
        self.give_up(packet.at_us)
    }

    /// Takes what is in order.
    fn advance(&mut self) {
        while let Some(next) = self.next
            && let Some(packet) = self.waiting.remove(&next)
        {
            self.next = Some(next + 1);
            self.in_order(packet);
        }
    }

    /// Goes on behind packets that were waited for too long.
    fn give_up(&mut self, now_us: u64) -> bool {
        let Some((first, since_us)) = self.first_waiting() else {
            return false;
        };
        if now_us < since_us + GIVE_UP_US && self.waiting.len() <= WAITING_MAX {
            return false;
        }
        self.packets_lost += first - self.next.unwrap_or(first);
        self.next = Some(first);
        if self.frame.take().is_some() {
            self.frames_damaged += 1;
        }
        self.decodable = false;
        self.is_cut = true;
        self.advance();
        true
    }

    fn first_waiting(&self) -> Option<(u64, u64)> {
        let (sequence, _) = self.waiting.first_key_value()?;
        let since_us = self.waiting.values().map(|packet| packet.at_us).min()?;
        Some((*sequence, since_us))
    }

    fn in_order(&mut self, packet: VideoPacket) {
        let is_new = self
            .frame
            .is_none_or(|frame| frame.rtp_time != packet.rtp_time);
        if is_new {
            if let Some(frame) = self.frame.take() {
                self.complete(frame);
            }
            self.frame = Some(OpenFrame {
                rtp_time: packet.rtp_time,
                is_idr: false,
                stamp: None,
                at_us: 0,
                // The stamp stands before the picture.
                whole: !self.is_cut || packet.content.stamp.is_some(),
            });
            self.is_cut = false;
        }
        let Some(frame) = &mut self.frame else {
            return;
        };
        frame.is_idr |= packet.content.is_idr;
        frame.stamp = frame.stamp.or(packet.content.stamp);
        frame.at_us = frame.at_us.max(packet.at_us);
        if packet.marker
            && let Some(frame) = self.frame.take()
        {
            self.complete(frame);
        }
    }

    fn complete(&mut self, frame: OpenFrame) {
        self.begins_with_keyframe.get_or_insert(frame.is_idr);
        self.decodable |= frame.is_idr && frame.whole;
        if !self.decodable {
            self.frames_damaged += 1;
            return;
        }
        self.frames += 1;
        self.keyframes += u64::from(frame.is_idr);
        self.first_frame_us.get_or_insert(frame.at_us);
        self.freeze(frame.at_us);
        if let Some(stamp) = frame.stamp {
            self.stamped(stamp, frame.at_us);
        }
    }

    fn stamped(&mut self, stamp: FrameStamp, at_us: u64) {
        if let Some(last) = self.last_stamp
            && let Some(missing) = stamp.frame.checked_sub(last + 1)
        {
            self.frames_missing += u64::from(missing);
        }
        self.last_stamp = Some(stamp.frame);
        if self.delays_ms.len() < DELAY_SAMPLES_MAX {
            let delay_us = at_us.saturating_sub(stamp.sent_us);
            self.delays_ms.push(delay_us as f64 / 1_000.0);
        }
    }

    fn freeze(&mut self, at_us: u64) {
        let Some(last) = self.last_frame_us.replace(at_us) else {
            return;
        };
        let distance = at_us.saturating_sub(last);
        if self.distance_us == 0 {
            self.distance_us = distance;
            return;
        }
        let limit = (FREEZE_FACTOR * self.distance_us).max(self.distance_us + FREEZE_OVER_US);
        if distance > limit {
            self.freezes += 1;
            self.freeze_us_max = self.freeze_us_max.max(distance);
            return;
        }
        self.distance_us = (self.distance_us * (AVERAGE_OF - 1) + distance) / AVERAGE_OF;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_US: u64 = 33_333;
    const PACKETS: u64 = 3;

    /// Packet `n` of a stream of frames of three packets with an IDR each second.
    fn packet(n: u64) -> VideoPacket {
        let frame = n / PACKETS;
        let sent_us = frame * FRAME_US;
        let stamp = FrameStamp {
            sent_us,
            frame: frame as u32,
            publisher: 0,
            flash: false,
        };
        VideoPacket {
            sequence: 1_000 + n,
            rtp_time: frame * 3_000,
            marker: n % PACKETS == PACKETS - 1,
            content: Content {
                is_idr: frame.is_multiple_of(30),
                stamp: n.is_multiple_of(PACKETS).then_some(stamp),
            },
            at_us: sent_us + 2_000,
        }
    }

    #[test]
    fn packets_in_any_near_order_are_whole_frames() {
        for swap in 1..10 {
            let mut order: Vec<u64> = (0..900).collect();
            order.chunks_mut(swap).skip(1).for_each(<[u64]>::reverse);
            let mut video = VideoReception::default();
            for n in order {
                assert!(!video.packet(packet(n)));
                // A packet that comes twice counts once.
                assert!(!video.packet(packet(n)));
            }
            assert_eq!((video.packets, video.packets_lost), (900, 0));
            assert_eq!((video.frames, video.keyframes), (300, 10), "{swap}");
            assert_eq!((video.frames_missing, video.freezes), (0, 0));
            assert_eq!(video.begins_with_keyframe, Some(true));
            assert!(video.delays_ms.iter().all(|ms| *ms >= 2.0));
        }
    }

    #[test]
    fn a_lost_packet_damages_frames_until_the_next_keyframe() {
        let mut video = VideoReception::default();
        let asked = (0..900)
            .filter(|n| *n != 100)
            .filter(|n| video.packet(packet(*n)))
            .count();
        assert_eq!((video.packets_lost, asked), (1, 1));
        // Frame 33 is damaged, and all up to the keyframe 60.
        assert_eq!(video.frames, 300 - (60 - 33));
        assert_eq!((video.freezes, video.frames_missing), (1, 27));
        assert!(video.freeze_us_max >= 27 * FRAME_US);
    }

    #[test]
    fn a_stream_that_begins_between_keyframes_is_seen_from_the_next() {
        let mut video = VideoReception::default();
        for n in 30..300 {
            video.packet(packet(n));
        }
        assert_eq!(video.begins_with_keyframe, Some(false));
        assert_eq!((video.frames, video.frames_damaged), (70, 20));
    }
}
