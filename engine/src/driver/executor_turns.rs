//! Turns of the executor, while the driver's loop waits outside of it.

use std::{
    future::Future,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use futures_lite::future::poll_fn;
use glommio::timer::Timer;

use super::guard::Guard;
use crate::limits::{EXECUTOR_TURN, EXECUTOR_TURN_MAX, EXECUTOR_TURN_SOON, TURNS_WITHOUT_EXECUTOR};

/// How far ahead a timer is set that is to be due as soon as the executor looks. Shorter than the way
/// there, and doubled when the timer is due before it is registered.
const AHEAD: Duration = Duration::from_micros(3);

/// Turns at short distance once a task has been at work: one for what it has asked the kernel for, one
/// for the answer if it comes at once.
const SOON: u32 = 2;

/// When the executor had its last turn, in which it hands its rings what tasks ask for, takes what has
/// completed, and runs what that wakes; and when the next one is due. A turn costs 27 µs.
#[derive(Debug)]
pub(super) struct ExecutorTurns {
    at: Instant,
    /// Turns left that come soon.
    soon: u32,
    /// The shard has waited since, and would have been woken by what has completed.
    waited: bool,
    timer: Timer,
    guard: Guard,
}

impl ExecutorTurns {
    /// To be called on the executor.
    pub(super) fn new() -> Self {
        Self {
            at: Instant::now(),
            soon: 0,
            waited: false,
            timer: Timer::new(Duration::ZERO),
            guard: Guard::new(),
        }
    }

    /// Something of the executor has completed, or a task has been at work.
    pub(super) fn hurry(&mut self) {
        self.soon = SOON;
    }

    /// The shard has waited outside of the executor.
    pub(super) fn has_waited(&mut self) {
        self.waited = true;
    }

    /// The executor has had its turn by itself. Tasks that ran in it may have asked the kernel for
    /// something, which the next turn hands over.
    pub(super) fn has_been(&mut self, now: Instant) {
        self.at = now;
        self.soon = 1;
        self.waited = false;
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Instant {
        self.at
            + match (self.soon, self.waited) {
                (1.., _) => EXECUTOR_TURN_SOON,
                (0, true) => EXECUTOR_TURN,
                (0, false) => TURNS_WITHOUT_EXECUTOR,
            }
    }

    /// When the shard is to wake for the next one, should it wait until then.
    pub(super) fn wake(&self) -> Instant {
        self.at
            + match self.soon {
                1.. => EXECUTOR_TURN_SOON,
                0 => EXECUTOR_TURN_MAX,
            }
    }

    /// Lets the executor have its turn, without sleeping, if it is due; otherwise lets those tasks run
    /// that can.
    pub(super) async fn pass(&mut self, now: Instant) {
        if now < self.due() {
            yield_once().await;
            return;
        }
        self.at = now;
        self.soon = self.soon.saturating_sub(1);
        self.waited = false;
        let mut ahead = AHEAD;
        let mut registered = false;
        while !registered {
            self.timer.reset(ahead);
            ahead *= 2;
            poll_fn(|cx| {
                let poll = Pin::new(&mut self.timer).poll(cx).map(drop);
                if poll.is_pending() && !registered {
                    registered = true;
                    self.guard.arm(cx, Duration::ZERO);
                }
                poll
            })
            .await;
        }
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
