//! The threads of the shards: one pinned glommio executor each, and how they end.

use std::{
    fmt,
    future::Future,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use futures_lite::{FutureExt, future::pending};
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};
use shardcast_log::panic_text;
use shardcast_media::AacCoder;

use super::{Driver, Parts, event_loop::EventLoop, machine::Machine};
use crate::{
    codecs::{CodecPlan, VideoTranscoders, audio::AudioTranscoders},
    completions::{Completions, Notifier},
    error::EngineError,
    fragments::FragmentQueue,
    limits::{
        IO_MEMORY_BYTES, LOOKUPS_RUNNING_MAX, PREEMPT_TIMER, RING_DEPTH, SHARD_STALL,
        STILL_FRAMES_RUNNING_MAX,
    },
    link_server::{self, LinkServer},
    os::{
        doze::Doze,
        sched::{self, SchedulingClass},
        signals::Bell,
        sockets::{adopt_file, adopt_udp},
        watchdog::{self, Heartbeat},
    },
    recordings::{RecordingFiles, RecordingWriter},
    tcp::{ConnectionTable, listener::Listener, socket_lot::SocketLot, trust::TrustedRoots},
    udp::{receive, send::SendQueue, socket::BoundUdp},
    work::Work,
};

/// What a shard's thread is made of.
pub struct ShardPlan {
    /// The number of the shard, from 0.
    pub shard: u16,
    /// The core it is pinned to; `None` leaves it to the kernel.
    pub core: Option<usize>,
    /// The socket for WebRTC media.
    pub udp: BoundUdp,
    /// Where WebRTC peers connect over TCP, if they may.
    pub tcp: Option<Listener>,
    /// Connections that control leaves with the engine.
    pub sockets: SocketLot,
    /// Where parts of HLS are handed to control.
    pub fragments: FragmentQueue,
    /// Where it listens for control.
    pub link_socket: PathBuf,
    /// Whose certificates are believed.
    pub roots: TrustedRoots,
    /// Where pictures are re-encoded.
    pub codecs: CodecPlan,
    /// Who encodes the audio.
    pub aac_coder: AacCoder,
    /// Makes the machine, on the shard's own thread.
    pub machine: Box<dyn FnOnce() -> Box<dyn Machine> + Send>,
}

impl fmt::Debug for ShardPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardPlan")
            .field("shard", &self.shard)
            .field("core", &self.core)
            .field("udp", &self.udp)
            .field("tcp", &self.tcp)
            .field("link_socket", &self.link_socket)
            .field("codecs", &self.codecs)
            .field("aac_coder", &self.aac_coder)
            .finish_non_exhaustive()
    }
}

/// How the thread of a shard ended.
#[derive(Debug)]
pub struct ShardEnd {
    /// The number of the shard.
    pub shard: u16,
    /// `Ok` when it was asked to stop.
    pub result: Result<(), String>,
}

enum Report {
    Listening,
    Ended(ShardEnd),
}

/// The running shards.
#[derive(Debug)]
pub struct Shards {
    stops: Vec<Bell>,
    reports: Receiver<Report>,
    ended: Bell,
}

impl Shards {
    /// Starts one thread per plan and waits until all of them listen.
    ///
    /// # Errors
    /// When a thread or an executor cannot be made, or a link socket cannot be bound.
    pub fn start(plans: Vec<ShardPlan>) -> Result<Self, EngineError> {
        let count = plans.len();
        let bell = || {
            Bell::new().map_err(|source| EngineError::System {
                what: "making an eventfd",
                source,
            })
        };
        let (reporter, reports) = channel();
        let mut shards = Self {
            stops: Vec::with_capacity(count),
            reports,
            ended: bell()?,
        };
        // Before any thread is pinned: it shall run where there is room.
        let writer = RecordingWriter::start().map_err(|source| EngineError::System {
            what: "starting the thread of recordings",
            source,
        })?;
        let numbers: Vec<u16> = plans.iter().map(|plan| plan.shard).collect();
        let mut heartbeats = Vec::with_capacity(count);
        for plan in plans {
            let stop = bell()?;
            shards.stops.push(stop.clone());
            let heartbeat = Heartbeat::new();
            heartbeats.push(Arc::clone(&heartbeat));
            spawn(
                plan,
                &stop,
                heartbeat,
                writer.clone(),
                reporter.clone(),
                shards.ended.clone(),
            )?;
        }
        for _ in 0..count {
            match shards.reports.recv() {
                Ok(Report::Listening) => {}
                Ok(Report::Ended(ShardEnd { shard, result })) => {
                    let reason = result.err().unwrap_or_else(|| "it stopped".into());
                    return Err(EngineError::Executor { shard, reason });
                }
                Err(_) => break,
            }
        }
        let ended = shards.ended.clone();
        watchdog::start(heartbeats, move |index| {
            report_hung(numbers.get(index).copied().unwrap_or(0), &reporter, &ended);
        })
        .map_err(|source| EngineError::System {
            what: "starting the watchdog",
            source,
        })?;
        Ok(shards)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.stops.len()
    }

