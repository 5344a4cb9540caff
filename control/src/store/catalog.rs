//! All rows in memory, every change written through to the store.
//!
//! Reads never touch the disk. A change is made in memory, and the keys of what it touched are
//! queued for the writer thread. That one looks the rows up when it writes, so the store is left
//! with the newest of each; it commits what has piled up in one transaction, and
//! [`Catalog::change`] returns when its own is durable. What a commit failed to write is part of
//! the next one, which comes in a second if nothing changes before.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Instant,
};

use shardcast_link::BroadcastId;
use shardcast_log::Limiter;
use tokio::sync::oneshot;

use super::{
    broadcasts::{Broadcasts, IdleCount},
    hooks::{HookQueue, HookRecord},
    records::{BroadcastRecord, Mutation, ShardRecord, SlateRecord, TokenRecord, VodRecord},
    rows::{Key, Rows},
    storage::{Store, StoreError},
    transaction::Transaction,
};
use crate::limits;

/// A full disk fails each second, and each change.
static FAILED: Limiter = Limiter::refusals();

/// The rows.
#[derive(Debug)]
pub(crate) struct Catalog {
    rows: Arc<Mutex<Rows>>,
    /// Bounded by what fills it: jobs that are waited for belong to requests, and of the
    /// others there is at most one for each row.
    writer: mpsc::Sender<Job>,
    thread: thread::JoinHandle<()>,
    /// Whether the last commit failed: the machine is not ready then.
    failing: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Job {
    keys: Vec<Key>,
    /// `None`: the change is not waited for.
    done: Option<oneshot::Sender<Result<(), String>>>,
}

impl Catalog {
    /// Loads everything and starts the writer thread, which ends with the catalog.
    pub(crate) fn open(mut store: impl Store) -> Result<Self, StoreError> {
        let contents = store.load()?;
        let (writer, jobs) = mpsc::channel();
        let failing = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failing);
        let tokens = contents.tokens.into_iter();
        let slates = contents.slates.into_iter();
        let rows = Rows {
            broadcasts: Broadcasts::new(contents.broadcasts),
            tokens: tokens.map(|token| (token.token.clone(), token)).collect(),
            slates: slates
                .map(|slate| (slate.broadcast.clone(), Arc::new(slate)))
                .collect(),
            shards: contents
                .shards
                .iter()
                .map(|one| (one.shard, *one))
                .collect(),
            vods: contents
                .vods
                .into_iter()
                .map(|vod| (vod.id.clone(), Arc::new(vod)))
                .collect(),
            hooks: HookQueue::new(contents.hooks),
            hooks_unsaved: BTreeSet::new(),
            soon: HashSet::new(),
        };
        let rows = Arc::new(Mutex::new(rows));
        let of_writer = Arc::clone(&rows);
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_jobs(&mut store, &of_writer, &jobs, &flag))
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self {
            rows,
            writer,
            thread,
            failing,
        })
    }

    /// Whether the writer thread runs. It ends before the catalog only by a panic.
    pub(crate) fn has_writer(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Whether the store could write last time.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.failing.load(Ordering::Relaxed)
    }

    pub(crate) fn broadcast(&self, id: &BroadcastId) -> Option<Arc<BroadcastRecord>> {
        self.lock().broadcasts.get(id).cloned()
    }

    /// Those of `application`, by id.
    pub(crate) fn broadcasts_of(&self, application: &str) -> Vec<Arc<BroadcastRecord>> {
        self.lock().broadcasts.of(application).cloned().collect()
    }

    /// How many are not live, by application.
    pub(crate) fn idle_counts(&self) -> BTreeMap<String, IdleCount> {
        self.lock().broadcasts.idle().clone()
    }

    /// Those that are live, by id.
    pub(crate) fn live_broadcasts(&self) -> Vec<Arc<BroadcastRecord>> {
        self.lock().broadcasts.live().cloned().collect()
    }

    /// Of all of them, those that are live first, `size` from `offset` on; and how many there are.
    pub(crate) fn page_of_broadcasts(
        &self,
        offset: usize,
        size: usize,
    ) -> (Vec<Arc<BroadcastRecord>>, usize) {
        let rows = self.lock();
        let idle = rows.broadcasts.all().filter(|record| !record.is_live());
        let page = rows.broadcasts.live().chain(idle).skip(offset).take(size);
        (page.cloned().collect(), rows.broadcasts.len())
    }

    pub(crate) fn broadcast_count(&self) -> usize {
        self.lock().broadcasts.len()
    }

    pub(crate) fn slate(&self, id: &BroadcastId) -> Option<Arc<SlateRecord>> {
        self.lock().slates.get(id).cloned()
    }

    pub(crate) fn vod(&self, id: &str) -> Option<Arc<VodRecord>> {
        self.lock().vods.get(id).cloned()
    }

    /// Those for which `which` holds, by id.
    pub(crate) fn vods(&self, which: impl Fn(&VodRecord) -> bool) -> Vec<Arc<VodRecord>> {
        let rows = self.lock();
        let vods = rows.vods.values().filter(|vod| which(vod));
        vods.cloned().collect()
    }

    /// What the operator has said of shards.
    pub(crate) fn shards(&self) -> Vec<ShardRecord> {
        self.lock().shards.values().copied().collect()
    }

    pub(crate) fn token(&self, token: &str) -> Option<TokenRecord> {
        self.lock().tokens.get(token).cloned()
    }

    /// All of them, in no order.
    pub(crate) fn tokens(&self) -> Vec<TokenRecord> {
        self.lock().tokens.values().cloned().collect()
    }

    /// The oldest webhook that is owed for `id`.
    pub(crate) fn first_hook(&self, id: &BroadcastId) -> Option<Arc<HookRecord>> {
        self.lock().hooks.first(id).cloned()
    }

    /// Whether that one is still owed.
    pub(crate) fn is_hook_owed(&self, sequence: u64) -> bool {
        self.lock().hooks.get(sequence).is_some()
    }

    /// Streams for which webhooks are owed, in no order.
    pub(crate) fn streams_with_hooks(&self) -> Vec<BroadcastId> {
        self.lock().hooks.streams().cloned().collect()
    }

    pub(crate) fn hook_count(&self) -> usize {
        self.lock().hooks.len()
    }

    /// Makes a change and returns when it is durable.
    ///
    /// # Errors
    /// When the store cannot write. The change stays in memory, and is written as soon as the
    /// store can; [`Catalog::is_healthy`] is false until then.
    pub(crate) async fn change<R>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> R,
    ) -> Result<R, StoreError> {
        let (result, durable) = self.change_now(change);
        durable.wait().await.map(|()| result)
    }

    /// Makes a change and returns at once. For changes that others must learn of: a request that waits for
    /// the disk may go away meanwhile, and the disk may fail, but the rows have changed.
    pub(crate) fn change_now<R>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> R,
    ) -> (R, Durable) {
        let (done, receiver) = oneshot::channel();
        let result = self.apply(change, |_, _| true, Some(done));
        (result, Durable(receiver))
    }

    /// Returns when everything changed so far is durable.
    ///
    /// # Errors
    /// When the store cannot write.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        // An empty job goes through the same queue, behind all others.
        let (done, receiver) = oneshot::channel();
        self.queue(Job {
            keys: Vec::new(),
            done: Some(done),
        });
        Durable(receiver).wait().await
    }

    /// Makes a change that is not waited for; it becomes durable within milliseconds.
    pub(crate) fn change_soon<R>(&self, change: impl FnOnce(&mut Transaction<'_>) -> R) -> R {
        self.apply(change, |rows, key| rows.soon.insert(key.clone()), None)
    }

    /// Makes a change in memory and queues the keys of what it touched for which `is_new` holds.
    /// Both under one lock, as the writer takes both: no commit holds half of a change.
    fn apply<R>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> R,
        is_new: impl Fn(&mut Rows, &Key) -> bool,
        done: Option<oneshot::Sender<Result<(), String>>>,
    ) -> R {
        let mut rows = self.lock();
        let mut transaction = Transaction {
            rows: &mut rows,
            keys: Vec::new(),
        };
        let result = change(&mut transaction);
        let mut keys = transaction.keys;
        let touched = !keys.is_empty();
        keys.retain(|key| is_new(&mut rows, key));
        match done {
            // There is nothing to wait for.
            Some(done) if !touched => drop(done.send(Ok(()))),
            None if keys.is_empty() => {}
            done => self.queue(Job { keys, done }),
        }
        result
    }

    fn queue(&self, job: Job) {
        if self.writer.send(job).is_err() {
            self.failing.store(true, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        lock(&self.rows)
    }
}

/// A change on its way to the disk.
#[derive(Debug)]
#[must_use = "a change is answered when it is durable"]
pub(crate) struct Durable(oneshot::Receiver<Result<(), String>>);

impl Durable {
    /// Returns when the change is durable.
    ///
    /// # Errors
    /// When the store cannot write, as with [`Catalog::change`].
    pub(crate) async fn wait(self) -> Result<(), StoreError> {
        match self.0.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problem)) => Err(StoreError::Failed(problem)),
            Err(_) => Err(StoreError::Failed("its thread is gone".to_owned())),
        }
    }
}

