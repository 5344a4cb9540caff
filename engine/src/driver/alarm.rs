//! The one timer of a shard.

use std::{
    future::Future,
    pin::Pin,
    task::Context,
    time::{Duration, Instant},
};

use glommio::timer::Timer;

use super::guard::Guard;
use crate::limits::TIMER_DISTANCE_MIN;

/// Wakes the driver's loop for the machine's timeouts and for looks at the socket, whichever comes
/// first.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: Timer,
    guard: Guard,
    /// What `timer` is set to and has registered with the executor.
    armed: Option<Instant>,
    /// When a timeout was last due.
    fired: Option<Instant>,
}

impl Alarm {
    /// To be called on the executor that will poll it.
    pub(crate) fn new() -> Self {
        Self {
            timer: Timer::new(Duration::ZERO),
            guard: Guard::new(),
            armed: None,
            fired: None,
        }
    }

    /// Whether `timeout` or `look` has come; otherwise the task of `cx` is woken when one has.
    /// Timeouts keep their distance ([`TIMER_DISTANCE_MIN`]), looks do not.
    ///
    /// The timer is left alone while it fires early enough: one that fires early costs one wake,
    /// setting it each time would cost one each time.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        timeout: Option<Instant>,
        look: Instant,
    ) -> bool {
        let timeout = timeout.map(|timeout| self.not_too_soon(timeout));
        let next = timeout.map_or(look, |timeout| timeout.min(look));
        let now = Instant::now();
        if next > now && self.is_armed_for(next, now) {
            return false;
        }
        if next > now {
            self.timer.reset(next - now);
            self.armed = Some(next);
            if Pin::new(&mut self.timer).poll(cx).is_pending() {
                self.guard.arm(cx, next - now);
                return false;
            }
        }
        self.armed = None;
        if timeout == Some(next) {
            self.fired = Some(now);
        }
        true
    }

    fn is_armed_for(&self, next: Instant, now: Instant) -> bool {
        self.armed.is_some_and(|armed| now < armed && armed <= next)
    }

    fn not_too_soon(&self, timeout: Instant) -> Instant {
        self.fired
            .map_or(timeout, |fired| timeout.max(fired + TIMER_DISTANCE_MIN))
    }
}
