//! The recorder of a broadcast: a consumer of the publisher's ring that makes files.
//!
//! It takes units as they come, and gives them to the driver as fragments about a second long. A file may fail at
//! any time without harm to the broadcast: what is in it up to there can be played, and another one is begun
//! after a while. What is written and not on the disk yet is bounded; beyond, parts are left out.

mod cutter;

use std::time::{Duration, Instant};

use bytes::Bytes;
use shardcast_link::{Fault, Problem, RecordingStatus, WantedRecording};

use self::cutter::{Cutter, Placing};
use super::{
    Broadcast, Source,
    ring::{MediaFacts, Ring, Unit},
};
use crate::{
    codec::{AudioCodec, aac::AacConfig},
    context::Context,
    ids::{BroadcastKey, RecordingFileId},
    io::{Output, RecordJob, RecordResult},
    limits::{RECORDING_OUTSTANDING_BYTES_MAX, RECORDING_RETRY_MS},
};

/// What the recorder sees of its broadcast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    ring: &'a Ring,
    facts: MediaFacts,
    /// Filler is shown.
    filler: bool,
    /// The publisher's video is H.264, or there is none.
    suits: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Recorder {
    broadcast: BroadcastKey,
    wanted: Option<WantedRecording>,
    file: Option<File>,
    /// Number of the next unit of the ring.
    cursor: Option<u64>,
    /// Given to the driver for each file, and not on the disk yet, in bytes. What files that have ended wait for
    /// counts too, since it is the same disk.
    outstanding: Vec<(RecordingFileId, usize)>,
    /// After a failure nothing is begun before.
    retry_at: Option<Instant>,
    problem: Option<Problem>,
}

/// A file that is being written.
#[derive(Debug)]
struct File {
    id: RecordingFileId,
    name: Option<String>,
    cutter: Cutter,
    /// A part was left out, so the next picture has to be a keyframe.
    lacks_keyframe: bool,
    /// That part is to leave no gap.
    closes_gap: bool,
    written_bytes: u64,
}

impl Recorder {
    pub(super) fn new(broadcast: BroadcastKey) -> Self {
        Self {
            broadcast,
            wanted: None,
            file: None,
            cursor: None,
            outstanding: Vec::new(),
            retry_at: None,
            problem: None,
        }
    }

    /// Takes over what control wants. Another recording than before is another file.
    pub(super) fn want(&mut self, ctx: &mut Context, wanted: Option<&WantedRecording>) {
        let id = |it: Option<&WantedRecording>| it.map(|it| it.id.clone());
        if id(self.wanted.as_ref()) != id(wanted) {
            self.end(ctx);
        }
        self.wanted = wanted.cloned();
    }

    /// Whether it takes audio in AAC.
    pub(super) fn takes_audio(&self) -> bool {
        self.wanted.is_some()
    }

    /// The broadcast is off air, or this recording is over.
    pub(super) fn end(&mut self, ctx: &mut Context) {
        self.end_file(ctx);
        self.cursor = None;
        self.retry_at = None;
        self.problem = None;
    }