    /// Asks all shards to end their broadcasts properly and stop.
    pub fn stop(&self) {
        self.stops.iter().for_each(Bell::ring);
    }

    /// To be called when the descriptor is readable, before [`Self::ended`].
    pub(crate) fn acknowledge(&self) {
        self.ended.clear();
    }

    /// The next shard that has ended, if one does within `timeout`.
    pub fn ended(&self, timeout: Duration) -> Option<ShardEnd> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Report::Ended(end) = self.reports.recv_timeout(left).ok()? {
                return Some(end);
            }
        }
    }
}

/// A shard hangs: the engine ends as it does when a shard dies. Should the main thread hang too,
/// control kills the process.
fn report_hung(shard: u16, reporter: &Sender<Report>, ended: &Bell) {
    let result = Err(format!("it has not run for {} s", SHARD_STALL.as_secs()));
    let _ = reporter.send(Report::Ended(ShardEnd { shard, result }));
    ended.ring();
}

/// Readable once a shard has ended, until [`Shards::acknowledge`].
impl AsFd for Shards {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

fn spawn(
    plan: ShardPlan,
    stop: &Bell,
    heartbeat: Arc<Heartbeat>,
    writer: RecordingWriter,
    reporter: Sender<Report>,
    ended: Bell,
) -> Result<(), EngineError> {
    let failed = |source| EngineError::System {
        what: "starting the thread of a shard",
        source,
    };
    let stop = stop.reader().map_err(failed)?;
    let shard = plan.shard;
    let work = move || {
        let listening = reporter.clone();
        let result = catch_unwind(AssertUnwindSafe(|| {
            run_thread(plan, stop, heartbeat, writer, &listening)
        }))
        .unwrap_or_else(|panic| Err(format!("it panicked: {}", panic_text(&*panic))));
        // Nobody listens only when the process is ending anyway.
        let _ = reporter.send(Report::Ended(ShardEnd { shard, result }));
        ended.ring();
    };
    thread::Builder::new()
        .name(format!("shard-{shard}"))
        .spawn(work)
        .map_err(failed)?;
    Ok(())
}

fn run_thread(
    plan: ShardPlan,
    stop: OwnedFd,
    heartbeat: Arc<Heartbeat>,
    writer: RecordingWriter,
    listening: &Sender<Report>,
) -> Result<(), String> {
    let shard = plan.shard;
    let recordings = RecordingFiles::new(shard, writer);
    let executor =
        LocalExecutorBuilder::new(plan.core.map_or(Placement::Unbound, Placement::Fixed))
            .name(&format!("shard-{shard}"))
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(RING_DEPTH)
            .preempt_timer(PREEMPT_TIMER)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(
                LOOKUPS_RUNNING_MAX + STILL_FRAMES_RUNNING_MAX,
            ))
            .make()
            .map_err(|error| error.to_string())?;
    let short_slice = sched::request_short_slice().unwrap_or_else(|error| {
        tracing::debug!(shard, "the scheduler keeps its slice: {error}");
        false
    });
    let class = SchedulingClass::for_threads(plan.codecs.is_beside(), short_slice);
    tell_codecs(shard, &plan.codecs, short_slice, class);
    executor.run(run_shard(
        plan, stop, heartbeat, class, recordings, listening,
    ))
}

