//! The shell around one shard: feeds it, and does what it says.
//!
//! Every task of the executor goes through [`ShellHandle::with`]: it feeds one or more inputs and
//! then drives. Nothing is held across an await, so whoever runs finds the shell settled.

use std::{
    cell::RefCell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use futures_lite::future::poll_fn;
use glommio::{net::TcpStream, timer::Timer};
use rustls::ClientConfig;
use shardcast_core::io::{
    ConnId, Input, LaneId, LookupId, Output, StillId, TcpEvent, TcpInfo, VideoLaneId, VideoResult,
};
use shardcast_link::Command;
use shardcast_log::Limiter;

use crate::{
    audio::AudioLanes,
    clock::{Alarm, CpuMeter},
    lanes::VideoLanes,
    limits::PANICS_MAX,
    link::EventQueue,
    machine::Machine,
    pacemaker::Beat,
    resolve::{Answer, Resolver},
    still::{Made, Stills},
    tcp::{self, ConnectionTable, Ended, Flushed},
    udp::send::SendQueue,
};

static TOO_MANY: Limiter = Limiter::refusals();

/// An input that the shell itself has to tell.
enum Owned {
    Accepted {
        conn: ConnId,
        bytes: usize,
    },
    Closed {
        conn: ConnId,
        ended: Ended,
    },
    Info {
        conn: ConnId,
        info: TcpInfo,
    },
    Resolved {
        lookup: LookupId,
        result: Answer,
    },
    Audio {
        lane: LaneId,
        frames: Vec<Bytes>,
    },
    Still {
        still: StillId,
        result: Made,
    },
    Video {
        lane: VideoLaneId,
        result: VideoResult,
    },
}

impl Owned {
    fn into_input(self) -> Input<'static> {
        match self {
            Self::Accepted { conn, bytes } => Input::Tcp {
                conn,
                event: TcpEvent::Accepted { bytes },
            },
            Self::Closed {
                conn,
                ended: Ended { reason, heals },
            } => Input::Tcp {
                conn,
                event: TcpEvent::Closed { reason, heals },
            },
            Self::Info { conn, info } => Input::Tcp {
                conn,
                event: TcpEvent::Info(info),
            },
            Self::Resolved { lookup, result } => Input::Resolved { lookup, result },
            Self::Audio { lane, frames } => Input::AudioFrames { lane, frames },
            Self::Still { still, result } => Input::Still { still, result },
            Self::Video { lane, result } => Input::Video { lane, result },
        }
    }
}

/// One shard and everything it has outside.
pub(crate) struct Shell {
    machine: Box<dyn Machine>,
    pub(crate) tcp: ConnectionTable,
    pub(crate) link: EventQueue,
    pub(crate) resolver: Resolver,
    pub(crate) stills: Stills,
    pub(crate) video: VideoLanes,
    udp: SendQueue,
    lanes: AudioLanes,
    alarm: Alarm,
    beat: Arc<Beat>,
    cpu: CpuMeter,
    pending: VecDeque<Owned>,
    flushed: Vec<Flushed>,
    panics: u32,
    failure: Option<String>,
    failure_waker: Option<Waker>,
    me: Weak<RefCell<Self>>,
}

/// What the tasks of an executor share.
#[derive(Clone)]
pub(crate) struct ShellHandle(Rc<RefCell<Shell>>);

impl ShellHandle {
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        udp: SendQueue,
        tls_config: Arc<ClientConfig>,
        video: VideoLanes,
        beat: Arc<Beat>,
    ) -> Self {
        Self(Rc::new_cyclic(|me| {
            RefCell::new(Shell {
                machine,
                tcp: ConnectionTable::new(tls_config),
                link: EventQueue::default(),
                resolver: Resolver::default(),
                stills: Stills::default(),
                video,
                udp,
                lanes: AudioLanes::default(),
                alarm: Alarm::default(),
                beat,
                cpu: CpuMeter::new(Instant::now()),
                pending: VecDeque::new(),
                flushed: Vec::new(),
                panics: 0,
                failure: None,
                failure_waker: None,
                me: me.clone(),
            })
        }))
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Shell) -> T) -> T {
        work(&mut self.0.borrow_mut())
    }

    /// The timer of the shard: drives it whenever its next timeout has come.
    pub(crate) async fn run_timer(self) {
        let mut timer = Timer::new(std::time::Duration::ZERO);
        loop {
            poll_fn(|cx| self.with(|shell| shell.poll_timer(cx, &mut timer))).await;
            self.with(|shell| shell.drive(Instant::now()));
        }
    }

    /// Ends when the shard cannot go on; why.
    pub(crate) async fn failed(&self) -> String {
        poll_fn(|cx| self.with(|shell| shell.poll_failure(cx))).await
    }
}

impl Shell {
    /// Tells the shard one thing and collects its answer; [`Self::drive`] sends what it has to
    /// send. A panic is a defect of ours: it is logged and the other broadcasts go on.
    pub(crate) fn feed(&mut self, now: Instant, input: Input<'_>) {
        let machine = &mut self.machine;
        if catch_unwind(AssertUnwindSafe(|| machine.handle(now, input))).is_err() {
            self.panicked("taking an input");
        }
        self.collect();
    }

    /// A control process has connected.
    pub(crate) fn control_connected(&mut self, now: Instant) {
        let machine = &mut self.machine;
        if catch_unwind(AssertUnwindSafe(|| machine.control_connected(now))).is_err() {
            self.panicked("greeting control");
        }
        self.collect();
    }

