//! The long-running tasks of control, and the watchdog over them.
//!
//! None of them may end or stall unnoticed: publishers would not be answered, or a dead engine would not
//! be started again, while the process looks alive. So the process ends when one of them does, and its
//! supervisor (systemd) starts another, which finds engine and media as they are.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use futures_util::FutureExt;
use shardcast_link::Silence;
use tokio::{sync::watch, task::JoinHandle};

use crate::limits;

/// Exit code of a process whose task has failed: start it again.
pub const EXIT_TASK_FAILED: u8 = 70;

/// One of the tasks has failed, so this process must end. A defect of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{task} {how}; this process ends so that it is started again, the engine goes on")]
pub struct TaskFailed {
    task: &'static str,
    how: String,
}

/// Reports the first task that fails.
#[derive(Clone, Debug)]
pub(crate) struct Failures(watch::Sender<Option<TaskFailed>>);

impl Failures {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Spawns `task`, which must never end by itself. To abort it is no failure.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let failures = self.clone();
        tokio::spawn(async move {
            let how = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(()) => "ended".to_owned(),
                Err(panic) => format!("panicked: {}", shardcast_log::panic_text(&*panic)),
            };
            failures.report(name, how);
        })
    }

    pub(crate) fn report(&self, task: &'static str, how: String) {
        self.0.send_if_modified(|failed| {
            let is_first = failed.is_none();
            if is_first {
                *failed = Some(TaskFailed { task, how });
            }
            is_first
        });
    }

    /// Returns when a task has failed.
    pub(crate) async fn first(&self) -> TaskFailed {
        let mut failed = self.0.subscribe();
        loop {
            if let Some(failed) = failed.borrow_and_update().clone() {
                return failed;
            }
            // `self` holds the sender, so this waits for a change and does not fail.
            let _ = failed.changed().await;
        }
    }
}

/// Returns when it is time to stop, or when the sender of `signal` is gone.
pub(crate) async fn stopped(signal: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which says the same.
    let _ = signal.wait_for(|stopped| *stopped).await;
}

/// Counts the heartbeat of a loop that shall not stand still.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat(AtomicU64);

impl Heartbeat {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reports a failure when no round is counted for [`limits::TASK_STALL`]: a lock that is never
/// released, or a runtime whose threads are all held. It has a thread of its own, since no task may
/// run then. When the report is not acted on, the thread ends the process itself.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn watch_heartbeat(
    heartbeat: Arc<Heartbeat>,
    failures: Failures,
) -> std::io::Result<()> {
    let watch = move || {
        let mut silence = Silence::new(Instant::now(), 2 * limits::TASK_POLL);
        let mut before = heartbeat.get();
        // The last one that holds them: the process has ended its tasks.
        while Arc::strong_count(&heartbeat) > 1 {
            thread::sleep(limits::TASK_POLL);
            let counted = heartbeat.get();
            if silence.look(Instant::now(), counted == before) >= limits::TASK_STALL {
                let seconds = limits::TASK_STALL.as_secs();
                failures.report("the deadlines", format!("have stood still for {seconds} s"));
                thread::sleep(limits::TASK_REPORT);
                std::process::exit(EXIT_TASK_FAILED.into());
            }
            before = counted;
        }
    };
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(watch)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn first(failures: &Failures) -> String {
        let first = timeout(Duration::from_secs(20), failures.first());
        first.await.expect("nobody was told").to_string()
    }

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_reported_once_with_its_name() {
        let failures = Failures::new();
        let ended = failures.spawn("the first task", async {});
        ended.await.unwrap();
        let panics = failures.spawn("the second task", async { panic!("of no interest") });
        panics.await.unwrap();
        let text = first(&failures).await;
        assert!(text.starts_with("the first task ended;"), "{text}");

        let failures = Failures::new();
        let panics = failures.spawn("the task", async { panic!("by {}", "design") });
        panics.await.unwrap();
        let text = first(&failures).await;
        assert!(text.starts_with("the task panicked: by design;"), "{text}");
    }

    #[tokio::test]
    async fn a_task_that_is_aborted_is_no_failure() {
        let failures = Failures::new();
        let task = failures.spawn("the task", std::future::pending());
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(*failures.0.subscribe().borrow(), None);
    }
}
