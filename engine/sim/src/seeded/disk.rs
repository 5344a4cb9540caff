//! The disk of a seeded run: quick, slow, standing still or full. It does one job after the other, as the engine
//! does. What is in a file is held against what was on air, and the file is read as control does.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Cursor,
};

use bytes::Bytes;
use shardcast_cmaf::{Scan, ScanError};
use shardcast_core::io::{RecordJob, RecordResult, RecordingFileId};

use super::{
    cmaf_checker::{CmafChecker, Terms},
    world::Verdict,
};
use crate::recording_file::split;

/// How the disk does its jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DiskMode {
    #[default]
    Well,
    /// Each takes so many milliseconds.
    Slow(u64),
    StandsStill,
    /// Nothing can be written.
    Full,
}

/// What a job takes on a disk that is well, in milliseconds.
const JOB_MS: u64 = 1;

/// All files, and the jobs for them.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) mode: DiskMode,
    queue: VecDeque<RecordJob>,
    /// The first job of the queue is under way.
    pub(super) is_busy: bool,
    files: BTreeMap<RecordingFileId, DiskFile>,
    opened: u64,
    /// The recording of the newest file, and the last picture of it.
    goes_on: Option<(String, Option<u64>)>,
}

/// One that is written.
#[derive(Debug)]
pub(super) struct DiskFile {
    name: String,
    bytes: Vec<u8>,
    pub(super) checker: Option<CmafChecker>,
    /// The last picture of the same recording before it.
    goes_on_from: Option<u64>,
    /// Its length behind each fragment, and what is in it up to there: pictures and frames of audio.
    fragments: Vec<(usize, u64, u64)>,
}

/// What came of a job.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) file: RecordingFileId,
    pub(super) result: RecordResult,
    /// Nothing more is written.
    pub(super) over: Option<DiskFile>,
}

impl Disk {
    pub(super) fn queue(&mut self, job: RecordJob) {
        self.queue.push_back(job);
    }

    /// How long the next job takes, if one can be begun.
    pub(super) fn job_ms(&self) -> Option<u64> {
        let may = !self.is_busy && !self.queue.is_empty();
        match self.mode {
            DiskMode::StandsStill => None,
            DiskMode::Slow(ms) => may.then_some(ms),
            DiskMode::Well | DiskMode::Full => may.then_some(JOB_MS),
        }
    }

    /// The file of the first job.
    pub(super) fn next_file(&self) -> Option<RecordingFileId> {
        let (RecordJob::Open { file, .. }
        | RecordJob::Write { file, .. }
        | RecordJob::Close { file }) = self.queue.front()?;
        Some(*file)
    }

    /// No job is left, and no file is open.
    pub(super) fn is_at_rest(&self) -> bool {
        self.queue.is_empty() && self.files.is_empty()
    }

    /// Does the first job, unless the disk stands still; none where nobody is answered.
    pub(super) fn run(&mut self, terms: Terms<'_>) -> Result<Option<Done>, String> {
        if self.mode == DiskMode::StandsStill {
            return Ok(None);
        }
        let Some(job) = self.queue.pop_front() else {
            return Ok(None);
        };
        let is_full = self.mode == DiskMode::Full;
        let done = match job {
            RecordJob::Open { file, folder, name } => {
                self.opened += 1;
                Some(self.open(file, &folder, name, is_full))
            }
            RecordJob::Write { file, .. } if is_full => {
                self.goes_on = None;
                self.files.remove(&file).map(|over| Done {
                    file,
                    result: full(over.told()),
                    over: Some(over),
                })
            }
            RecordJob::Write { file, slices } => match self.files.get_mut(&file) {
                Some(to) => {
                    let bytes = to.write(&slices, terms)?;
                    let result = RecordResult::Written { bytes };
                    let over = None;
                    Some(Done { file, result, over })
                }
                None => None,
            },
            RecordJob::Close { file } => self.files.remove(&file).map(|over| {
                if let Some((_, last)) = &mut self.goes_on {
                    *last = over.checker.as_ref().and_then(|it| it.sent).or(*last);
                }
                Done {
                    file,
                    result: RecordResult::Closed { name: over.told() },
                    over: Some(over),
                }
            }),
        };
        Ok(done)
    }

