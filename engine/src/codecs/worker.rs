//! One codec worker: its broadcasts take turns, one access unit each.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use shardcast_core::io::VideoTranscoderId;

use super::{
    admission::{Gauge, Work},
    completions::CompletionSender,
    governor::{Direction, Governor, Step},
    source::Source,
};
use crate::{
    limits::{CODEC_INBOX_PLACES, CODEC_REPORT_INTERVAL},
    os::sched::{self, SchedulingClass},
};

/// What the executor sends to a codec worker.
#[derive(Debug)]
pub(super) enum Message {
    Open(VideoTranscoderId, Arc<Gauge>),
    Work(VideoTranscoderId, Work),
    /// Look at the gauges: a broadcast is over.
    Look,
}

/// What a codec worker is made of.
#[derive(Debug)]
pub(super) struct WorkerPlan {
    pub(super) shard: u16,
    pub(super) index: usize,
    pub(super) core: Option<usize>,
    pub(super) class: SchedulingClass,
}

/// A running codec worker. It ends when this is dropped, after the unit that it is at.
pub(super) struct CodecWorker {
    pub(super) inbox: SyncSender<Message>,
    runs: Runs,
}

/// Who does the work.
enum Runs {
    Apart(JoinHandle<()>),
    /// The executor itself, as [`CodecPlan::inline`](super::CodecPlan::inline) has it.
    Inline(Box<Worker>),
}

impl CodecWorker {
    pub(super) fn start(plan: WorkerPlan, out: CompletionSender) -> io::Result<Self> {
        // Bounded, and without a lock unless the thread sleeps: then the executor takes the one of
        // the list of sleepers to wake it. A thread holds that for some instructions only; if the
        // kernel takes it off its core just there, the executor waits as for a slot (see `CompletionSender`).
        let (inbox, messages) = sync_channel(CODEC_INBOX_PLACES);
        let handle = thread::Builder::new()
            .name(format!("codec-{}-{}", plan.shard, plan.index))
            .spawn(move || {
                take_place(&plan);
                Worker::new(plan, messages, out).run();
            })?;
        let runs = Runs::Apart(handle);
        Ok(Self { inbox, runs })
    }

    /// No thread: the work is done by [`Self::work_inline`].
    pub(super) fn inline(plan: WorkerPlan, out: CompletionSender) -> Self {
        let (inbox, messages) = sync_channel(CODEC_INBOX_PLACES);
        let worker = Worker::new(plan, messages, out);
        let runs = Runs::Inline(Box::new(worker));
        Self { inbox, runs }
    }

    /// Does what waits, unless there is a thread for it.
    pub(super) fn work_inline(&mut self) {
        if let Runs::Inline(worker) = &mut self.runs {
            worker.work_off();
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        matches!(&self.runs, Runs::Apart(handle) if handle.is_finished())
    }

    /// What to wait for at the end.
    pub(super) fn into_handle(self) -> Option<JoinHandle<()>> {
        match self.runs {
            Runs::Apart(handle) => Some(handle),
            Runs::Inline(_) => None,
        }
    }
}

/// Takes the priority and the core that the worker is to have. Without them it works too, and delays
/// the shards.
fn take_place(plan: &WorkerPlan) {
    let WorkerPlan { shard, index, .. } = *plan;
    if let Err(error) = sched::set_scheduling_class(plan.class) {
        tracing::warn!(
            shard,
            index,
            "a codec worker runs at the priority of the shards, which will be late: {error}"
        );
    }
    if let Some(core) = plan.core
        && let Err(error) = sched::pin_to(core)
    {
        tracing::warn!(
            shard,
            index,
            core,
            "a codec worker is not on its core: {error}"
        );
    }
}

struct Worker {
    plan: WorkerPlan,
    messages: Receiver<Message>,
    out: CompletionSender,
    sources: HashMap<VideoTranscoderId, Source>,
    /// Those with something to do, in the order of their turns.
    turns: VecDeque<VideoTranscoderId>,
    governor: Governor,
    report_due: Instant,
}

/// The executor has dropped the worker.
struct HungUp;

impl Worker {
    fn new(plan: WorkerPlan, messages: Receiver<Message>, out: CompletionSender) -> Self {
        let now = Instant::now();
        Self {
            plan,
            messages,
            out,
            sources: HashMap::new(),
            turns: VecDeque::new(),
            governor: Governor::new(now),
            report_due: now + CODEC_REPORT_INTERVAL,
        }
    }

    fn run(mut self) {
        while !self.out.has_hung_up() {
            if self.receive_or_wait().is_err() {
                return;
            }
            if let Some(transcoder) = self.turns.pop_front() {
                self.turn(transcoder);
            }
            self.report();
        }
    }

    /// Does all that waits.
    fn work_off(&mut self) {
        if self.receive_all().is_ok() {
            while let Some(transcoder) = self.turns.pop_front() {
                self.turn(transcoder);
            }
            self.report();
        }
    }

    fn report(&mut self) {
        let now = Instant::now();
        if self.report_due <= now {
            self.report_due = now + CODEC_REPORT_INTERVAL;
            for source in self.sources.values_mut() {
                source.report(now, &mut self.out);
            }
        }
        self.out.ring();
    }

