//! The threads of the shards: one pinned glommio executor each, and how they end.

use std::{
    fmt,
    future::Future,
    os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use futures_lite::{FutureExt, future::or};
use glommio::{
    LocalExecutorBuilder, Placement, PoolPlacement, io::BufferedFile, net::UdpSocket, timer::sleep,
};
use shardcast_log::panic_text;

use crate::{
    error::EngineError,
    lanes::{CodecPlan, VideoLanes},
    limits::{
        CODEC_STOP, IO_MEMORY_BYTES, LOOKUPS_RUNNING_MAX, PREEMPT_TIMER, RING_DEPTH, SHARD_STALL,
        STILLS_RUNNING_MAX, STOP_FLUSH,
    },
    link,
    machine::Machine,
    pacemaker::{self, Beat},
    rtmp_port::{self, RtmpPort},
    sched::{self, Yielding},
    shell::ShellHandle,
    signals::Bell,
    tcp::trust::TrustedRoots,
    udp::{self, send::SendQueue, socket::BoundUdp},
};

/// What a shard's thread is made of.
pub struct ShardPlan {
    pub shard: u16,
    /// The core it is pinned to; `None` leaves it to the kernel.
    pub core: Option<usize>,
    pub udp: BoundUdp,
    /// Where encoders connect; one shard of an engine has it.
    pub rtmp: Option<RtmpPort>,
    /// Where it listens for control.
    pub link_socket: PathBuf,
    /// Whose certificates are believed.
    pub roots: TrustedRoots,
    /// Where pictures are re-encoded.
    pub codecs: CodecPlan,
    /// Makes the machine, on the shard's own thread.
    pub machine: Box<dyn FnOnce() -> Box<dyn Machine> + Send>,
}

impl fmt::Debug for ShardPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardPlan")
            .field("shard", &self.shard)
            .field("core", &self.core)
            .field("udp", &self.udp)
            .field("rtmp", &self.rtmp)
            .field("link_socket", &self.link_socket)
            .field("codecs", &self.codecs)
            .finish_non_exhaustive()
    }
}

