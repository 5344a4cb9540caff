//! Cuts the units of one ring into parts and segments, as long as they go on from one another.
//!
//! ```text
//!  video   I P P P P P P P P P P P P P P P P P P P P I P P …
//!  parts   │ 300 ms ┊ 300 ms ┊ 300 ms ┊    …   ┊     │
//!  segment │                                         │ ends at the first keyframe after `segment_us`, or on a grid
//! ```
//!
//! Parts end on a grid of time and not at pictures, so that each is as long as playlists say, whatever the
//! frame rate: a part has the samples that are decoded within it. A picture is held back until the next one tells
//! its duration. Audio is not waited for: what comes late stands in the next part, with its own time. Audio that is
//! ahead waits for the pictures of its time, since a part has both.

use std::{collections::VecDeque, rc::Rc};

use bytes::Bytes;
use shardcast_cmaf::{Sample, TrackRun, VIDEO_TIMESCALE, fragment, ticks};
use shardcast_link::{
    BroadcastId,
    fragment::{FragmentHead, PART_MS, PART_MS_MAX, RungName, SegmentHead},
};

use super::{
    grid::Grid,
    tracks::{AUDIO_TRACK, Tracks, VIDEO_TRACK},
};
use crate::{
    broadcast::ring::{Kind, Unit},
    codec::{
        aac::{AacConfig, FRAME_SAMPLES},
        h264::ParameterSets,
    },
    context::Clock,
    io::Fragment,
    limits::{
        HLS_AUDIO_AHEAD_US, HLS_PART_BYTES_MAX, HLS_SEGMENT_EARLY_US_MAX, HLS_SEGMENT_US_MAX,
        HLS_STEP_US_MAX,
    },
};

const PART_US: i64 = PART_MS as i64 * 1_000;
const PART_US_MAX: i64 = PART_MS_MAX as i64 * 1_000;
/// Taken for the last picture, of which nobody knows how long it is shown.
const FRAME_US_DEFAULT: i64 = 33_333;

/// Numbers that go on from stream to stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    /// Of the segment.
    pub(super) segment: u64,
    pub(super) discontinuities: u64,
    /// Of the fragment, from 1 (ISO/IEC 14496-12, 8.8.5).
    pub(super) fragment: u32,
}

/// What a stream begins with.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) broadcast: BroadcastId,
    pub(super) rung: Option<RungName>,
    pub(super) tracks: Tracks,
    /// The first segment has the number that comes next.
    pub(super) numbers: Numbers,
    /// It follows another stream.
    pub(super) discontinuity: bool,
    pub(super) segment_us: i64,
    /// Segments end at keyframes behind the lines of it.
    pub(super) grid: Option<Grid>,
    /// 0 where that is not known.
    pub(super) frames_per_second: u32,
    pub(super) at_us: i64,
    pub(super) clock: Clock,
}

#[derive(Debug)]
struct Picture {
    dts_us: i64,
    pts_us: i64,
    key: bool,
    payload: Bytes,
}

#[derive(Debug)]
struct AudioFrame {
    pts_us: i64,
    payload: Bytes,
}

/// Where a part ends.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// On the media clock.
    until_us: i64,
    /// It has the units that are decoded before this.
    samples_until_us: i64,
    /// When the picture behind those that are here is decoded; without it the newest is held back.
    next_us: Option<i64>,
    /// The segment ends with it.
    last: bool,
}

