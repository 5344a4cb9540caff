//! A fake rendition as a video transcoder makes it: a picture for each place of a grid that all renditions of the
//! transcoder count from one origin, an IDR first and at each keyframe distance.

use shardcast_core::io::{EncodedFrame, RenditionId, RenditionReport};
use shardcast_link::RenditionSpec;

use crate::picture::Picture;

const SECOND_US: i64 = 1_000_000;
/// Places that are filled with the picture before; a longer pause is a jump.
const REPEATED_MAX: i64 = 100;

#[derive(Debug)]
pub(crate) struct FakeRendition {
    pub(crate) id: RenditionId,
    pub(crate) spec: RenditionSpec,
    pub(crate) failed: bool,
    /// The first place that is empty.
    next: Option<i64>,
    /// From here on the next picture is an IDR.
    next_idr: i64,
    /// Of the next picture.
    number: u64,
    since_keyframe: u64,
    repeated: u64,
    dropped: u64,
    keyframes: u64,
}

impl FakeRendition {
    pub(crate) fn new(id: RenditionId, spec: RenditionSpec) -> Self {
        Self {
            id,
            spec,
            failed: false,
            next: None,
            next_idr: i64::MIN,
            number: 0,
            since_keyframe: 0,
            repeated: 0,
            dropped: 0,
            keyframes: 0,
        }
    }

    /// A picture of that time was decoded; `after_us` is its distance from the origin.
    pub(crate) fn show(&mut self, origin_us: i64, after_us: i64, out: &mut Vec<EncodedFrame>) {
        let place = self.place(after_us + SECOND_US / (2 * self.rate()));
        if self.next.is_some_and(|next| place < next) {
            self.dropped += 1;
            return;
        }
        self.repeat_until(origin_us, place - 1, out);
        self.put(origin_us, place, out);
    }

    /// The last picture stands for all places up to that time.
    pub(crate) fn fill(&mut self, origin_us: i64, after_us: i64, out: &mut Vec<EncodedFrame>) {
        let place = self.place(after_us);
        self.next.get_or_insert(place);
        self.repeat_until(origin_us, place, out);
    }

    /// A picture came too late to be made.
    pub(crate) fn leave_out(&mut self, after_us: i64) {
        let place = self.place(after_us + SECOND_US / (2 * self.rate()));
        if self.next.is_some_and(|next| next <= place) {
            self.next = Some(place + 1);
            self.dropped += 1;
        }
    }

    /// The next picture is an IDR.
    pub(crate) fn request_idr(&mut self) {
        self.next_idr = i64::MIN;
    }

    /// `encode_us`: what scaling and encoding of a picture takes.
    pub(crate) fn report(&self, encode_us: u64) -> RenditionReport {
        RenditionReport {
            rendition: self.id,
            width: if self.number > 0 { self.width() } else { 0 },
            height: if self.number > 0 { self.spec.height } else { 0 },
            frames: self.number,
            repeated: self.repeated,
            dropped: self.dropped,
            keyframes: self.keyframes,
            scale_us: (self.number - self.repeated) * encode_us / 4,
            encode_us: (self.number - self.repeated) * encode_us * 3 / 4,
            preset: self.spec.preset,
            frames_per_second: self.spec.frames_per_second,
        }
    }

    fn width(&self) -> u32 {
        self.spec.width.unwrap_or(self.spec.height * 16 / 9)
    }

    fn rate(&self) -> i64 {
        i64::from(self.spec.frames_per_second)
    }

    /// The last place that is not later.
    fn place(&self, after_us: i64) -> i64 {
        (after_us * self.rate()).div_euclid(SECOND_US)
    }

    fn repeat_until(&mut self, origin_us: i64, last: i64, out: &mut Vec<EncodedFrame>) {
        let Some(next) = self.next.filter(|next| last - next < REPEATED_MAX) else {
            return;
        };
        for place in next..=last {
            self.put(origin_us, place, out);
            self.repeated += 1;
        }
    }

    fn put(&mut self, origin_us: i64, place: i64, out: &mut Vec<EncodedFrame>) {
        let gop = i64::from(self.spec.gop_ms) * self.rate() / 1_000;
        let key = place >= self.next_idr;
        if key {
            self.next_idr = (place.div_euclid(gop) + 1) * gop;
            self.keyframes += 1;
            self.since_keyframe = 0;
        }
        let picture = Picture::made(self.id, self.number, self.spec.height, self.since_keyframe);
        let (parameter_sets, unit) = picture.encoded();
        out.push(EncodedFrame {
            rendition: self.id,
            pts_us: origin_us + place * SECOND_US / self.rate(),
            key,
            parameter_sets,
            unit,
        });
        self.number += 1;
        self.since_keyframe += 1;
        self.next = Some(place + 1);
    }
}