fn lock(rows: &Mutex<Rows>) -> MutexGuard<'_, Rows> {
    // Rows are changed by whole values only, so a panic elsewhere leaves them usable.
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What differs between the rows and the store: of the jobs at hand, and of those whose commit
/// failed.
#[derive(Debug, Default)]
struct Unwritten {
    keys: HashSet<Key>,
    hooks: BTreeSet<u64>,
}

impl Unwritten {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.hooks.is_empty()
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.hooks.clear();
    }

    /// Takes over what has changed and says what the store shall do. Called under the lock of the
    /// rows, with all jobs that were queued under it: so no commit has half of a change.
    fn mutations(&mut self, rows: &mut Rows) -> Vec<Mutation> {
        // The jobs that others would have joined are at hand.
        rows.soon.clear();
        self.hooks.append(&mut rows.hooks_unsaved);
        if self.keys.len() + self.hooks.len() > limits::STORE_UNWRITTEN_MAX {
            self.keys.retain(|key| rows.has(key));
            self.hooks.retain(|hook| rows.hooks.get(*hook).is_some());
            tracing::error!("the store fails for too long; what was removed comes back");
        }
        let mutations = self.keys.iter().filter_map(|key| rows.mutation(key));
        let hooks = self.hooks.iter().map(|hook| rows.hook_mutation(*hook));
        mutations.chain(hooks).collect()
    }
}

