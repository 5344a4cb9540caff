//! One decoder and the renditions behind it.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::canvases::Canvases;
use super::colours::Assumption;
use super::decoder::VideoDecoder;
use super::picture::Picture;
use super::rendition::{EncodeContext, Rendition, Shape, Throttle, micros};
use super::settings;
use crate::limits::{FAILURES_MAX, FRAME_DIVISOR_MAX, PICTURES_PER_UNIT_MAX, RENDITIONS_MAX};
use crate::{I420, MediaError, StillFrameError, slate};
use shardcast_link::{Preset, RenditionSpec, VideoCodec};

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcoded {
    /// The key that [`Transcoder::set_renditions`] was given for the rendition.
    pub key_of_rendition: u64,
    /// On the grid of the rendition's frame rate; rising, and the DTS too.
    pub pts_us: i64,
    /// Whether decoding can begin here.
    pub idr: bool,
    /// Sequence and picture parameter set, without lengths; with every IDR, and always the same.
    pub parameter_sets: Option<(Bytes, Bytes)>,
    /// NAL units behind lengths of four bytes, without parameter sets, delimiters and SEI.
    pub unit: Vec<u8>,
}

/// Statistics of a transcoder since its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TranscoderReport {
    /// Pictures decoded.
    pub decoded: u64,
    /// Access units that gave no picture to be shown.
    pub errors: u64,
    /// Pictures decoded but not encoded.
    pub late: u64,
    /// Pixels of the last picture decoded.
    pub width: u32,
    /// As `width`.
    pub height: u32,
    /// CPU time of decoding, in microseconds.
    pub decode_us: u64,
    /// Each rendition, the largest first.
    pub renditions: Vec<RenditionReport>,
}

/// Statistics of one rendition since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenditionReport {
    /// The key that [`Transcoder::set_renditions`] was given for it.
    pub key: u64,
    /// Pixels; 0 until the first picture.
    pub width: u32,
    /// As `width`.
    pub height: u32,
    /// Frames encoded.
    pub frames: u64,
    /// Of `frames`, repetitions of the picture before.
    pub repeated: u64,
    /// Slots left empty because the transcoder was late.
    pub dropped: u64,
    /// Of `frames`, the IDRs.
    pub keyframes: u64,
    /// CPU time, in microseconds. Scaling to a size that renditions share counts for one of them.
    pub scale_us: u64,
    /// CPU time, in microseconds.
    pub encode_us: u64,
    /// In force now; faster than wanted while the governor lowers it.
    pub preset: Preset,
    /// In force now; below what is wanted while the governor leaves frames out.
    pub frames_per_second: u32,
}

impl RenditionReport {
    pub(crate) fn new(key: u64, settings: &RenditionSpec) -> Self {
        Self {
            key,
            width: 0,
            height: 0,
            frames: 0,
            repeated: 0,
            dropped: 0,
            keyframes: 0,
            scale_us: 0,
            encode_us: 0,
            preset: settings.preset,
            frames_per_second: settings.frames_per_second,
        }
    }
}

/// Decodes a publisher's video once, and makes all of its renditions.
///
/// A rendition keeps its settings for as long as it lives: one size, one pair of parameter sets, one
/// frame rate, keyframes at a constant distance. The publisher's sizes are fitted into its own with
/// black around them, and its pictures into a grid of constant frame rate, for which they are repeated
/// or left out. Grids begin together, so keyframes of renditions are aligned.
///
/// After a damaged picture none is shown until the next keyframe; the picture before the damage is
/// repeated.
pub struct Transcoder {
    cpu_time: fn() -> Duration,
    decoder: Option<VideoDecoder>,
    /// Pictures before the next keyframe are not shown.
    holds: bool,
    /// While it holds: how many more units may give no picture, because a keyframe among those before
    /// has been decoded, and its picture is held back for its order.
    patience: usize,
    canvases: Canvases,
    /// Of the publisher's last picture, for a slate may be the last one.
    shape: Option<Shape>,
    assumption: Assumption,
    /// The last slate, as a file and as it was drawn: a publisher that comes and goes has the same one
    /// each time.
    slate: Option<(Bytes, I420)>,
    /// For the next picture; its memory is used again.
    spare: Picture,
    /// The highest spatial layer of the unit that is being decoded.
    layer: Picture,
    /// Time of slot 0.
    origin_us: Option<i64>,
    renditions: Vec<Rendition>,
    throttle: Throttle,
    failures: VecDeque<(u64, String)>,
    /// Without renditions.
    report: TranscoderReport,
}

