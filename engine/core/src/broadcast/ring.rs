//! The packet ring of a broadcast: access units and audio frames as reference-counted bytes.
//!
//! Consumers hold a cursor (a sequence number) and read at their own pace; the ring never waits
//! for them. A payload is written once, when its unit is made, and shared by all consumers.
//!
//! ```text
//!  newest keyframe within the lag          newest keyframe before it: the whole group stays
//!  ┊ lag, 3.5 s      ┊                     ┊           lag, 3.5 s      ┊
//!  │P P P I P P P P P│                     │I P P P P P P P P P P P P P│
//! ```
//!
//! A unit stays while somebody may read it: up to the lag that a destination may have (3 s, and half a
//! second by which a rendition is younger than its source), and back to the newest keyframe, since a
//! destination that has none to jump to goes on where it is. Both have bounds in time and bytes. What is
//! left out at the old end is no longer there: a consumer whose cursor is older than [`Ring::start`]
//! jumps to the newest keyframe ([`Ring::newest_keyframe`]).

use std::{cell::OnceCell, collections::VecDeque, rc::Rc, sync::Arc};

use bytes::Bytes;

use crate::{
    codec::{
        AudioCodec,
        aac::AacConfig,
        h264::{ParameterSets, RtpPayloads, rtp_payloads},
    },
    ids::RenditionId,
    limits::{RING_BYTES_MAX, RING_GROUP_US_MAX, RING_US},
};

/// What a unit carries.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// One H.264 access unit.
    Video {
        /// It is an IDR, so a decoder can start here.
        key: bool,
        /// The parameter sets that it is coded with.
        config: Rc<ParameterSets>,
    },
    /// One AAC frame of 1024 samples.
    Audio {
        /// What it is coded as.
        config: AacConfig,
    },
    /// One Opus packet (RFC 6716, 3). There are some while a consumer takes Opus.
    Opus {
        /// Its duration at 48 kHz.
        samples: u32,
    },
}

impl Kind {
    /// What it is coded in, if it is audio.
    pub(crate) fn audio(&self) -> Option<AudioCodec> {
        match self {
            Self::Video { .. } => None,
            Self::Audio { .. } => Some(AudioCodec::Aac),
            Self::Opus { .. } => Some(AudioCodec::Opus),
        }
    }
}

/// One access unit or audio frame.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) kind: Kind,
    /// When it is shown or heard, on the broadcast's media clock.
    pub(crate) pts_us: i64,
    /// When it is decoded: its time stamp in RTMP, which rises from frame to frame. It is
    /// before `pts_us` where frames are shown in another order than they are decoded in, and the
    /// same for audio and for all other frames.
    pub(crate) dts_us: i64,
    /// NAL units behind lengths of four bytes (ISO/IEC 14496-15, 5.3.4.2), a raw AAC frame or an Opus
    /// packet. Nothing of a container: each consumer adds its own.
    pub(crate) payload: Bytes,
}

impl Unit {
    /// By how much later than it is decoded it is shown, in milliseconds: the composition time of
    /// containers.
    pub(crate) fn composition_ms(&self) -> i32 {
        i32::try_from((self.pts_us - self.dts_us) / 1_000).unwrap_or(i32::MAX)
    }

    pub(crate) fn is_keyframe(&self) -> bool {
        matches!(self.kind, Kind::Video { key: true, .. })
    }
}

/// A unit, and what is made of it once for all consumers that want it so.
#[derive(Debug)]
struct Entry {
    unit: Unit,
    /// As viewers are sent it: made when the first one is.
    payloads: OnceCell<RtpPayloads>,
}

#[derive(Debug, Default)]
pub(crate) struct Ring {
    units: VecDeque<Entry>,
    start: u64,
    bytes: usize,
    /// Of all keyframes so far; it may be in the ring no longer.
    newest_keyframe: Option<u64>,
    /// Since these numbers audio in AAC and in Opus has no hole.
    aac_from: u64,
    opus_from: u64,
}