fn write_jobs(
    store: &mut impl Store,
    rows: &Mutex<Rows>,
    jobs: &mpsc::Receiver<Job>,
    failing: &AtomicBool,
) {
    let mut unwritten = Unwritten::default();
    let mut last = Ok(());
    loop {
        let first = if unwritten.is_empty() {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            jobs.recv_timeout(limits::STORE_RETRY)
        };
        if matches!(first, Err(RecvTimeoutError::Disconnected)) {
            return;
        }
        let mut waiting = Vec::new();
        let mutations = {
            let mut rows = lock(rows);
            for job in first.into_iter().chain(jobs.try_iter()) {
                // Webhooks are in the next commit without their names.
                unwritten.keys.extend(job.keys);
                unwritten.keys.remove(&Key::Hooks);
                waiting.extend(job.done);
            }
            unwritten.mutations(&mut rows)
        };
        // A job without changes asks how the last commit went.
        if !mutations.is_empty() {
            last = store.commit(&mutations).map_err(|error| error.to_string());
            failing.store(last.is_err(), Ordering::Relaxed);
            match &last {
                Ok(()) => unwritten.clear(),
                Err(problem) => {
                    if let Some(left_out) = FAILED.admit(Instant::now()) {
                        tracing::error!(problem, left_out, "a change could not be stored");
                    }
                }
            }
        }
        for done in waiting {
            // A request that no longer waits has dropped the receiver.
            let _ = done.send(last.clone());
        }
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