impl Transcoder {
    /// Without source and renditions. `cpu_time` returns the CPU time of the calling thread.
    pub fn new(cpu_time: fn() -> Duration) -> Self {
        Self {
            cpu_time,
            decoder: None,
            holds: true,
            patience: 0,
            canvases: Canvases::new(),
            shape: None,
            assumption: Assumption::default(),
            slate: None,
            spare: Picture::empty(),
            layer: Picture::empty(),
            origin_us: None,
            renditions: Vec::new(),
            throttle: Throttle {
                preset_steps: 0,
                frame_divisor: 1,
            },
            failures: VecDeque::new(),
            report: TranscoderReport::default(),
        }
    }

    /// Another stream from now on, beginning with a keyframe. Renditions go on, and the last picture
    /// stays the last one until the first of the new stream. H.264 needs its
    /// AVCDecoderConfigurationRecord.
    ///
    /// # Errors
    /// As [`VideoDecoder::new`]; then there is no source.
    pub fn set_source(
        &mut self,
        codec: VideoCodec,
        record: Option<&[u8]>,
    ) -> Result<(), MediaError> {
        self.hold();
        // The old decoder is closed first, so that never two of them take memory.
        self.decoder = None;
        self.decoder = Some(VideoDecoder::new(codec, record)?);
        Ok(())
    }

    /// Makes these renditions, each under a key of the caller's, and no others. Those that are made already go on. An
    /// encoder is opened with its first picture; what cannot be made is returned by [`take_failure`](Self::take_failure).
    pub fn set_renditions(&mut self, wanted: &[(u64, RenditionSpec)]) {
        let mut before = std::mem::take(&mut self.renditions);
        for (key, settings) in wanted {
            if self.renditions.iter().any(|other| other.key() == *key) {
                continue;
            }
            let known = before.iter().position(|known| known.is(*key, settings));
            if self.renditions.len() >= RENDITIONS_MAX {
                let reason = format!("at most {RENDITIONS_MAX} renditions are made of one source");
                self.fail(*key, reason);
            } else if let Some(index) = known {
                self.renditions.push(before.swap_remove(index));
            } else {
                self.add(*key, settings);
            }
        }
        self.renditions.sort_by_key(Rendition::order);
        let renditions = &self.renditions;
        self.canvases
            .retain(|canvas| renditions.iter().any(|r| r.is_drawn_on(canvas)));
    }

    fn add(&mut self, key: u64, settings: &RenditionSpec) {
        let mut rendition = Rendition::new(key, *settings);
        match settings::check(settings) {
            Ok(()) => rendition.throttle(self.throttle),
            Err(reason) => {
                rendition.fail();
                self.fail(key, reason);
            }
        }
        self.renditions.push(rendition);
    }

    /// The next picture of this rendition is an IDR, beside those at its keyframe distance.
    pub fn request_keyframe(&mut self, key: u64) {
        let of_key = self.renditions.iter_mut().filter(|it| it.key() == key);
        of_key.for_each(Rendition::request_idr);
    }

    /// Decodes one access unit. With `encode` its picture goes into the renditions, which append what
    /// they make to `out`; without, it only becomes the last picture, its slots stay empty, and it is
    /// counted as late.
    ///
    /// # Errors
    /// [`MediaError::Video`] when there is nothing to be seen of it, nor of those after it until the
    /// next keyframe. [`MediaError::NoSource`] before the first source. The transcoder may be used on
    /// after both. What cannot be fitted into a rendition is a
    /// [failure](Self::take_failure) of that one alone.
    pub fn decode(
        &mut self,
        pts_us: i64,
        unit: &[u8],
        encode: bool,
        out: &mut Vec<Transcoded>,
    ) -> Result<(), MediaError> {
        let result = self.decode_unit(pts_us, unit, encode, out);
        if result.is_err() {
            self.report.errors += 1;
            self.hold();
        }
        result
    }

