//! The codecs of a shard: audio transcoders on the executor, video transcoders on codec workers, which
//! are threads of their own.
//!
//! An encoder holds its thread for ten milliseconds and more, in which an executor would lose ten
//! rounds of packets. So each shard has codec workers beside it, on its own core at a lower priority,
//! or on cores that the operator sets apart ([`CodecPlan`]). A broadcast is bound to one worker for as
//! long as its transcoder lives, and broadcasts take turns there. Jobs and results go through bounded
//! queues, and neither side works under a lock that the other one takes. [`CompletionSender`] describes
//! how long the executor can wait all the same.
//!
//! Under overload the least costly loss comes first: a frame is decoded but not encoded, then units are
//! skipped up to a keyframe, and last the queue closes. The [`Governor`](governor::Governor) lowers the
//! work until nothing is lost.
//!
//! No worker runs before the first video transcoder opens, so an engine that only passes video through
//! has none.

mod admission;
pub(crate) mod audio;
mod backlog;
mod completions;
mod governor;
mod plan;
mod source;
mod translate;
mod window;
mod worker;

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

use glommio::io::BufferedFile;
use shardcast_core::io::{RenditionId, VideoJob, VideoResult, VideoTranscoderId};

pub use plan::CodecPlan;

use self::{
    admission::{Admission, Gauge, Verdict, Work},
    completions::{CompletionReceiver, CompletionSender, Rung, completion_channel},
    worker::{CodecWorker, Message, WorkerPlan},
};
use crate::{
    completions::{Completions, Notifier},
    limits::CODEC_SOURCES_MAX,
    os::{sched::SchedulingClass, signals::Bell, sockets::adopt_file},
};

/// A video transcoder, as the executor knows it.
struct VideoTranscoder {
    /// An error once nothing can be made for it: the reason.
    bound: Result<Bound, String>,
    renditions: Vec<RenditionId>,
}

/// A transcoder's way to its worker.
struct Bound {
    worker: usize,
    gauge: Arc<Gauge>,
    admission: Admission,
}

impl Bound {
    /// Passes on what is owed to the worker, and then this job; the verdict when the job did not pass.
    fn pass(
        &mut self,
        now: Instant,
        id: VideoTranscoderId,
        job: VideoJob,
        worker: &mut CodecWorker,
    ) -> Option<Verdict> {
        while let Some(work) = self.admission.take_owed() {
            match self.send(now, id, work, worker) {
                None => {}
                Some(Verdict::Rejected) => return Some(Verdict::Rejected),
                Some(_) => break,
            }
        }
        match self.admission.judge(now, job) {
            Verdict::Pass(work) => self.send(now, id, work, worker),
            verdict => Some(verdict),
        }
    }

    fn send(
        &mut self,
        now: Instant,
        id: VideoTranscoderId,
        work: Work,
        worker: &mut CodecWorker,
    ) -> Option<Verdict> {
        match worker.inbox.try_send(Message::Work(id, work)) {
            Ok(()) => {
                worker.work_inline();
                None
            }
            Err(TrySendError::Full(Message::Work(_, work))) => {
                Some(self.admission.bounced(now, work))
            }
            Err(_) => Some(Verdict::Rejected),
        }
    }
}

/// What exists once a transcoder has been opened.
struct Started {
    out: CompletionSender,
    results: CompletionReceiver,
    /// Started one by one, as transcoders need them.
    workers: Vec<Option<CodecWorker>>,
}

/// The video transcoders of a shard.
pub(crate) struct VideoTranscoders {
    shard: u16,
    plan: CodecPlan,
    class: SchedulingClass,
    notifier: Notifier,
    /// Why results cannot be waited for any more.
    failures: Completions<String>,
    started: Option<Started>,
    transcoders: HashMap<VideoTranscoderId, VideoTranscoder>,
    answers: VecDeque<(VideoTranscoderId, VideoResult)>,
    ending: Vec<JoinHandle<()>>,
}

impl VideoTranscoders {
    /// No worker is started yet.
    pub(crate) fn new(
        shard: u16,
        plan: CodecPlan,
        class: SchedulingClass,
        notifier: Notifier,
    ) -> Self {
        Self {
            shard,
            plan,
            class,
            failures: Completions::new(notifier.clone()),
            notifier,
            started: None,
            transcoders: HashMap::new(),
            answers: VecDeque::new(),
            ending: Vec::new(),
        }
    }

