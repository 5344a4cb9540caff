//! Files of recordings of which a shard has said that they are closed, and what became of uploads.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, Semaphore};

use crate::limits;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Recordings {
    closed: Mutex<HashSet<PathBuf>>,
    /// Notified when one is added.
    pub(crate) ended: Notify,
    /// Held while the program for finished files runs.
    pub(crate) scripts: Arc<Semaphore>,
    pub(crate) uploads: Uploads,
}

/// Uploads that have failed, and a bell for new ones.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    wake: Notify,
    /// Why, by the ids of recordings. Those that are deleted leave it.
    problems: Mutex<HashMap<String, String>>,
    pub(crate) counters: UploadCounters,
}

/// What this process has uploaded.
#[derive(Debug, Default)]
pub(crate) struct UploadCounters {
    /// Recordings.
    pub(crate) done: AtomicU64,
    /// Of those recordings.
    pub(crate) bytes: AtomicU64,
    /// Attempts.
    pub(crate) failed: AtomicU64,
}

impl Default for Recordings {
    fn default() -> Self {
        Self {
            closed: Mutex::default(),
            ended: Notify::new(),
            scripts: Arc::new(Semaphore::new(limits::FINISH_SCRIPTS_AT_ONCE)),
            uploads: Uploads::default(),
        }
    }
}

impl Recordings {
    /// A shard has closed `file`.
    pub(crate) fn has_closed(&self, file: PathBuf) {
        let mut closed = self.lock();
        // Who has missed one finds the file in its folder all the same.
        if closed.len() < limits::VODS_MAX {
            closed.insert(file);
        }
        self.ended.notify_one();
    }

    /// Whether a shard has closed it.
    pub(crate) fn is_closed(&self, file: &Path) -> bool {
        self.lock().contains(file)
    }

    /// It is in its folder no more.
    pub(crate) fn forget(&self, file: &Path) {
        self.lock().remove(file);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uploads {
    /// There is something to upload.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns when there may be something to upload.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// The upload of `vod` has failed.
    pub(crate) fn has_failed(&self, vod: &str, problem: String) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(vod.to_owned(), problem);
    }

    /// A recording of so many bytes is in its bucket.
    pub(crate) fn is_done(&self, bytes: u64) {
        self.counters.done.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many have failed and wait for another attempt.
    pub(crate) fn failing(&self) -> usize {
        self.lock().len()
    }

    /// It is done, or not wanted any more.
    pub(crate) fn is_well(&self, vod: &str) {
        self.lock().remove(vod);
    }

    /// Why the last attempt for `vod` failed.
    pub(crate) fn problem(&self, vod: &str) -> Option<String> {
        self.lock().get(vod).cloned()
    }

    /// Why some upload failed.
    pub(crate) fn any_problem(&self) -> Option<String> {
        self.lock().values().next().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
