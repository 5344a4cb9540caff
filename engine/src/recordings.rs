//! The files of recordings. One thread writes those of all shards, off their cores: a disk may take as long as it
//! likes, and a shard gives a recording no more than its recorder allows to be outstanding.
//!
//! ```text
//!  driver ── RecordJob ──► queue ──► thread ── write ──► disk
//!  driver ◄── RecordResult ── queue of the shard ◄──┘
//! ```
//!
//! A file is locked (`flock`) while it is written, so whoever finds one that is not knows that nobody is at
//! work on it. A job that fails is taken back: a file ends with a whole fragment.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IoSlice, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use bytes::Bytes;
use shardcast_core::io::{RecordJob, RecordResult, RecordingFileId};

use crate::{limits::RECORDING_FILES_OF_NAME_MAX, os::sched};

/// What a shard is told.
pub(crate) type Told = (RecordingFileId, RecordResult);

/// One job, with where its answer goes.
struct Order {
    /// Tells shards apart, whose numbers are their own.
    shard: u16,
    job: RecordJob,
    answers: Sender<Told>,
}

/// The end of the thread that writes: it ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct RecordingWriter(Sender<Order>);

impl RecordingWriter {
    /// Starts the thread, which may run wherever the caller may.
    pub(crate) fn start() -> io::Result<Self> {
        let (orders, queue) = channel();
        let work = move || {
            if let Err(error) = sched::lower_priority() {
                tracing::debug!("recordings are written at the priority of the shards: {error}");
            }
            let mut disk = Disk::default();
            while let Ok(order) = queue.recv() {
                disk.take(order);
            }
        };
        thread::Builder::new().name("record".into()).spawn(work)?;
        Ok(Self(orders))
    }
}

/// The recordings of one shard, as its driver sees them.
#[derive(Debug)]
pub(crate) struct RecordingFiles {
    shard: u16,
    writer: RecordingWriter,
    answers: Sender<Told>,
    told: Receiver<Told>,
    /// Files that were opened and are neither closed nor failed.
    open: usize,
}

impl RecordingFiles {
    pub(crate) fn new(shard: u16, writer: RecordingWriter) -> Self {
        let (answers, told) = channel();
        Self {
            shard,
            writer,
            answers,
            told,
            open: 0,
        }
    }

    pub(crate) fn run(&mut self, job: RecordJob) {
        self.open += usize::from(matches!(job, RecordJob::Open { .. }));
        let order = Order {
            shard: self.shard,
            job,
            answers: self.answers.clone(),
        };
        // The thread ends with the process only.
        let _ = self.writer.0.send(order);
    }

    /// What became of jobs. The loop of the shard looks once a second at the latest: nobody waits for it.
    pub(crate) fn completion(&mut self) -> Option<Told> {
        let told = self.told.try_recv().ok()?;
        let is_over = matches!(
            told.1,
            RecordResult::Closed { .. } | RecordResult::Failed { .. }
        );
        self.open = self.open.saturating_sub(usize::from(is_over));
        Some(told)
    }

    /// Whether all files are closed.
    pub(crate) fn is_empty(&self) -> bool {
        self.open == 0
    }
}

/// All files that are open.
#[derive(Default)]
struct Disk {
    files: HashMap<(u16, RecordingFileId), Growing>,
}

/// A file that is written.
struct Growing {
    path: PathBuf,
    file: File,
    /// What all jobs so far came to.
    whole_bytes: u64,
}

impl Disk {
    fn take(&mut self, order: Order) {
        let Order {
            shard,
            job,
            answers,
        } = order;
        let (RecordJob::Open { file, .. }
        | RecordJob::Write { file, .. }
        | RecordJob::Close { file }) = job;
        if let Some(result) = self.run((shard, file), job) {
            // A shard that has ended does not want to know.
            let _ = answers.send((file, result));
        }
    }

    fn run(&mut self, key: (u16, RecordingFileId), job: RecordJob) -> Option<RecordResult> {
        match job {
            RecordJob::Open { folder, name, .. } => Some(match open(Path::new(&folder), &name) {
                Ok(growing) => {
                    let name = growing.path.display().to_string();
                    self.files.insert(key, growing);
                    RecordResult::Opened { name }
                }
                Err(error) => RecordResult::Failed {
                    name: None,
                    reason: format!("no file can be made in {folder}: {error}"),
                },
            }),
            RecordJob::Write { slices, .. } => {
                let growing = self.files.get_mut(&key)?;
                match growing.write(&slices) {
                    Ok(bytes) => Some(RecordResult::Written { bytes }),
                    Err(error) => {
                        let growing = self.files.remove(&key)?;
                        let path = growing.path.display();
                        let reason = format!("{path} cannot be written: {error}");
                        let name = growing.close();
                        Some(RecordResult::Failed { name, reason })
                    }
                }
            }
            RecordJob::Close { .. } => {
                let name = self.files.remove(&key)?.close();
                Some(RecordResult::Closed { name })
            }
        }
    }
}