    /// Does one job, or has it done; see [`Self::completion`].
    pub(crate) fn run(&mut self, now: Instant, job: VideoJob) {
        match job {
            VideoJob::Open { transcoder } => {
                let bound = self.open(transcoder);
                if let Err(reason) = &bound {
                    tracing::warn!(transcoder = %transcoder, "no picture is made: {reason}");
                }
                let renditions = Vec::new();
                self.transcoders
                    .insert(transcoder, VideoTranscoder { bound, renditions });
            }
            VideoJob::Close { transcoder } => self.close(transcoder),
            VideoJob::Renditions {
                transcoder,
                ref renditions,
            } => {
                if let Some(open) = self.transcoders.get_mut(&transcoder) {
                    open.renditions = renditions.iter().map(|(id, _)| *id).collect();
                }
                self.send(now, transcoder, job);
            }
            VideoJob::Source { transcoder, .. }
            | VideoJob::Keyframe { transcoder, .. }
            | VideoJob::Decode { transcoder, .. }
            | VideoJob::Fill { transcoder, .. }
            | VideoJob::Slate { transcoder, .. } => self.send(now, transcoder, job),
        }
    }

    /// Why no results can come any more, once.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failures.take()
    }

    /// The next result for the shard.
    pub(crate) fn completion(&mut self) -> Option<(VideoTranscoderId, VideoResult)> {
        // A transcoder may be closed while results of it are on their way.
        let open = &self.transcoders;
        let mut results = std::iter::from_fn(|| match self.answers.pop_front() {
            None => self.started.as_ref()?.results.take(),
            answer => answer,
        });
        results.find(|(transcoder, _)| open.contains_key(transcoder))
    }

    /// Shuts the codec workers down: each ends after the unit that it is at.
    pub(crate) fn stop(&mut self) {
        self.transcoders.clear();
        self.answers.clear();
        let Some(Started { workers, .. }) = self.started.take() else {
            return;
        };
        let workers = workers.into_iter().flatten();
        self.ending
            .extend(workers.filter_map(CodecWorker::into_handle));
        self.plan = CodecPlan::off("over: the shard stops");
    }

    /// Whether no codec worker runs any more after [`Self::stop`].
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.iter().all(JoinHandle::is_finished)
    }

    fn open(&mut self, transcoder: VideoTranscoderId) -> Result<Bound, String> {
        if let Some(reason) = self.plan.refusal() {
            return Err(format!("re-encoding is {reason}"));
        }
        let worker = self.least_loaded().ok_or_else(|| {
            format!("each codec worker has {CODEC_SOURCES_MAX} broadcasts already")
        })?;
        self.reap(worker);
        let gauge = Arc::new(Gauge::default());
        let opening = Message::Open(transcoder, Arc::clone(&gauge));
        let inbox = self
            .worker(worker)
            .map_err(|error| format!("no codec worker can be started: {error}"))?;
        inbox
            .try_send(opening)
            .map_err(|_| "its codec worker does not take work".to_owned())?;
        Ok(Bound {
            worker,
            admission: Admission::new(Arc::clone(&gauge)),
            gauge,
        })
    }

    /// The worker with the least to do that takes another broadcast.
    fn least_loaded(&self) -> Option<usize> {
        let mut loads = vec![(0_u32, 0_usize); self.plan.cores().len()];
        for bound in self
            .transcoders
            .values()
            .filter_map(|transcoder| transcoder.bound.as_ref().ok())
        {
            if let Some((cost, count)) = loads.get_mut(bound.worker) {
                *cost = cost.saturating_add(bound.gauge.cost_permille.load(Relaxed));
                *count += 1;
            }
        }
        let free = loads.iter().enumerate();
        free.filter(|(_, (_, count))| *count < CODEC_SOURCES_MAX)
            .min_by_key(|(_, load)| **load)
            .map(|(index, _)| index)
    }

    /// The inbox of a worker, which is started if it does not run.
    fn worker(&mut self, index: usize) -> io::Result<SyncSender<Message>> {
        if self.started.is_none() {
            self.started = Some(self.start()?);
        }
        let gone = || io::Error::other("it is not planned");
        let started = self.started.as_mut().ok_or_else(gone)?;
        let worker = started.workers.get_mut(index).ok_or_else(gone)?;
        if let Some(worker) = worker {
            return Ok(worker.inbox.clone());
        }
        let plan = WorkerPlan {
            shard: self.shard,
            index,
            core: self.plan.cores().get(index).copied().flatten(),
            class: self.class,
        };
        let out = started.out.clone();
        let new = if self.plan.is_inline() {
            CodecWorker::inline(plan, out)
        } else {
            CodecWorker::start(plan, out)?
        };
        Ok(worker.insert(new).inbox.clone())
    }

    /// Takes away a worker that has panicked, so that it is started anew. The new one knows nothing of
    /// its transcoders, which are given up.
    fn reap(&mut self, index: usize) {
        let workers = self.started.as_mut().map(|started| &mut started.workers);
        let Some(worker) = workers.and_then(|workers| workers.get_mut(index)) else {
            return;
        };
        if worker.take_if(|worker| worker.is_finished()).is_none() {
            return;
        }
        let bound = |transcoder: &VideoTranscoder| {
            transcoder
                .bound
                .as_ref()
                .is_ok_and(|bound| bound.worker == index)
        };
        let transcoders = self
            .transcoders
            .iter()
            .filter(|(_, transcoder)| bound(transcoder));
        let detached: Vec<VideoTranscoderId> = transcoders.map(|(id, _)| *id).collect();
        for id in detached {
            self.give_up(id);
        }
    }

    fn start(&self) -> io::Result<Started> {
        let bell = Bell::new()?;
        let reader = adopt_file(bell.reader()?);
        let (out, results) = completion_channel(bell, self.plan.is_inline());
        let relay = relay(
            reader,
            results.rung(),
            self.notifier.clone(),
            self.failures.clone(),
        );
        glommio::spawn_local(relay).detach();
        Ok(Started {
            out,
            results,
            workers: self.plan.cores().iter().map(|_| None).collect(),
        })
    }

    fn close(&mut self, transcoder: VideoTranscoderId) {
        let Some(VideoTranscoder {
            bound: Ok(bound), ..
        }) = self.transcoders.remove(&transcoder)
        else {
            return;
        };
        bound.gauge.closed.store(true, Relaxed);
        let workers = self.started.as_mut().map(|started| &mut started.workers);
        if let Some(Some(worker)) = workers.and_then(|workers| workers.get_mut(bound.worker)) {
            // A worker whose queue is full does not sleep, and looks by itself.
            let _ = worker.inbox.try_send(Message::Look);
            worker.work_inline();
        }
    }

    fn send(&mut self, now: Instant, id: VideoTranscoderId, job: VideoJob) {
        let Some(transcoder) = self.transcoders.get_mut(&id) else {
            return;
        };
        let bound = match &mut transcoder.bound {
            Ok(bound) => bound,
            Err(reason) => {
                if matches!(job, VideoJob::Renditions { .. }) {
                    let reason = reason.clone();
                    self.fail(id, &reason);
                }
                return;
            }
        };
        let workers = self.started.as_mut().map(|started| &mut started.workers);
        let worker = workers.and_then(|workers| workers.get_mut(bound.worker)?.as_mut());
        let refused = match worker {
            Some(worker) => bound.pass(now, id, job, worker),
            None => Some(Verdict::Rejected),
        };
        match refused {
            Some(Verdict::LeaveOut {
                request_keyframe: true,
            }) => {
                self.answers.push_back((id, VideoResult::KeyframeWanted));
            }
            Some(Verdict::Rejected) => self.give_up(id),
            _ => {}
        }
    }

    /// The worker of this transcoder has died, which is a defect of ours.
    fn give_up(&mut self, id: VideoTranscoderId) {
        let reason = "its codec worker does not take work any more".to_owned();
        tracing::error!(transcoder = %id, "no picture is made: {reason}");
        self.fail(id, &reason);
        if let Some(transcoder) = self.transcoders.get_mut(&id)
            && let Ok(bound) = std::mem::replace(&mut transcoder.bound, Err(reason))
        {
            bound.gauge.closed.store(true, Relaxed);
        }
    }

    fn fail(&mut self, id: VideoTranscoderId, reason: &str) {
        let renditions = self
            .transcoders
            .get(&id)
            .map(|transcoder| transcoder.renditions.as_slice());
        for rendition in renditions.unwrap_or_default().iter().copied() {
            let reason = reason.to_owned();
            let failed = VideoResult::Failed { rendition, reason };
            self.answers.push_back((id, failed));
        }
    }
}

/// Wakes the driver for what codec workers have pushed, for as long as the executor lives.
async fn relay(bell: BufferedFile, rung: Rung, notifier: Notifier, failures: Completions<String>) {
    loop {
        if let Err(error) = bell.read_at(0, 8).await {
            failures.push(format!("results of codecs cannot be waited for: {error}"));
            return;
        }
        rung.clear();
        notifier.notify();
    }
}
