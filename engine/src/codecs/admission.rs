//! Job admission: what of a broadcast may wait for its codec worker. The side of the executor.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{io::VideoJob, is_keyframe};
use shardcast_link::VideoCodec;

use crate::limits::{
    CODEC_BYTES_WAITING_MAX, CODEC_CONTROLS_WAITING_MAX, CODEC_COST_GUESS_PERMILLE,
    CODEC_KEYFRAME_REQUEST_DISTANCE, CODEC_KEYFRAME_REQUEST_DISTANCE_MAX, CODEC_UNITS_WAITING_MAX,
};

/// What both sides know of a broadcast. The numbers are of use by themselves, so none of them
/// orders anything else.
#[derive(Debug)]
pub(super) struct Gauge {
    units: AtomicUsize,
    bytes: AtomicUsize,
    controls: AtomicUsize,
    /// Units that were left out, by either side.
    pub(super) left_out: AtomicU64,
    /// What the broadcast took of its thread over the last second, in thousandths of a core.
    pub(super) cost_permille: AtomicU32,
    /// It is over; what still waits is not to be done.
    pub(super) closed: AtomicBool,
}

impl Default for Gauge {
    fn default() -> Self {
        Self {
            units: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            controls: AtomicUsize::new(0),
            left_out: AtomicU64::new(0),
            cost_permille: AtomicU32::new(CODEC_COST_GUESS_PERMILLE),
            closed: AtomicBool::new(false),
        }
    }
}

impl Gauge {
    pub(super) fn enter(&self, work: &Work) {
        match work {
            Work::Control(_) => _ = self.controls.fetch_add(1, Relaxed),
            Work::Unit { unit, .. } => {
                self.units.fetch_add(1, Relaxed);
                self.bytes.fetch_add(unit.len(), Relaxed);
            }
            Work::Fill { .. } => _ = self.units.fetch_add(1, Relaxed),
        }
    }

    /// This does not wait any more.
    pub(super) fn leave(&self, work: &Work) {
        match work {
            Work::Control(_) => _ = self.controls.fetch_sub(1, Relaxed),
            Work::Unit { unit, .. } => {
                self.units.fetch_sub(1, Relaxed);
                self.bytes.fetch_sub(unit.len(), Relaxed);
            }
            Work::Fill { .. } => _ = self.units.fetch_sub(1, Relaxed),
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.units.load(Relaxed) < CODEC_UNITS_WAITING_MAX
            && self.bytes.load(Relaxed) + bytes <= CODEC_BYTES_WAITING_MAX
    }
}

/// A job on its way to the codec worker.
#[derive(Debug)]
pub(super) enum Work {
    /// Another source, other renditions, a slate, or a request for an IDR.
    Control(VideoJob),
    Unit {
        arrived: Instant,
        /// Decoding can begin here.
        key: bool,
        pts_us: i64,
        unit: Bytes,
        /// The time of the last unit before it that was refused.
        left_out_until_us: Option<i64>,
    },
    Fill {
        arrived: Instant,
        until_us: i64,
    },
}

/// Requests for a keyframe, not too many of them: each that comes soon after the one before doubles the
/// distance to the next.
#[derive(Debug)]
pub(super) struct KeyframeRequests {
    asked: Option<Instant>,
    distance: Duration,
}

impl Default for KeyframeRequests {
    fn default() -> Self {
        Self {
            asked: None,
            distance: CODEC_KEYFRAME_REQUEST_DISTANCE,
        }
    }
}

impl KeyframeRequests {
    /// Whether one is to be made now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let since = self.asked.map(|asked| now.saturating_duration_since(asked));
        if since.is_some_and(|since| since < self.distance) {
            return false;
        }
        self.asked = Some(now);
        self.distance = match since {
            // Whatever it was, the one before has helped.
            Some(since) if since < 2 * CODEC_KEYFRAME_REQUEST_DISTANCE_MAX => {
                CODEC_KEYFRAME_REQUEST_DISTANCE_MAX.min(2 * self.distance)
            }
            _ => CODEC_KEYFRAME_REQUEST_DISTANCE,
        };
        true
    }
}

