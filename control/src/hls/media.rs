//! The segments of one broadcast, and their numbers.
//!
//! Numbers are the shard's while those go on. Where they do not (parts were left out, the engine was started
//! anew), the next segment has the number that follows in the playlist, and is a discontinuity, since a playlist
//! cannot leave numbers out (RFC 8216bis, 4.4.3.2). Discontinuities are those of all playlists of the broadcast ([`Breaks`]).

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use shardcast_cmaf::{Track, read_init_segment};
use shardcast_link::fragment::{FragmentHead, SegmentHead};
use siphasher::sip::SipHasher13;

use super::{
    breaks::{Begun, Breaks},
    tracks::Spans,
};
use crate::limits;

/// An init segment, and what playlists say of what it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Init {
    /// Tells it from others in its name.
    pub(crate) tag: u64,
    pub(crate) bytes: Bytes,
    pub(crate) codecs: String,
    /// Pixels and lines; 0 without video.
    pub(crate) size: (u32, u32),
    pub(crate) tracks: Vec<Track>,
}

#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) duration_us: u64,
    pub(crate) independent: bool,
    pub(crate) bytes: Bytes,
}

/// A moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) unix_ms: u64,
    /// On the media clock of the shard, in microseconds.
    pub(crate) media_us: i64,
}

/// What goes on without a discontinuity and under one init segment, which may have begun before what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    /// The number of its first segment.
    pub(crate) number: u64,
    pub(crate) begins: Moment,
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// When it begins.
    pub(crate) at: Moment,
    pub(crate) period: Period,
    /// Discontinuities between the one before and it.
    pub(crate) breaks: u64,
    /// Discontinuities up to it, those included.
    pub(crate) discontinuities: u64,
    pub(crate) init: Arc<Init>,
    /// 0 where it is not known.
    pub(crate) frames_per_second: u32,
    pub(crate) parts: Vec<Part>,
    pub(crate) is_complete: bool,
    /// Once they are asked for.
    pub(super) spans: OnceLock<Spans>,
    /// The same as MPEG-TS, once it is asked for.
    pub(super) transport: Arc<OnceLock<Bytes>>,
}