impl Ring {
    /// Sequence number of the oldest unit.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Sequence number that the next unit will get.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.units.len() as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Unit> {
        self.entry(seq).map(|entry| &entry.unit)
    }

    /// A unit as RTP payloads, which all viewers share; none for AAC.
    pub(crate) fn payloads(&self, seq: u64) -> Option<&RtpPayloads> {
        let Entry { unit, payloads } = self.entry(seq)?;
        match &unit.kind {
            Kind::Video { key, config } => {
                let sets = key.then_some(config.as_ref());
                Some(payloads.get_or_init(|| rtp_payloads(&unit.payload, sets)))
            }
            // A packet is a payload (RFC 7587, 4.2).
            Kind::Opus { .. } => {
                Some(payloads.get_or_init(|| Rc::new([Arc::from(unit.payload.as_ref())])))
            }
            Kind::Audio { .. } => None,
        }
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        self.units
            .get(usize::try_from(seq.checked_sub(self.start)?).ok()?)
    }

    pub(crate) fn newest(&self) -> Option<&Unit> {
        self.units.back().map(|entry| &entry.unit)
    }

    /// Audio goes on of which nothing is put here in this codec, since nobody takes it.
    pub(crate) fn leave_out(&mut self, codec: AudioCodec) {
        let end = self.end();
        match codec {
            AudioCodec::Aac => self.aac_from = end,
            AudioCodec::Opus => self.opus_from = end,
        }
    }

    /// Whether the unit with this number is audio in this codec, and the same is behind it without a hole.
    pub(crate) fn is_whole_from(&self, seq: u64, codec: AudioCodec) -> bool {
        let from = match codec {
            AudioCodec::Aac => self.aac_from,
            AudioCodec::Opus => self.opus_from,
        };
        let unit = self.get(seq).filter(|_| seq >= from);
        unit.is_some_and(|unit| unit.kind.audio() == Some(codec))
    }

    pub(crate) fn newest_keyframe(&self) -> Option<u64> {
        self.newest_keyframe.filter(|it| *it >= self.start)
    }

    /// Appends a unit, and drops the oldest that nobody reads any more. `wanted` is the number of a
    /// unit that is kept with all behind it, within the bounds of a group.
    pub(crate) fn push(&mut self, unit: Unit, wanted: Option<u64>) {
        debug_assert!(
            unit.dts_us <= unit.pts_us,
            "shown before it is decoded: {unit:?}"
        );
        debug_assert!(
            !matches!(unit.kind, Kind::Opus { samples: 0 }),
            "a packet without samples"
        );
        if unit.is_keyframe() {
            self.newest_keyframe = Some(self.end());
        }
        self.bytes += unit.payload.len();
        let newest_us = unit.dts_us;
        self.units.push_back(Entry {
            unit,
            payloads: OnceCell::new(),
        });
        while self.units.len() > 1 && self.is_oldest_idle(newest_us, wanted) {
            self.pop_oldest();
        }
    }

    /// Whether the oldest unit is beyond the bounds, or of no use to a consumer.
    fn is_oldest_idle(&self, newest_us: i64, wanted: Option<u64>) -> bool {
        let age_us = self
            .units
            .front()
            .map_or(0, |it| newest_us - it.unit.dts_us);
        let needed = [self.newest_keyframe, wanted];
        let is_needed = needed.into_iter().flatten().any(|from| self.start >= from);
        let bound_us = if is_needed {
            RING_GROUP_US_MAX
        } else {
            RING_US
        };
        self.bytes > RING_BYTES_MAX || age_us > bound_us
    }

    fn pop_oldest(&mut self) {
        let Some(Entry { unit, .. }) = self.units.pop_front() else {
            return;
        };
        self.bytes -= unit.payload.len();
        self.start += 1;
    }
}

/// What is in a ring, for those who take it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MediaFacts {
    /// Video is there or will come; without, audio alone is sent.
    pub(crate) expects_video: bool,
    /// 0 when not known yet.
    pub(crate) frames_per_second: u32,
    /// Video bit rate; 0 when not known yet.
    pub(crate) video_bps: u64,
    pub(crate) audio_bps: u32,
    /// The AAC of an encoder, which is passed on as it came: there is no other audio then.
    pub(crate) aac: Option<AacConfig>,
}

