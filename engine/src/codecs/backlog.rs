//! What waits for a codec worker of one broadcast, and what of it is too late: the side of the
//! thread.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use bytes::Bytes;
use shardcast_core::io::VideoJob;

use super::admission::{Gauge, Work};
use crate::limits::CODEC_DECODE_WAITED_MAX;

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    Control(VideoJob),
    Decode {
        arrived: Instant,
        pts_us: i64,
        unit: Bytes,
    },
    Fill {
        arrived: Instant,
        until_us: i64,
    },
}

/// Why units are left out up to a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// They came too late.
    Late,
    /// What they refer to could not be decoded. Most decoders would show something all the same,
    /// and the damage would spread to everybody.
    Damage,
}

/// What was left out since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Units that came too late.
    pub(super) late: u32,
    /// Units that refer to what could not be decoded.
    pub(super) damaged: u32,
    /// A keyframe is to be asked for.
    pub(super) request_keyframe: bool,
    /// The time of the last unit that came too late, here or before it got here.
    pub(super) until_us: Option<i64>,
}

/// The jobs of one broadcast, in order. It bounds itself by the gauge that it shares with the
/// [`Admission`](super::admission::Admission).
#[derive(Debug)]
pub(super) struct Backlog {
    gauge: Arc<Gauge>,
    work: VecDeque<Work>,
    gap: Option<Gap>,
    losses: Losses,
}

impl Backlog {
    pub(super) fn new(gauge: Arc<Gauge>) -> Self {
        Self {
            gauge,
            work: VecDeque::new(),
            gap: None,
            losses: Losses::default(),
        }
    }

    pub(super) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    pub(super) fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    pub(super) fn push(&mut self, work: Work) {
        // The later one covers the time of the earlier one.
        if let (Work::Fill { .. }, Some(last @ Work::Fill { .. })) = (&work, self.work.back()) {
            self.gauge.leave(last);
            self.work.pop_back();
        }
        self.work.push_back(work);
    }

