//! Completions: what the sub-systems of a shard have to report, by value, on its way to the driver.
//!
//! ```text
//!   tasks of connections ─┐
//!   the link's task ──────┼─ push ──► Completions ── take ──► driver ──► Machine::handle
//!   blocking jobs ────────┘      └─ notify ──► the driver's loop
//! ```
//!
//! A sub-system knows its own queue and the [`Notifier`] behind it, and never the driver. All of
//! this stays on one executor, so nothing here is locked; codec workers have a queue between
//! threads ([`crate::codecs`]).

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_lite::future::poll_fn;

/// Wakes the driver's loop. All sub-systems of a shard share one; however often it is called
/// before the loop runs, the loop runs once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifier(Rc<Notice>);

#[derive(Debug, Default)]
struct Notice {
    notified: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Notifier {
    /// Something waits for the driver.
    pub(crate) fn notify(&self) {
        if !self.0.notified.replace(true)
            && let Some(waker) = self.0.waker.take()
        {
            waker.wake();
        }
    }

    /// Whether [`Self::notify`] was called since the last time. For the driver's loop only.
    pub(crate) fn take_notice(&self) -> bool {
        self.0.notified.replace(false)
    }

    /// Ready once for all calls of [`Self::notify`] since the last time. For the driver's loop
    /// only.
    pub(crate) fn poll_notified(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.notified.replace(false) {
            return Poll::Ready(());
        }
        let mut waker = self.0.waker.borrow_mut();
        if waker.as_ref().is_none_or(|old| !old.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A queue of completions from tasks of the executor to its driver. What bounds it is that each
/// task waits by [`Self::taken`] for what it has pushed before it reads more from outside.
#[derive(Debug)]
pub(crate) struct Completions<T>(Rc<Queue<T>>);

#[derive(Debug)]
struct Queue<T> {
    notifier: Notifier,
    items: RefCell<VecDeque<T>>,
    /// How many have been pushed and taken since the beginning.
    pushed: Cell<u64>,
    taken: Cell<u64>,
    /// Tasks that wait until so many have been taken, in rising order.
    waiting: RefCell<VecDeque<(u64, Waker)>>,
}

impl<T> Clone for Completions<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Completions<T> {
    pub(crate) fn new(notifier: Notifier) -> Self {
        Self(Rc::new(Queue {
            notifier,
            items: RefCell::default(),
            pushed: Cell::new(0),
            taken: Cell::new(0),
            waiting: RefCell::default(),
        }))
    }

    /// Reports something and wakes the driver.
    pub(crate) fn push(&self, item: T) {
        self.0.items.borrow_mut().push_back(item);
        self.0.pushed.set(self.0.pushed.get() + 1);
        self.0.notifier.notify();
    }

    /// Wakes the driver without a completion: something that it looks at has changed.
    pub(crate) fn notify(&self) {
        self.0.notifier.notify();
    }

    /// The oldest completion. For the driver only, which takes until there is none.
    pub(crate) fn take(&self) -> Option<T> {
        let item = self.0.items.borrow_mut().pop_front()?;
        let taken = self.0.taken.get() + 1;
        self.0.taken.set(taken);
        let mut waiting = self.0.waiting.borrow_mut();
        while waiting
            .front()
            .is_some_and(|(awaited, _)| *awaited <= taken)
        {
            if let Some((_, waker)) = waiting.pop_front() {
                waker.wake();
            }
        }
        Some(item)
    }

    /// Waits until the driver has taken everything that was pushed before this call.
    pub(crate) fn taken(&self) -> impl Future<Output = ()> + use<T> {
        let queue = Rc::clone(&self.0);
        let awaited = queue.pushed.get();
        let mut waits = false;
        poll_fn(move |cx| {
            if queue.taken.get() >= awaited {
                return Poll::Ready(());
            }
            let mut waiting = queue.waiting.borrow_mut();
            // Polled for another reason before its turn: the entry of the first poll goes.
            if std::mem::replace(&mut waits, true) {
                waiting.retain(|(_, waker)| !waker.will_wake(cx.waker()));
            }
            let at = waiting.partition_point(|(other, _)| *other <= awaited);
            waiting.insert(at, (awaited, cx.waker().clone()));
            Poll::Pending
        })
    }

    /// Reports something and waits until the driver has taken it.
    pub(crate) async fn hand_over(&self, item: T) {
        self.push(item);
        self.taken().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn many_completions_wake_the_driver_once_and_come_in_order() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let notifier = Notifier::default();
        let queue = Completions::new(notifier.clone());
        assert!(notifier.poll_notified(&cx).is_pending());
        for n in 0..3 {
            queue.push(n);
        }
        assert_eq!(count.0.load(Relaxed), 1);
        assert!(notifier.poll_notified(&cx).is_ready());
        let taken: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(taken, [0, 1, 2]);
        assert!(notifier.poll_notified(&cx).is_pending());
    }

    #[test]
    fn a_task_waits_for_its_own_completion_and_not_for_later_ones() {
        let wakes: [Arc<Count>; 2] = Default::default();
        let [first, second] = wakes.clone().map(Waker::from);
        let queue = Completions::new(Notifier::default());
        let mut one = pin!(queue.hand_over(1));
        let mut two = pin!(queue.hand_over(2));
        let mut cx = Context::from_waker(&first);
        // A task that is polled for another reason still waits once.
        assert!(one.as_mut().poll(&mut cx).is_pending());
        assert!(one.as_mut().poll(&mut cx).is_pending());
        let mut cx = Context::from_waker(&second);
        assert!(two.as_mut().poll(&mut cx).is_pending());
        assert_eq!(queue.take(), Some(1));
        assert_eq!(wakes.each_ref().map(|count| count.0.load(Relaxed)), [1, 0]);
        assert!(
            one.as_mut()
                .poll(&mut Context::from_waker(&first))
                .is_ready()
        );
        assert!(
            two.as_mut()
                .poll(&mut Context::from_waker(&second))
                .is_pending()
        );
        assert_eq!(queue.take(), Some(2));
        assert!(
            two.as_mut()
                .poll(&mut Context::from_waker(&second))
                .is_ready()
        );
    }
}
