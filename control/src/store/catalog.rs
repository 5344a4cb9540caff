//! All rows in memory, every change written through to the store.
//!
//! Reads never touch the disk. A change is made in memory and queued for the writer thread under
//! one lock, so both see the same order; the writer commits what has piled up in one transaction,
//! and [`Catalog::change`] returns when its own is durable.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use shardcast_link::BroadcastId;
use tokio::sync::oneshot;

use super::{BroadcastRecord, Mutation, Store, StoreError, TokenRecord};
use crate::limits;

/// The rows.
#[derive(Debug)]
pub(crate) struct Catalog {
    rows: Mutex<Rows>,
    /// Whether the last commit failed: the machine is not ready then.
    failing: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Rows {
    /// Ordered, so that lists are stable.
    broadcasts: BTreeMap<BroadcastId, Arc<BroadcastRecord>>,
    tokens: HashMap<String, TokenRecord>,
    /// Unbounded, but each entry belongs to a request or a session, and those are bounded.
    writer: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    mutations: Vec<Mutation>,
    done: oneshot::Sender<Result<(), String>>,
}

/// Rows under a change. What is put or removed is seen by later reads at once.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    rows: &'a mut Rows,
    mutations: Vec<Mutation>,
}

impl Catalog {
    /// Loads everything and starts the writer thread, which ends with the catalog.
    pub(crate) fn open(mut store: impl Store) -> Result<Self, StoreError> {
        let contents = store.load()?;
        let (writer, jobs) = mpsc::channel();
        let failing = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failing);
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_jobs(&mut store, &jobs, &flag))
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let broadcasts = contents.broadcasts.into_iter();
        let tokens = contents.tokens.into_iter();
        let rows = Rows {
            broadcasts: broadcasts
                .map(|record| (record.id.clone(), Arc::new(record)))
                .collect(),
            tokens: tokens.map(|token| (token.token.clone(), token)).collect(),
            writer,
        };
        Ok(Self {
            rows: Mutex::new(rows),
            failing,
        })
    }

    /// Whether the store could write last time.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.failing.load(Ordering::Relaxed)
    }

    pub(crate) fn broadcast(&self, id: &BroadcastId) -> Option<Arc<BroadcastRecord>> {
        self.lock().broadcasts.get(id).cloned()
    }

    /// All of them, by id.
    pub(crate) fn broadcasts(&self) -> Vec<Arc<BroadcastRecord>> {
        self.lock().broadcasts.values().cloned().collect()
    }

    pub(crate) fn token(&self, token: &str) -> Option<TokenRecord> {
        self.lock().tokens.get(token).cloned()
    }

    /// All of them, in no order.
    pub(crate) fn tokens(&self) -> Vec<TokenRecord> {
        self.lock().tokens.values().cloned().collect()
    }

    /// Makes a change and returns when it is durable.
    ///
    /// # Errors
    /// When the store cannot write. The change stays in memory; [`Catalog::is_healthy`] is false.
    pub(crate) async fn change<R>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> R,
    ) -> Result<R, StoreError> {
        let (result, done) = self.start(change);
        match done.await {
            Ok(Ok(())) => Ok(result),
            Ok(Err(problem)) => Err(StoreError::Failed(problem)),
            Err(_) => Err(StoreError::Failed("its thread is gone".to_owned())),
        }
    }

    /// Returns when everything changed so far is durable.
    ///
    /// # Errors
    /// When the store cannot write.
    pub(crate) async fn settled(&self) -> Result<(), StoreError> {
        let (done, receiver) = oneshot::channel();
        // An empty job goes through the same queue, behind all others.
        let sent = self.lock().writer.send(Job {
            mutations: Vec::new(),
            done,
        });
        match (sent, receiver.await) {
            (Ok(()), Ok(Ok(()))) => Ok(()),
            (_, Ok(Err(problem))) => Err(StoreError::Failed(problem)),
            _ => Err(StoreError::Failed("its thread is gone".to_owned())),
        }
    }

    /// Makes a change that nobody waits for; it becomes durable within milliseconds.
    pub(crate) fn change_soon<R>(&self, change: impl FnOnce(&mut Transaction<'_>) -> R) -> R {
        self.start(change).0
    }

    fn start<R>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> R,
    ) -> (R, oneshot::Receiver<Result<(), String>>) {
        let (done, receiver) = oneshot::channel();
        let mut rows = self.lock();
        let mut transaction = Transaction {
            rows: &mut rows,
            mutations: Vec::new(),
        };
        let result = change(&mut transaction);
        let mutations = transaction.mutations;
        if mutations.is_empty() {
            // Nothing to wait for; the receiver may be gone already, which is fine.
            let _ = done.send(Ok(()));
        } else if rows.writer.send(Job { mutations, done }).is_err() {
            self.failing.store(true, Ordering::Relaxed);
        }
        (result, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        // Rows are changed by whole values only, so a panic elsewhere leaves them usable.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transaction<'_> {
    pub(crate) fn broadcast(&self, id: &BroadcastId) -> Option<Arc<BroadcastRecord>> {
        self.rows.broadcasts.get(id).cloned()
    }

    pub(crate) fn broadcast_count(&self) -> usize {
        self.rows.broadcasts.len()
    }

    pub(crate) fn put_broadcast(&mut self, record: BroadcastRecord) {
        let record = Arc::new(record);
        self.rows
            .broadcasts
            .insert(record.id.clone(), Arc::clone(&record));
        self.mutations.push(Mutation::PutBroadcast(record));
    }

    pub(crate) fn remove_broadcast(&mut self, id: &BroadcastId) {
        if self.rows.broadcasts.remove(id).is_some() {
            self.mutations.push(Mutation::RemoveBroadcast(id.clone()));
        }
    }

    pub(crate) fn token(&self, token: &str) -> Option<&TokenRecord> {
        self.rows.tokens.get(token)
    }

    pub(crate) fn token_count(&self) -> usize {
        self.rows.tokens.len()
    }

    pub(crate) fn put_token(&mut self, token: TokenRecord) {
        self.rows.tokens.insert(token.token.clone(), token.clone());
        self.mutations.push(Mutation::PutToken(token));
    }

    /// Removes the tokens for which `which` holds and says how many they were.
    pub(crate) fn remove_tokens(&mut self, which: impl Fn(&TokenRecord) -> bool) -> usize {
        let doomed = self.rows.tokens.values().filter(|token| which(token));
        let doomed: Vec<String> = doomed.map(|token| token.token.clone()).collect();
        for token in &doomed {
            self.rows.tokens.remove(token);
            self.mutations.push(Mutation::RemoveToken(token.clone()));
        }
        doomed.len()
    }
}

fn write_jobs(store: &mut impl Store, jobs: &mpsc::Receiver<Job>, failing: &AtomicBool) {
    while let Ok(first) = jobs.recv() {
        let mut mutations = first.mutations;
        let mut waiting = vec![first.done];
        while mutations.len() < limits::STORE_BATCH_MAX {
            let Ok(job) = jobs.try_recv() else { break };
            mutations.extend(job.mutations);
            waiting.push(job.done);
        }
        let result = if mutations.is_empty() {
            Ok(())
        } else {
            store.commit(&mutations).map_err(|error| error.to_string())
        };
        failing.store(result.is_err(), Ordering::Relaxed);
        if let Err(problem) = &result {
            tracing::error!(problem, "a change could not be stored");
        }
        for done in waiting {
            // Whoever does not wait has dropped the receiver.
            let _ = done.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::store::Contents;

    /// A disk that takes its time and can fill up.
    struct SlowDisk {
        commits: Arc<AtomicUsize>,
        full: bool,
    }

    impl Store for SlowDisk {
        fn load(&mut self) -> Result<Contents, StoreError> {
            Ok(Contents::default())
        }

        fn commit(&mut self, _: &[Mutation]) -> Result<(), StoreError> {
            thread::sleep(std::time::Duration::from_millis(20));
            self.commits.fetch_add(1, Ordering::SeqCst);
            if self.full {
                Err(StoreError::Failed("no space".into()))
            } else {
                Ok(())
            }
        }
    }

    fn record(n: usize) -> BroadcastRecord {
        BroadcastRecord::new(BroadcastId::new("app", &n.to_string()).unwrap(), 0)
    }

    #[tokio::test]
    async fn changes_that_come_together_share_a_commit() {
        let commits = Arc::new(AtomicUsize::new(0));
        let disk = SlowDisk {
            commits: Arc::clone(&commits),
            full: false,
        };
        let catalog = Arc::new(Catalog::open(disk).unwrap());
        let changes = (0..100).map(|n| {
            let catalog = Arc::clone(&catalog);
            tokio::spawn(async move { catalog.change(|t| t.put_broadcast(record(n))).await })
        });
        for change in changes.collect::<Vec<_>>() {
            change.await.unwrap().unwrap();
        }
        assert_eq!(catalog.broadcasts().len(), 100);
        assert!(commits.load(Ordering::SeqCst) < 20, "{commits:?} commits");
    }

    #[tokio::test]
    async fn a_full_disk_is_told_to_the_caller_and_to_the_health_check() {
        let disk = SlowDisk {
            commits: Arc::default(),
            full: true,
        };
        let catalog = Catalog::open(disk).unwrap();
        let error = catalog
            .change(|t| t.put_broadcast(record(1)))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no space"), "{error}");
        assert!(!catalog.is_healthy());
    }
}
