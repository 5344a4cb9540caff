//! What a stream's picture is like over time: its size, parameter sets, distances and bits. Pure.

use serde::Serialize;
use shardcast_core::h264::Sps;

use crate::limits::FRAMES_KEPT_MAX;
use crate::stats::Spread;

/// Over which the mean bit rate is looked at.
pub const WINDOW_MS: u32 = 10_000;
/// What the buffer of the decoder model holds, as time at the target rate.
pub const VBV_BUFFER_MS: u32 = 1_000;

/// The picture of one connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PictureReport {
    /// Sizes in pixels, in the order in which they came; the first sixteen.
    pub sizes: Vec<(u32, u32)>,
    pub size_changes: u64,
    /// Sequence headers that differ from the one before.
    pub header_changes: u64,
    /// Pictures from one keyframe to the next.
    pub keyframe_interval_frames: Option<Spread>,
    /// Distance of neighbouring timestamps. RTMP has whole milliseconds, so a constant one of 33.3 ms
    /// is 33 and 34.
    pub frame_distance_ms: Option<Spread>,
    /// Mean from the first picture to the last.
    pub frames_per_second: Option<f64>,
    /// Largest distance of a timestamp from where it would be at exactly that rate; up to 1 is the
    /// rounding of RTMP.
    pub grid_deviation_ms: Option<f64>,
    /// Mean bit rate of windows of ten seconds, one for each keyframe with which such a window begins.
    pub window_kbps: Option<Spread>,
}

/// A buffer that fills at the target rate, and out of which each picture is taken at its time
/// (ITU-T H.264 annex C). It is full at the beginning and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct VbvReport {
    /// Pictures that were not whole in the buffer at their time.
    pub violations: u64,
    /// Least that was left behind a picture, in percent of the buffer; below 0 after a violation.
    pub lowest_percent: f64,
}

/// One coded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodedFrame {
    pub dts_ms: u32,
    pub bytes: u32,
    pub key: bool,
}

/// All pictures of a connection, up to [`FRAMES_KEPT_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameLog(Vec<CodedFrame>);

impl FrameLog {
    pub(super) fn push(&mut self, frame: CodedFrame) {
        if self.0.len() < FRAMES_KEPT_MAX {
            self.0.push(frame);
        }
    }

    pub fn frames(&self) -> &[CodedFrame] {
        &self.0
    }

    /// From the first keyframe on that comes so long after the beginning: what an encoder does before
    /// is not typical.
    #[must_use]
    pub fn after(&self, ms: u32) -> Self {
        let start = self.0.first().map_or(0, |frame| frame.dts_ms);
        let late = |frame: &CodedFrame| frame.key && frame.dts_ms.wrapping_sub(start) >= ms;
        let at = self.0.iter().position(late).unwrap_or(self.0.len());
        Self(self.0.get(at..).unwrap_or_default().to_vec())
    }

    /// Pictures from keyframe to keyframe.
    pub fn keyframe_intervals_frames(&self) -> Vec<f64> {
        let frames = self.0.iter().enumerate();
        let keys: Vec<usize> = frames.filter(|(_, f)| f.key).map(|(n, _)| n).collect();
        pairs(&keys)
            .map(|(one, next)| (next - one) as f64)
            .collect()
    }

    /// Milliseconds from picture to picture.
    pub fn distances_ms(&self) -> Vec<f64> {
        pairs(&self.0)
            .map(|(one, next)| f64::from(next.dts_ms.wrapping_sub(one.dts_ms)))
            .collect()
    }

    /// Mean number of pictures a second.
    pub fn frames_per_second(&self) -> Option<f64> {
        Some(1_000.0 / self.mean_distance_ms()?)
    }

    /// How far a timestamp is from where it would be if all were apart by the mean.
    pub fn grid_deviation_ms(&self) -> Option<f64> {
        let mean = self.mean_distance_ms()?;
        let start = self.0.first()?.dts_ms;
        let deviation = |(n, frame): (usize, &CodedFrame)| {
            (f64::from(frame.dts_ms.wrapping_sub(start)) - n as f64 * mean).abs()
        };
        self.0
            .iter()
            .enumerate()
            .map(deviation)
            .max_by(f64::total_cmp)
    }

    /// Mean bit rates of windows so long, one for each keyframe with which such a window begins.
    pub fn windows_bps(&self, window_ms: u32) -> Vec<f64> {
        let end = self.0.last().map_or(0, |frame| frame.dts_ms);
        let keys = self.0.iter().enumerate().filter(|(_, frame)| frame.key);
        // The last window ends with a picture whose time is over.
        keys.filter(|(_, key)| end.wrapping_sub(key.dts_ms) >= window_ms)
            .map(|(at, key)| {
                let from = self.0.get(at..).unwrap_or_default().iter();
                let inside = from.take_while(|f| f.dts_ms.wrapping_sub(key.dts_ms) < window_ms);
                let bytes: u64 = inside.map(|frame| u64::from(frame.bytes)).sum();
                bytes as f64 * 8.0 * 1_000.0 / f64::from(window_ms)
            })
            .collect()
    }

    /// Runs the model of a decoder's buffer over all pictures.
    pub fn vbv(&self, bits_per_second: u32, buffer_ms: u32) -> VbvReport {
        let rate_per_ms = f64::from(bits_per_second) / 1_000.0;
        let size = rate_per_ms * f64::from(buffer_ms).max(1.0);
        let mut report = VbvReport {
            violations: 0,
            lowest_percent: 100.0,
        };
        let (mut held, mut last_ms) = (size, None);
        for frame in &self.0 {
            let waited = last_ms.map_or(0, |last| frame.dts_ms.wrapping_sub(last));
            last_ms = Some(frame.dts_ms);
            held = (held + f64::from(waited) * rate_per_ms).min(size);
            held -= f64::from(frame.bytes) * 8.0;
            report.lowest_percent = report.lowest_percent.min(held / size * 100.0);
            if held < 0.0 {
                report.violations += 1;
                // The decoder waits until the picture is there.
                held = 0.0;
            }
        }
        report
    }

