//! Keeps an engine running on this machine.
//!
//! The engine outlives this process: it is in a process group of its own, its sockets are in the
//! file system, and a later control process finds it there. Only a graceful stop ends it.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use shardcast_link::Silence;
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    engine_command::{self, EngineMissing},
    limits,
    links::socket_path,
    state::Control,
    tasks::{Failures, stopped},
};

/// How often the links are checked.
const POLL: Duration = Duration::from_millis(20);

/// The task that looks after the engine.
#[derive(Debug)]
pub struct Supervisor {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Supervisor {
    pub(crate) fn start(control: Arc<Control>, failures: &Failures) -> Result<Self, EngineMissing> {
        let path = engine_command::path(&control.settings)?;
        let (stop, stopped) = watch::channel(false);
        let keeper = Keeper {
            control,
            path,
            stopped,
        };
        let task = failures.spawn("the supervisor of the engine", keeper.run());
        Ok(Self { stop, task })
    }

    /// Ends the engine: SIGTERM, and SIGKILL after [`limits::ENGINE_STOP`].
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the supervisor failed");
        }
    }
}

struct Keeper {
    control: Arc<Control>,
    path: PathBuf,
    stopped: watch::Receiver<bool>,
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = limits::ENGINE_BACKOFF_MIN;
        while self.wait_for_absence().await {
            let Some(lock) = self.lock() else {
                // Another control process is starting one.
                sleep(limits::LINK_RETRY).await;
                continue;
            };
            let started = Instant::now();
            match self.spawn() {
                Ok(child) => {
                    if self.watch(child).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(path = %self.path.display(), %error, "cannot start the engine");
                }
            }
            drop(lock);
            if started.elapsed() >= limits::ENGINE_HEALTHY {
                backoff = limits::ENGINE_BACKOFF_MIN;
            }
            tracing::warn!(
                pause_ms = backoff.as_millis(),
                "the engine is started again"
            );
            tokio::select! {
                () = sleep(backoff) => {}
                () = stopped(&mut self.stopped) => return,
            }
            backoff = (backoff * 2).min(limits::ENGINE_BACKOFF_MAX);
        }
        self.end_adopted().await;
    }

    /// Returns true once shard 0's socket refuses connections, false when it is time to stop. An
    /// engine that is there and hangs is killed.
    async fn wait_for_absence(&mut self) -> bool {
        let mut detector = HangDetector::new(Instant::now());
        loop {
            if *self.stopped.borrow() {
                return false;
            }
            if self.control.shards.is_absent() {
                return true;
            }
            let now = Instant::now();
            if let Some(shard) = detector.hung(now, &self.control.shards.last_heard()) {
                log_hung(shard);
                self.kill_adopted().await;
                detector = HangDetector::new(now);
            }
            sleep(POLL).await;
        }
    }

    /// Kills an engine that an earlier control process has started. Its process is asked for anew:
    /// the known one may have ended, and its number may be that of another process.
    async fn kill_adopted(&self) {
        let connected = UnixStream::connect(socket_path(&self.control, 0)).await;
        let pid = connected
            .and_then(|stream| stream.peer_cred())
            .map(|peer| peer.pid().and_then(Pid::from_raw));
        match pid {
            Ok(Some(pid)) => signal(pid, Signal::KILL),
            Ok(None) => tracing::error!("the kernel does not tell which process the engine is"),
            Err(error) => tracing::error!(%error, "cannot find the process of the engine"),
        }
    }

    /// Held while an engine of ours runs; the kernel releases it with this process.
    fn lock(&self) -> Option<File> {
        let path = self.control.settings.link_dir.join("supervisor.lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = file
            .inspect_err(|error| tracing::error!(%error, "cannot make {path:?}"))
            .ok()?;
        match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => {
                tracing::error!(%error, "cannot lock {path:?}");
                None
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let settings = &self.control.settings;
        let mut command = Command::from(engine_command::command(settings, &self.path));
        // Its log goes where ours goes, without passing through us: we may die first.
        command
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(false);
        let child = command.spawn()?;
        self.control
            .counters
            .engine_starts
            .fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            pid = child.id(),
            shards = settings.shards(),
            "engine started"
        );
        Ok(child)
    }

    /// Returns true when the engine was ended because this process stops.
    async fn watch(&mut self, mut child: Child) -> bool {
        self.control.shards.forget_heard();
        let mut detector = HangDetector::new(Instant::now());
        loop {
            tokio::select! {
                status = child.wait() => {
                    log_exit(status);
                    return false;
                }
                () = stopped(&mut self.stopped) => {
                    end_child(child).await;
                    return true;
                }
                () = sleep(limits::ENGINE_POLL) => {}
            }
            let heard = self.control.shards.last_heard();
            if let Some(shard) = detector.hung(Instant::now(), &heard) {
                log_hung(shard);
                if let Err(error) = child.start_kill() {
                    tracing::error!(%error, "cannot kill the engine");
                }
                detector = HangDetector::new(Instant::now());
            }
        }
    }

    /// Ends an engine that an earlier control process has started.
    async fn end_adopted(&self) {
        let mut pid = None;
        self.control.shards.each(|_, view| {
            pid = pid.or(view.engine_pid.filter(|_| view.is_connected()));
        });
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            return;
        };
        signal(pid, Signal::TERM);
        let gone = async {
            while !self.control.shards.is_absent() {
                sleep(POLL).await;
            }
        };
        if timeout(limits::ENGINE_STOP, gone).await.is_err() {
            tracing::warn!("the engine does not end; it is killed");
            signal(pid, Signal::KILL);
        }
    }
}

