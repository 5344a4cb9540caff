//! One rendition: its slots, its encoder and its statistics.

use std::time::Duration;

use super::canvases::Canvases;
use super::colours::Matrix;
use super::encoder::VideoEncoder;
use super::grid::Grid;
use super::picture::Picture;
use super::settings;
use super::transcoder::{RenditionReport, Transcoded};
use crate::MediaError;
use crate::limits::REPETITIONS_PER_CALL_MAX;
use shardcast_link::RenditionSpec;

/// What the governor leaves of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throttle {
    pub(crate) preset_steps: u32,
    pub(crate) frame_divisor: u32,
}

/// What all renditions of a transcoder share while they work.
#[derive(Debug)]
pub(crate) struct EncodeContext<'a> {
    pub(crate) canvases: &'a mut Canvases,
    /// Of renditions that begin now.
    pub(crate) shape: Shape,
    pub(crate) origin_us: i64,
    pub(crate) throttle: Throttle,
    pub(crate) cpu_time: fn() -> Duration,
    pub(crate) out: &'a mut Vec<Transcoded>,
}

/// What a rendition takes over from the publisher when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) matrix: Matrix,
}

impl Shape {
    pub(crate) fn of(picture: &Picture) -> Self {
        Self {
            width: picture.width(),
            height: picture.height(),
            matrix: picture.matrix(),
        }
    }

    /// The shape of most publishers, for a slate before the first picture.
    pub(crate) const USUAL: Self = Self {
        width: 16,
        height: 9,
        matrix: Matrix::Bt709,
    };
}

/// One rendition: its settings, its encoder and its statistics.
#[derive(Debug)]
pub(crate) struct Rendition {
    key: u64,
    settings: RenditionSpec,
    encoder: Encoder,
    grid: Grid,
    /// The one in its parameter sets, from the first picture on.
    matrix: Matrix,
    /// Of the last picture encoded.
    generation: u64,
    report: RenditionReport,
}

#[derive(Debug)]
enum Encoder {
    /// Opened with the first picture, of which the width may follow.
    Closed,
    Open(Box<VideoEncoder>),
    /// The reason was reported, and it is not tried again.
    Failed,
}

impl Rendition {
    pub(crate) fn new(key: u64, settings: RenditionSpec) -> Self {
        Self {
            key,
            settings,
            encoder: Encoder::Closed,
            grid: Grid::new(&settings),
            matrix: Shape::USUAL.matrix,
            generation: 0,
            report: RenditionReport::new(key, &settings),
        }
    }

