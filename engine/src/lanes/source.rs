//! One broadcast on its codec thread: the transcoder, and what is said of it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use shardcast_core::io::{RenditionId, VideoJob, VideoLaneId, VideoResult};
use shardcast_link::RenditionSpec;
use shardcast_log::panic_text;
use shardcast_media::{MediaError, Transcoded, Transcoder};

use bytes::Bytes;

use super::{
    backlog::{Backlog, Next},
    governor::Level,
    intake::{Gauge, Plea, Work},
    outbox::Outbox,
    translate::{encoded, lane_report, media_codec, media_settings},
    window::Turn,
};
use crate::{clock::thread_cpu_time, limits::CODEC_ENCODE_WAITED_MAX};

const DEFECT: &str = "a defect of this server; its log has the details";

/// What a turn is spent on.
#[derive(Debug)]
struct Task {
    arrived: Instant,
    kind: TaskKind,
}

#[derive(Debug)]
enum TaskKind {
    Decode { pts_us: i64, unit: Bytes },
    Fill { until_us: i64 },
}

/// What a broadcast has of its thread.
pub(super) struct Source {
    lane: VideoLaneId,
    backlog: Backlog,
    /// `None` once it has panicked.
    transcoder: Option<Transcoder>,
    /// Begun in an earlier turn.
    unfinished: Option<Task>,
    /// Why nothing can be made of the source that was named last.
    obstacle: Option<String>,
    renditions: Vec<RenditionId>,
    preset_steps_max: u32,
    made: Vec<Transcoded>,
    plea: Plea,
    /// Units that came too late since the last turn.
    missed: u32,
    /// Units that were left out because what they refer to could not be decoded.
    damaged: u64,
    reported: Instant,
    reported_cpu_us: u64,
}

impl Source {
    pub(super) fn new(now: Instant, lane: VideoLaneId, gauge: Arc<Gauge>) -> Self {
        Self {
            lane,
            backlog: Backlog::new(gauge),
            transcoder: Some(Transcoder::new(thread_cpu_time)),
            unfinished: None,
            obstacle: None,
            renditions: Vec::new(),
            preset_steps_max: 0,
            made: Vec::new(),
            plea: Plea::default(),
            missed: 0,
            damaged: 0,
            reported: now,
            reported_cpu_us: 0,
        }
    }

    pub(super) fn push(&mut self, work: Work) {
        self.backlog.push(work);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.unfinished.is_none() && self.backlog.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.backlog.gauge().closed.load(Relaxed)
    }

    /// How many presets the slowest one that is wanted is behind the fastest.
    pub(super) fn preset_steps_max(&self) -> u32 {
        self.preset_steps_max
    }

    pub(super) fn throttle(&mut self, level: Level, out: &mut Outbox) {
        self.run(out, |transcoder, _| {
            transcoder.throttle(level.preset_steps, level.frame_divisor);
        });
    }

    /// Does what waits, up to one access unit, or a part of that when many pictures are to be repeated.
    /// `None` when there was none.
    pub(super) fn turn(&mut self, out: &mut Outbox) -> Option<Turn> {
        let resumed = self.unfinished.take();
        let is_new = resumed.is_none();
        let task = match resumed {
            Some(task) => task,
            None => self.next_task(out)?,
        };
        let begun = Instant::now();
        let waited = begun.saturating_duration_since(task.arrived);
        let late = waited > CODEC_ENCODE_WAITED_MAX;
        self.work(task, late, out);
        let late = u32::from(late && self.unfinished.is_none());
        Some(Turn {
            lane: self.lane,
            waited: is_new.then_some(waited),
            busy: begun.elapsed(),
            missed: std::mem::take(&mut self.missed).saturating_add(late),
        })
    }

    /// Makes the changes that wait before the next unit.
    fn next_task(&mut self, out: &mut Outbox) -> Option<Task> {
        loop {
            let now = Instant::now();
            let next = self.backlog.next(now);
            let losses = self.backlog.take_losses();
            self.damaged += u64::from(losses.damaged);
            self.missed = self.missed.saturating_add(losses.late);
            if let Some(until_us) = losses.until_us {
                self.run(out, |transcoder, _| transcoder.leave_out(until_us));
            }
            if losses.plead && self.obstacle.is_none() {
                self.plead(now, out);
            }
            let (arrived, kind) = match next? {
                Next::Control(job) => {
                    self.change(job, out);
                    continue;
                }
                Next::Decode {
                    arrived,
                    pts_us,
                    unit,
                } => (arrived, TaskKind::Decode { pts_us, unit }),
                Next::Fill { arrived, until_us } => (arrived, TaskKind::Fill { until_us }),
            };
            return Some(Task { arrived, kind });
        }
    }