    /// Takes all messages; waits for one when there is nothing else to do.
    fn receive_or_wait(&mut self) -> Result<(), HungUp> {
        if self.turns.is_empty() {
            let received = if self.sources.is_empty() {
                self.messages
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                let left = self.report_due.saturating_duration_since(Instant::now());
                self.messages.recv_timeout(left)
            };
            match received {
                Ok(message) => self.receive(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(HungUp),
            }
        }
        self.receive_all()
    }

    fn receive_all(&mut self) -> Result<(), HungUp> {
        loop {
            match self.messages.try_recv() {
                Ok(message) => self.receive(message),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(HungUp),
            }
        }
        self.forget_closed();
        Ok(())
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Open(transcoder, gauge) => {
                let mut source = Source::new(Instant::now(), transcoder, gauge);
                source.throttle(self.governor.level(), &mut self.out);
                self.sources.insert(transcoder, source);
            }
            Message::Work(transcoder, work) => {
                let Some(source) = self.sources.get_mut(&transcoder) else {
                    return;
                };
                if source.is_idle() {
                    self.turns.push_back(transcoder);
                }
                source.push(work);
            }
            Message::Look => {}
        }
    }

    fn forget_closed(&mut self) {
        let before = self.sources.len();
        self.sources.retain(|_, source| !source.is_closed());
        if self.sources.len() == before {
            return;
        }
        self.turns
            .retain(|transcoder| self.sources.contains_key(transcoder));
        if self.sources.is_empty() {
            // Broadcasts that come later begin at full quality.
            self.governor = Governor::new(Instant::now());
        }
    }

    fn turn(&mut self, transcoder: VideoTranscoderId) {
        let Some(source) = self.sources.get_mut(&transcoder) else {
            return;
        };
        let done = source.turn(&mut self.out);
        if !source.is_idle() {
            self.turns.push_back(transcoder);
        }
        let Some(turn) = done else { return };
        let slowest = self.sources.values().map(Source::preset_steps_max).max();
        self.governor
            .set_preset_steps_max(slowest.unwrap_or_default());
        if let Some(step) = self.governor.observe(Instant::now(), turn) {
            self.log_step(&step);
            for source in self.sources.values_mut() {
                source.throttle(step.level, &mut self.out);
            }
        }
    }

    fn log_step(&self, step: &Step) {
        let WorkerPlan { shard, index, .. } = self.plan;
        let Step {
            level,
            direction,
            waited,
            missed,
            busy_permille,
        } = *step;
        let waited_ms = waited.as_millis();
        let (faster, divisor) = (level.preset_steps, level.frame_divisor);
        let now = format!(
            "presets are {faster} steps faster than wanted, and one picture of {divisor} is encoded"
        );
        match direction {
            Direction::Down => tracing::warn!(
                shard,
                index,
                waited_ms,
                missed,
                busy_permille,
                "codecs cannot keep up: from now on {now}"
            ),
            Direction::Floor => tracing::warn!(
                shard,
                index,
                waited_ms,
                missed,
                busy_permille,
                "codecs cannot keep up although {now}: pictures are left out as they come late; \
                 take some renditions away"
            ),
            Direction::Back => tracing::info!(
                shard,
                index,
                waited_ms,
                busy_permille,
                "codecs keep up: from now on {now}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::completions::completion_channel, *};
    use crate::os::signals::Bell;

    fn worker() -> (Worker, SyncSender<Message>) {
        let (out, _) = completion_channel(Bell::new().unwrap(), false);
        let (inbox, messages) = sync_channel(CODEC_INBOX_PLACES);
        let plan = WorkerPlan {
            shard: 0,
            index: 0,
            core: None,
            class: SchedulingClass::Nice,
        };
        (Worker::new(plan, messages, out), inbox)
    }

    fn send(
        inbox: &SyncSender<Message>,
        transcoder: VideoTranscoderId,
        gauge: &Gauge,
        count: usize,
    ) {
        for _ in 0..count {
            let work = Work::Unit {
                arrived: Instant::now(),
                key: true,
                pts_us: 0,
                unit: Bytes::new(),
                left_out_until_us: None,
            };
            gauge.enter(&work);
            inbox.send(Message::Work(transcoder, work)).unwrap();
        }
    }

    #[test]
    fn broadcasts_take_turns_however_much_one_of_them_has_waiting() {
        let (mut worker, inbox) = worker();
        let (heavy, light) = (
            VideoTranscoderId::numbered(1),
            VideoTranscoderId::numbered(2),
        );
        for (transcoder, count) in [(heavy, 4), (light, 2)] {
            let gauge = Arc::new(Gauge::default());
            inbox
                .send(Message::Open(transcoder, Arc::clone(&gauge)))
                .unwrap();
            send(&inbox, transcoder, &gauge, count);
        }
        assert!(worker.receive_or_wait().is_ok());
        let mut turns = Vec::new();
        while let Some(transcoder) = worker.turns.pop_front() {
            turns.push(transcoder);
            worker.turn(transcoder);
        }
        assert_eq!(turns, [heavy, light, heavy, light, heavy, heavy]);
    }

    #[test]
    fn a_broadcast_that_is_over_is_not_worked_for_any_more() {
        let (mut worker, inbox) = worker();
        let (transcoder, gauge) = (VideoTranscoderId::numbered(1), Arc::new(Gauge::default()));
        inbox
            .send(Message::Open(transcoder, Arc::clone(&gauge)))
            .unwrap();
        send(&inbox, transcoder, &gauge, 4);
        assert!(worker.receive_or_wait().is_ok());
        assert_eq!(worker.turns.len(), 1);
        gauge
            .closed
            .store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(worker.receive_or_wait().is_ok());
        assert!(worker.turns.is_empty() && worker.sources.is_empty());
        drop(inbox);
        assert!(worker.receive_or_wait().is_err(), "the executor has let go");
    }
}