fn tell_codecs(shard: u16, codecs: &CodecPlan, short_slice: bool, class: SchedulingClass) {
    if let Some(reason) = codecs.refusal() {
        tracing::info!(shard, "re-encoding is {reason}");
        return;
    }
    let how = match class {
        SchedulingClass::Nice => "10 nice values behind the shard",
        SchedulingClass::Idle => {
            "under SCHED_IDLE, since this kernel has no short slices (6.12 and later have)"
        }
    };
    tracing::info!(
        shard,
        short_slice,
        cores = ?codecs.cores(),
        capacity_permille = codecs.capacity_permille(),
        "codec workers will run {how}"
    );
}

async fn run_shard(
    plan: ShardPlan,
    stop: OwnedFd,
    heartbeat: Arc<Heartbeat>,
    class: SchedulingClass,
    recordings: RecordingFiles,
    listening: &Sender<Report>,
) -> Result<(), String> {
    let ShardPlan {
        shard,
        core,
        udp: BoundUdp {
            fd,
            address,
            locals,
        },
        tcp,
        sockets,
        fragments,
        link_socket,
        roots,
        codecs,
        aac_coder,
        machine,
    } = plan;
    let listener = link_server::listen(&link_socket)
        .map_err(|error| format!("cannot listen at {}: {error}", link_socket.display()))?;
    let tls_config = roots
        .client_config()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let work = Rc::new(Work::default());
    let socket = Rc::new(adopt_udp(fd));
    let doze = Doze::new(&*socket).map_err(|error| format!("epoll was refused: {error}"))?;
    // SAFETY: the driver uses the queue, and ends before this function does, which holds the socket.
    let sender = unsafe { SendQueue::new(&*socket, address, &locals, Rc::clone(&work)) };
    let notifier = Notifier::default();
    let driver = Driver::new(Parts {
        machine: machine(),
        sender,
        tcp: ConnectionTable::new(tls_config, notifier.clone(), Rc::clone(&work)),
        sockets,
        fragments,
        link: LinkServer::new(notifier.clone()),
        audio: AudioTranscoders::new(aac_coder),
        video: VideoTranscoders::new(shard, codecs, class, notifier.clone()),
        recordings,
        notifier,
        work: Rc::clone(&work),
    });
    let ends = driver.ends();
    if let Some(tcp) = tcp {
        let name = "the media port over TCP";
        tracing::info!(shard, port = tcp.port, "listening at {name}");
        supervise(&ends, name, tcp.run(driver.accepted()));
    }
    supervise(&ends, "the watchdog's end", Arc::clone(&heartbeat).answer());
    supervise(&ends, "the link", driver.link.accept(listener));
    supervise(&ends, "the wait for a stop", relay_stop(stop, ends.clone()));
    tracing::info!(shard, core, udp = %address, link = %link_socket.display(), "listening");
    // Nobody listens only when the process is ending anyway.
    let _ = listening.send(Report::Listening);

    let receiver = receive::Receiver::new(Rc::clone(&socket), locals, work);
    EventLoop::new(driver, receiver, doze, heartbeat)
        .run(&socket)
        .await
}

/// Passes on that the shard is asked to stop.
async fn relay_stop(stop: OwnedFd, ends: Completions<Result<(), String>>) {
    let asked = adopt_file(stop).read_at(0, 8).await;
    ends.push(asked.map(drop).map_err(|error| error.to_string()));
    // What follows is the driver's; this task has to stay.
    pending::<()>().await;
}

/// Runs a task that the shard cannot be without.
fn supervise(
    ends: &Completions<Result<(), String>>,
    name: &'static str,
    task: impl Future<Output = ()> + 'static,
) {
    let ends = ends.clone();
    glommio::spawn_local(async move {
        let result = AssertUnwindSafe(task).catch_unwind().await;
        let how = if result.is_err() { "panicked" } else { "ended" };
        ends.push(Err(format!("{name} {how}")));
    })
    .detach();
}