    pub(crate) fn is(&self, key: u64, settings: &RenditionSpec) -> bool {
        self.key == key && self.settings == *settings
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// Larger ones first, for smaller ones can be drawn from them.
    pub(crate) fn order(&self) -> impl Ord + use<> {
        std::cmp::Reverse((self.settings.height, self.settings.width))
    }

    /// Whether its pictures are like this one.
    pub(crate) fn is_drawn_on(&self, canvas: &Picture) -> bool {
        let size = (self.report.width, self.report.height);
        size == (canvas.width(), canvas.height()) && self.matrix == canvas.matrix()
    }

    pub(crate) fn fail(&mut self) {
        self.encoder = Encoder::Failed;
    }

    /// The next picture is an IDR.
    pub(crate) fn request_idr(&mut self) {
        self.grid.request_idr();
    }

    pub(crate) fn throttle(&mut self, throttle: Throttle) {
        let divisor = throttle.frame_divisor.min(self.settings.frames_per_second);
        self.grid.set_divisor(divisor);
        self.report.frames_per_second = self.grid.frames_per_second();
        let preset = self.settings.preset.faster_by(throttle.preset_steps);
        self.report.preset = match &mut self.encoder {
            Encoder::Open(encoder) => {
                // A preset that x264 refuses is not in force, and not reported.
                encoder.throttle(preset, divisor);
                encoder.preset()
            }
            _ => preset,
        };
    }

    pub(crate) fn report(&self) -> RenditionReport {
        self.report
    }

    /// Repeats the last picture in the empty slots before this time, but for the last few of them,
    /// which may be those of pictures that come later. False when there is more to do.
    pub(crate) fn catch_up(
        &mut self,
        pts_us: i64,
        on: &mut EncodeContext<'_>,
    ) -> Result<bool, MediaError> {
        let slot = self.grid.nearest(on.origin_us, pts_us);
        let gap = self.grid.gap_before(slot);
        let empty = gap.filter(|slot| self.grid.uses(*slot)).count();
        let over = empty.saturating_sub(REPETITIONS_PER_CALL_MAX);
        self.fill_gap(slot, over.min(REPETITIONS_PER_CALL_MAX), on)?;
        Ok(over <= REPETITIONS_PER_CALL_MAX || self.has_failed())
    }

    /// Repeats the last picture in the empty slots before this time.
    pub(crate) fn fill_before(
        &mut self,
        pts_us: i64,
        on: &mut EncodeContext<'_>,
    ) -> Result<bool, MediaError> {
        let slot = self.grid.nearest(on.origin_us, pts_us);
        self.fill_gap(slot, usize::MAX, on)
    }

    /// Repeats the last picture in the empty slots up to this time. False when there is more to
    /// do.
    pub(crate) fn fill_until(
        &mut self,
        until_us: i64,
        on: &mut EncodeContext<'_>,
    ) -> Result<bool, MediaError> {
        let slot = self.grid.last_until(on.origin_us, until_us);
        let filled = self.fill_gap(slot, REPETITIONS_PER_CALL_MAX, on)?;
        if filled {
            self.encode(slot, on)?;
        }
        Ok(filled)
    }

    /// Encodes the last picture into the slot of this time.
    pub(crate) fn encode_at(
        &mut self,
        pts_us: i64,
        on: &mut EncodeContext<'_>,
    ) -> Result<bool, MediaError> {
        let slot = self.grid.nearest(on.origin_us, pts_us);
        self.encode(slot, on)?;
        Ok(true)
    }

    /// Leaves out the slot of this time and the empty ones before it.
    pub(crate) fn leave_out(&mut self, pts_us: i64, origin_us: i64) {
        let slot = self.grid.nearest(origin_us, pts_us);
        self.report.dropped += self.grid.leave_out(slot);
    }

    /// Leaves out the empty slots up to this time.
    pub(crate) fn leave_out_until(&mut self, until_us: i64, origin_us: i64) {
        let slot = self.grid.last_until(origin_us, until_us);
        self.report.dropped += self.grid.leave_out(slot);
    }

    fn has_failed(&self) -> bool {
        matches!(self.encoder, Encoder::Failed)
    }

    /// Repeats the last picture, at most so many times; whether no slot before this one is empty.
    fn fill_gap(
        &mut self,
        slot: i64,
        most: usize,
        on: &mut EncodeContext<'_>,
    ) -> Result<bool, MediaError> {
        let mut left = most;
        for slot in self.grid.gap_before(slot) {
            if self.has_failed() || !self.grid.uses(slot) {
                continue;
            }
            if left == 0 {
                return Ok(false);
            }
            left -= 1;
            self.encode(slot, on)?;
        }
        Ok(true)
    }

    /// Encodes the last picture into a slot, if that is still empty.
    fn encode(&mut self, slot: i64, on: &mut EncodeContext<'_>) -> Result<(), MediaError> {
        if self.has_failed() || !self.grid.is_empty_at(slot) {
            return Ok(());
        }
        self.open(on)?;
        let Encoder::Open(encoder) = &mut self.encoder else {
            return Ok(());
        };
        let begin = (on.cpu_time)();
        let (width, height) = (self.report.width, self.report.height);
        let picture = on.canvases.in_size(width, height, self.matrix)?;
        let drawn = (on.cpu_time)();
        let mut unit = Vec::new();
        let coded = encoder.encode(picture, self.grid.is_idr(slot), &mut unit)?;
        let report = &mut self.report;
        report.scale_us += micros(drawn.saturating_sub(begin));
        report.encode_us += micros((on.cpu_time)().saturating_sub(drawn));
        report.frames += 1;
        report.keyframes += u64::from(coded.idr);
        let generation = on.canvases.generation();
        report.repeated += u64::from(self.generation == generation);
        self.generation = generation;
        self.grid.encoded(slot);
        on.out.push(Transcoded {
            key_of_rendition: self.key,
            pts_us: self.grid.time_us(on.origin_us, slot),
            idr: coded.idr,
            parameter_sets: coded.parameter_sets,
            unit,
        });
        Ok(())
    }

    fn open(&mut self, on: &EncodeContext<'_>) -> Result<(), MediaError> {
        if !matches!(self.encoder, Encoder::Closed) {
            return Ok(());
        }
        let height = self.settings.height;
        let width = settings::width_for(&self.settings, on.shape.width, on.shape.height);
        let encoder = VideoEncoder::open(width, height, &self.settings, on.shape.matrix)?;
        self.matrix = on.shape.matrix;
        self.encoder = Encoder::Open(Box::new(encoder));
        (self.report.width, self.report.height) = (width, height);
        self.throttle(on.throttle);
        Ok(())
    }
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