    /// What was left out since the last call.
    pub(super) fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// The next thing that is worth doing at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        while let Some(work) = self.work.pop_front() {
            self.gauge.leave(&work);
            match work {
                Work::Control(job) => {
                    if matches!(job, VideoJob::Source { .. }) {
                        self.gap = None;
                    }
                    return Some(Next::Control(job));
                }
                Work::Fill { arrived, until_us } => return Some(Next::Fill { arrived, until_us }),
                Work::Unit {
                    arrived,
                    key,
                    pts_us,
                    unit,
                    left_out_until_us,
                } => {
                    self.losses.until_us = self.losses.until_us.max(left_out_until_us);
                    let waited = now.saturating_duration_since(arrived);
                    if key {
                        self.gap = None;
                    }
                    // A keyframe is decoded however late it is, unless another one waits: it costs
                    // one picture, and those that follow need not be asked for.
                    if waited > CODEC_DECODE_WAITED_MAX && (!key || self.has_key()) {
                        self.gap.get_or_insert(Gap::Late);
                    }
                    if let Some(gap) = self.gap {
                        self.leave_out(gap, pts_us);
                        continue;
                    }
                    return Some(Next::Decode {
                        arrived,
                        pts_us,
                        unit,
                    });
                }
            }
        }
        None
    }

    /// A unit could not be decoded: what comes before the next keyframe is of no use.
    pub(super) fn damaged(&mut self) {
        self.gap = Some(Gap::Damage);
    }

    fn leave_out(&mut self, gap: Gap, pts_us: i64) {
        match gap {
            Gap::Late => {
                self.losses.late += 1;
                self.losses.until_us = self.losses.until_us.max(Some(pts_us));
                self.gauge.left_out.fetch_add(1, Relaxed);
            }
            Gap::Damage => self.losses.damaged += 1,
        }
        self.losses.request_keyframe |= !self.has_key();
    }

    fn has_key(&self) -> bool {
        self.work
            .iter()
            .any(|work| matches!(work, Work::Unit { key: true, .. }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shardcast_core::io::VideoTranscoderId;
    use shardcast_link::VideoCodec;

    use super::*;

    fn unit(arrived: Instant, pts_us: i64, key: bool) -> Work {
        Work::Unit {
            arrived,
            key,
            pts_us,
            unit: Bytes::new(),
            left_out_until_us: None,
        }
    }

    fn backlog(work: impl IntoIterator<Item = Work>) -> Backlog {
        let mut backlog = Backlog::new(Arc::default());
        for work in work {
            // As the admission counts it.
            backlog.gauge.enter(&work);
            backlog.push(work);
        }
        backlog
    }

    /// Time stamps of what is decoded.
    fn decoded(backlog: &mut Backlog, now: Instant) -> Vec<i64> {
        std::iter::from_fn(|| backlog.next(now))
            .filter_map(|next| match next {
                Next::Decode { pts_us, .. } => Some(pts_us),
                _ => None,
            })
            .collect()
    }

    /// What was left out: late, damaged, and whether a keyframe is asked for.
    fn losses(backlog: &mut Backlog) -> (u32, u32, bool) {
        let losses = backlog.take_losses();
        (losses.late, losses.damaged, losses.request_keyframe)
    }

    #[test]
    fn what_cannot_even_be_decoded_is_left_out_up_to_a_keyframe_that_waits() {
        let start = Instant::now();
        let late = start + CODEC_DECODE_WAITED_MAX + Duration::from_millis(1);
        let mut backlog = backlog([
            unit(start, 0, true),
            unit(start, 1, false),
            unit(late, 2, false),
            unit(late, 3, true),
            unit(late, 4, false),
        ]);
        assert_eq!(decoded(&mut backlog, late), [3, 4]);
        assert_eq!(losses(&mut backlog), (3, 0, false));
    }

    #[test]
    fn the_time_of_what_came_too_late_is_known_wherever_it_was_left_out() {
        let start = Instant::now();
        let late = start + CODEC_DECODE_WAITED_MAX + Duration::from_millis(1);
        let after_others = Work::Unit {
            arrived: late,
            key: true,
            pts_us: 9,
            unit: Bytes::new(),
            left_out_until_us: Some(8),
        };
        let mut backlog = backlog([
            unit(start, 1, false),
            unit(start, 2, false),
            unit(late, 3, true),
            after_others,
        ]);
        let times = std::iter::from_fn(|| {
            let Some(Next::Decode { pts_us, .. }) = backlog.next(late) else {
                return None;
            };
            Some((pts_us, backlog.take_losses().until_us))
        });
        assert_eq!(times.collect::<Vec<_>>(), [(3, Some(2)), (9, Some(8))]);
    }

    #[test]
    fn where_no_keyframe_waits_one_is_asked_for_and_waited_for() {
        let start = Instant::now();
        let late = start + CODEC_DECODE_WAITED_MAX + Duration::from_millis(1);
        let mut backlog = backlog([unit(start, 0, false), unit(late, 1, false)]);
        assert!(decoded(&mut backlog, late).is_empty());
        assert_eq!(losses(&mut backlog), (2, 0, true));
        backlog.gauge.enter(&unit(late, 2, true));
        backlog.push(unit(late, 2, true));
        assert_eq!(decoded(&mut backlog, late), [2]);
        assert_eq!(backlog.take_losses(), Losses::default());
    }

    #[test]
    fn a_keyframe_is_decoded_however_late_it_is() {
        let start = Instant::now();
        let late = start + 10 * CODEC_DECODE_WAITED_MAX;
        let mut backlog = backlog([unit(start, 0, true), unit(late, 1, false)]);
        assert_eq!(decoded(&mut backlog, late), [0, 1]);
    }

    #[test]
    fn another_source_begins_anew() {
        let now = Instant::now();
        let source = Work::Control(VideoJob::Source {
            transcoder: VideoTranscoderId::numbered(1),
            codec: VideoCodec::Vp8,
            record: None,
        });
        let mut backlog = backlog([unit(now, 0, false), source, unit(now, 1, false)]);
        backlog.damaged();
        assert_eq!(decoded(&mut backlog, now), [1]);
        assert_eq!(losses(&mut backlog), (0, 1, true));
    }

    #[test]
    fn fills_that_follow_each_other_are_one() {
        let now = Instant::now();
        let fill = |until_us| Work::Fill {
            arrived: now,
            until_us,
        };
        let mut backlog = backlog([fill(1), fill(2), unit(now, 5, true), fill(7)]);
        let Some(Next::Fill { until_us: 2, .. }) = backlog.next(now) else {
            panic!("not the later one");
        };
        assert_eq!(decoded(&mut backlog, now), [5]);
        assert!(backlog.is_empty());
        assert!(format!("{:?}", backlog.gauge).contains("units: 0, bytes: 0"));
    }
}
