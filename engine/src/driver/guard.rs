//! Ends a sleep of the executor that has work to do.
//!
//! glommio 0.9.0 parks when its preemption timer fires before the first task queue has run: it
//! takes "nothing has run" for "nothing is to run" (`run_task_queues` returns false for both), and
//! sleeps with runnable tasks until some I/O completes or one of its timers is due. The timer that made
//! the tasks runnable is not among these any more. So there are others behind it, each of which ends one
//! such sleep.

use std::{future::Future, pin::Pin, task::Context, time::Duration};

use glommio::timer::Timer;

use crate::limits::GUARD_DISTANCES;

/// Timers behind a timer. They are set and hardly ever fire.
#[derive(Debug)]
pub(super) struct Guard(Vec<Timer>);

impl Guard {
    /// To be called on the executor that it guards.
    pub(super) fn new() -> Self {
        Self(
            GUARD_DISTANCES
                .iter()
                .map(|_| Timer::new(Duration::ZERO))
                .collect(),
        )
    }

    /// The task of `cx` is to run when so much time has passed; should it not have run a
    /// millisecond later, the executor wakes up for it.
    pub(super) fn arm(&mut self, cx: &mut Context<'_>, within: Duration) {
        for (timer, behind) in self.0.iter_mut().zip(GUARD_DISTANCES) {
            timer.reset(within + behind);
            // It is never due already; what counts is that it has the waker.
            let _ = Pin::new(timer).poll(cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
        thread,
        time::Instant,
    };

    use futures_lite::future::poll_fn;
    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;

    /// How long a task waits each time. With the guard it never waits for as long as this again.
    const PERIOD: Duration = Duration::from_millis(1);
    const STALL: Duration = Duration::from_millis(500);

    /// Has a task wait again and again on an executor whose preemption timer is that short, and
    /// returns how often it did before it was not woken any more, or `None` when it always was.
    fn waits_before_stall(preempt: Duration, waits_max: u64, guarded: bool) -> Option<u64> {
        let waits = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&waits);
        let work = move || {
            let executor = LocalExecutorBuilder::new(Placement::Unbound)
                .io_memory(crate::limits::IO_MEMORY_BYTES)
                .ring_depth(crate::limits::RING_DEPTH)
                .preempt_timer(preempt)
                .make()
                .unwrap();
            executor.run(async move {
                let (mut timer, mut guard) = (Timer::new(Duration::ZERO), Guard::new());
                while counted.fetch_add(1, Relaxed) < waits_max {
                    timer.reset(PERIOD);
                    poll_fn(|cx| {
                        if guarded {
                            guard.arm(cx, PERIOD);
                        }
                        Pin::new(&mut timer).poll(cx)
                    })
                    .await;
                }
            });
        };
        // One that stalls stays until the test process ends.
        let thread = thread::spawn(work);
        let (mut last, mut since) = (0, Instant::now());
        while !thread.is_finished() {
            thread::sleep(Duration::from_millis(10));
            let count = waits.load(Relaxed);
            if count != last {
                (last, since) = (count, Instant::now());
            }
            if since.elapsed() > STALL {
                return Some(count);
            }
        }
        None
    }

    /// A preemption timer with which an executor stalls within some hundred waits, and did so twice.
    ///
    /// The time from the arming of glommio's timer to the look at it is that of a system call. A
    /// timer of about that length fires before now and then, as one of milliseconds does where the
    /// thread loses its core in between.
    ///
    /// The longest such timer is taken: with a shorter one it stalls each time, which the guard is not for.
    fn stalling_timer() -> Duration {
        let mut preempt = Duration::from_micros(160);
        let stalls = |preempt| waits_before_stall(preempt, 300, false).is_some();
        let stalls_twice = |preempt| stalls(preempt) && stalls(preempt);
        while !stalls_twice(preempt) {
            preempt = preempt * 4 / 5;
            assert!(
                preempt > Duration::ZERO,
                "glommio does not stall any more: no guard is needed"
            );
        }
        // At most four steps, since the timer before was longer by a quarter.
        while stalls_twice(preempt * 16 / 15) {
            preempt = preempt * 16 / 15;
        }
        preempt
    }

    /// Other load makes stalls more likely than they were when the timer was chosen, and four in a row
    /// are more than the guard is for: hence the attempts.
    #[test]
    fn an_executor_that_sleeps_with_work_to_do_is_woken() {
        let mut stalled = Vec::new();
        while stalled.len() < 8 {
            let preempt = stalling_timer();
            match waits_before_stall(preempt, 2_000, true) {
                None => return,
                Some(waits) => stalled.push((preempt, waits)),
            }
        }
        panic!("it stalled in spite of the guard: {stalled:?}");
    }
}
