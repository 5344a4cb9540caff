//! The video lanes of a shard: decoders and encoders on threads of their own.
//!
//! An encoder holds its thread for ten milliseconds and more, in which an executor would lose ten
//! rounds of packets. So each shard has codec threads beside it, on its own core behind the shard's
//! thread, or on cores that the operator sets apart ([`CodecPlan`]). A broadcast is bound to one
//! thread for as long as its lane lives, and there the broadcasts take turns. Jobs and results go
//! through bounded queues, and neither side works under a lock that the other one takes. How long the
//! executor can wait all the same is said at [`Outbox`].
//!
//! What is too late is left out, in the order in which it is missed least: a picture is decoded but
//! not encoded, then units are skipped up to a keyframe, and last the queue closes. The
//! [`Governor`](governor::Governor) sees to it that this ends.
//!
//! Nothing exists before the first lane opens, so an engine that only passes pictures on has none of
//! these threads.

mod backlog;
mod governor;
mod intake;
mod outbox;
mod plan;
mod source;
mod thread;
mod translate;
mod window;

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{SyncSender, TrySendError},
    },
    thread::JoinHandle,
    time::Instant,
};

use futures_lite::future::yield_now;
use shardcast_core::io::{RenditionId, VideoJob, VideoLaneId, VideoResult};

pub use plan::CodecPlan;

use self::{
    intake::{Gauge, Intake, Verdict, Work},
    outbox::{Outbox, Results, outbox},
    thread::{CodecThread, Message, ThreadPlan},
};
use crate::{
    executor::adopted, limits::CODEC_SOURCES_MAX, sched::Yielding, shell::ShellHandle,
    signals::Bell,
};

/// A lane, as the executor knows it.
struct Lane {
    /// `None` once nothing can be made for it, and why.
    bound: Result<Bound, String>,
    renditions: Vec<RenditionId>,
}

/// A lane's way to its thread.
struct Bound {
    thread: usize,
    gauge: Arc<Gauge>,
    intake: Intake,
}

impl Bound {
    /// Passes on what is owed to the thread, and then this job; what has become of it when it did not
    /// pass.
    fn pass(
        &mut self,
        now: Instant,
        id: VideoLaneId,
        job: VideoJob,
        thread: &mut CodecThread,
    ) -> Option<Verdict> {
        while let Some(work) = self.intake.take_owed() {
            match self.send(now, id, work, thread) {
                None => {}
                Some(Verdict::Hopeless) => return Some(Verdict::Hopeless),
                Some(_) => break,
            }
        }
        match self.intake.judge(now, job) {
            Verdict::Pass(work) => self.send(now, id, work, thread),
            verdict => Some(verdict),
        }
    }

    fn send(
        &mut self,
        now: Instant,
        id: VideoLaneId,
        work: Work,
        thread: &mut CodecThread,
    ) -> Option<Verdict> {
        match thread.inbox.try_send(Message::Work(id, work)) {
            Ok(()) => {
                thread.work_inline();
                None
            }
            Err(TrySendError::Full(Message::Work(_, work))) => Some(self.intake.bounced(now, work)),
            Err(_) => Some(Verdict::Hopeless),
        }
    }
}

/// What exists once a lane has been opened.
struct Started {
    out: Outbox,
    results: Results,
    /// Started one by one, as lanes need them.
    threads: Vec<Option<CodecThread>>,
}

/// The video lanes of a shard.
pub(crate) struct VideoLanes {
    shard: u16,
    plan: CodecPlan,
    yielding: Yielding,
    started: Option<Started>,
    lanes: HashMap<VideoLaneId, Lane>,
    answers: VecDeque<(VideoLaneId, VideoResult)>,
    ending: Vec<JoinHandle<()>>,
}

impl VideoLanes {
    /// No thread is started yet.
    pub(crate) fn new(shard: u16, plan: CodecPlan, yielding: Yielding) -> Self {
        Self {
            shard,
            plan,
            yielding,
            started: None,
            lanes: HashMap::new(),
            answers: VecDeque::new(),
            ending: Vec::new(),
        }
    }

