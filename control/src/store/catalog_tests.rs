//! What the catalog promises while its disk is slow, full or torn from it.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::store::records::Contents;

/// A disk that takes its time and can fill up.
#[derive(Default)]
struct SlowDisk {
    commits: Arc<AtomicUsize>,
    full: Arc<AtomicBool>,
    /// What was committed: the names of rows and numbers of webhooks.
    written: Arc<Mutex<Vec<String>>>,
}

impl Store for SlowDisk {
    fn load(&mut self) -> Result<Contents, StoreError> {
        Ok(Contents::default())
    }

    fn commit(&mut self, mutations: &[Mutation]) -> Result<(), StoreError> {
        thread::sleep(std::time::Duration::from_millis(20));
        self.commits.fetch_add(1, Ordering::SeqCst);
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("no space".into()));
        }
        let names = mutations.iter().map(|mutation| match mutation {
            Mutation::PutBroadcast(record) => record.id.to_string(),
            Mutation::PutHook(hook) => format!("hook {}", hook.delivery),
            other => format!("{other:?}"),
        });
        self.written.lock().unwrap().extend(names);
        Ok(())
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
        ..SlowDisk::default()
    };
    let catalog = Arc::new(Catalog::open(disk).unwrap());
    let changes = (0..100).map(|n| {
        let catalog = Arc::clone(&catalog);
        tokio::spawn(async move { catalog.change(|t| t.put_broadcast(record(n))).await })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap().unwrap();
    }
    assert_eq!(catalog.broadcast_count(), 100);
    assert!(commits.load(Ordering::SeqCst) < 20, "{commits:?} commits");
}

#[tokio::test]
async fn changes_of_one_row_that_nobody_waits_for_do_not_pile_up() {
    let commits = Arc::new(AtomicUsize::new(0));
    let disk = SlowDisk {
        commits: Arc::clone(&commits),
        ..SlowDisk::default()
    };
    let catalog = Catalog::open(disk).unwrap();
    for _ in 0..100_000 {
        catalog.change_soon(|t| t.put_broadcast(record(1)));
    }
    assert!(catalog.lock().soon.len() <= 1);
    catalog.flush().await.unwrap();
    assert!(catalog.lock().soon.is_empty());
    let most = commits.load(Ordering::SeqCst);
    assert!(most < 200, "{most} commits");
}

fn hook(id: &BroadcastId, delivery: &str) -> HookRecord {
    HookRecord {
        sequence: 0,
        delivery: delivery.to_owned(),
        broadcast: id.clone(),
        action: crate::store::Action::LiveStreamStarted,
        url: String::new(),
        fields: serde_json::Map::new(),
    }
}

/// Says after each commit what a process would find that was killed then.
#[derive(Default)]
struct Witness {
    version: u64,
    hooks: u64,
    torn: Arc<AtomicUsize>,
}

impl Store for Witness {
    fn load(&mut self) -> Result<Contents, StoreError> {
        Ok(Contents::default())
    }

    fn commit(&mut self, mutations: &[Mutation]) -> Result<(), StoreError> {
        for mutation in mutations {
            match mutation {
                Mutation::PutBroadcast(record) => self.version = record.created_unix_ms,
                Mutation::PutHook(_) => self.hooks += 1,
                _ => {}
            }
        }
        if self.version != self.hooks {
            self.torn.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

#[tokio::test]
async fn no_kill_finds_a_change_without_the_webhook_that_tells_of_it() {
    let witness = Witness::default();
    let torn = Arc::clone(&witness.torn);
    let catalog = Catalog::open(witness).unwrap();
    let id = BroadcastId::new("app", "one").unwrap();
    // As many as may wait: beyond that they go for each other.
    for version in 1..=limits::HOOKS_PER_STREAM_MAX as u64 {
        catalog.change_soon(|t| {
            t.put_broadcast(BroadcastRecord::new(id.clone(), version));
            t.put_hook(hook(&id, &version.to_string()))
        });
        thread::sleep(std::time::Duration::from_micros(version * 7 % 50));
    }
    catalog.flush().await.unwrap();
    assert_eq!(torn.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn no_kill_finds_half_of_a_change_however_many_come_together() {
    let witness = Witness::default();
    let torn = Arc::clone(&witness.torn);
    let catalog = Catalog::open(witness).unwrap();
    let id = BroadcastId::new("app", "one").unwrap();
    let rows = lock(&catalog.rows);
    // The writer waits for the rows while jobs pile up in front of the change.
    for _ in 0..1_000 {
        catalog.queue(Job {
            keys: (0..3).map(|n| Key::Token(n.to_string())).collect(),
            done: None,
        });
    }
    drop(rows);
    catalog.change_soon(|t| {
        t.put_broadcast(BroadcastRecord::new(id.clone(), 1));
        t.put_hook(hook(&id, "1"))
    });
    catalog.flush().await.unwrap();
    assert_eq!(torn.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_full_disk_is_told_to_the_caller_and_to_the_health_check() {
    let disk = SlowDisk::default();
    disk.full.store(true, Ordering::SeqCst);
    let catalog = Catalog::open(disk).unwrap();
    let error = catalog
        .change(|t| t.put_broadcast(record(1)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no space"), "{error}");
    assert!(!catalog.is_healthy());
    // Asking does not make it well.
    catalog.flush().await.unwrap_err();
    catalog.change(|_| ()).await.unwrap();
    assert!(!catalog.is_healthy());
}

#[tokio::test]
async fn what_a_full_disk_did_not_take_is_written_when_it_has_room() {
    let disk = SlowDisk::default();
    let (full, written) = (Arc::clone(&disk.full), Arc::clone(&disk.written));
    full.store(true, Ordering::SeqCst);
    let catalog = Catalog::open(disk).unwrap();
    let id = record(1).id;
    let ((), durable) = catalog.change_now(|t| {
        t.put_broadcast(record(1));
        t.put_hook(hook(&id, "owed"));
    });
    durable.wait().await.unwrap_err();
    full.store(false, Ordering::SeqCst);
    // Nothing else changes, and nobody asks.
    while !catalog.is_healthy() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let mut written = written.lock().unwrap().clone();
    written.sort();
    assert_eq!(written, ["app/1", "hook owed"]);
}

#[tokio::test]
async fn a_change_is_made_though_nobody_waits_for_the_disk() {
    let catalog = Catalog::open(SlowDisk::default()).unwrap();
    let ((), durable) = catalog.change_now(|t| t.put_broadcast(record(1)));
    drop(durable);
    assert!(catalog.broadcast(&record(1).id).is_some());
    catalog.flush().await.unwrap();
}
