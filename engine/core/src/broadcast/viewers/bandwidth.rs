//! How much the network of one viewer carries, as far as it matters which video the viewer is sent.
//!
//! ```text
//!  sent   ████████████┐                          ┌────────── source
//!                     │               ╱┐        ╱│
//!                     └──────────────╱ └───────╱ ┘           rung, with padding while it is tried
//!  way    ────────┐                        ┌────────────────
//!                 └────────────────────────┘
//! ```
//!
//! *Down* follows from what is seen: packets that are late by a queue that stands, or lost in great number, all
//! the time for a second. What came through in that second is what the network carries. Loss alone that is
//! no heavier than radio has does not count.
//!
//! A network that carries much less than is sent shows it at once: its queue grows fast, or overflows. Each moment that
//! is waited is a moment of the queue, and what overflows is a picture that stands still. So the viewer
//! falls after two looks, no picture of the video before is begun, and what is sent then is paced. A queue that is short
//! overflows before it is later than radio is, so with a little of one heavier loss counts; and where that goes on for
//! some looks, the viewer falls in the same way, however little more is sent than the network carries.
//!
//! *Up* cannot be seen: a viewer on a low rung sends no more than that rung. So padding is
//! added to the pictures ([`super::padding`]), more and more, until it is as much as the best video, or a queue begins to stand.
//! The queue is seen before it overflows, so a trial that fails costs the viewer little, and no change of video.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::webrtc::delivery::PathSample;

/// A packet so much later than the path's own delay stands in a queue, if some are lost as well.
const QUEUED: Duration = Duration::from_millis(100);
/// The same where none are lost: a queue that is deep.
const QUEUED_DEEPLY: Duration = Duration::from_millis(250);
/// With a queue, loss counts from here on.
const LOSS_WITH_QUEUE: f32 = 0.02;
/// Without one it does from here on: what radio loses is below.
const LOSS_ALONE: f32 = 0.2;
/// The signs have to stand for so long. A keyframe passes a queue in less, and then the second that
/// is looked at lies within.
const CONGESTED: Duration = Duration::from_millis(1_300);
/// After a change of video the queue of before drains, and after the beginning the past has been caught up with.
const SETTLES: Duration = Duration::from_secs(2);
/// Of what came through, so much is used.
const USED: f64 = 0.85;
/// A queue overflows: so much of the last second is lost with it.
const OVERFLOW_LOSS: f32 = 0.08;
/// The same of one that is short. It is never later than radio is at times, so more has to be lost.
const SHORT_QUEUE: Duration = Duration::from_millis(60);
const SHORT_QUEUE_LOSS: f32 = 0.12;
/// It has for so long: pictures are lost all the time, however little more is sent than the network carries.
const OVERFLOWS: Duration = Duration::from_millis(400);
/// Overload: a queue overflows, or it is deep and has grown by so much. One less deep may hold a keyframe alone, and then
/// what came through is not known well enough.
const OVERLOAD_GROWTH: Duration = Duration::from_millis(80);
/// So many looks have the sign.
const OVERLOAD_LOOKS: u32 = 2;
/// What came through is looked at for so long, and is less than so much of what was sent and of what the video takes.
const OVERLOAD_WINDOW: Duration = Duration::from_millis(550);
const OVERLOAD_WINDOW_MIN: Duration = Duration::from_millis(250);
const OVERLOAD_SHARE: f64 = 0.8;
/// Of it, so much is used: it is known less well.
const OVERLOAD_USED: f64 = 0.8;
/// The video before is held back for so long, if the next does not come.
const HELD: Duration = Duration::from_secs(2);
/// A trial begins after so long without a sign; the time doubles with each that fails.
const WAIT: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Where a better rung did not last for so long, the time doubles too, up to a minute.
const LASTS: Duration = Duration::from_secs(15);
const WAIT_AFTER_FALL_MAX: Duration = Duration::from_secs(60);
/// A trial grows by this factor in a second, to so many times the best video, and stays there for a while.
const GROWTH: f64 = 1.4;
const GOAL: f64 = 1.1;
const STAYS: Duration = Duration::from_millis(1_500);
/// A trial fails when packets are later by so much for so long, or when so many more are lost.
const TRIAL_QUEUED: Duration = Duration::from_millis(60);
const TRIAL_LATE: Duration = Duration::from_millis(500);
const TRIAL_LOSS: f32 = 0.1;
/// It begins at what the last two seconds show: a group of pictures.
const TRIAL_AFTER: Duration = Duration::from_secs(2);
/// So long before a trial has failed, the queue had begun.
const TRIAL_LAG: Duration = Duration::from_secs(1);
/// What is looked at, and how long ago that was when it is reported.
const WINDOW: Duration = Duration::from_secs(1);
const REPORTED: Duration = Duration::from_millis(200);
/// The shortest delay of so long is the path's own; twice that long at most.
const BASE: Duration = Duration::from_secs(30);
/// A sample tells of the time since the one before, of so long at most.
const SPAN_MAX: Duration = Duration::from_millis(1_200);
/// Samples kept: two seconds at ten a second, and some.
const SAMPLES_MAX: usize = 24;

