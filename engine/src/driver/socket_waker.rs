//! Tells wakes of the loop by its socket from all others.
//!
//! glommio adds a waiter to a pending receive each time it is polled, without looking whether it
//! has that one already, and each waiter raises the reference count of the task, which has 15 bits.
//! A loop that polled the receive in each turn would overflow it after some 16,000 turns in which no
//! datagram came. So the receive is polled when it was set anew or has woken the loop itself.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Wakes the loop's task, and remembers that it did.
struct Flag {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // One thread sets and takes it; the standard library's `Wake` asks for more than that.
        self.woken.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

/// Polls one future when there is a reason to.
pub(super) struct SocketWaker {
    flag: Arc<Flag>,
    waker: Waker,
}

impl SocketWaker {
    /// For the loop that runs as the task of `task`.
    pub(super) fn new(task: Waker) -> Self {
        let woken = AtomicBool::new(true);
        let flag = Arc::new(Flag { woken, task });
        let waker = Waker::from(Arc::clone(&flag));
        Self { flag, waker }
    }

    /// The future is another one than before.
    pub(super) fn set_anew(&self) {
        self.flag.woken.store(true, Ordering::Relaxed);
    }

    /// Polls `future` if it is new or has woken the loop since it was polled last.
    pub(super) fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        if self.flag.woken.swap(false, Ordering::Relaxed) {
            future.poll(&mut Context::from_waker(&self.waker))
        } else {
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use super::*;

    #[test]
    fn a_future_is_polled_when_it_is_new_and_when_it_woke_the_loop_and_never_else() {
        let mut polls = 0;
        let mut kept = None;
        let mut future = pin!(poll_fn(|cx: &mut Context<'_>| -> Poll<()> {
            polls += 1;
            kept = Some(cx.waker().clone());
            Poll::Pending
        }));
        let socket = SocketWaker::new(Waker::noop().clone());
        for _ in 0..3 {
            assert!(socket.poll(future.as_mut()).is_pending());
        }
        socket.set_anew();
        for _ in 0..3 {
            assert!(socket.poll(future.as_mut()).is_pending());
        }
        assert_eq!(polls, 2);
        kept.unwrap().wake();
        let mut woken = pin!(poll_fn(|_: &mut Context<'_>| Poll::Ready(7)));
        assert_eq!(socket.poll(woken.as_mut()), Poll::Ready(7));
        assert!(socket.poll(woken.as_mut()).is_pending());
    }
}