    /// What is late is not encoded, and its time is left out.
    fn work(&mut self, task: Task, late: bool, out: &mut Outbox) {
        let filled = match task.kind {
            TaskKind::Decode { .. } if late => Some(true),
            TaskKind::Decode { pts_us, .. } => {
                self.run(out, |transcoder, made| transcoder.catch_up(pts_us, made))
            }
            TaskKind::Fill { until_us } if late => self.run(out, |transcoder, _| {
                transcoder.leave_out(until_us);
                true
            }),
            TaskKind::Fill { until_us } => {
                self.run(out, |transcoder, made| transcoder.fill(until_us, made))
            }
        };
        match task.kind {
            // Others have their turns between.
            _ if filled == Some(false) => self.unfinished = Some(task),
            TaskKind::Decode { pts_us, unit } => self.decode(pts_us, &unit, !late, out),
            TaskKind::Fill { .. } => {}
        }
    }

    fn decode(&mut self, pts_us: i64, unit: &[u8], encode: bool, out: &mut Outbox) {
        let decoded = self.run(out, |transcoder, made| {
            transcoder.decode(pts_us, unit, encode, made)
        });
        match decoded {
            Some(Err(error @ (MediaError::Video { .. } | MediaError::NoSource))) => {
                tracing::debug!(lane = self.lane.0, "{error}");
                self.backlog.damaged();
                if self.obstacle.is_none() {
                    self.plead(Instant::now(), out);
                }
            }
            Some(Err(error)) => tracing::debug!(lane = self.lane.0, "{error}"),
            Some(Ok(())) | None => {}
        }
    }

    fn change(&mut self, job: VideoJob, out: &mut Outbox) {
        match job {
            VideoJob::Source { codec, record, .. } => {
                let codec = media_codec(codec);
                let opened = self.run(out, |transcoder, _| {
                    transcoder.set_source(codec, record.as_deref())
                });
                self.opened(opened, out);
            }
            VideoJob::Renditions { renditions, .. } => self.set_renditions(&renditions, out),
            VideoJob::Slate { image, .. } => {
                let shown = self.run(out, |transcoder, _| transcoder.show(&image));
                if let Some(Err(error)) = shown {
                    tracing::warn!(lane = self.lane.0, "the slate is not shown: {error}");
                }
            }
            // These never wait.
            VideoJob::Open { .. }
            | VideoJob::Decode { .. }
            | VideoJob::Fill { .. }
            | VideoJob::Close { .. } => {}
        }
    }

    fn opened(&mut self, opened: Option<Result<(), MediaError>>, out: &mut Outbox) {
        match opened {
            Some(Ok(())) => self.obstacle = None,
            // No keyframe changes that, but another source may.
            Some(Err(error)) => {
                tracing::warn!(lane = self.lane.0, "the source cannot be decoded: {error}");
                self.obstacle = Some(error.to_string());
                self.fail_all(&error.to_string(), out);
            }
            None => {}
        }
    }

    fn set_renditions(&mut self, wanted: &[(RenditionId, RenditionSpec)], out: &mut Outbox) {
        self.renditions = wanted.iter().map(|(rendition, _)| *rendition).collect();
        let slowest = wanted.iter().map(|(_, spec)| spec.preset).max();
        self.preset_steps_max = slowest.map_or(0, |preset| preset as u32);
        let settings: Vec<_> = wanted
            .iter()
            .map(|(rendition, spec)| (rendition.0, media_settings(spec)))
            .collect();
        self.run(out, |transcoder, _| transcoder.set_renditions(&settings));
        if self.transcoder.is_none() {
            self.fail_all(DEFECT, out);
        } else if let Some(obstacle) = self.obstacle.clone() {
            self.fail_all(&obstacle, out);
        }
    }

