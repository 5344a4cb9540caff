//! Measures the video of a stream over time: sizes, parameter sets, frame spacing and bit rate. It
//! does no I/O.

use serde::Serialize;
use shardcast_core::h264::Sps;

use crate::limits::FRAMES_KEPT_MAX;
use crate::stats::Spread;

/// Window of the mean bit rate in milliseconds.
pub const WINDOW_MS: u32 = 10_000;
/// Size of the decoder model's buffer, as milliseconds at the target rate.
pub const VBV_BUFFER_MS: u32 = 1_000;

/// The video of one connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VideoReport {
    /// Width and height in pixels, in the order of receipt; the first 16.
    pub sizes: Vec<(u32, u32)>,
    /// Sequence headers with another size than the one before.
    pub size_changes: u64,
    /// Sequence headers that differ from the one before.
    pub header_changes: u64,
    /// Frames from one keyframe to the next.
    pub keyframe_interval_frames: Option<Spread>,
    /// Distance of neighbouring timestamps. RTMP timestamps are whole milliseconds, so a constant
    /// distance of 33.3 ms is seen as 33 and 34.
    pub frame_distance_ms: Option<Spread>,
    /// Mean frame rate from the first frame to the last.
    pub frames_per_second: Option<f64>,
    /// Largest deviation of a timestamp from an even grid at that rate. Up to 1 ms is RTMP's
    /// rounding.
    pub grid_deviation_ms: Option<f64>,
    /// Mean bit rate of windows of [`WINDOW_MS`]; one window begins at each keyframe.
    pub window_kbps: Option<Spread>,
}

/// The decoder's buffer (ITU-T H.264 annex C): it starts full, fills at the target rate, and each
/// frame is removed at its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct VbvReport {
    /// Frames that were not complete in the buffer at their time.
    pub violations: u64,
    /// Lowest level after a frame, in percent of the buffer; below 0 after a violation.
    pub lowest_percent: f64,
}

/// One coded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodedFrame {
    /// Timestamp of the RTMP message in milliseconds; wraps after 49 days.
    pub dts_ms: u32,
    /// Size of the coded frame in bytes, without the FLV head.
    pub bytes: u32,
    /// The frame is a keyframe.
    pub key: bool,
}

/// The frames of a connection, up to [`FRAMES_KEPT_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameLog(Vec<CodedFrame>);

impl FrameLog {
    pub(super) fn push(&mut self, frame: CodedFrame) {
        if self.0.len() < FRAMES_KEPT_MAX {
            self.0.push(frame);
        }
    }

    /// The frames in the order of receipt.
    pub fn frames(&self) -> &[CodedFrame] {
        &self.0
    }

    /// The frames from the first keyframe on that is `ms` or more after the first frame. An encoder
    /// is not in its steady state before.
    #[must_use]
    pub fn after(&self, ms: u32) -> Self {
        let start = self.0.first().map_or(0, |frame| frame.dts_ms);
        let late = |frame: &CodedFrame| frame.key && frame.dts_ms.wrapping_sub(start) >= ms;
        let at = self.0.iter().position(late).unwrap_or(self.0.len());
        Self(self.0.get(at..).unwrap_or_default().to_vec())
    }

    /// Frames from keyframe to keyframe.
    pub fn keyframe_intervals_frames(&self) -> Vec<f64> {
        let frames = self.0.iter().enumerate();
        let keys: Vec<usize> = frames.filter(|(_, f)| f.key).map(|(n, _)| n).collect();
        pairs(&keys)
            .map(|(one, next)| (next - one) as f64)
            .collect()
    }

    /// Milliseconds from frame to frame.
    pub fn distances_ms(&self) -> Vec<f64> {
        pairs(&self.0)
            .map(|(one, next)| f64::from(next.dts_ms.wrapping_sub(one.dts_ms)))
            .collect()
    }

    /// Mean frame rate; `None` with fewer than two frames.
    pub fn frames_per_second(&self) -> Option<f64> {
        Some(1_000.0 / self.mean_distance_ms()?)
    }

    /// Largest deviation of a timestamp, in milliseconds, from an even grid at the mean distance.
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

    /// Mean bit rates, in bits a second, of windows of this length; one begins at each keyframe.
    pub fn windows_bps(&self, window_ms: u32) -> Vec<f64> {
        let end = self.0.last().map_or(0, |frame| frame.dts_ms);
        let keys = self.0.iter().enumerate().filter(|(_, frame)| frame.key);
        // A window counts only if the log reaches its end.
        keys.filter(|(_, key)| end.wrapping_sub(key.dts_ms) >= window_ms)
            .map(|(at, key)| {
                let from = self.0.get(at..).unwrap_or_default().iter();
                let inside = from.take_while(|f| f.dts_ms.wrapping_sub(key.dts_ms) < window_ms);
                let bytes: u64 = inside.map(|frame| u64::from(frame.bytes)).sum();
                bytes as f64 * 8.0 * 1_000.0 / f64::from(window_ms)
            })
            .collect()
    }

    /// Runs the model of the decoder's buffer over all frames.
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
                // The model assumes that the decoder waits until the frame is complete.
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

/// Collects the video report of one connection.
#[derive(Debug, Default)]
pub(super) struct VideoMeter {
    log: FrameLog,
    header: Vec<u8>,
    header_changes: u64,
    sizes: Vec<(u32, u32)>,
    size: Option<(u32, u32)>,
    size_changes: u64,
}

impl VideoMeter {
    /// Takes a sequence header, an `AVCDecoderConfigurationRecord`.
    pub(super) fn header(&mut self, record: &[u8]) {
        /// Enough to recognise a pattern.
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

    pub(super) fn report(&self) -> VideoReport {
        let kbps = |bps: f64| bps / 1_000.0;
        VideoReport {
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

/// Width and height of the first SPS in the record (ISO/IEC 14496-15 5.3.3.1).
fn size(record: &[u8]) -> Option<(u32, u32)> {
    let (length, sets) = record.get(6..)?.split_first_chunk::<2>()?;
    let sps = sets.get(..usize::from(u16::from_be_bytes(*length)))?;
    let sps = Sps::parse(sps).ok()?;
    Some((sps.width, sps.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` frames of `bytes` each at `fps`, a keyframe every `group` frames.
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
    fn a_late_frame_is_seen() {
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
    fn frames_before_the_first_late_keyframe_are_left_out() {
        let late = log(300, 30, 60, 1).after(3_000);
        assert_eq!(late.frames()[0].dts_ms, 4_000);
        assert!(log(30, 30, 60, 1).after(3_000).frames().is_empty());
    }
}