    /// No picture came up to this time: the last one is repeated in the slots up to then that are still
    /// empty. When more than two seconds are empty, only for the last of them. False when that takes
    /// more than a few encodings, and the call is to be made again.
    pub fn fill(&mut self, until_us: i64, out: &mut Vec<Transcoded>) -> bool {
        self.for_each_rendition(until_us, out, |rendition, on| {
            rendition.fill_until(until_us, on)
        })
    }

    /// Before a unit of this time is decoded: as [`fill`](Self::fill), but the last few slots before it
    /// stay empty, for [`decode`](Self::decode) or pictures in another order. False when the call is to
    /// be made again. Without it `decode` fills all of them at once.
    pub fn catch_up(&mut self, pts_us: i64, out: &mut Vec<Transcoded>) -> bool {
        self.for_each_rendition(pts_us, out, |rendition, on| rendition.catch_up(pts_us, on))
    }

    /// Leaves out everything up to this time: slots up to then stay empty, and count as dropped.
    pub fn leave_out(&mut self, until_us: i64) {
        let origin_us = self.origin_us.unwrap_or(until_us);
        for rendition in &mut self.renditions {
            rendition.leave_out_until(until_us, origin_us);
        }
    }

    /// This PNG or JPEG file is the last picture from now on, until the next decoded one. The same file
    /// again is not drawn again, which takes up to half a second for the largest.
    ///
    /// # Errors
    /// [`StillFrameError`] when it is no such file; then the last picture stays.
    pub fn show(&mut self, image: &Bytes) -> Result<(), StillFrameError> {
        let drawn = match self.slate.take() {
            Some((file, drawn)) if file == *image => drawn,
            _ => slate::draw_whole(image)?,
        };
        let picture = Picture::from_i420(&drawn);
        self.slate = Some((image.clone(), drawn));
        self.canvases.replace(picture?);
        Ok(())
    }

    /// What is in force from the next picture on: presets faster than wanted, by so many but none faster
    /// than ultrafast, and only every so many-th picture, 1 to 3. Bit rates and parameter sets stay.
    pub fn throttle(&mut self, preset_steps: u32, frame_divisor: u32) {
        self.throttle = Throttle {
            preset_steps,
            frame_divisor: frame_divisor.clamp(1, FRAME_DIVISOR_MAX),
        };
        for rendition in &mut self.renditions {
            rendition.throttle(self.throttle);
        }
    }

    /// A rendition that cannot be made any more, and the reason. It is tried again when it is wanted with other settings.
    pub fn take_failure(&mut self) -> Option<(u64, String)> {
        self.failures.pop_front()
    }

    /// Statistics since the beginning.
    pub fn report(&self) -> TranscoderReport {
        TranscoderReport {
            renditions: self.renditions.iter().map(Rendition::report).collect(),
            ..self.report.clone()
        }
    }

