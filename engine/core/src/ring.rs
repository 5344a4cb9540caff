//! The packet ring of a broadcast: access units and audio frames as reference-counted bytes.
//!
//! Consumers hold a cursor (a sequence number) and read at their own pace; the ring never waits
//! for them. It is bounded in bytes and time, and what is left out at the old end is simply no
//! longer there: a consumer whose cursor is older than [`Ring::start`] jumps to the newest
//! keyframe ([`Ring::newest_keyframe`]). A payload is written once, when its unit is made, and
//! shared by all consumers.

use std::{collections::VecDeque, rc::Rc};

use bytes::Bytes;

use crate::{
    h264::ParameterSets,
    limits::{RING_BYTES_MAX, RING_US_MAX},
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
    Audio,
}

/// One access unit or audio frame.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) kind: Kind,
    /// When it is shown or heard, on the broadcast's media clock.
    pub(crate) pts_us: i64,
    /// When it is decoded: its time stamp in RTMP, which rises from picture to picture. It is
    /// before `pts_us` where pictures are shown in another order than they are decoded in, and the
    /// same for sound and for all other pictures.
    pub(crate) dts_us: i64,
    /// The body of the FLV tag: 5 bytes of header, which state the composition time, and length-prefixed NAL units, or 2 bytes and
    /// the AAC frame.
    pub(crate) body: Bytes,
}

impl Unit {
    pub(crate) fn is_keyframe(&self) -> bool {
        matches!(self.kind, Kind::Video { key: true, .. })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ring {
    units: VecDeque<Unit>,
    start: u64,
    bytes: usize,
    newest_keyframe: Option<u64>,
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
        self.units
            .get(usize::try_from(seq.checked_sub(self.start)?).ok()?)
    }

    pub(crate) fn newest(&self) -> Option<&Unit> {
        self.units.back()
    }

    pub(crate) fn newest_keyframe(&self) -> Option<u64> {
        self.newest_keyframe
    }

    pub(crate) fn push(&mut self, unit: Unit) {
        if unit.is_keyframe() {
            self.newest_keyframe = Some(self.end());
        }
        self.bytes += unit.body.len();
        let horizon_us = unit.dts_us - RING_US_MAX;
        self.units.push_back(unit);
        while self.units.len() > 1
            && (self.bytes > RING_BYTES_MAX
                || self
                    .units
                    .front()
                    .is_some_and(|oldest| oldest.dts_us < horizon_us))
        {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) {
        let Some(unit) = self.units.pop_front() else {
            return;
        };
        self.bytes -= unit.body.len();
        if self.newest_keyframe == Some(self.start) {
            self.newest_keyframe = None;
        }
        self.start += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(pts_us: i64, bytes: usize) -> Unit {
        Unit {
            kind: Kind::Audio,
            pts_us,
            dts_us: pts_us,
            body: Bytes::from(vec![0; bytes]),
        }
    }

    #[test]
    fn the_ring_is_bounded_in_time_and_cursors_notice() {
        let mut ring = Ring::default();
        for n in 0..1000 {
            ring.push(audio(n * 20_000, 100));
        }
        assert_eq!(ring.end(), 1000);
        assert_eq!(
            ring.start(),
            1000 - 1 - u64::try_from(RING_US_MAX / 20_000).unwrap()
        );
        assert!(ring.get(ring.start() - 1).is_none());
        assert_eq!(ring.get(999).unwrap().pts_us, 999 * 20_000);
        assert!(ring.get(1000).is_none());
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_but_keeps_the_newest_unit_whatever_its_size() {
        let mut ring = Ring::default();
        for n in 0..10 {
            ring.push(audio(n, RING_BYTES_MAX / 4));
        }
        assert!(ring.bytes() <= RING_BYTES_MAX);
        ring.push(audio(11, RING_BYTES_MAX + 1));
        assert_eq!(ring.end() - ring.start(), 1);
    }
}