    /// Does one job, or has it done; see [`Self::answer`].
    pub(crate) fn run(&mut self, now: Instant, handle: &ShellHandle, job: VideoJob) {
        match job {
            VideoJob::Open { lane } => {
                let bound = self.open(handle, lane);
                if let Err(reason) = &bound {
                    tracing::warn!(lane = lane.0, "no picture is made: {reason}");
                }
                let renditions = Vec::new();
                self.lanes.insert(lane, Lane { bound, renditions });
            }
            VideoJob::Close { lane } => self.close(lane),
            VideoJob::Renditions {
                lane,
                ref renditions,
            } => {
                if let Some(open) = self.lanes.get_mut(&lane) {
                    open.renditions = renditions.iter().map(|(id, _)| *id).collect();
                }
                self.send(now, lane, job);
            }
            VideoJob::Source { lane, .. }
            | VideoJob::Decode { lane, .. }
            | VideoJob::Fill { lane, .. }
            | VideoJob::Slate { lane, .. } => self.send(now, lane, job),
        }
    }

    /// The next thing that the shard has not been told.
    pub(crate) fn answer(&mut self) -> Option<(VideoLaneId, VideoResult)> {
        // A lane may be closed while results of it are on their way.
        let lanes = &self.lanes;
        let mut said = std::iter::from_fn(|| match self.answers.pop_front() {
            None => self.started.as_ref()?.results.take(),
            answer => answer,
        });
        said.find(|(lane, _)| lanes.contains_key(lane))
    }

    /// The executor has been woken, and is about to look at the answers.
    pub(crate) fn attend(&self) {
        if let Some(started) = &self.started {
            started.results.attend();
        }
    }

    /// Lets go of the codec threads: each ends after the unit that it is at.
    pub(crate) fn stop(&mut self) {
        self.lanes.clear();
        self.answers.clear();
        let Some(Started { threads, .. }) = self.started.take() else {
            return;
        };
        let threads = threads.into_iter().flatten();
        self.ending
            .extend(threads.filter_map(CodecThread::into_handle));
        self.plan = CodecPlan::off("over: the shard stops");
    }