    /// Lets the transcoder do something, and passes on what it made. A panic is a defect of ours,
    /// and ends this transcoder only: it is not in a state to go on in.
    fn run<T>(
        &mut self,
        out: &mut Outbox,
        work: impl FnOnce(&mut Transcoder, &mut Vec<Transcoded>) -> T,
    ) -> Option<T> {
        let transcoder = self.transcoder.as_mut()?;
        let made = &mut self.made;
        let done = catch_unwind(AssertUnwindSafe(|| work(transcoder, made)));
        match done {
            Ok(value) => {
                self.pass_on(out);
                Some(value)
            }
            Err(panic) => {
                let words = panic_text(&*panic);
                tracing::error!(lane = self.lane.0, "a codec panicked: {words}");
                let transcoder = self.transcoder.take();
                if catch_unwind(AssertUnwindSafe(|| drop(transcoder))).is_err() {
                    tracing::error!(lane = self.lane.0, "and again at its end");
                }
                self.made.clear();
                self.fail_all(DEFECT, out);
                None
            }
        }
    }

    fn pass_on(&mut self, out: &mut Outbox) {
        for picture in self.made.drain(..) {
            let picture = VideoResult::Encoded(encoded(picture));
            out.push(self.lane, picture);
        }
        while let Some((key, reason)) = self.transcoder.as_mut().and_then(Transcoder::take_failure)
        {
            let rendition = RenditionId(key);
            out.push(self.lane, VideoResult::Failed { rendition, reason });
        }
    }

    fn fail_all(&self, reason: &str, out: &mut Outbox) {
        for rendition in self.renditions.iter().copied() {
            let reason = reason.to_owned();
            out.push(self.lane, VideoResult::Failed { rendition, reason });
        }
    }

    fn plead(&mut self, now: Instant, out: &mut Outbox) {
        if self.plea.is_due(now) {
            out.push(self.lane, VideoResult::KeyframeWanted);
        }
    }

