//! A disk for recordings: in memory, a millisecond slow, and full or standing still when the test says so.

use bytes::Bytes;
use shardcast_core::io::{RecordJob, RecordResult, RecordingFileId};

use super::{Arrival, World};
use crate::recording_file::split;

/// One file.
#[derive(Debug)]
pub struct RecordedFile {
    id: RecordingFileId,
    /// Its path.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Nothing more is written.
    pub is_closed: bool,
}

impl RecordedFile {
    /// What comes before its first fragment, and its fragments.
    ///
    /// # Panics
    /// When it is not made of these.
    pub fn fragments(&self) -> (Bytes, Vec<Bytes>) {
        split(&Bytes::copy_from_slice(&self.bytes)).unwrap()
    }
}

/// All files, in the order in which they were opened.
#[derive(Debug, Default)]
pub struct RecordedFiles {
    /// See [`RecordedFile`].
    pub files: Vec<RecordedFile>,
    /// Nothing can be written.
    pub is_full: bool,
    /// What is written or closed is not acknowledged.
    pub stands_still: bool,
}

impl RecordedFiles {
    fn run(&mut self, job: RecordJob) -> Option<(RecordingFileId, RecordResult)> {
        let (RecordJob::Open { file: id, .. }
        | RecordJob::Write { file: id, .. }
        | RecordJob::Close { file: id }) = job;
        let full = |name| RecordResult::Failed {
            name,
            reason: "no space left on device".to_owned(),
        };
        if let RecordJob::Open { folder, name, .. } = &job {
            let name = format!("{folder}/{name}_{}.mp4", self.files.len());
            self.files.push(RecordedFile {
                id,
                name: name.clone(),
                bytes: Vec::new(),
                is_closed: false,
            });
            return Some((id, RecordResult::Opened { name }));
        }
        let mut files = self.files.iter_mut();
        let file = files.find(|it| it.id == id && !it.is_closed)?;
        let name = (!file.bytes.is_empty()).then(|| file.name.clone());
        let result = match job {
            RecordJob::Write { .. } if self.is_full => {
                file.is_closed = true;
                full(name)
            }
            RecordJob::Write { slices, .. } => {
                let before = file.bytes.len();
                slices
                    .iter()
                    .for_each(|it| file.bytes.extend_from_slice(it));
                RecordResult::Written {
                    bytes: file.bytes.len() - before,
                }
            }
            RecordJob::Open { .. } | RecordJob::Close { .. } => {
                file.is_closed = true;
                RecordResult::Closed { name }
            }
        };
        let is_late = self.stands_still && !matches!(result, RecordResult::Failed { .. });
        (!is_late).then_some((id, result))
    }
}

impl World {
    pub(super) fn record(&mut self, job: RecordJob) {
        if let Some((file, result)) = self.files.run(job) {
            self.later(Arrival::Recorded(file, result));
        }
    }
}