    /// Whether no codec thread runs any more after [`Self::stop`].
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.iter().all(JoinHandle::is_finished)
    }

    fn open(&mut self, handle: &ShellHandle, lane: VideoLaneId) -> Result<Bound, String> {
        if let Some(reason) = self.plan.refusal() {
            return Err(format!("re-encoding is {reason}"));
        }
        let thread = self.least_loaded().ok_or_else(|| {
            format!("each codec thread has {CODEC_SOURCES_MAX} broadcasts already")
        })?;
        self.bury(thread);
        let gauge = Arc::new(Gauge::default());
        let opening = Message::Open(lane, Arc::clone(&gauge));
        let inbox = self
            .thread(handle, thread)
            .map_err(|error| format!("no codec thread can be started: {error}"))?;
        inbox
            .try_send(opening)
            .map_err(|_| "its codec thread does not take work".to_owned())?;
        Ok(Bound {
            thread,
            intake: Intake::new(Arc::clone(&gauge)),
            gauge,
        })
    }

    /// The thread with the least to do that takes another broadcast.
    fn least_loaded(&self) -> Option<usize> {
        let mut loads = vec![(0_u32, 0_usize); self.plan.cores().len()];
        for bound in self
            .lanes
            .values()
            .filter_map(|lane| lane.bound.as_ref().ok())
        {
            if let Some((cost, count)) = loads.get_mut(bound.thread) {
                *cost = cost.saturating_add(bound.gauge.cost_permille.load(Relaxed));
                *count += 1;
            }
        }
        let free = loads.iter().enumerate();
        free.filter(|(_, (_, count))| *count < CODEC_SOURCES_MAX)
            .min_by_key(|(_, load)| **load)
            .map(|(index, _)| index)
    }

    /// The inbox of a thread, which is started if it does not run.
    fn thread(&mut self, handle: &ShellHandle, index: usize) -> io::Result<SyncSender<Message>> {
        if self.started.is_none() {
            self.started = Some(self.start(handle)?);
        }
        let gone = || io::Error::other("it is not planned");
        let started = self.started.as_mut().ok_or_else(gone)?;
        let thread = started.threads.get_mut(index).ok_or_else(gone)?;
        if let Some(thread) = thread {
            return Ok(thread.inbox.clone());
        }
        let plan = ThreadPlan {
            shard: self.shard,
            index,
            core: self.plan.cores().get(index).copied().flatten(),
            yielding: self.yielding,
        };
        let out = started.out.clone();
        let new = if self.plan.is_inline() {
            CodecThread::inline(plan, out)
        } else {
            CodecThread::start(plan, out)?
        };
        Ok(thread.insert(new).inbox.clone())
    }

    /// A thread that has panicked is started anew, and knows nothing of its lanes then.
    fn bury(&mut self, index: usize) {
        let threads = self.started.as_mut().map(|started| &mut started.threads);
        let Some(thread) = threads.and_then(|threads| threads.get_mut(index)) else {
            return;
        };
        if thread.take_if(|thread| thread.is_finished()).is_none() {
            return;
        }
        let bound = |lane: &Lane| lane.bound.as_ref().is_ok_and(|bound| bound.thread == index);
        let lanes = self.lanes.iter().filter(|(_, lane)| bound(lane));
        let orphans: Vec<VideoLaneId> = lanes.map(|(id, _)| *id).collect();
        for id in orphans {
            self.give_up(id);
        }
    }

    fn start(&self, handle: &ShellHandle) -> io::Result<Started> {
        let bell = Bell::new()?;
        glommio::spawn_local(attend(handle.clone(), adopted::file(bell.reader()?))).detach();
        let (out, results) = outbox(bell, self.plan.is_inline());
        Ok(Started {
            out,
            results,
            threads: self.plan.cores().iter().map(|_| None).collect(),
        })
    }

    fn close(&mut self, lane: VideoLaneId) {
        let Some(Lane {
            bound: Ok(bound), ..
        }) = self.lanes.remove(&lane)
        else {
            return;
        };
        bound.gauge.closed.store(true, Relaxed);
        let threads = self.started.as_mut().map(|started| &mut started.threads);
        if let Some(Some(thread)) = threads.and_then(|threads| threads.get_mut(bound.thread)) {
            // A thread whose queue is full does not sleep, and looks by itself.
            let _ = thread.inbox.try_send(Message::Look);
            thread.work_inline();
        }
    }

    fn send(&mut self, now: Instant, id: VideoLaneId, job: VideoJob) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let bound = match &mut lane.bound {
            Ok(bound) => bound,
            Err(reason) => {
                if matches!(job, VideoJob::Renditions { .. }) {
                    let reason = reason.clone();
                    self.fail(id, &reason);
                }
                return;
            }
        };
        let threads = self.started.as_mut().map(|started| &mut started.threads);
        let thread = threads.and_then(|threads| threads.get_mut(bound.thread)?.as_mut());
        let refused = match thread {
            Some(thread) => bound.pass(now, id, job, thread),
            None => Some(Verdict::Hopeless),
        };
        match refused {
            Some(Verdict::LeaveOut { plead: true }) => {
                self.answers.push_back((id, VideoResult::KeyframeWanted));
            }
            Some(Verdict::Hopeless) => self.give_up(id),
            _ => {}
        }
    }

    /// The thread of this lane has died, which is a defect of ours.
    fn give_up(&mut self, id: VideoLaneId) {
        let reason = "its codec thread does not take work any more".to_owned();
        tracing::error!(lane = id.0, "no picture is made: {reason}");
        self.fail(id, &reason);
        if let Some(lane) = self.lanes.get_mut(&id)
            && let Ok(bound) = std::mem::replace(&mut lane.bound, Err(reason))
        {
            bound.gauge.closed.store(true, Relaxed);
        }
    }

    fn fail(&mut self, id: VideoLaneId, reason: &str) {
        let renditions = self.lanes.get(&id).map(|lane| lane.renditions.as_slice());
        for rendition in renditions.unwrap_or_default().iter().copied() {
            let reason = reason.to_owned();
            let failed = VideoResult::Failed { rendition, reason };
            self.answers.push_back((id, failed));
        }
    }
}

/// Wakes the shard for what codec threads have said, for as long as the executor lives.
async fn attend(handle: ShellHandle, bell: glommio::io::BufferedFile) {
    // glommio runs a new task at once, while the shell is still borrowed by whoever opened a lane.
    yield_now().await;
    loop {
        if let Err(error) = bell.read_at(0, 8).await {
            let reason = format!("results of codecs cannot be waited for: {error}");
            handle.with(|shell| shell.fail(reason));
            return;
        }
        handle.with(|shell| {
            shell.video.attend();
            shell.drive(Instant::now());
        });
    }
}