impl Segment {
    pub(crate) fn duration_us(&self) -> u64 {
        self.parts.iter().map(|part| part.duration_us).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Media {
    /// The last one may grow yet.
    segments: VecDeque<Segment>,
    /// Most segments of a playlist.
    list_size: usize,
    /// The segment and part of the shard that come next, if none is missing.
    expected: Option<(u64, u32)>,
    target_s: u64,
    is_ended: bool,
    /// The shard does not make it.
    is_left_out: bool,
    bytes: usize,
}

impl Media {
    pub(crate) fn new(list_size: usize) -> Self {
        Self {
            segments: VecDeque::new(),
            list_size,
            expected: None,
            target_s: 0,
            is_ended: false,
            is_left_out: false,
            bytes: 0,
        }
    }

    /// All that are kept.
    pub(crate) fn segments(&self) -> &VecDeque<Segment> {
        &self.segments
    }

    /// Those that a playlist has: the newest, and the one that is being made.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Segment> {
        let complete = self.segments.iter().filter(|it| it.is_complete).count();
        let beyond = complete.saturating_sub(self.list_size);
        self.segments.iter().skip(beyond)
    }

    /// The target duration in seconds.
    pub(crate) fn target_s(&self) -> u64 {
        self.target_s
    }

    /// The most pictures a second; 0 where that is not known.
    pub(crate) fn frames_per_second(&self) -> u32 {
        let all = self.segments.iter().map(|it| it.frames_per_second);
        all.max().unwrap_or(0)
    }

    /// Nothing more comes.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// The shard does not make it, so nothing comes.
    pub(crate) fn is_left_out(&self) -> bool {
        self.is_left_out
    }

    /// Nothing comes until a segment begins: what is kept would be a playlist that stands still.
    pub(super) fn leave_out(&mut self) {
        *self = Self::new(self.list_size);
        self.is_left_out = true;
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a playlist has a whole segment, as players that know nothing of parts need.
    pub(crate) fn has_segment(&self) -> bool {
        self.segments.iter().any(|segment| segment.is_complete)
    }

    /// Numbers of the last segment and its last part.
    pub(crate) fn last_part(&self) -> Option<(u64, usize)> {
        let last = self.segments.back()?;
        Some((last.number, last.parts.len().saturating_sub(1)))
    }

    /// Numbers of the last segment and its next part.
    pub(crate) fn next_part(&self) -> Option<(u64, usize)> {
        let last = self.segments.back()?;
        Some(if last.is_complete {
            (last.number + 1, 0)
        } else {
            (last.number, last.parts.len())
        })
    }

    /// Whether a playlist has this segment, or this part of it (RFC 8216bis, 6.2.5.2). A part that the segment
    /// does not get is the first of the next one.
    pub(crate) fn has(&self, number: u64, part: Option<u64>) -> bool {
        let Some((next_number, next_part)) = self.next_part() else {
            return self.is_ended;
        };
        if self.is_ended || number < next_number {
            // Of a whole segment, parts beyond it are those of the one behind.
            let beyond = part.is_some_and(|part| {
                number.checked_add(1) == Some(next_number)
                    && next_part == 0
                    && !self.has_part(number, part)
            });
            return self.is_ended || !beyond;
        }
        number == next_number && part.is_some_and(|part| part < next_part as u64)
    }

    fn has_part(&self, number: u64, part: u64) -> bool {
        let segment = self.segment(number);
        segment.is_none_or(|segment| part < segment.parts.len() as u64)
    }

    pub(crate) fn segment(&self, number: u64) -> Option<&Segment> {
        let first = self.segments.front()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.segments.get(index)
    }

    /// The newest segment with the init segment of this tag.
    pub(crate) fn segment_of(&self, tag: u64) -> Option<&Segment> {
        let mut segments = self.segments.iter().rev();
        segments.find(|segment| segment.init.tag == tag)
    }

    /// The init segment with this tag.
    pub(crate) fn init(&self, tag: u64) -> Option<Bytes> {
        let segment = self.segment_of(tag);
        segment.map(|segment| segment.init.bytes.clone())
    }

    /// Takes what the shard has handed over; false when it is left out, because what comes before it is missing.
    pub(crate) fn take(
        &mut self,
        head: &FragmentHead,
        mut body: Bytes,
        breaks: &mut Breaks,
    ) -> bool {
        if head.ends {
            self.complete();
            self.expected = None;
            self.is_ended = !self.segments.is_empty();
            return true;
        }
        if let Some(begins) = &head.begins {
            if self.is_ended || self.is_left_out {
                *self = Self::new(self.list_size);
            }
            let init_bytes = usize::try_from(begins.init_bytes).unwrap_or(usize::MAX);
            if init_bytes > body.len() {
                return false;
            }
            let init = body.split_to(init_bytes);
            self.begin(head.segment, begins, &init, breaks);
        } else if self.expected != Some((head.segment, head.part)) {
            // Until a segment begins that is whole.
            self.complete();
            self.expected = None;
            return false;
        }
        self.push(head, body);
        self.bound(limits::HLS_STREAM_BYTES_MAX, limits::HLS_SEGMENTS_BEYOND);
        true
    }

    fn begin(&mut self, number: u64, begins: &SegmentHead, bytes: &[u8], breaks: &mut Breaks) {
        let goes_on = self.expected == Some((number, 0));
        self.complete();
        let last = self.segments.back();
        let before = last.map(|last| last.discontinuities);
        let discontinuities = breaks.number(Begun {
            at_unix_ms: begins.at_unix_ms,
            before,
            is_break: begins.discontinuity || !goes_on,
            counted: begins.discontinuities,
        });
        let tag = SipHasher13::new().hash(bytes);
        let same = last.map(|last| &last.init).filter(|init| init.tag == tag);
        let init = same.cloned().unwrap_or_else(|| {
            Arc::new(Init {
                tag,
                bytes: Bytes::copy_from_slice(bytes),
                codecs: begins.codecs.clone(),
                size: (begins.width, begins.height),
                tracks: read_init_segment(bytes),
            })
        });
        let number = last.map_or(number, |last| last.number + 1);
        let breaks = discontinuities - before.unwrap_or(discontinuities);
        let at = Moment {
            unix_ms: begins.at_unix_ms,
            media_us: begins.at_us,
        };
        let goes_on = last.filter(|last| breaks == 0 && last.init.tag == tag);
        let period = goes_on.map_or(Period { number, begins: at }, |last| last.period);
        if self.target_s == 0 {
            // A segment ends at a keyframe, so some are longer than wanted. What is said first holds for good.
            self.target_s = u64::from(begins.wanted_ms).div_ceil(1_000) + 1;
        }
        self.segments.push_back(Segment {
            number,
            at,
            period,
            breaks,
            discontinuities,
            init,
            frames_per_second: begins.frames_per_second,
            parts: Vec::new(),
            is_complete: false,
            spans: OnceLock::new(),
            transport: Arc::default(),
        });
    }

    fn push(&mut self, head: &FragmentHead, bytes: Bytes) {
        let Some(segment) = self.segments.back_mut() else {
            return;
        };
        self.bytes += bytes.len();
        segment.parts.push(Part {
            duration_us: head.duration_us,
            independent: head.independent,
            bytes,
        });
        self.expected = Some(if head.last {
            (head.segment.saturating_add(1), 0)
        } else {
            (head.segment, head.part.saturating_add(1))
        });
        if head.last {
            self.complete();
        }
    }

    /// The last segment gets no more parts.
    fn complete(&mut self) {
        let Some(last) = self.segments.back_mut().filter(|it| !it.is_complete) else {
            return;
        };
        last.is_complete = true;
        let rounded_s = (last.duration_us() + 500_000) / 1_000_000;
        // An encoder whose keyframes are too far apart makes the target grow, which players bear.
        self.target_s = self.target_s.max(rounded_s);
    }

    /// Drops the oldest beyond the playlist and `beyond` more, and those that are too large.
    pub(crate) fn bound(&mut self, bytes_max: usize, beyond: usize) {
        while self.segments.len() > self.list_size + beyond
            || (self.bytes > bytes_max && self.segments.len() > 1)
        {
            if let Some(oldest) = self.segments.pop_front() {
                self.bytes -= oldest.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::playlist_tests::{Show, head};

    #[test]
    fn a_part_is_there_once_it_came_and_one_that_never_comes_is_the_next_segments_first() {
        let mut show = Show::new(5);
        show.part(7, 0, false);
        let has = |show: &Show, number, part| show.media.has(number, part);
        assert!(has(&show, 7, Some(0)) && !has(&show, 7, Some(1)) && !has(&show, 7, None));
        show.part(7, 1, true);
        assert!(has(&show, 7, Some(1)) && has(&show, 7, None) && has(&show, 6, Some(9)));
        assert!(!has(&show, 7, Some(2)) && !has(&show, 8, Some(0)));
        show.part(8, 0, false);
        assert!(has(&show, 7, Some(2)) && has(&show, 8, Some(0)) && !has(&show, 8, None));
        show.end();
        assert!(has(&show, 9, None) && has(&show, 8, Some(5)));
        // Nothing more comes, whatever number a player asks for.
        assert!(has(&show, u64::MAX, Some(0)));
    }

    #[test]
    fn parts_behind_a_missing_one_are_left_out_up_to_the_next_segment_which_is_a_discontinuity() {
        for lost in [
            &[(4, 1)][..],
            &[(4, 2)],
            &[(5, 0)],
            &[(5, 0), (5, 1), (5, 2)],
        ] {
            let mut show = Show::new(5);
            for at in [(4, 0), (4, 1), (4, 2), (5, 0), (5, 1), (5, 2), (6, 0)] {
                if !lost.contains(&at) {
                    show.part(at.0, at.1, at.1 == 2);
                }
            }
            let segments = show.media.segments();
            let found: Vec<_> = segments.iter().map(|it| (it.number, it.breaks)).collect();
            assert_eq!(found[0], (4, 0));
            assert_eq!(found[1], (5, 1), "{lost:?}: {found:?}");
            assert_eq!(show.media.next_part(), Some((found.last().unwrap().0, 1)));
        }
    }

    #[test]
    fn an_engine_that_was_started_anew_goes_on_in_the_numbers_of_the_playlist() {
        let mut show = Show::new(5);
        show.segments(10..13);
        show.segments(400..402);
        let segments = show.media.segments();
        let found: Vec<_> = segments
            .iter()
            .map(|it| (it.number, it.discontinuities))
            .collect();
        assert_eq!(found, [(10, 0), (11, 0), (12, 0), (13, 1), (14, 1)]);
    }

    #[test]
    fn memory_is_bounded_by_the_list_and_in_bytes_and_is_counted() {
        let mut show = Show::new(5);
        show.segments(0..100);
        assert_eq!(show.media.segments().len(), 5 + limits::HLS_SEGMENTS_BEYOND);
        assert_eq!(show.media.listed().count(), 5);
        let kept: usize = show.media.segments().iter().map(Segment::bytes).sum();
        assert_eq!(show.media.bytes(), kept);
        show.media.bound(1, 0);
        assert_eq!(show.media.segments().len(), 1);
    }

    #[test]
    fn what_begins_after_the_end_is_a_playlist_of_its_own() {
        let mut show = Show::new(5);
        show.segments(3..6);
        show.end();
        assert!(show.media.is_ended());
        show.segments(900..901);
        assert!(!show.media.is_ended());
        assert_eq!(show.media.segments()[0].number, 900);
        assert_eq!(show.media.segments().len(), 1);
    }

    #[test]
    fn an_init_segment_that_is_longer_than_its_body_is_left_out() {
        let mut media = Media::new(5);
        let mut head = head(1, 0, true);
        head.begins.as_mut().unwrap().init_bytes = 100;
        let mut breaks = Breaks::default();
        assert!(!media.take(&head, Bytes::from_static(b"short"), &mut breaks));
        assert!(media.segments().is_empty());
    }
}