/// What a viewer could be sent, and is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choices<'a> {
    /// Bits a second of each, ascending.
    pub(super) bps: &'a [u64],
    /// Which of them is sent.
    pub(super) in_use: usize,
    /// It is the one that was selected.
    pub(super) is_settled: bool,
}

impl Choices<'_> {
    fn in_use_bps(self) -> u64 {
        self.bps.get(self.in_use).copied().unwrap_or_default()
    }

    fn best_bps(self) -> u64 {
        self.bps.last().copied().unwrap_or_default()
    }

    fn is_best(self) -> bool {
        self.in_use + 1 >= self.bps.len()
    }

    /// The best that takes no more than this.
    fn within(self, limit_bps: u64) -> usize {
        let fitting = self.bps.iter().rposition(|bps| *bps <= limit_bps);
        fitting.unwrap_or_default()
    }
}

#[derive(Debug)]
pub(super) struct Bandwidth {
    samples: VecDeque<PathSample>,
    base: BaseDelay,
    /// No video that takes more is sent; `None`: nothing is known to be too much.
    limit_bps: Option<u64>,
    /// The video is the one that was selected since then.
    settled_since: Option<Instant>,
    /// There was a sign of congestion in each sample for so long.
    congested_for: Duration,
    /// A queue has overflowed in each sample since then.
    overflows_since: Option<Instant>,
    /// Samples with one of overload.
    overload_looks: u32,
    /// Until then the network is full of what was sent before it fell.
    full_until: Option<Instant>,
    /// There was none, nor a trial, since then.
    quiet_since: Instant,
    wait: Duration,
    /// When better video was selected last.
    raised_at: Option<Instant>,
    trial: Option<Trial>,
}

/// Padding is added.
#[derive(Debug)]
struct Trial {
    since: Instant,
    from_bps: f64,
    goal_bps: f64,
    delay: Duration,
    loss: f32,
    late_for: Duration,
    /// It stays at its goal for so long.
    stays: Duration,
}

impl Trial {
    fn bps(&self, now: Instant) -> f64 {
        let passed_s = now.saturating_duration_since(self.since).as_secs_f64();
        let bps = self.from_bps * GROWTH.powf(passed_s);
        bps.clamp(self.from_bps, self.goal_bps.max(self.from_bps))
    }

    fn has_passed(&self, now: Instant) -> bool {
        let steady = now.checked_sub(self.stays);
        steady.is_some_and(|at| at > self.since && self.bps(at) >= self.goal_bps)
    }
}

/// The delay of the path without queues: the shortest of the last half minute to minute.
#[derive(Debug, Default)]
struct BaseDelay {
    since: Option<Instant>,
    now: Option<Duration>,
    before: Option<Duration>,
}