/// What becomes of a job.
#[derive(Debug)]
pub(super) enum Verdict {
    Pass(Work),
    /// The queue is full: it is [owed](Admission::take_owed).
    Owe,
    /// The queue is full: it is lost.
    LeaveOut {
        /// A keyframe is to be asked of the publisher.
        request_keyframe: bool,
    },
    /// The worker is gone.
    Rejected,
}

impl Verdict {
    /// Whoever asked will ask again.
    fn lost() -> Self {
        Self::LeaveOut {
            request_keyframe: false,
        }
    }
}

/// Changes that found the queue full: the last of each kind, which replaces those before it.
#[derive(Debug, Default)]
struct Owed {
    source: Option<VideoJob>,
    renditions: Option<VideoJob>,
    slate: Option<VideoJob>,
}

impl Owed {
    fn keep(&mut self, job: VideoJob) {
        let place = match &job {
            VideoJob::Source { .. } => &mut self.source,
            VideoJob::Renditions { .. } => &mut self.renditions,
            _ => &mut self.slate,
        };
        *place = Some(job);
    }

    fn take(&mut self) -> Option<VideoJob> {
        let source = self.source.take();
        source
            .or_else(|| self.renditions.take())
            .or_else(|| self.slate.take())
    }

    fn is_empty(&self) -> bool {
        self.source.is_none() && self.renditions.is_none() && self.slate.is_none()
    }
}

/// Admits the jobs of one broadcast. When too many wait, units are refused until a keyframe comes,
/// since those between could not be decoded. Changes are never lost: the shard sends each once.
#[derive(Debug)]
pub(super) struct Admission {
    gauge: Arc<Gauge>,
    codec: VideoCodec,
    awaits_key: bool,
    /// The time of the last unit that was refused, if none has passed since.
    left_out_until_us: Option<i64>,
    owed: Owed,
    requests: KeyframeRequests,
}

impl Admission {
    pub(super) fn new(gauge: Arc<Gauge>) -> Self {
        Self {
            gauge,
            codec: VideoCodec::H264,
            awaits_key: false,
            left_out_until_us: None,
            owed: Owed::default(),
            requests: KeyframeRequests::default(),
        }
    }

    /// A change that was owed and passes now; to be sent before anything else.
    pub(super) fn take_owed(&mut self) -> Option<Work> {
        if !self.has_room_for_a_change() {
            return None;
        }
        let work = Work::Control(self.owed.take()?);
        self.gauge.enter(&work);
        Some(work)
    }

    fn has_room_for_a_change(&self) -> bool {
        self.gauge.controls.load(Relaxed) < CODEC_CONTROLS_WAITING_MAX
    }

    pub(super) fn judge(&mut self, now: Instant, job: VideoJob) -> Verdict {
        let work = match job {
            VideoJob::Decode { pts_us, unit, .. } => Work::Unit {
                arrived: now,
                key: is_keyframe(self.codec, &unit),
                pts_us,
                unit,
                left_out_until_us: self.left_out_until_us,
            },
            VideoJob::Fill { until_us, .. } => Work::Fill {
                arrived: now,
                until_us,
            },
            VideoJob::Keyframe { .. } if !self.has_room_for_a_change() => {
                return Verdict::lost();
            }
            control => {
                if let VideoJob::Source { codec, .. } = &control {
                    self.codec = *codec;
                }
                // None overtakes one that is owed, but for a request, which is of what is made now.
                let waits = !self.owed.is_empty() && !matches!(control, VideoJob::Keyframe { .. });
                if waits || !self.has_room_for_a_change() {
                    self.owed.keep(control);
                    return Verdict::Owe;
                }
                Work::Control(control)
            }
        };
        let passes = match &work {
            Work::Control(_) => true,
            Work::Unit { key, unit, .. } => {
                // Units of a source that the worker does not know yet are of no use to it.
                let passes = self.owed.source.is_none()
                    && self.gauge.has_room(unit.len())
                    && (*key || !self.awaits_key);
                self.awaits_key = !passes;
                passes
            }
            Work::Fill { .. } => self.gauge.has_room(0),
        };
        if passes {
            if matches!(work, Work::Unit { .. }) {
                self.left_out_until_us = None;
            }
            self.gauge.enter(&work);
            Verdict::Pass(work)
        } else {
            self.left_out(now, &work)
        }
    }