    fn mean_distance_ms(&self) -> Option<f64> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        let span = f64::from(last.dts_ms.wrapping_sub(first.dts_ms));
        let mean = span / (self.0.len() - 1) as f64;
        (mean > 0.0).then_some(mean)
    }
}

fn pairs<T: Copy>(values: &[T]) -> impl Iterator<Item = (T, T)> + '_ {
    let behind = values.iter().skip(1).copied();
    values.iter().copied().zip(behind)
}

/// Collects what a connection's picture is like.
#[derive(Debug, Default)]
pub(super) struct PictureMeasure {
    log: FrameLog,
    header: Vec<u8>,
    header_changes: u64,
    sizes: Vec<(u32, u32)>,
    size: Option<(u32, u32)>,
    size_changes: u64,
}

impl PictureMeasure {
    /// A sequence header: an AVCDecoderConfigurationRecord.
    pub(super) fn header(&mut self, record: &[u8]) {
        /// Enough to see a pattern.
        const SIZES_MAX: usize = 16;
        if self.header == record {
            return;
        }
        self.header_changes += u64::from(!self.header.is_empty());
        self.header = record.to_vec();
        let Some(size) = size(record) else { return };
        if let Some(last) = self.size.replace(size) {
            self.size_changes += u64::from(last != size);
        }
        if self.sizes.last() != Some(&size) && self.sizes.len() < SIZES_MAX {
            self.sizes.push(size);
        }
    }

    pub(super) fn frame(&mut self, frame: CodedFrame) {
        self.log.push(frame);
    }

    pub(super) fn log(&self) -> &FrameLog {
        &self.log
    }

    pub(super) fn report(&self) -> PictureReport {
        let kbps = |bps: f64| bps / 1_000.0;
        PictureReport {
            sizes: self.sizes.clone(),
            size_changes: self.size_changes,
            header_changes: self.header_changes,
            keyframe_interval_frames: Spread::of(self.log.keyframe_intervals_frames()),
            frame_distance_ms: Spread::of(self.log.distances_ms()),
            frames_per_second: self.log.frames_per_second(),
            grid_deviation_ms: self.log.grid_deviation_ms(),
            window_kbps: Spread::of(
                self.log
                    .windows_bps(WINDOW_MS)
                    .into_iter()
                    .map(kbps)
                    .collect(),
            ),
        }
    }
}

/// Of the first sequence parameter set in the record (ISO/IEC 14496-15, 5.3.3.1).
fn size(record: &[u8]) -> Option<(u32, u32)> {
    let (length, sets) = record.get(6..)?.split_first_chunk::<2>()?;
    let sps = sets.get(..usize::from(u16::from_be_bytes(*length)))?;
    let sps = Sps::parse(sps).ok()?;
    Some((sps.width, sps.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` pictures at `fps`, a keyframe every `group`, of so many bytes each.
    fn log(count: u32, fps: u32, group: u32, bytes: u32) -> FrameLog {
        let mut log = FrameLog::default();
        for n in 0..count {
            log.push(CodedFrame {
                dts_ms: n * 1_000 / fps,
                bytes,
                key: n % group == 0,
            });
        }
        log
    }

    #[test]
    fn a_constant_stream_is_seen_to_be_constant() {
        let log = log(660, 30, 60, 1_000);
        assert_eq!(log.keyframe_intervals_frames(), [60.0; 10]);
        assert!((log.frames_per_second().unwrap() - 30.0).abs() < 0.01);
        assert!(log.grid_deviation_ms().unwrap() <= 1.0);
        let windows = log.windows_bps(10_000);
        assert_eq!(windows.len(), 6, "from 0, 2, … 10 of 22 s");
        assert!(windows.iter().all(|bps| (bps - 240_000.0).abs() < 1_000.0));
    }

    #[test]
    fn a_picture_that_is_late_is_seen() {
        let mut log = log(300, 30, 60, 1_000);
        log.0[150].dts_ms += 12;
        assert!(log.grid_deviation_ms().unwrap() > 10.0);
        let distances = Spread::of(log.distances_ms()).unwrap();
        assert!(
            distances.max > 40.0 && distances.min < 25.0,
            "{distances:?}"
        );
    }

    #[test]
    fn a_buffer_that_runs_empty_is_counted_and_one_that_holds_is_not() {
        let exact = log(300, 25, 50, 5_000);
        assert_eq!(exact.vbv(1_000_000, 1_000).violations, 0);
        let mut burst = exact.clone();
        burst.0[100].bytes = 126_000;
        let report = burst.vbv(1_000_000, 1_000);
        assert_eq!(report.violations, 1, "{report:?}");
        assert!(report.lowest_percent < 0.0);
        burst.0[100].bytes = 124_000;
        let report = burst.vbv(1_000_000, 1_000);
        assert_eq!(report.violations, 0);
        assert!((0.0..2.0).contains(&report.lowest_percent), "{report:?}");
        assert!(
            exact.vbv(900_000, 1_000).violations > 0,
            "too much in the long run"
        );
    }

    #[test]
    fn what_comes_before_is_left_out_up_to_a_keyframe() {
        let late = log(300, 30, 60, 1).after(3_000);
        assert_eq!(late.frames()[0].dts_ms, 4_000);
        assert!(log(30, 30, 60, 1).after(3_000).frames().is_empty());
    }
}