impl Cut {
    fn at(until_us: i64, next_us: Option<i64>) -> Self {
        Self {
            until_us,
            samples_until_us: until_us,
            next_us,
            last: false,
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Stream {
    broadcast: BroadcastId,
    rung: Option<RungName>,
    tracks: Tracks,
    init: Bytes,
    clock: Clock,
    segment_us: i64,
    grid: Option<Grid>,
    /// 0 where that is not known.
    pub(super) frames_per_second: u32,
    pub(super) numbers: Numbers,
    /// The segment that is being made does not go on from the one before.
    pub(super) discontinuity: bool,
    /// Where the segment and the part begin on the media clock.
    segment_at_us: i64,
    part_at_us: i64,
    part: u32,
    /// In the order of decoding; how long the newest is shown is not known yet.
    pictures: VecDeque<Picture>,
    audio: VecDeque<AudioFrame>,
    /// When the audio frame behind the last one of a part is decoded, in samples.
    audio_ticks: Option<u64>,
    bytes: usize,
    /// What the publisher's audio has become meanwhile: it begins with the next keyframe.
    other_audio: bool,
}

/// A keyframe ends a segment of this wanted length from this age on, in microseconds.
pub(super) fn early_us(segment_us: i64) -> i64 {
    segment_us - (segment_us / 4).min(HLS_SEGMENT_EARLY_US_MAX)
}

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is in the stream, or left out of it.
    Yes,
    /// It does not go on from what came before: another stream begins with it.
    BeginsAnother,
}

impl Stream {
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning {
            broadcast,
            rung,
            tracks,
            mut numbers,
            discontinuity,
            segment_us,
            grid,
            frames_per_second,
            at_us,
            clock,
        } = beginning;
        numbers.discontinuities += u64::from(discontinuity);
        Self {
            broadcast,
            rung,
            init: tracks.init(),
            tracks,
            clock,
            segment_us,
            grid,
            frames_per_second,
            numbers,
            discontinuity,
            segment_at_us: at_us,
            part_at_us: at_us,
            part: 0,
            pictures: VecDeque::new(),
            audio: VecDeque::new(),
            audio_ticks: None,
            bytes: 0,
            other_audio: false,
        }
    }

    /// Takes a unit of the ring; parts that are whole with it go into `out`.
    pub(super) fn take(&mut self, unit: &Unit, out: &mut Vec<Fragment>) -> Taken {
        match &unit.kind {
            Kind::Video { key, config } => self.video(unit, *key, config, out),
            Kind::Audio { config } => self.audio(unit, *config, out),
            Kind::Opus { .. } => Taken::Yes,
        }
    }

    fn video(
        &mut self,
        unit: &Unit,
        key: bool,
        config: &Rc<ParameterSets>,
        out: &mut Vec<Fragment>,
    ) -> Taken {
        let last_us = self.pictures.back().map(|picture| picture.dts_us);
        let step_us = last_us.map_or(0, |last_us| unit.dts_us - last_us);
        let goes_on = self.tracks.has(config)
            && (last_us.is_none() || (1..=HLS_STEP_US_MAX).contains(&step_us));
        if !goes_on || (key && self.other_audio) {
            // Without a keyframe it cannot be decoded: it is left out.
            return if key {
                Taken::BeginsAnother
            } else {
                Taken::Yes
            };
        }
        let dts_us = unit.dts_us;
        let age_us = dts_us - self.segment_at_us;
        let ends_segment =
            last_us.is_some() && (key && self.is_cut(dts_us) || age_us >= HLS_SEGMENT_US_MAX);
        self.close_parts_before(dts_us, ends_segment, out);
        if ends_segment {
            self.end_segment(dts_us, out);
        } else if self.bytes + unit.payload.len() > HLS_PART_BYTES_MAX {
            self.close_part(Cut::at(dts_us, Some(dts_us)), out);
        }
        self.bytes += unit.payload.len();
        self.pictures.push_back(Picture {
            dts_us,
            pts_us: unit.pts_us,
            key,
            payload: unit.payload.clone(),
        });
        Taken::Yes
    }

    fn audio(&mut self, unit: &Unit, config: AacConfig, out: &mut Vec<Fragment>) -> Taken {
        if config != self.tracks.audio {
            self.other_audio = true;
            return if self.tracks.video.is_some() {
                Taken::Yes
            } else {
                Taken::BeginsAnother
            };
        }
        let pts_us = unit.pts_us;
        if self.audio.back().is_some_and(|last| last.pts_us >= pts_us) {
            return Taken::Yes;
        }
        let alone = self.tracks.video.is_none();
        if alone {
            let ends_segment = pts_us - self.segment_at_us >= self.segment_us;
            self.close_parts_before(pts_us, ends_segment, out);
            if ends_segment {
                self.end_segment(pts_us, out);
            }
        } else if let Some(oldest) = self.audio.front()
            && pts_us - oldest.pts_us > HLS_AUDIO_AHEAD_US
        {
            return Taken::Yes;
        }
        self.bytes += unit.payload.len();
        self.audio.push_back(AudioFrame {
            pts_us,
            payload: unit.payload.clone(),
        });
        Taken::Yes
    }

    /// Whether a keyframe at this time ends the segment.
    fn is_cut(&self, dts_us: i64) -> bool {
        match self.grid {
            None => dts_us - self.segment_at_us >= early_us(self.segment_us),
            Some(grid) => grid.number(dts_us) > grid.number(self.segment_at_us),
        }
    }

    /// Closes the parts that are whole with a unit at `at_us`, which ends the segment or goes into the part that stays
    /// open.
    fn close_parts_before(&mut self, at_us: i64, ends_segment: bool, out: &mut Vec<Fragment>) {
        let most_us = if ends_segment {
            PART_US_MAX
        } else {
            PART_US - 1
        };
        while at_us - self.part_at_us > most_us {
            let grid_us = self.part_at_us + PART_US;
            let newest_us = self.newest_us();
            let mut cut = Cut::at(grid_us, Some(at_us));
            let comes = !ends_segment && at_us - grid_us < PART_US;
            let lacks_next = newest_us < grid_us && !comes;
            // A part keeps the picture that it begins with, since a segment begins with its keyframe.
            let is_alone = lacks_next && newest_us <= self.part_at_us;
            if lacks_next {
                // The next part would be without samples: it gets the newest unit, with its own time.
                cut.samples_until_us = newest_us;
            }
            if is_alone || !self.close_part(cut, out) {
                // One unit alone for so long: it makes one long part, which may be the segment's last.
                if !ends_segment {
                    self.close_part(Cut::at(at_us, Some(at_us)), out);
                }
                break;
            }
        }
    }

    fn end_segment(&mut self, at_us: i64, out: &mut Vec<Fragment>) {
        let cut = Cut::at(at_us, Some(at_us));
        let closed = self.close_part(Cut { last: true, ..cut }, out);
        debug_assert!(closed, "a segment ends with a part");
        self.numbers.segment += 1;
        self.segment_at_us = at_us;
        self.part_at_us = at_us;
        self.part = 0;
        self.discontinuity = false;
    }

    /// Puts out what is left: nothing goes on from here.
    pub(super) fn finish(mut self, out: &mut Vec<Fragment>) -> Numbers {
        let mut times = self.pictures.iter().rev().map(|picture| picture.dts_us);
        let video_us = times.next().map(|last_us| {
            let frame_us = times.next().map_or(FRAME_US_DEFAULT, |it| last_us - it);
            last_us + frame_us.clamp(1, PART_US)
        });
        // Audio that is further ahead of the last picture waited for others.
        let most_us = video_us.map_or(i64::MAX, |video_us| video_us + PART_US);
        while self.audio.back().is_some_and(|it| it.pts_us >= most_us) {
            self.audio.pop_back();
        }
        let frame_us = self.tracks.audio.frames_us(1);
        let audio_us = self.audio.back().map(|last| last.pts_us + frame_us);
        if let Some(end_us) = video_us.max(audio_us) {
            let mut end_us = end_us;
            while self.newest_us() >= self.part_at_us + PART_US {
                let grid_us = self.part_at_us + PART_US;
                if !self.close_part(Cut::at(grid_us, video_us), out) {
                    break;
                }
            }
            if self.newest_us() < self.part_at_us + PART_US {
                end_us = end_us.min(self.part_at_us + PART_US_MAX);
            }
            let cut = Cut::at(end_us, video_us);
            self.close_part(Cut { last: true, ..cut }, out);
        }
        if self.part > 0 {
            self.numbers.segment += 1;
        }
        self.numbers
    }

    /// When the newest unit is decoded that is in no part yet.
    fn newest_us(&self) -> i64 {
        let video_us = self.pictures.back().map(|it| it.dts_us);
        let audio_us = self.audio.back().map(|it| it.pts_us);
        video_us.max(audio_us).unwrap_or(i64::MIN)
    }

    /// Ends the part; false when there is nothing to put into it, which leaves it open.
    fn close_part(&mut self, cut: Cut, out: &mut Vec<Fragment>) -> bool {
        let Cut { until_us, last, .. } = cut;
        let video = self.video_run(cut.samples_until_us, cut.next_us);
        let audio = self.audio_run(cut.samples_until_us);
        let independent = match video.samples.first() {
            Some(first) => first.key,
            None => self.tracks.video.is_none(),
        };
        let runs = vec![video, audio];
        if runs.iter().all(|run| run.samples.is_empty()) {
            return false;
        }
        let payload = runs.iter().flat_map(|run| &run.samples).map(Sample::len);
        self.bytes = self.bytes.saturating_sub(payload.sum());
        self.numbers.fragment = self.numbers.fragment.wrapping_add(1).max(1);
        let mut slices = match fragment(self.numbers.fragment, runs) {
            Ok(slices) => slices,
            Err(error) => {
                // The bound of a part is far below.
                tracing::error!(broadcast = %self.broadcast, %error, "a part is left out");
                return true;
            }
        };
        let begins = (self.part == 0).then(|| {
            slices.insert(0, self.init.clone());
            self.segment_head()
        });
        let head = FragmentHead {
            broadcast: self.broadcast.clone(),
            rung: self.rung,
            segment: self.numbers.segment,
            part: self.part,
            duration_us: u64::try_from(until_us - self.part_at_us).unwrap_or(0),
            independent,
            last,
            begins,
            ends: false,
        };
        self.part_at_us = until_us;
        self.part += 1;
        out.push(Fragment { head, slices });
        true
    }

    fn segment_head(&self) -> SegmentHead {
        let video = self.tracks.video.as_ref();
        SegmentHead {
            at_unix_ms: self.clock.unix_ms(self.clock.instant(self.segment_at_us)),
            at_us: self.segment_at_us,
            discontinuity: self.discontinuity,
            discontinuities: self.numbers.discontinuities,
            init_bytes: u32::try_from(self.init.len()).unwrap_or(0),
            codecs: self.tracks.codecs(),
            width: video.map_or(0, |config| config.width()),
            height: video.map_or(0, |config| config.height()),
            wanted_ms: u32::try_from(self.segment_us / 1_000).unwrap_or(0),
            frames_per_second: self.frames_per_second,
            rungs: None,
        }
    }

    /// The pictures that are decoded before `until_us`.
    fn video_run(&mut self, until_us: i64, next_us: Option<i64>) -> TrackRun {
        let to_ticks = |us| ticks(us, VIDEO_TIMESCALE);
        let first_us = self.pictures.front().map_or(0, |it| it.dts_us);
        let mut samples = Vec::new();
        while let Some(picture) = self.pictures.front()
            && picture.dts_us < until_us
            && let Some(next_us) = self.pictures.get(1).map(|it| it.dts_us).or(next_us)
            && let Some(picture) = self.pictures.pop_front()
        {
            let decoded_at = to_ticks(picture.dts_us);
            let duration = to_ticks(next_us).saturating_sub(decoded_at);
            let composition = to_ticks(picture.pts_us).saturating_sub(decoded_at);
            samples.push(Sample {
                duration: u32::try_from(duration).unwrap_or(u32::MAX),
                composition_offset: i32::try_from(composition).unwrap_or(i32::MAX),
                key: picture.key,
                parameter_sets: None,
                payload: picture.payload,
            });
        }
        TrackRun {
            track: VIDEO_TRACK,
            decoded_at: to_ticks(first_us),
            samples,
        }
    }

    /// The audio frames that begin before `until_us`.
    fn audio_run(&mut self, until_us: i64) -> TrackRun {
        let frame_ticks = FRAME_SAMPLES.unsigned_abs();
        let rate = self.tracks.audio.sample_rate;
        let mut decoded_at = None;
        let mut samples: Vec<Sample> = Vec::new();
        while self.audio.front().is_some_and(|it| it.pts_us < until_us)
            && let Some(frame) = self.audio.pop_front()
        {
            let at = ticks(frame.pts_us, rate);
            // Frames are counted, so that rounding makes no gap; what has really moved is followed.
            let at = self
                .audio_ticks
                .filter(|counted| counted.abs_diff(at) <= frame_ticks / 2)
                .unwrap_or(at);
            // Behind the frame before, which may have been counted beyond its own time.
            let least = self.audio_ticks.map(|counted| counted + 1 - frame_ticks);
            let at = at.max(least.unwrap_or(0));
            if let (Some(before), Some(counted)) = (samples.last_mut(), self.audio_ticks) {
                // Shorter than a frame where frames come bunched: the next one has its own time.
                let until_next = (at + frame_ticks).saturating_sub(counted);
                before.duration = u32::try_from(until_next).unwrap_or(u32::MAX);
            }
            self.audio_ticks = Some(at + frame_ticks);
            decoded_at.get_or_insert(at);
            samples.push(Sample {
                duration: u32::try_from(frame_ticks).unwrap_or(u32::MAX),
                composition_offset: 0,
                key: true,
                parameter_sets: None,
                payload: frame.payload,
            });
        }
        TrackRun {
            track: AUDIO_TRACK,
            decoded_at: decoded_at.unwrap_or(0),
            samples,
        }
    }
}
