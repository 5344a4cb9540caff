//! One broadcast on its codec worker: the transcoder, and what is reported of it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use shardcast_core::io::{RenditionId, VideoJob, VideoResult, VideoTranscoderId};
use shardcast_link::RenditionSpec;
use shardcast_log::panic_text;
use shardcast_media::{MediaError, Transcoded, Transcoder};

use bytes::Bytes;

use super::{
    admission::{Gauge, KeyframeRequests, Work},
    backlog::{Backlog, Next},
    completions::CompletionSender,
    governor::Level,
    translate::{encoded, transcoder_report},
    window::Turn,
};
use crate::{limits::CODEC_ENCODE_WAITED_MAX, os::clock::thread_cpu_time};

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
    id: VideoTranscoderId,
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
    requests: KeyframeRequests,
    /// Units that came too late since the last turn.
    missed: u32,
    /// Units that were left out because what they refer to could not be decoded.
    damaged: u64,
    reported: Instant,
    reported_cpu_us: u64,
}

impl Source {
    pub(super) fn new(now: Instant, id: VideoTranscoderId, gauge: Arc<Gauge>) -> Self {
        Self {
            id,
            backlog: Backlog::new(gauge),
            transcoder: Some(Transcoder::new(thread_cpu_time)),
            unfinished: None,
            obstacle: None,
            renditions: Vec::new(),
            preset_steps_max: 0,
            made: Vec::new(),
            requests: KeyframeRequests::default(),
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

    pub(super) fn throttle(&mut self, level: Level, out: &mut CompletionSender) {
        self.run(out, |transcoder, _| {
            transcoder.throttle(level.preset_steps, level.frame_divisor);
        });
    }

    /// Does what waits, up to one access unit, or a part of that when many pictures are to be repeated.
    /// `None` when there was none.
    pub(super) fn turn(&mut self, out: &mut CompletionSender) -> Option<Turn> {
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
            transcoder: self.id,
            waited: is_new.then_some(waited),
            busy: begun.elapsed(),
            missed: std::mem::take(&mut self.missed).saturating_add(late),
        })
    }

    /// Makes the changes that wait before the next unit.
    fn next_task(&mut self, out: &mut CompletionSender) -> Option<Task> {
        loop {
            let now = Instant::now();
            let next = self.backlog.next(now);
            let losses = self.backlog.take_losses();
            self.damaged += u64::from(losses.damaged);
            self.missed = self.missed.saturating_add(losses.late);
            if let Some(until_us) = losses.until_us {
                self.run(out, |transcoder, _| transcoder.leave_out(until_us));
            }
            if losses.request_keyframe && self.obstacle.is_none() {
                self.request_keyframe(now, out);
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
    fn work(&mut self, task: Task, late: bool, out: &mut CompletionSender) {
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

    fn decode(&mut self, pts_us: i64, unit: &[u8], encode: bool, out: &mut CompletionSender) {
        let decoded = self.run(out, |transcoder, made| {
            transcoder.decode(pts_us, unit, encode, made)
        });
        match decoded {
            Some(Err(error @ (MediaError::Video { .. } | MediaError::NoSource))) => {
                tracing::debug!(transcoder = %self.id, "{error}");
                self.backlog.damaged();
                if self.obstacle.is_none() {
                    self.request_keyframe(Instant::now(), out);
                }
            }
            Some(Err(error)) => tracing::debug!(transcoder = %self.id, "{error}"),
            Some(Ok(())) | None => {}
        }
    }

    fn change(&mut self, job: VideoJob, out: &mut CompletionSender) {
        match job {
            VideoJob::Source { codec, record, .. } => {
                let opened = self.run(out, |transcoder, _| {
                    transcoder.set_source(codec, record.as_deref())
                });
                self.opened(opened, out);
            }
            VideoJob::Renditions { renditions, .. } => self.set_renditions(&renditions, out),
            VideoJob::Keyframe { rendition, .. } => {
                self.run(out, |transcoder, _| {
                    transcoder.request_keyframe(rendition.0);
                });
            }
            VideoJob::Slate { image, .. } => {
                let shown = self.run(out, |transcoder, _| transcoder.show(&image));
                if let Some(Err(error)) = shown {
                    tracing::warn!(transcoder = %self.id, "the slate is not shown: {error}");
                }
            }
            // These never wait.
            VideoJob::Open { .. }
            | VideoJob::Decode { .. }
            | VideoJob::Fill { .. }
            | VideoJob::Close { .. } => {}
        }
    }

    fn opened(&mut self, opened: Option<Result<(), MediaError>>, out: &mut CompletionSender) {
        match opened {
            Some(Ok(())) => self.obstacle = None,
            // No keyframe changes that, but another source may.
            Some(Err(error)) => {
                tracing::warn!(transcoder = %self.id, "the source cannot be decoded: {error}");
                self.obstacle = Some(error.to_string());
                self.fail_all(&error.to_string(), out);
            }
            None => {}
        }
    }

    fn set_renditions(
        &mut self,
        wanted: &[(RenditionId, RenditionSpec)],
        out: &mut CompletionSender,
    ) {
        self.renditions = wanted.iter().map(|(rendition, _)| *rendition).collect();
        let slowest = wanted.iter().map(|(_, spec)| spec.preset).max();
        self.preset_steps_max = slowest.map_or(0, |preset| preset as u32);
        let settings: Vec<_> = wanted
            .iter()
            .map(|(rendition, spec)| (rendition.0, *spec))
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
        out: &mut CompletionSender,
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
                let reason = panic_text(&*panic);
                tracing::error!(transcoder = %self.id, "a codec panicked: {reason}");
                let transcoder = self.transcoder.take();
                if catch_unwind(AssertUnwindSafe(|| drop(transcoder))).is_err() {
                    tracing::error!(transcoder = %self.id, "and again at its end");
                }
                self.made.clear();
                self.fail_all(DEFECT, out);
                None
            }
        }
    }

    fn pass_on(&mut self, out: &mut CompletionSender) {
        for picture in self.made.drain(..) {
            let picture = VideoResult::Encoded(encoded(picture));
            out.push(self.id, picture);
        }
        while let Some((key, reason)) = self.transcoder.as_mut().and_then(Transcoder::take_failure)
        {
            let rendition = RenditionId(key);
            out.push(self.id, VideoResult::Failed { rendition, reason });
        }
    }

    fn fail_all(&self, reason: &str, out: &mut CompletionSender) {
        for rendition in self.renditions.iter().copied() {
            let reason = reason.to_owned();
            out.push(self.id, VideoResult::Failed { rendition, reason });
        }
    }

    fn request_keyframe(&mut self, now: Instant, out: &mut CompletionSender) {
        if self.requests.is_due(now) {
            out.push(self.id, VideoResult::KeyframeWanted);
        }
    }

    /// Says what was done so far.
    pub(super) fn report(&mut self, now: Instant, out: &mut CompletionSender) {
        let Some(report) = self.run(out, |transcoder, _| transcoder.report()) else {
            return;
        };
        let mut report = transcoder_report(&report);
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
        out.push(self.id, VideoResult::Report(report));
    }
}

#[cfg(test)]
mod tests;