    /// Takes what is new in the ring.
    pub(super) fn feed(&mut self, ctx: &mut Context, scene: Scene<'_>) {
        let Some(wanted) = &self.wanted else {
            return;
        };
        if self.retry_at.is_some_and(|at| ctx.now < at) {
            self.cursor = None;
            return;
        }
        if !scene.suits && self.file.is_none() {
            self.problem.get_or_insert_with(|| Problem {
                fault: Fault::Publisher,
                message:
                    "the publisher's video is not H.264, so it is not recorded: let it send H.264"
                        .to_owned(),
            });
            return;
        }
        let length_us_max = match wanted.file_ms_max {
            0 => i64::MAX,
            ms => i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX),
        };
        let skips = scene.filler && !wanted.filler;
        self.keep_place(scene);
        while let Some(cursor) = self.cursor
            && let Some(unit) = scene.ring.get(cursor)
        {
            self.cursor = Some(cursor + 1);
            let is_audio = unit.kind.audio().is_some();
            if is_audio && !scene.ring.is_whole_from(cursor, AudioCodec::Aac) {
                continue;
            }
            if skips {
                self.leave_out(ctx);
            } else {
                self.take(ctx, unit, scene.facts, length_us_max);
            }
        }
    }

    /// Finds where to begin, or to go on after units have fallen out of the ring.
    fn keep_place(&mut self, scene: Scene<'_>) {
        let Scene { ring, facts, .. } = scene;
        if self.cursor.is_some_and(|cursor| cursor >= ring.start()) {
            return;
        }
        if self.cursor.is_some() {
            self.lose_part();
        }
        self.cursor = match ring.newest_keyframe() {
            Some(keyframe) => Some(keyframe.max(self.cursor.unwrap_or(0))),
            // It begins with the first keyframe, or with audio where there will be none.
            None if facts.expects_video && self.file.is_none() => None,
            None => Some(ring.end().saturating_sub(1).max(self.cursor.unwrap_or(0))),
        };
    }

    fn lose_part(&mut self) {
        if let Some(file) = &mut self.file {
            file.cutter.drop_pending();
            file.lacks_keyframe = true;
        }
    }

    /// What is shown now is not to be recorded.
    fn leave_out(&mut self, ctx: &mut Context) {
        self.cut(ctx);
        if let Some(file) = &mut self.file {
            file.lacks_keyframe = true;
            file.closes_gap = true;
        }
    }

    fn take(&mut self, ctx: &mut Context, unit: &Unit, facts: MediaFacts, length_us_max: i64) {
        if let Some(file) = &mut self.file {
            if file.lacks_keyframe {
                if !unit.is_keyframe() {
                    return;
                }
                file.lacks_keyframe = false;
                if std::mem::take(&mut file.closes_gap) {
                    file.cutter.close_gap(unit);
                }
            }
            let is_full = file.cutter.is_full(unit, length_us_max);
            if !is_full {
                if file.cutter.is_due(unit) {
                    self.cut(ctx);
                }
                match self.place(unit) {
                    Some(Placing::NeedsNewFile) => {}
                    Some(Placing::Taken) | None => return,
                }
            }
            self.end_file(ctx);
        }
        let begins = unit.is_keyframe() || (unit.kind.audio().is_some() && !facts.expects_video);
        if begins {
            self.begin(ctx, unit, facts);
            self.place(unit);
        }
    }

    fn place(&mut self, unit: &Unit) -> Option<Placing> {
        self.file.as_mut().map(|file| file.cutter.place(unit))
    }

    fn begin(&mut self, ctx: &mut Context, first: &Unit, facts: MediaFacts) {
        let Some(wanted) = &self.wanted else {
            return;
        };
        let id = RecordingFileId {
            broadcast: self.broadcast,
            number: ctx.ids.next(),
        };
        ctx.output(Output::Record(RecordJob::Open {
            file: id,
            folder: wanted.folder.clone(),
            name: wanted.id.clone(),
        }));
        let audio = facts.aac.unwrap_or(AacConfig::OURS);
        self.retry_at = None;
        self.file = Some(File {
            id,
            name: None,
            cutter: Cutter::new(first, audio, wanted.label.clone()),
            lacks_keyframe: false,
            closes_gap: false,
            written_bytes: 0,
        });
        self.outstanding.push((id, 0));
    }

    /// Writes what waits, unless too much is on its way to the disk.
    fn cut(&mut self, ctx: &mut Context) {
        let outstanding_bytes = self.outstanding_bytes();
        let Some(file) = &mut self.file else {
            return;
        };
        if outstanding_bytes > RECORDING_OUTSTANDING_BYTES_MAX {
            self.problem = Some(Problem {
                fault: Fault::Operator,
                message:
                    "the disk takes the recording more slowly than it comes, so parts are left \
                          out: use a faster one"
                        .to_owned(),
            });
            return self.lose_part();
        }
        let slices = file.cutter.cut();
        let bytes = slices.iter().map(Bytes::len).sum::<usize>();
        if bytes > 0 {
            let file = file.id;
            let mut outstanding = self.outstanding.iter_mut();
            if let Some((_, of_file)) = outstanding.find(|(it, _)| *it == file) {
                *of_file += bytes;
            }
            ctx.output(Output::Record(RecordJob::Write { file, slices }));
        }
    }

    fn outstanding_bytes(&self) -> usize {
        self.outstanding.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Counts what the driver has answered, of files that have ended too.
    fn settle(&mut self, id: RecordingFileId, result: &RecordResult) {
        match result {
            RecordResult::Opened { .. } => {}
            RecordResult::Written { bytes } => {
                let mut outstanding = self.outstanding.iter_mut();
                if let Some((_, of_file)) = outstanding.find(|(it, _)| *it == id) {
                    *of_file = of_file.saturating_sub(*bytes);
                }
            }
            RecordResult::Closed { .. } | RecordResult::Failed { .. } => {
                self.outstanding.retain(|(it, _)| *it != id);
            }
        }
    }

    fn end_file(&mut self, ctx: &mut Context) {
        self.cut(ctx);
        if let Some(file) = self.file.take() {
            ctx.output(Output::Record(RecordJob::Close { file: file.id }));
        }
    }

    /// What the driver says of a file. One that was closed is passed over.
    fn result(&mut self, now: Instant, id: RecordingFileId, result: RecordResult) {
        self.settle(id, &result);
        let outstanding_bytes = self.outstanding_bytes();
        let Some(file) = self.file.as_mut().filter(|file| file.id == id) else {
            return;
        };
        match result {
            RecordResult::Opened { name } => file.name = Some(name),
            RecordResult::Written { bytes } => {
                file.written_bytes += bytes as u64;
                if outstanding_bytes <= RECORDING_OUTSTANDING_BYTES_MAX / 2 {
                    self.problem = None;
                }
            }
            RecordResult::Closed { .. } => {}
            RecordResult::Failed { reason, .. } => {
                self.file = None;
                self.cursor = None;
                self.retry_at = Some(now + Duration::from_millis(RECORDING_RETRY_MS));
                self.problem = Some(Problem {
                    fault: Fault::Operator,
                    message: reason,
                });
            }
        }
    }

    pub(super) fn status(&self) -> Option<RecordingStatus> {
        let wanted = self.wanted.as_ref()?;
        let file = self.file.as_ref();
        let length_us = file.map_or(0, |file| file.cutter.length_us());
        Some(RecordingStatus {
            id: wanted.id.clone(),
            file: file.and_then(|file| file.name.clone()),
            bytes: file.map_or(0, |file| file.written_bytes),
            duration_ms: u64::try_from(length_us / 1_000).unwrap_or(0),
            problem: self.problem.clone(),
        })
    }
}

impl Broadcast {
    /// Gives the recorder what is new in the publisher's ring.
    pub(super) fn feed_recorder(&mut self, ctx: &mut Context) {
        if !self.recorder.takes_audio() || self.source == Source::Off {
            return;
        }
        let rings = super::consumers::rings(&self.ingest, &self.renditions, self.source);
        let scene = Scene {
            ring: rings.source,
            facts: rings.source_facts,
            filler: self.ingest.filler.is_seen(),
            suits: self.ingest.is_h264(),
        };
        self.recorder.feed(ctx, scene);
    }

    /// What the driver says of a file of its recorder.
    pub(crate) fn recorded(
        &mut self,
        ctx: &mut Context,
        file: RecordingFileId,
        result: RecordResult,
    ) {
        if let RecordResult::Failed { reason, .. } = &result {
            let broadcast = &self.wanted.id;
            tracing::warn!(%broadcast, "the recording has stopped: {reason}");
        }
        self.recorder.result(ctx.now, file, result);
    }
}
