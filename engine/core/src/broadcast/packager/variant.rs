//! One variant stream (RFC 8216bis, 6.2.4): the units of one ring as parts. What does not go on from what came
//! before, another size or codec or ring, begins another [`Stream`] at a keyframe, as a discontinuity.

use std::time::{Duration, Instant};

use shardcast_link::{BroadcastId, fragment::RungName};

use super::{
    grid::Grid,
    number_by_time,
    stream::{Beginning, Numbers, Stream, Taken},
    tracks::Tracks,
};
use crate::{
    broadcast::{
        renditions::Rings,
        ring::{Kind, MediaFacts, Ring, RingId, Unit},
    },
    codec::{AudioCodec, aac::AacConfig},
    context::Context,
    io::Fragment,
    limits::{FIRST_KEYFRAME_MS, HLS_AUDIO_LATE_US, KEYFRAME_REQUEST_MS_MIN},
};

/// How variants of a broadcast are packaged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packaging<'a> {
    pub(super) broadcast: &'a BroadcastId,
    pub(super) segment_us: i64,
    /// Where segments of rungs end; `None`: at keyframes, wherever those are.
    pub(super) grid: Option<Grid>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Variant {
    /// `None`: the publisher's video, or what stands in its place.
    rung: Option<RungName>,
    /// Where units are taken from.
    ring: Option<RingId>,
    /// Number of the next unit; none while one to begin with is waited for.
    cursor: Option<u64>,
    waits_since: Option<Instant>,
    stream: Option<Stream>,
    numbers: Numbers,
    /// Control has been handed parts that the next stream does not go on from.
    interrupted: bool,
    keyframe_asked: Option<Instant>,
    keyframe_wanted: bool,
}

impl Variant {
    /// Segments have this number or a larger one.
    pub(super) fn new(rung: Option<RungName>, segment: u64) -> Self {
        let numbers = Numbers {
            segment,
            ..Numbers::default()
        };
        Self {
            rung,
            ring: None,
            cursor: None,
            waits_since: None,
            stream: None,
            numbers,
            interrupted: false,
            keyframe_asked: None,
            keyframe_wanted: false,
        }
    }

    /// A number that no segment has had yet.
    pub(super) fn free_number(&self) -> u64 {
        let stream = self.stream.as_ref();
        stream.map_or(self.numbers.segment, |it| it.numbers.segment + 1)
    }

    /// Where units are taken from.
    pub(super) fn ring(&self) -> Option<RingId> {
        self.ring
    }

    /// Whether a keyframe to begin with is to be asked for; once.
    pub(super) fn take_keyframe_wanted(&mut self) -> bool {
        std::mem::take(&mut self.keyframe_wanted)
    }

    /// Parts end here; the last ones go into `out`.
    pub(super) fn end(&mut self, out: &mut Vec<Fragment>) {
        self.interrupt(out);
        self.interrupted = false;
        self.ring = None;
    }

    /// There is nothing to take units from at the moment. What was not handed over is left out.
    pub(super) fn pause(&mut self) {
        let is_unused = |stream: &mut Stream| stream.numbers.fragment == self.numbers.fragment;
        let unused = self.stream.take_if(is_unused);
        self.interrupt(&mut Vec::new());
        // Control has no part of it, so what comes next goes on from what it did.
        self.interrupted |= unused.is_some_and(|stream| stream.discontinuity);
        self.ring = None;
    }

    /// What comes next does not go on from what came.
    fn interrupt(&mut self, out: &mut Vec<Fragment>) {
        if let Some(stream) = self.stream.take() {
            self.numbers = stream.finish(out);
            self.interrupted = true;
        }
        self.cursor = None;
        self.waits_since = None;
    }

    /// Takes what is new in `chosen`; parts that are whole with it go into `out`.
    pub(super) fn feed(
        &mut self,
        ctx: &Context,
        how: Packaging<'_>,
        chosen: RingId,
        rings: Rings<'_>,
        out: &mut Vec<Fragment>,
    ) {
        if self.ring != Some(chosen) {
            self.interrupt(out);
            self.ring = Some(chosen);
        }
        let Some((ring, facts)) = rings.get(chosen) else {
            return;
        };
        if self.cursor.is_some_and(|cursor| cursor < ring.start()) {
            self.interrupt(out);
        }
        if self.cursor.is_none() {
            self.cursor = self.beginning(ctx.now, ring, facts);
        }
        while let Some(cursor) = self.cursor
            && let Some(unit) = ring.get(cursor)
        {
            self.cursor = Some(cursor + 1);
            let is_taken = match unit.kind.audio() {
                None => true,
                Some(AudioCodec::Aac) => ring.is_whole_from(cursor, AudioCodec::Aac),
                Some(AudioCodec::Opus) => false,
            };
            if is_taken {
                self.take(ctx, how, unit, facts, out);
            }
        }
    }