/// Finds shards that have been silent for too long.
struct HangDetector {
    shards: HashMap<u16, (Option<Instant>, Silence)>,
    since: Instant,
}

impl HangDetector {
    fn new(now: Instant) -> Self {
        let shards = HashMap::new();
        let mut detector = Self { shards, since: now };
        // An engine that never opens its link hangs too.
        detector.watch_shard(0);
        detector
    }

    fn watch_shard(&mut self, shard: u16) {
        let silence = Silence::new(self.since, 2 * limits::ENGINE_POLL);
        self.shards.entry(shard).or_insert((None, silence));
    }

    /// A shard that was not heard for [`limits::ENGINE_HUNG`]. `heard` is when each was last.
    fn hung(&mut self, now: Instant, heard: &HashMap<u16, Instant>) -> Option<u16> {
        heard.keys().for_each(|shard| self.watch_shard(*shard));
        self.since = now;
        let mut hung = None;
        for (shard, (last, silence)) in &mut self.shards {
            let heard = heard.get(shard).copied();
            let is_silent = heard == *last;
            *last = heard;
            if silence.look(now, is_silent) >= limits::ENGINE_HUNG {
                hung = Some(*shard);
            }
        }
        hung
    }
}

fn log_hung(shard: u16) {
    let seconds = limits::ENGINE_HUNG.as_secs();
    tracing::error!(
        shard,
        "the engine has not answered for {seconds} s; it is killed"
    );
}

async fn end_child(mut child: Child) {
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        signal(pid, Signal::TERM);
    }
    match timeout(limits::ENGINE_STOP, child.wait()).await {
        Ok(status) => log_exit(status),
        Err(_) => {
            tracing::warn!("the engine does not end; it is killed");
            if let Err(error) = child.kill().await {
                tracing::error!(%error, "cannot kill the engine");
            }
        }
    }
}

fn signal(pid: Pid, signal: Signal) {
    if let Err(error) = kill_process(pid, signal) {
        tracing::warn!(%error, pid = pid.as_raw_nonzero().get(), "cannot signal the engine");
    }
}

fn log_exit(status: io::Result<ExitStatus>) {
    match status {
        Ok(status) if status.success() => tracing::info!("engine ended"),
        Ok(status) => tracing::error!(%status, "engine ended"),
        Err(error) => tracing::error!(%error, "the engine cannot be waited for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks once a second for `seconds`; `heard` gives for each second when each shard was last heard.
    fn hung_after(
        seconds: u64,
        heard: impl Fn(u64, Instant) -> Vec<(u16, Instant)>,
    ) -> Option<u64> {
        let start = Instant::now();
        let mut detector = HangDetector::new(start);
        let hung = |n: &u64| {
            let heard = heard(*n, start).into_iter().collect();
            detector
                .hung(start + Duration::from_secs(*n), &heard)
                .is_some()
        };
        (1..=seconds).find(hung)
    }

    #[test]
    fn an_engine_hangs_when_one_of_its_shards_is_silent_for_half_a_minute() {
        let patience = limits::ENGINE_HUNG.as_secs();
        assert_eq!(hung_after(100, |_, _| Vec::new()), Some(patience));
        let at = |start: Instant, second: u64| start + Duration::from_secs(second);
        let both = |n, start| vec![(0, at(start, n)), (1, at(start, n))];
        assert_eq!(hung_after(100, both), None);
        let seldom = |n, start| vec![(0, at(start, n - n % (patience - 1)))];
        assert_eq!(hung_after(500, seldom), None);
        let one = |n: u64, start| vec![(0, at(start, n)), (1, at(start, n.min(10)))];
        assert_eq!(hung_after(100, one), Some(10 + patience));
    }

    #[test]
    fn control_that_was_stopped_itself_kills_nobody() {
        let start = Instant::now();
        let mut detector = HangDetector::new(start);
        let heard = HashMap::from([(0, start)]);
        for n in 1..=3 {
            let now = start + limits::ENGINE_POLL * n;
            assert_eq!(detector.hung(now, &heard), None);
        }
        let back = start + limits::ENGINE_HUNG * 100;
        assert_eq!(detector.hung(back, &heard), None);
    }
}