    /// Takes over a connection that somebody made to the RTMP port.
    pub(crate) fn accepted(&mut self, now: Instant, stream: TcpStream) {
        let (Some(handle), Some(conn)) = (self.handle(), self.machine.accept(now)) else {
            if let Some(left_out) = TOO_MANY.admit(now) {
                tracing::warn!(
                    left_out,
                    "a connection to the RTMP port was closed: there are too many"
                );
            }
            return;
        };
        if let Err(ended) = tcp::adopt(self, handle, conn, stream) {
            self.pending.push_back(Owned::Closed { conn, ended });
        }
        self.drive(now);
    }

    /// Runs what is due, then sends everything that the shard has said since the last time.
    pub(crate) fn drive(&mut self, now: Instant) {
        if self.machine.next_timeout().is_some_and(|next| next <= now) {
            if let Some(permille) = self.cpu.sample(now) {
                self.machine.set_cpu_permille(permille);
            }
            self.feed(now, Input::Timeout);
        }
        loop {
            while let Some(owned) = self.next_pending() {
                self.feed(now, owned.into_input());
            }
            self.tcp.flush(&mut self.flushed);
            if self.flushed.is_empty() && self.pending.is_empty() {
                break;
            }
            self.pending.extend(self.flushed.drain(..).map(
                |Flushed { conn, result }| match result {
                    Ok(bytes) => Owned::Accepted { conn, bytes },
                    Err(ended) => Owned::Closed { conn, ended },
                },
            ));
        }
        self.udp.flush();
        self.link.wake();
        let next = self.machine.next_timeout();
        self.alarm.moved(next);
        self.beat.runs_by(next);
    }

    /// The receiver looks again at `at`.
    pub(crate) fn looks_at(&self, at: Instant) {
        let next = self.machine.next_timeout();
        self.beat
            .runs_by(Some(next.map_or(at, |next| next.min(at))));
    }

    /// Asks the shard to end all broadcasts properly.
    pub(crate) fn begin_stop(&mut self) {
        let now = Instant::now();
        for broadcast in self.machine.broadcast_ids() {
            self.feed(now, Input::Command(Command::Forget { broadcast }));
        }
        self.drive(now);
    }

    /// Whether nothing is left to be done before the end.
    pub(crate) fn is_quiet(&self) -> bool {
        self.tcp.is_empty() && self.link.is_empty() && self.machine.broadcast_ids().is_empty()
    }

    /// The shard cannot go on.
    pub(crate) fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
        if let Some(waker) = self.failure_waker.take() {
            waker.wake();
        }
    }

    fn collect(&mut self) {
        loop {
            let machine = &mut self.machine;
            match catch_unwind(AssertUnwindSafe(|| machine.poll())) {
                Ok(Some(output)) => self.dispatch(output),
                Ok(None) => return,
                Err(_) => {
                    self.panicked("saying what to do");
                    return;
                }
            }
        }
    }

    fn dispatch(&mut self, output: Output) {
        match output {
            Output::Datagram { from, to, payload } => self.udp.push(from, to, payload),
            Output::Connect { conn, addr, tls } => {
                let Some(handle) = self.handle() else { return };
                if let Err(ended) = tcp::spawn(self, handle, conn, addr, tls.as_deref()) {
                    self.pending.push_back(Owned::Closed { conn, ended });
                }
            }
            Output::Write { conn, slices } => {
                if let Err(ended) = self.tcp.write(conn, slices) {
                    self.pending.push_back(Owned::Closed { conn, ended });
                }
            }
            Output::Inspect { conn } => {
                if let Some(info) = self.tcp.inspect(conn) {
                    self.pending.push_back(Owned::Info { conn, info });
                }
            }
            Output::Close { conn, how } => self.tcp.close(conn, how),
            Output::Resolve { lookup, host, port } => {
                let Some(handle) = self.handle() else { return };
                self.resolver.ask(&handle, lookup, host, port);
            }
            Output::Audio(job) => {
                if let Some((lane, frames)) = self.lanes.run(&job) {
                    self.pending.push_back(Owned::Audio { lane, frames });
                }
            }
            Output::Still(job) => {
                let Some(handle) = self.handle() else { return };
                self.stills.ask(&handle, job);
            }
            Output::Video(job) => {
                let Some(handle) = self.handle() else { return };
                self.video.run(Instant::now(), &handle, job);
            }
            Output::Event(event) => self.link.push(*event),
        }
    }

    fn next_pending(&mut self) -> Option<Owned> {
        if let Some(owned) = self.pending.pop_front() {
            return Some(owned);
        }
        if let Some((lookup, result)) = self.resolver.answer() {
            return Some(Owned::Resolved { lookup, result });
        }
        if let Some((still, result)) = self.stills.answer() {
            return Some(Owned::Still { still, result });
        }
        let (lane, result) = self.video.answer()?;
        Some(Owned::Video { lane, result })
    }

    fn handle(&self) -> Option<ShellHandle> {
        self.me.upgrade().map(ShellHandle)
    }

    fn panicked(&mut self, doing: &str) {
        self.panics += 1;
        tracing::error!(
            panics = self.panics,
            "the shard panicked while {doing}; it goes on"
        );
        if self.panics >= PANICS_MAX {
            self.fail(format!("it panicked {PANICS_MAX} times"));
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<()> {
        self.alarm.poll(cx, timer, self.machine.next_timeout())
    }

    fn poll_failure(&mut self, cx: &Context<'_>) -> Poll<String> {
        match self.failure.take() {
            Some(reason) => Poll::Ready(reason),
            None => {
                self.failure_waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