    /// Where to begin: at the newest keyframe, if the audio behind it is there.
    fn beginning(&mut self, now: Instant, ring: &Ring, facts: MediaFacts) -> Option<u64> {
        let newest = ring.newest()?;
        let waits_since = *self.waits_since.get_or_insert(now);
        let waited = now.saturating_duration_since(waits_since);
        let patience_is_over = waited > Duration::from_millis(FIRST_KEYFRAME_MS);
        if let Some(keyframe) = ring.newest_keyframe() {
            let age_us = ring.get(keyframe).map_or(0, |it| newest.dts_us - it.dts_us);
            let has_audio = begins_with_audio(ring, keyframe);
            if has_audio || age_us <= HLS_AUDIO_LATE_US || patience_is_over {
                return Some(keyframe);
            }
        } else if self.rung.is_none() && (!facts.expects_video || patience_is_over) {
            let newest = ring.end() - 1;
            return ring
                .is_whole_from(newest, AudioCodec::Aac)
                .then_some(newest);
        }
        // What a rendition lacks its transcoder asks for.
        let apart = Duration::from_millis(KEYFRAME_REQUEST_MS_MIN);
        let recently = |asked: Instant| now.saturating_duration_since(asked) < apart;
        if self.rung.is_none() && !self.keyframe_asked.is_some_and(recently) {
            self.keyframe_asked = Some(now);
            self.keyframe_wanted = true;
        }
        None
    }

    fn take(
        &mut self,
        ctx: &Context,
        how: Packaging<'_>,
        unit: &Unit,
        facts: MediaFacts,
        out: &mut Vec<Fragment>,
    ) {
        if let Some(stream) = &mut self.stream {
            stream.frames_per_second = facts.frames_per_second;
            if stream.take(unit, out) == Taken::Yes {
                return;
            }
            if let Some(stream) = self.stream.take() {
                self.numbers = stream.finish(out);
                self.interrupted = true;
            }
        }
        let tracks = match &unit.kind {
            Kind::Video { key: true, config } => Tracks {
                video: Some(config.clone()),
                audio: facts.aac.unwrap_or(AacConfig::OURS),
            },
            // A rung without video would be played as one.
            Kind::Audio { config } if self.rung.is_none() => Tracks {
                video: None,
                audio: *config,
            },
            _ => return,
        };
        let number = match how.grid {
            Some(grid) => grid.number(unit.dts_us),
            None if self.interrupted => 0,
            None => number_by_time(ctx),
        };
        self.numbers.segment = self.numbers.segment.max(number);
        let mut stream = Stream::new(Beginning {
            broadcast: how.broadcast.clone(),
            rung: self.rung,
            tracks,
            numbers: self.numbers,
            discontinuity: std::mem::take(&mut self.interrupted),
            segment_us: how.segment_us,
            grid: how.grid,
            frames_per_second: facts.frames_per_second,
            at_us: unit.dts_us,
            clock: ctx.clock,
        });
        let taken = stream.take(unit, out);
        debug_assert_eq!(taken, Taken::Yes, "a stream takes what it begins with");
        self.stream = Some(stream);
    }
}

/// Whether audio stands behind this keyframe soon, and goes on from there without a hole.
fn begins_with_audio(ring: &Ring, keyframe: u64) -> bool {
    let Some(from_us) = ring.get(keyframe).map(|it| it.dts_us) else {
        return false;
    };
    let mut behind = (keyframe..ring.end()).filter_map(|seq| Some((seq, ring.get(seq)?)));
    let first = behind.find(|(_, unit)| unit.kind.audio() == Some(AudioCodec::Aac));
    first.is_some_and(|(seq, unit)| {
        unit.pts_us - from_us <= HLS_AUDIO_LATE_US && ring.is_whole_from(seq, AudioCodec::Aac)
    })
}