    /// Says what was done so far.
    pub(super) fn report(&mut self, now: Instant, out: &mut Outbox) {
        let Some(report) = self.run(out, |transcoder, _| transcoder.report()) else {
            return;
        };
        let mut report = lane_report(&report);
        report.late += self.backlog.gauge().left_out.load(Relaxed);
        report.errors += self.damaged;
        let renditions = report.renditions.iter();
        let cpu_us = report.decode_us + renditions.map(|r| r.scale_us + r.encode_us).sum::<u64>();
        // It falls when a rendition goes.
        let spent_us = u128::from(cpu_us.saturating_sub(self.reported_cpu_us));
        let wall_us = now.saturating_duration_since(self.reported).as_micros();
        let permille = u32::try_from(spent_us * 1_000 / wall_us.max(1)).unwrap_or(u32::MAX);
        self.backlog.gauge().cost_permille.store(permille, Relaxed);
        (self.reported, self.reported_cpu_us) = (now, cpu_us);
        out.push(self.lane, VideoResult::Report(report));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shardcast_link::Preset;

    use super::*;
    use crate::{
        lanes::outbox::{Results, outbox},
        limits::CODEC_DECODE_WAITED_MAX,
        signals::Bell,
    };

    const LANE: VideoLaneId = VideoLaneId(7);

    fn source() -> (Source, Outbox, Results) {
        let (out, results) = outbox(Bell::new().unwrap(), false);
        (
            Source::new(Instant::now(), LANE, Arc::default()),
            out,
            results,
        )
    }

    fn renditions(source: &mut Source, ids: &[u64], out: &mut Outbox) {
        let spec = RenditionSpec::of_height(180);
        let renditions = ids.iter().map(|id| (RenditionId(*id), spec)).collect();
        let lane = LANE;
        source.change(VideoJob::Renditions { lane, renditions }, out);
    }

    fn failed(results: &Results) -> Vec<(u64, String)> {
        std::iter::from_fn(|| results.take())
            .filter_map(|(_, result)| match result {
                VideoResult::Failed { rendition, reason } => Some((rendition.0, reason)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_panic_in_a_codec_ends_the_renditions_of_its_broadcast_in_words_and_nothing_else() {
        let (mut source, mut out, results) = source();
        renditions(&mut source, &[1, 2], &mut out);
        assert_eq!(failed(&results), []);
        let done = source.run(&mut out, |_, _| panic!("on purpose"));
        assert_eq!(done, None::<()>);
        let defect = |id| (id, DEFECT.to_owned());
        assert_eq!(failed(&results), [defect(1), defect(2)]);

        renditions(&mut source, &[2, 3], &mut out);
        assert_eq!(failed(&results), [defect(2), defect(3)]);
        source.throttle(Level::FULL, &mut out);
        source.decode(0, b"\0\0\0\x01\x65", true, &mut out);
        source.report(Instant::now(), &mut out);
        assert!(results.take().is_none());
    }

    fn push(source: &mut Source, work: Work) {
        // As the intake counts it.
        source.backlog.gauge().enter(&work);
        source.push(work);
    }

    #[cfg(feature = "x264")]
    #[test]
    fn a_long_fill_takes_several_turns_so_that_neighbours_have_theirs_between() {
        // One grey pixel.
        const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\
            \0\0\0\nIDATx\x9cch\0\0\0\x82\0\x81w\xcdr\xb6\0\0\0\0IEND\xaeB`\x82";
        let (mut source, mut out, results) = source();
        renditions(&mut source, &[1, 2], &mut out);
        let image = Bytes::from_static(PNG);
        source.change(VideoJob::Slate { lane: LANE, image }, &mut out);
        // However busy the machine is, it has not waited.
        let arrived = Instant::now() + Duration::from_secs(3_600);
        let mut turns = Vec::new();
        for until_us in [0, 1_000_000] {
            push(&mut source, Work::Fill { arrived, until_us });
            while !source.is_idle() {
                let turn = source.turn(&mut out).unwrap();
                let made = std::iter::from_fn(|| results.take()).count();
                turns.push((turn.waited.is_some(), made));
            }
        }
        let expected = [(true, 2), (true, 16), (false, 16), (false, 16), (false, 12)];
        assert_eq!(turns, expected);
    }

    #[test]
    fn what_has_waited_more_than_a_tenth_of_a_second_is_missed() {
        let (mut source, mut out, _results) = source();
        let now = Instant::now();
        let Some(late) = now.checked_sub(2 * CODEC_ENCODE_WAITED_MAX) else {
            return;
        };
        // However busy the machine is, the second one has not waited.
        let punctual = now + Duration::from_secs(3_600);
        for (arrived, missed) in [(late, 1), (punctual, 0)] {
            let unit = Work::Unit {
                arrived,
                key: true,
                pts_us: 0,
                unit: Bytes::from_static(b"\0\0\0\x01\x65"),
                left_out_until_us: None,
            };
            let until_us = 1;
            for work in [unit, Work::Fill { arrived, until_us }] {
                push(&mut source, work);
                let turn = source.turn(&mut out).unwrap();
                assert_eq!((turn.lane, turn.missed), (LANE, missed), "{turn:?}");
                assert!(turn.waited.is_some());
                assert!(source.is_idle());
            }
        }
    }

    #[test]
    fn what_was_lost_before_a_change_counts_in_the_next_turn() {
        let (mut source, mut out, _results) = source();
        let now = Instant::now();
        let Some(late) = now.checked_sub(2 * CODEC_DECODE_WAITED_MAX) else {
            return;
        };
        let unit = |arrived, key| Work::Unit {
            arrived,
            key,
            pts_us: 0,
            unit: Bytes::from_static(b"\0\0\0\x01\x65"),
            left_out_until_us: None,
        };
        let lane = LANE;
        let change = Work::Control(VideoJob::Renditions {
            lane,
            renditions: Vec::new(),
        });
        for work in [unit(late, false), change, unit(late, false)] {
            push(&mut source, work);
        }
        assert_eq!(source.turn(&mut out), None);
        push(&mut source, unit(now, true));
        assert_eq!(source.turn(&mut out).map(|turn| turn.missed), Some(2));
    }

    #[test]
    fn the_slowest_preset_that_is_wanted_says_how_many_steps_there_are() {
        let (mut source, mut out, _results) = source();
        assert_eq!(source.preset_steps_max(), 0);
        for (preset, steps) in [
            (Preset::Ultrafast, 0),
            (Preset::Superfast, 1),
            (Preset::Faster, 3),
        ] {
            let spec = |preset| RenditionSpec {
                preset,
                ..RenditionSpec::of_height(180)
            };
            let renditions = vec![
                (RenditionId(1), spec(preset)),
                (RenditionId(2), spec(Preset::Ultrafast)),
            ];
            let lane = LANE;
            source.change(VideoJob::Renditions { lane, renditions }, &mut out);
            assert_eq!(source.preset_steps_max(), steps);
        }
    }
}