/// Makes the first file `name_N.mp4` that is not there.
fn open(folder: &Path, name: &str) -> io::Result<Growing> {
    fs::create_dir_all(folder)?;
    for n in 0..RECORDING_FILES_OF_NAME_MAX {
        let path = folder.join(format!("{name}_{n}.mp4"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => {
                match file.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => continue,
                    Err(TryLockError::Error(error)) => {
                        // Some file systems have no locks; what is young is left alone as well.
                        tracing::debug!("{} cannot be locked: {error}", path.display());
                    }
                }
                return Ok(Growing {
                    path,
                    file,
                    whole_bytes: 0,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

impl Growing {
    fn write(&mut self, slices: &[Bytes]) -> io::Result<usize> {
        let bytes = slices.iter().map(Bytes::len).sum();
        let mut slices: Vec<IoSlice<'_>> = slices.iter().map(|it| IoSlice::new(it)).collect();
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.file.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.whole_bytes += bytes as u64;
        Ok(bytes)
    }

    /// Takes back what a failed job has left; the path, if there is anything in the file.
    fn close(self) -> Option<String> {
        let path = self.path;
        if self.whole_bytes == 0 {
            let _ = fs::remove_file(&path);
            return None;
        }
        // Who finishes it finds the last whole fragment anyway.
        let _ = self.file.set_len(self.whole_bytes);
        Some(path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn files() -> RecordingFiles {
        RecordingFiles::new(0, RecordingWriter::start().unwrap())
    }

    fn told(files: &mut RecordingFiles) -> RecordResult {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some((_, result)) = files.completion() {
                return result;
            }
            assert!(Instant::now() < deadline, "nothing was told");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn open(files: &mut RecordingFiles, number: u64, folder: &Path) -> RecordResult {
        files.run(RecordJob::Open {
            file: RecordingFileId::numbered(number),
            folder: folder.display().to_string(),
            name: "r1".to_owned(),
        });
        told(files)
    }

    fn write(files: &mut RecordingFiles, number: u64, text: &'static [u8]) -> RecordResult {
        files.run(RecordJob::Write {
            file: RecordingFileId::numbered(number),
            slices: vec![Bytes::new(), Bytes::from_static(text), Bytes::new()],
        });
        told(files)
    }

    fn close(files: &mut RecordingFiles, number: u64) -> RecordResult {
        files.run(RecordJob::Close {
            file: RecordingFileId::numbered(number),
        });
        told(files)
    }

    #[test]
    fn files_of_one_name_have_numbers_and_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let growing = folder.path().join("not/there/yet");
        let mut files = files();
        for number in [1, 2] {
            let name = growing.join(format!("r1_{}.mp4", number - 1));
            let name = name.display().to_string();
            let opened = RecordResult::Opened { name: name.clone() };
            assert_eq!(open(&mut files, number, &growing), opened);
            assert!(File::open(&name).unwrap().try_lock().is_err(), "not locked");
            for text in [&b"one"[..], b"two"] {
                let bytes = text.len();
                assert_eq!(
                    write(&mut files, number, text),
                    RecordResult::Written { bytes }
                );
            }
            assert!(!files.is_empty());
            let closed = RecordResult::Closed {
                name: Some(name.clone()),
            };
            assert_eq!(close(&mut files, number), closed);
            assert!(files.is_empty());
            assert_eq!(fs::read(&name).unwrap(), b"onetwo");
            File::open(&name).unwrap().try_lock().unwrap();
        }
    }

    #[test]
    fn a_file_without_a_fragment_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files();
        open(&mut files, 1, folder.path());
        assert_eq!(close(&mut files, 1), RecordResult::Closed { name: None });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("file");
        fs::write(&in_the_way, "").unwrap();
        let mut files = files();
        let RecordResult::Failed { name: None, reason } = open(&mut files, 1, &in_the_way) else {
            panic!("a folder in a file");
        };
        assert!(reason.contains("no file can be made in"), "{reason}");
        assert!(files.is_empty());
    }
}