impl MediaFacts {
    /// What a consumer that would take `wanted` is sent.
    pub(crate) fn audio(&self, wanted: AudioCodec) -> AudioCodec {
        self.aac.map_or(wanted, |_| AudioCodec::Aac)
    }
}

/// Names a ring of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingId {
    /// What the publisher sends.
    Source,
    Rendition(RenditionId),
}

#[cfg(test)]
mod tests {
    use shardcast_sim::picture::{PPS, SPS_720P};

    use super::*;

    fn audio(pts_us: i64, bytes: usize) -> Unit {
        Unit {
            kind: Kind::Audio {
                config: AacConfig::OURS,
            },
            pts_us,
            dts_us: pts_us,
            payload: Bytes::from(vec![0; bytes]),
        }
    }

    fn video(pts_us: i64, key: bool, bytes: usize) -> Unit {
        let config = ParameterSets::new(&Bytes::from_static(SPS_720P), &[Bytes::from_static(PPS)]);
        let config = Rc::new(config.unwrap());
        Unit {
            kind: Kind::Video { key, config },
            ..audio(pts_us, bytes)
        }
    }

    /// A keyframe each `gop` frames, of 30 a second.
    fn show(frames: i64, gop: i64) -> Ring {
        let mut ring = Ring::default();
        for n in 0..frames {
            ring.push(video(n * FRAME_US, n % gop == 0, 100), None);
        }
        ring
    }

    const FRAME_US: i64 = 33_333;

    #[test]
    fn the_ring_is_bounded_in_time_and_cursors_notice() {
        let mut ring = Ring::default();
        for n in 0..1000 {
            ring.push(audio(n * 20_000, 100), None);
        }
        assert_eq!(ring.end(), 1000);
        assert_eq!(
            ring.start(),
            1000 - 1 - u64::try_from(RING_US / 20_000).unwrap()
        );
        assert!(ring.get(ring.start() - 1).is_none());
        assert_eq!(ring.get(999).unwrap().pts_us, 999 * 20_000);
        assert!(ring.get(1000).is_none());
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_but_keeps_the_newest_unit_whatever_its_size() {
        let mut ring = Ring::default();
        for n in 0..10 {
            ring.push(audio(n, RING_BYTES_MAX / 4), None);
        }
        assert!(ring.bytes() <= RING_BYTES_MAX);
        ring.push(audio(11, RING_BYTES_MAX + 1), None);
        assert_eq!(ring.end() - ring.start(), 1);
    }

    #[test]
    fn what_is_within_the_lag_of_a_destination_stays() {
        for gop in [15, 60, 90] {
            let ring = show(600, gop);
            let oldest = ring.get(ring.start()).unwrap();
            let kept_us = ring.newest().unwrap().dts_us - oldest.dts_us;
            assert!(kept_us > RING_US - FRAME_US, "{gop}: {kept_us} us");
            assert!(kept_us <= RING_US, "{gop}: {kept_us} us");
        }
    }

    #[test]
    fn a_group_stays_whole_up_to_its_bound() {
        // 150 frames are five seconds.
        for frames in 600..750 {
            let ring = show(frames, 150);
            let newest = ring.newest_keyframe().expect("it is in the ring");
            let lag = u64::try_from(RING_US / FRAME_US).unwrap();
            assert!(ring.start() <= newest.min(ring.end() - lag));
            assert!(ring.start() == newest || ring.end() - ring.start() <= lag + 1);
        }
        // The publisher sends no keyframe any more.
        let ring = show(600, 10_000);
        assert_eq!(ring.newest_keyframe(), None);
        let kept = ring.end() - ring.start();
        let bound = u64::try_from(RING_GROUP_US_MAX / FRAME_US).unwrap();
        assert_eq!(kept, bound + 1);
    }

    #[test]
    fn what_is_wanted_stays_up_to_the_bound_of_a_group() {
        let mut ring = show(300, 30);
        let wanted = ring.newest_keyframe().unwrap();
        for n in 300..420 {
            ring.push(video(n * FRAME_US, n % 30 == 0, 100), Some(wanted));
            assert!(ring.start() <= wanted);
        }
        for n in 420..500 {
            ring.push(video(n * FRAME_US, n % 30 == 0, 100), Some(wanted));
        }
        assert!(ring.start() > wanted);
    }
}