    fn decode_unit(
        &mut self,
        pts_us: i64,
        unit: &[u8],
        encode: bool,
        out: &mut Vec<Transcoded>,
    ) -> Result<(), MediaError> {
        let begin = (self.cpu_time)();
        let decoder = self.decoder.as_mut().ok_or(MediaError::NoSource)?;
        let (delays, is_keyframe) = (decoder.delays(), decoder.is_keyframe(unit));
        if self.holds && delays && is_keyframe {
            if self.patience == 0 {
                // What is still held back is from before the damage.
                decoder.flush();
            }
            self.patience = PICTURES_PER_UNIT_MAX;
        }
        let mut result = decoder.send(unit, pts_us);
        self.count_decoding(begin);
        let mut layers = Layers {
            key: is_keyframe,
            ..Layers::default()
        };
        // One unit is one picture, or a few: their order was held back, or they are its spatial layers.
        // Each call that fails has used up something, without reporting it.
        for _ in 0..PICTURES_PER_UNIT_MAX {
            let begin = (self.cpu_time)();
            let Some(decoder) = self.decoder.as_mut() else {
                break;
            };
            let received = decoder.receive(&mut self.spare);
            self.count_decoding(begin);
            match received {
                Ok(false) => break,
                Ok(true) if delays => {
                    let layers = Layers::of(&self.spare);
                    result = result.and(self.take_picture(layers, pts_us, encode, out));
                }
                Ok(true) => {
                    layers.add(&self.spare);
                    std::mem::swap(&mut self.spare, &mut self.layer);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        if layers.any {
            std::mem::swap(&mut self.spare, &mut self.layer);
            result = result.and(self.take_picture(layers, pts_us, encode, out));
        }
        if result.is_ok() && self.holds {
            self.patience = self.patience.saturating_sub(1);
            // Some decoders wait without an error.
            if self.patience == 0 {
                result = Err(self.refused("no picture before the next keyframe"));
            }
        }
        result
    }

    /// Nothing is seen until the next keyframe.
    fn hold(&mut self) {
        self.holds = true;
        self.patience = 0;
    }

    /// Makes the decoded picture the last one, unless a keyframe is awaited.
    fn take_picture(
        &mut self,
        layers: Layers,
        pts_us: i64,
        encode: bool,
        out: &mut Vec<Transcoded>,
    ) -> Result<(), MediaError> {
        self.report.decoded += 1;
        (self.report.width, self.report.height) = (self.spare.width(), self.spare.height());
        let damaged = layers.damaged;
        self.holds = damaged || self.holds && !layers.key;
        if self.holds {
            return Err(self.refused(if damaged {
                "a damaged picture"
            } else {
                "a picture that needs others that are missing"
            }));
        }
        let pts_us = self.spare.pts_us().unwrap_or(pts_us);
        if let Some(decoder) = &self.decoder {
            self.assumption.apply(decoder.codec(), &mut self.spare);
        }
        if encode {
            self.for_each_rendition(pts_us, out, |rendition, on| {
                rendition.fill_before(pts_us, on)
            });
        }
        self.shape = Some(Shape::of(&self.spare));
        let picture = std::mem::replace(&mut self.spare, Picture::empty());
        self.spare = self.canvases.replace(picture);
        if encode {
            self.for_each_rendition(pts_us, out, |rendition, on| rendition.encode_at(pts_us, on));
        } else {
            self.report.late += 1;
            let origin_us = self.origin_us.unwrap_or(pts_us);
            for rendition in &mut self.renditions {
                rendition.leave_out(pts_us, origin_us);
            }
        }
        Ok(())
    }

    /// Lets all renditions work; true when all are done. A rendition that fails ends alone.
    fn for_each_rendition(
        &mut self,
        pts_us: i64,
        out: &mut Vec<Transcoded>,
        work: impl Fn(&mut Rendition, &mut EncodeContext<'_>) -> Result<bool, MediaError>,
    ) -> bool {
        if self.canvases.last().is_none() || self.renditions.is_empty() {
            return true;
        }
        let mut context = EncodeContext {
            canvases: &mut self.canvases,
            shape: self.shape.unwrap_or(Shape::USUAL),
            origin_us: *self.origin_us.get_or_insert(pts_us),
            throttle: self.throttle,
            cpu_time: self.cpu_time,
            out,
        };
        let (mut done, mut failed) = (true, Vec::new());
        for rendition in &mut self.renditions {
            match work(rendition, &mut context) {
                Ok(all) => done &= all,
                Err(error) => {
                    rendition.fail();
                    failed.push((rendition.key(), error.to_string()));
                }
            }
        }
        for (key, reason) in failed {
            self.fail(key, reason);
        }
        done
    }

    fn fail(&mut self, key: u64, reason: String) {
        if self.failures.len() < FAILURES_MAX {
            self.failures.push_back((key, reason));
        }
    }

    fn refused(&self, reason: &str) -> MediaError {
        let codec = self.decoder.as_ref().map(VideoDecoder::codec);
        MediaError::Video {
            codec: codec.map_or("video", VideoCodec::name),
            reason: reason.to_owned(),
        }
    }

    fn count_decoding(&mut self, begin: Duration) {
        self.report.decode_us += micros((self.cpu_time)().saturating_sub(begin));
    }
}

/// The spatial layers of one picture: the highest one is predicted from the others. In a keyframe the lowest one
/// alone is marked as one.
#[derive(Clone, Copy, Debug, Default)]
struct Layers {
    any: bool,
    key: bool,
    damaged: bool,
}

impl Layers {
    fn of(picture: &Picture) -> Self {
        let mut layers = Self::default();
        layers.add(picture);
        layers
    }

    fn add(&mut self, picture: &Picture) {
        self.any = true;
        self.key |= picture.is_key();
        self.damaged |= picture.is_damaged();
    }
}

impl fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcoder")
            .field("decoder", &self.decoder)
            .field("renditions", &self.renditions)
            .finish_non_exhaustive()
    }
}