/// How the thread of a shard ended.
#[derive(Debug)]
pub struct ShardEnd {
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
        let numbers: Vec<u16> = plans.iter().map(|plan| plan.shard).collect();
        let mut beats = Vec::with_capacity(count);
        for plan in plans {
            let stop = bell()?;
            shards.stops.push(stop.clone());
            let beat = Beat::new();
            beats.push(Arc::clone(&beat));
            spawn(plan, &stop, beat, reporter.clone(), shards.ended.clone())?;
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
        pacemaker::start(beats, move |index| {
            report_hung(numbers.get(index).copied().unwrap_or(0), &reporter, &ended);
        })
        .map_err(|source| EngineError::System {
            what: "starting the pacemaker",
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

/// A shard hangs: the engine ends as it does when a shard dies, by whoever waits for the ends of
/// shards. Should that one hang too, control kills the process.
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
    beat: Arc<Beat>,
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
            run_thread(plan, stop, beat, &listening)
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
    beat: Arc<Beat>,
    listening: &Sender<Report>,
) -> Result<(), String> {
    let shard = plan.shard;
    let executor =
        LocalExecutorBuilder::new(plan.core.map_or(Placement::Unbound, Placement::Fixed))
            .name(&format!("shard-{shard}"))
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(RING_DEPTH)
            .preempt_timer(PREEMPT_TIMER)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(
                LOOKUPS_RUNNING_MAX + STILLS_RUNNING_MAX,
            ))
            .make()
            .map_err(|error| error.to_string())?;
    let short_slice = sched::request_short_slice().unwrap_or_else(|error| {
        tracing::debug!(shard, "the scheduler keeps its slice: {error}");
        false
    });
    let yielding = Yielding::for_threads(plan.codecs.is_beside(), short_slice);
    tell_codecs(shard, &plan.codecs, short_slice, yielding);
    executor.run(run_shard(plan, stop, beat, yielding, listening))
}

fn tell_codecs(shard: u16, codecs: &CodecPlan, short_slice: bool, yielding: Yielding) {
    if let Some(reason) = codecs.refusal() {
        tracing::info!(shard, "re-encoding is {reason}");
        return;
    }
    let how = match yielding {
        Yielding::Nice => "nice 10",
        Yielding::Idle => "SCHED_IDLE, since this kernel has no short slices (6.12 and later have)",
    };
    tracing::info!(
        shard,
        short_slice,
        cores = ?codecs.cores(),
        capacity_permille = codecs.capacity_permille(),
        "codec threads will run at {how}"
    );
}

async fn run_shard(
    plan: ShardPlan,
    stop: OwnedFd,
    beat: Arc<Beat>,
    yielding: Yielding,
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
        rtmp,
        link_socket,
        roots,
        codecs,
        machine,
    } = plan;
    let socket = adopted::socket(fd);
    // SAFETY: the socket lives in the receiving task, which ends only with this executor, and
    // nothing sends afterwards.
    let queue = unsafe { SendQueue::new(&socket, address, &locals) };
    let tls_config = roots
        .client_config()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let video = VideoLanes::new(shard, codecs, yielding);
    let shell = ShellHandle::new(machine(), queue, tls_config, video, Arc::clone(&beat));
    let listener = link::listen(&link_socket)
        .map_err(|error| format!("cannot listen at {}: {error}", link_socket.display()))?;

    core_task(
        &shell,
        "the receiver",
        udp::receive::run(shell.clone(), socket, locals),
    );
    if let Some(rtmp) = rtmp {
        tracing::info!(shard, port = rtmp.port, "listening for RTMP");
        core_task(&shell, "the RTMP port", rtmp_port::run(shell.clone(), rtmp));
    }
    core_task(&shell, "the pacemaker's end", beat.attend());
    core_task(&shell, "the timer", shell.clone().run_timer());
    core_task(&shell, "the link", link::run(shell.clone(), listener));
    tracing::info!(shard, core, udp = %address, link = %link_socket.display(), "listening");
    // Nobody listens only when the process is ending anyway.
    let _ = listening.send(Report::Listening);

    let stopped = async {
        adopted::file(stop)
            .read_at(0, 8)
            .await
            .map_err(|error| error.to_string())?;
        finish(&shell).await;
        Ok(())
    };
    let result = or(stopped, async { Err(shell.failed().await) }).await;
    end_codecs(&shell).await;
    result
}

/// Ends all broadcasts properly, in bounded time.
async fn finish(shell: &ShellHandle) {
    shell.with(crate::shell::Shell::begin_stop);
    let deadline = Instant::now() + STOP_FLUSH;
    while Instant::now() < deadline && !shell.with(|shell| shell.is_quiet()) {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Ends the codec threads, in bounded time.
async fn end_codecs(shell: &ShellHandle) {
    shell.with(|shell| shell.video.stop());
    let deadline = Instant::now() + CODEC_STOP;
    while Instant::now() < deadline && !shell.with(|shell| shell.video.has_ended()) {
        sleep(Duration::from_millis(5)).await;
    }
}

/// A task that the shard cannot be without.
fn core_task(shell: &ShellHandle, name: &'static str, task: impl Future<Output = ()> + 'static) {
    let shell = shell.clone();
    glommio::spawn_local(async move {
        let result = AssertUnwindSafe(task).catch_unwind().await;
        let how = if result.is_err() { "panicked" } else { "ended" };
        shell.with(|shell| shell.fail(format!("{name} {how}")));
    })
    .detach();
}

/// Descriptors of ours in glommio's types, which take them only raw.
pub(crate) mod adopted {
    use std::os::fd::FromRawFd;

    use super::{BufferedFile, IntoRawFd, OwnedFd, UdpSocket};

    pub(super) fn socket(fd: OwnedFd) -> UdpSocket {
        // SAFETY: `fd` is open and ours, and ownership passes on.
        unsafe { UdpSocket::from_raw_fd(fd.into_raw_fd()) }
    }

    /// Anything readable can be waited for as a file: an eventfd here.
    pub(crate) fn file(fd: OwnedFd) -> BufferedFile {
        // SAFETY: `fd` is open and ours, and ownership passes on.
        unsafe { BufferedFile::from_raw_fd(fd.into_raw_fd()) }
    }
}