impl BaseDelay {
    fn take(&mut self, at: Instant, delay: Duration) {
        let since = *self.since.get_or_insert(at);
        if at.saturating_duration_since(since) >= BASE {
            self.since = Some(at);
            self.before = self.now.take();
        }
        self.now = Some(self.now.map_or(delay, |now| now.min(delay)));
    }

    fn get(&self) -> Option<Duration> {
        let both = self.now.into_iter().chain(self.before);
        both.min()
    }
}

impl Bandwidth {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            samples: VecDeque::new(),
            base: BaseDelay::default(),
            limit_bps: None,
            settled_since: None,
            congested_for: Duration::ZERO,
            overflows_since: None,
            overload_looks: 0,
            full_until: None,
            quiet_since: now,
            wait: WAIT,
            raised_at: None,
            trial: None,
        }
    }

    /// No video that takes more bits a second is to be sent; `None`: any may be.
    pub(super) fn limit_bps(&self) -> Option<u64> {
        self.limit_bps
    }

    /// Bits a second that media and padding together are to be now; `None`: there is no padding.
    pub(super) fn trial_bps(&self, now: Instant) -> Option<u64> {
        let trial = self.trial.as_ref()?;
        Some(trial.bps(now) as u64)
    }

    /// Whether the network is full of the video that was sent before it became slow.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_until.is_some_and(|until| now < until)
    }

    /// Bits a second that the network carries, where it was seen to be slow.
    pub(super) fn carried_bps(&self) -> Option<u64> {
        self.limit_bps.map(|limit| limit / 6 * 7)
    }

    /// Nothing is known any more: the client has chosen by itself, or there is nothing to choose from.
    pub(super) fn forget(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// Takes how the path is; whether another video is to be selected.
    pub(super) fn sample(&mut self, path: PathSample, choices: Choices<'_>) -> bool {
        let now = path.at;
        if let Some(delay) = path.rtt {
            self.base.take(now, delay);
        }
        let before = self.samples.back().map(|before| before.at);
        let span = before.map(|before| now.saturating_duration_since(before));
        let span = span.unwrap_or_default().min(SPAN_MAX);
        self.samples.push_back(path);
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        if choices.is_settled {
            if self
                .limit_bps
                .is_none_or(|limit| choices.in_use_bps() <= limit)
            {
                self.full_until = None;
            }
            self.settled_since.get_or_insert(now);
        } else {
            self.settled_since = None;
        }
        if self.trial.is_some() {
            return self.try_on(path, span, choices);
        }
        let overload_bps = self.note_signs(path, span, choices);
        let for_long = |since: Option<Instant>, time| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= time)
        };
        if !for_long(self.settled_since, SETTLES) {
            // What is seen is of the video before.
            self.nothing_seen();
            self.quiet_since = now;
        } else if let Some(bps) = overload_bps.filter(|_| self.overload_looks >= OVERLOAD_LOOKS)
            && choices.in_use > 0
        {
            self.lower(now, bps * OVERLOAD_USED, choices);
            self.full_until = Some(now + HELD);
            return true;
        } else if (self.congested_for >= CONGESTED || for_long(self.overflows_since, OVERFLOWS))
            && choices.in_use > 0
        {
            let carried = self.carried_in_window_bps(path) * USED;
            self.full_until = self.overflows_since.map(|_| now + HELD);
            self.lower(now, carried, choices);
            return true;
        } else if !choices.is_best() && for_long(Some(self.quiet_since), self.wait) {
            self.begin_trial(path, span, choices);
        }
        false
    }

    /// Counts for how long there are signs; what comes through, where it is overload.
    fn note_signs(
        &mut self,
        path: PathSample,
        span: Duration,
        choices: Choices<'_>,
    ) -> Option<f64> {
        let overflows = self.overflows(path);
        self.overflows_since = overflows.then(|| self.overflows_since.unwrap_or(path.at));
        if overflows || self.is_congested(path) {
            self.congested_for += span;
            self.quiet_since = path.at;
        } else {
            self.congested_for = Duration::ZERO;
        }
        let overload_bps = self.overload_bps(path, choices);
        match overload_bps {
            Some(_) => self.overload_looks += 1,
            None => self.overload_looks = 0,
        }
        overload_bps
    }

    fn is_congested(&self, path: PathSample) -> bool {
        let loss = path.loss.unwrap_or_default();
        let late = self.late(path);
        loss >= LOSS_ALONE || (late >= QUEUED && loss >= LOSS_WITH_QUEUE) || late >= QUEUED_DEEPLY
    }

    fn overflows(&self, path: PathSample) -> bool {
        let loss = path.loss.unwrap_or_default();
        let late = self.late(path);
        (late >= QUEUED && loss >= OVERFLOW_LOSS)
            || (late >= SHORT_QUEUE && loss >= SHORT_QUEUE_LOSS)
    }

    fn late(&self, path: PathSample) -> Duration {
        let late = path.rtt.zip(self.base.get());
        late.map_or(Duration::ZERO, |(rtt, base)| rtt.saturating_sub(base))
    }

    /// What comes through, in bits a second, where that is much less than is sent and shows as overload.
    fn overload_bps(&self, path: PathSample, choices: Choices<'_>) -> Option<f64> {
        let window = OVERLOAD_WINDOW_MIN..OVERLOAD_WINDOW;
        let mut samples = self.samples.iter();
        let before = samples.find(|it| {
            let age = path.at.saturating_duration_since(it.at);
            it.rtt.is_some() && window.contains(&age)
        })?;
        let (late, late_before) = (self.late(path), self.late(*before));
        let is_deep = late >= QUEUED_DEEPLY && late >= late_before + OVERLOAD_GROWTH;
        if !is_deep && !self.overflows(path) {
            return None;
        }
        let passed_s = path.at.saturating_duration_since(before.at).as_secs_f64();
        let came = self.came_through_bits(*before, path)? / passed_s;
        let sent = (self.sent_bits(path.at) - self.sent_bits(before.at)) / passed_s;
        let least = sent.min(choices.in_use_bps() as f64);
        (came < least * OVERLOAD_SHARE).then_some(came)
    }

    /// Bits that came through between two samples. What was sent up to the packets that each of them tells of, is
    /// what the network has taken by then; and what was lost is known for the last second.
    fn came_through_bits(&self, before: PathSample, now: PathSample) -> Option<f64> {
        let told_and_lost = |it: PathSample| {
            let told = self.sent_bits(it.at.checked_sub(it.rtt?)?);
            let in_window = told - self.sent_bits(it.at.checked_sub(WINDOW)?);
            Some((told, in_window * f64::from(it.loss.unwrap_or_default())))
        };
        let (told_before, lost_before) = told_and_lost(before)?;
        let (told, lost) = told_and_lost(now)?;
        let lost = (lost - lost_before).max(0.0);
        Some((told - told_before - lost).max(0.0))
    }

    /// Bits that were sent up to then, of those that samples tell of.
    fn sent_bits(&self, until: Instant) -> f64 {
        let both = self.samples.iter().zip(self.samples.iter().skip(1));
        let parts = both.map(|(before, it)| {
            let span = it.at.min(until).saturating_duration_since(before.at);
            span.as_secs_f64() * it.sent_bps as f64
        });
        parts.sum()
    }

    fn lower(&mut self, now: Instant, carried_bps: f64, choices: Choices<'_>) {
        let lasted = self.raised_at.map(|at| now.saturating_duration_since(at));
        self.wait = match lasted {
            Some(lasted) if lasted < LASTS => (self.wait * 2).min(WAIT_AFTER_FALL_MAX),
            _ => WAIT,
        };
        let below = choices.in_use_bps().saturating_sub(1);
        self.limit_bps = Some((carried_bps as u64).min(below));
        self.raised_at = None;
        self.changed(now);
    }

    /// What came through in the last second: of what was sent, without what was lost, and without what made the
    /// queue longer.
    fn carried_in_window_bps(&self, path: PathSample) -> f64 {
        // What was sent last is not reported yet, and there is more of it: what was lost is sent again.
        let age = |it: &&PathSample| path.at.saturating_duration_since(it.at);
        let is_recent = |it: &&PathSample| (REPORTED..WINDOW + REPORTED).contains(&age(it));
        let recent = || self.samples.iter().filter(is_recent);
        let count = recent().count().max(1) as f64;
        let sent = recent().map(|it| it.sent_bps as f64).sum::<f64>() / count;
        let first = recent().find_map(|it| Some((it.at, it.rtt?)));
        let growth = first.zip(path.rtt).map_or(0.0, |((at, before), rtt)| {
            let passed_s = path.at.saturating_duration_since(at).as_secs_f64();
            rtt.saturating_sub(before).as_secs_f64() / passed_s.max(0.2)
        });
        sent * f64::from(1.0 - path.loss.unwrap_or_default()) / (1.0 + growth)
    }

    fn begin_trial(&mut self, path: PathSample, span: Duration, choices: Choices<'_>) {
        let is_recent = |it: &&PathSample| path.at.saturating_duration_since(it.at) < TRIAL_AFTER;
        let recent = || self.samples.iter().filter(is_recent);
        let sent: u64 = recent().map(|it| it.sent_bps).sum();
        let delay = recent().filter_map(|it| it.rtt).min();
        let mean_bps = sent / recent().count().max(1) as u64;
        self.trial = Some(Trial {
            since: path.at,
            from_bps: mean_bps.max(choices.in_use_bps()) as f64,
            goal_bps: choices.best_bps() as f64 * GOAL,
            delay: delay.unwrap_or_default(),
            loss: path.loss.unwrap_or_default(),
            late_for: Duration::ZERO,
            stays: STAYS + span,
        });
    }

    /// A trial goes on, or ends; whether it has shown that better video can be sent.
    fn try_on(&mut self, path: PathSample, span: Duration, choices: Choices<'_>) -> bool {
        let now = path.at;
        let Some(trial) = &mut self.trial else {
            return false;
        };
        let later = path.rtt.map(|rtt| rtt.saturating_sub(trial.delay));
        if later.is_some_and(|later| later >= TRIAL_QUEUED) {
            trial.late_for += span;
        } else {
            trial.late_for = Duration::ZERO;
        }
        let lost = path.loss.unwrap_or_default() - trial.loss;
        let has_failed = trial.late_for >= TRIAL_LATE || lost >= TRIAL_LOSS;
        if !has_failed && !trial.has_passed(now) {
            return false;
        }
        let before = now.checked_sub(TRIAL_LAG).unwrap_or(now);
        let limit_bps = match has_failed {
            true => Some((trial.bps(before) * USED) as u64),
            false => None,
        };
        self.trial = None;
        let is_better = limit_bps.is_none_or(|limit| choices.within(limit) > choices.in_use);
        if is_better {
            self.limit_bps = limit_bps;
            self.raised_at = Some(now);
            self.changed(now);
        } else {
            self.wait = self.wait.max((self.wait * 2).min(WAIT_MAX));
            self.quiet_since = now;
        }
        is_better
    }

    /// There was no sign up to now.
    fn nothing_seen(&mut self) {
        self.congested_for = Duration::ZERO;
        self.overflows_since = None;
        self.overload_looks = 0;
    }

    fn changed(&mut self, now: Instant) {
        self.samples.clear();
        self.nothing_seen();
        self.settled_since = None;
        self.quiet_since = now;
    }
}

#[cfg(test)]
#[path = "bandwidth_tests.rs"]
mod tests;