    fn open(
        &mut self,
        file: RecordingFileId,
        folder: &str,
        recording: String,
        is_full: bool,
    ) -> Done {
        let over = None;
        let name = format!("{folder}/{recording}_{}.mp4", self.opened);
        let before = self.goes_on.take().filter(|(of, _)| *of == recording);
        let goes_on_from = before.and_then(|(_, last)| last);
        self.goes_on = Some((recording, goes_on_from));
        // A full disk may have a place for a name.
        if is_full && self.opened.is_multiple_of(2) {
            self.goes_on = None;
            let result = full(None);
            return Done { file, result, over };
        }
        let empty = DiskFile {
            name: name.clone(),
            bytes: Vec::new(),
            checker: None,
            goes_on_from,
            fragments: Vec::new(),
        };
        self.files.insert(file, empty);
        let result = RecordResult::Opened { name };
        Done { file, result, over }
    }
}

fn full(name: Option<String>) -> RecordResult {
    let reason = "no space left on device".to_owned();
    RecordResult::Failed { name, reason }
}

impl DiskFile {
    /// Its path, if there is anything in it.
    fn told(&self) -> Option<String> {
        (!self.bytes.is_empty()).then(|| self.name.clone())
    }

    /// Writes whole fragments, the first behind the head of the file.
    fn write(&mut self, slices: &[Bytes], terms: Terms<'_>) -> Result<usize, String> {
        let job = Bytes::from(slices.concat());
        let (head, fragments) = split(&job)?;
        let mut end = self.bytes.len() + head.len();
        self.bytes.extend_from_slice(&job);
        let checker = match &mut self.checker {
            Some(checker) if head.is_empty() => checker,
            Some(_) => return Err("a second head in a file".to_owned()),
            none => {
                let checker = none.insert(CmafChecker::new(&head)?);
                checker.sent = self.goes_on_from;
                checker
            }
        };
        for fragment in fragments {
            checker.fragment(&fragment, terms)?;
            end += fragment.len();
            let (pictures, frames) = (checker.stream.pictures, checker.frames);
            self.fragments.push((end, pictures, frames));
        }
        Ok(job.len())
    }

    /// Whether it can be read up to its end, and up to the last fragment wherever it is cut off.
    pub(super) fn is_readable(&self, label: &str, cut: usize) -> Verdict {
        let Some(checker) = &self.checker else {
            return Ok(()); // Nothing was written.
        };
        let whole = scan(&self.bytes)?.ok_or("a recording that cannot be read")?;
        let read = (whole.sample_count(true), whole.sample_count(false));
        let (pictures, frames) = (checker.stream.pictures, checker.frames);
        if whole.whole_bytes != self.bytes.len() as u64 || !is(read, pictures, frames) {
            return Err(format!(
                "{read:?} samples are read of {pictures} pictures and {frames} frames"
            ));
        }
        if whole.label != label {
            return Err(format!("a recording is labelled {:?}", whole.label));
        }
        let cut = cut % (self.bytes.len() + 1);
        let before = self.fragments.iter().rev().find(|(end, ..)| *end <= cut);
        match (scan(&self.bytes[..cut])?, before) {
            (None, None) => Ok(()),
            (Some(part), Some((end, pictures, frames))) if part.whole_bytes == *end as u64 => {
                let read = (part.sample_count(true), part.sample_count(false));
                let error = || format!("{read:?} samples are read of a part of a file");
                is(read, *pictures, *frames).then_some(()).ok_or_else(error)
            }
            (part, before) => Err(format!(
                "{:?} bytes are read of a file that was cut off, up to {before:?}",
                part.map(|part| part.whole_bytes)
            )),
        }
    }
}

fn is((video, audio): (usize, usize), pictures: u64, frames: u64) -> bool {
    (video as u64, audio as u64) == (pictures, frames)
}

fn scan(bytes: &[u8]) -> Result<Option<Scan>, String> {
    match Scan::of(&mut Cursor::new(bytes)) {
        Ok(scan) => Ok(Some(scan)),
        Err(ScanError::NotARecording) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