    /// A job that passed had to be left out after all.
    pub(super) fn bounced(&mut self, now: Instant, work: Work) -> Verdict {
        self.gauge.leave(&work);
        match work {
            Work::Control(VideoJob::Keyframe { .. }) => return Verdict::lost(),
            Work::Control(job) => {
                self.owed.keep(job);
                return Verdict::Owe;
            }
            Work::Unit { .. } => self.awaits_key = true,
            Work::Fill { .. } => {}
        }
        self.left_out(now, &work)
    }

    fn left_out(&mut self, now: Instant, work: &Work) -> Verdict {
        // The time of a fill is covered by the next one.
        let Work::Unit { pts_us, .. } = work else {
            return Verdict::lost();
        };
        self.gauge.left_out.fetch_add(1, Relaxed);
        self.left_out_until_us = Some(*pts_us);
        Verdict::LeaveOut {
            request_keyframe: self.requests.is_due(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use shardcast_core::io::{RenditionId, VideoTranscoderId};
    use shardcast_link::RenditionSpec;

    use super::*;

    const TRANSCODER: VideoTranscoderId = VideoTranscoderId::numbered(1);

    fn unit(key: bool, bytes: usize) -> VideoJob {
        let mut unit = vec![0; bytes.max(5)];
        unit[3] = u8::try_from(bytes - 4).unwrap_or(u8::MAX);
        unit[4] = if key { 0x65 } else { 0x41 };
        VideoJob::Decode {
            transcoder: TRANSCODER,
            pts_us: 0,
            unit: unit.into(),
        }
    }

    fn renditions(count: u64) -> VideoJob {
        let spec = RenditionSpec::of_height(360);
        VideoJob::Renditions {
            transcoder: TRANSCODER,
            renditions: (0..count).map(|id| (RenditionId(id), spec)).collect(),
        }
    }

    fn passed(verdict: Verdict) -> Work {
        match verdict {
            Verdict::Pass(work) => work,
            other => panic!("{other:?}"),
        }
    }

    fn requests_keyframe(verdict: &Verdict) -> bool {
        match verdict {
            Verdict::LeaveOut { request_keyframe } => *request_keyframe,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_that_do_not_help_become_rare_and_the_first_after_a_while_is_made_at_once() {
        let begin = Instant::now();
        let mut requests = KeyframeRequests::default();
        let count = |requests: &mut KeyframeRequests, from_ms: u64, to_ms: u64| {
            let times = (from_ms..to_ms).step_by(33);
            let due = times.filter(|ms| requests.is_due(begin + Duration::from_millis(*ms)));
            due.count()
        };
        assert_eq!(count(&mut requests, 0, 10_000), 6);
        assert_eq!(
            count(&mut requests, 10_000, 34_000),
            6,
            "one in four seconds"
        );
        assert_eq!(count(&mut requests, 60_000, 61_000), 3);
    }

    #[test]
    fn a_full_queue_opens_again_at_a_keyframe_only_and_asks_for_one_now_and_then() {
        let gauge = Arc::new(Gauge::default());
        let mut admission = Admission::new(Arc::clone(&gauge));
        let now = Instant::now();
        let mut waiting: Vec<Work> = (0..CODEC_UNITS_WAITING_MAX)
            .map(|index| passed(admission.judge(now, unit(index == 0, 64))))
            .collect();
        assert!(
            requests_keyframe(&admission.judge(now, unit(true, 64))),
            "full for a keyframe too"
        );
        assert!(
            !requests_keyframe(&admission.judge(now, unit(false, 64))),
            "asked already"
        );
        gauge.leave(&waiting.pop().unwrap());
        assert!(
            !requests_keyframe(&admission.judge(now, unit(false, 64))),
            "what came before is missing"
        );
        let later = now + CODEC_KEYFRAME_REQUEST_DISTANCE;
        assert!(requests_keyframe(&admission.judge(later, unit(false, 64))));
        passed(admission.judge(later, unit(true, 64)));
        assert_eq!(gauge.left_out.load(Relaxed), 4);
        gauge.leave(&waiting.pop().unwrap());
        passed(admission.judge(later, unit(false, 64)));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut admission = Admission::new(Arc::default());
        let now = Instant::now();
        passed(admission.judge(now, unit(true, CODEC_BYTES_WAITING_MAX - 64)));
        passed(admission.judge(now, unit(false, 64)));
        assert!(requests_keyframe(&admission.judge(now, unit(false, 64))));
    }

    #[test]
    fn changes_pass_a_full_queue_and_a_fill_that_does_not_is_no_reason_for_a_keyframe() {
        let mut admission = Admission::new(Arc::default());
        let now = Instant::now();
        for index in 0..CODEC_UNITS_WAITING_MAX {
            passed(admission.judge(now, unit(index == 0, 64)));
        }
        let fill = VideoJob::Fill {
            transcoder: TRANSCODER,
            until_us: 1,
        };
        assert!(!requests_keyframe(&admission.judge(now, fill)));
        for _ in 0..CODEC_CONTROLS_WAITING_MAX {
            passed(admission.judge(now, renditions(0)));
        }
    }

    #[test]
    fn a_publisher_that_changes_faster_than_its_thread_works_goes_on_with_its_last_source() {
        let gauge = Arc::new(Gauge::default());
        let mut admission = Admission::new(Arc::clone(&gauge));
        let now = Instant::now();
        let source = |number: u8| VideoJob::Source {
            transcoder: TRANSCODER,
            codec: VideoCodec::H264,
            record: Some(Bytes::from(vec![number])),
        };
        let mut waiting = Vec::new();
        for number in 0..3 * CODEC_CONTROLS_WAITING_MAX {
            match admission.judge(now, source(number as u8)) {
                Verdict::Pass(work) => waiting.push(work),
                Verdict::Owe => {}
                other => panic!("{other:?}"),
            }
            let verdict = admission.judge(now, unit(true, 64));
            assert_eq!(
                matches!(verdict, Verdict::Pass(_)),
                number < CODEC_CONTROLS_WAITING_MAX,
                "{verdict:?}"
            );
        }
        assert_eq!(waiting.len(), CODEC_CONTROLS_WAITING_MAX);
        assert!(admission.take_owed().is_none(), "there is no room");
        assert!(matches!(admission.judge(now, renditions(1)), Verdict::Owe));

        for work in waiting {
            gauge.leave(&work);
        }
        let later = now + CODEC_KEYFRAME_REQUEST_DISTANCE;
        assert!(
            matches!(admission.judge(later, renditions(2)), Verdict::Owe),
            "it would overtake"
        );
        let owed: Vec<_> = std::iter::from_fn(|| admission.take_owed()).collect();
        let [
            Work::Control(VideoJob::Source { record, .. }),
            Work::Control(VideoJob::Renditions { renditions, .. }),
        ] = &owed[..]
        else {
            panic!("{owed:?}");
        };
        let last = 3 * CODEC_CONTROLS_WAITING_MAX - 1;
        assert_eq!(record.as_deref(), Some(&[last as u8][..]));
        assert_eq!(renditions.len(), 2);
        assert!(
            requests_keyframe(&admission.judge(later, unit(false, 64))),
            "its keyframe was left out"
        );
        passed(admission.judge(later, unit(true, 64)));
    }
}
