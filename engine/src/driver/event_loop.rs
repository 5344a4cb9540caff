//! The loop of a shard: waits for what comes first, then makes one turn.
//!
//! While datagrams flow it waits on its own thread, where a wake costs a third ([`Doze`]), and lets the
//! executor have its turn now and then ([`ExecutorTurns`]). Otherwise it waits as tasks do.
//!
//! A turn drains the socket and all completion queues, and ends with one round of writing, so that
//! what the machine puts out leaves in as few system calls as can be.

use std::{
    future::Future,
    io,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_lite::{FutureExt as _, future::poll_fn};
use glommio::{net::UdpSocket, timer::sleep};
use shardcast_core::io::Input;

use super::{Driver, alarm::Alarm, executor_turns::ExecutorTurns, socket_waker::SocketWaker};
use crate::{
    limits::{CODEC_STOP, COLLECT_INTERVAL, LOOP_IDLE_MAX, STOP_LOOK, TIMER_DISTANCE_MIN},
    os::{
        doze::{Doze, Woken},
        memory,
        watchdog::Heartbeat,
    },
    udp::receive::{self, Look, Receiver},
};

/// A driver with what makes it go round.
pub(crate) struct EventLoop {
    driver: Driver,
    receiver: Receiver,
    heartbeat: Arc<Heartbeat>,
    doze: Doze,
    executor: ExecutorTurns,
    alarm: Alarm,
    /// The loop has waited in the executor.
    sleeps: bool,
    /// When the loop goes round at the latest, whatever comes.
    round_by: Instant,
    /// Since when no media has come, or when memory was given back last.
    idle_since: Instant,
}

impl EventLoop {
    /// To be called on the executor that will run it.
    pub(crate) fn new(
        driver: Driver,
        receiver: Receiver,
        doze: Doze,
        heartbeat: Arc<Heartbeat>,
    ) -> Self {
        Self {
            driver,
            receiver,
            heartbeat,
            doze,
            executor: ExecutorTurns::new(),
            alarm: Alarm::new(),
            sleeps: false,
            round_by: Instant::now(),
            idle_since: Instant::now(),
        }
    }

    /// Runs until the shard has stopped as it was asked to, or cannot go on: then why. `socket` is
    /// the one of the receiver.
    pub(crate) async fn run(mut self, socket: &UdpSocket) -> Result<(), String> {
        let turns = AssertUnwindSafe(self.take_turns(socket)).catch_unwind();
        // The machine's panics are caught where it is called: this is the driver's own.
        let result = turns
            .await
            .unwrap_or_else(|_| Err("the loop panicked".into()));
        self.stop_codecs().await;
        result
    }

    async fn take_turns(&mut self, socket: &UdpSocket) -> Result<(), String> {
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let waker = SocketWaker::new(task);
        let mut readable = pin!(receive::readable(socket));
        loop {
            let now = Instant::now();
            let receives = if self.driver.machine.is_interrupted() {
                self.may_be_readable()
            } else if self.receiver.is_flowing(now) {
                self.idle_since = now;
                self.doze()
            } else {
                self.give_memory_back(now);
                let turn = poll_fn(|cx| self.poll_turn(cx, &waker, readable.as_mut()));
                let waited = turn.await;
                if waited.is_some() {
                    readable.set(receive::readable(socket));
                    waker.set_anew();
                }
                self.has_waited(waited)
            };
            self.driver.work.turns.add(1);
            if receives {
                self.receive();
            }
            let now = Instant::now();
            self.driver.drive(now);
            if let Some(result) = self.driver.end(now) {
                return result;
            }
            self.promise(now);
            self.executor.pass(now).await;
        }
    }

    /// A shard without media frees no more, so its allocator would keep what ended shows have left.
    fn give_memory_back(&mut self, now: Instant) {
        if now.saturating_duration_since(self.idle_since) >= COLLECT_INTERVAL {
            memory::collect();
            self.idle_since = now;
        }
    }

    /// Waits outside of the executor; whether to read the socket.
    fn doze(&mut self) -> bool {
        let now = Instant::now();
        // What tasks have completed since the last turn.
        let notified = self.driver.notifier.take_notice();
        if notified {
            self.executor.hurry();
        }
        let woken = match self.receiver.look() {
            Look::Next => return true,
            Look::At(at) if at <= now => return true,
            Look::At(at) => self.doze.for_time(at - now),
            // The turn must not wait, but a task that notifies in each turn must not keep the socket from
            // being read.
            Look::Readable if notified => {
                return self.doze.for_socket(Duration::ZERO) == Woken::Readable;
            }
            Look::Readable => {
                let timeout = self.driver.machine.next_timeout();
                let due = timeout.map_or(self.round_by, |timeout| timeout.min(self.round_by));
                let due = due.min(self.executor.wake()).max(now + TIMER_DISTANCE_MIN);
                let woken = self.doze.for_socket(due - now);
                let is_timer = timeout.is_some_and(|timeout| timeout <= due);
                let timer_wakes = &self.driver.work.timer_wakes;
                timer_wakes.add(usize::from(woken == Woken::Time && is_timer));
                woken
            }
        };
        self.executor.has_waited();
        if woken == Woken::Executor {
            self.executor.hurry();
        }
        woken == Woken::Readable || self.is_look_due()
    }

    /// The loop has waited in the executor; whether to read the socket.
    fn has_waited(&mut self, waited: Option<io::Result<()>>) -> bool {
        if std::mem::take(&mut self.sleeps) {
            self.executor.has_been(Instant::now());
        }
        match waited {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.receiver.waiting_failed(Instant::now(), &error);
                false
            }
            None => self.is_look_due(),
        }
    }

    /// Ready when there is something to do; with how it went when that is to read the socket.
    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        waker: &SocketWaker,
        readable: Pin<&mut impl Future<Output = io::Result<()>>>,
    ) -> Poll<Option<io::Result<()>>> {
        let look = match self.receiver.look() {
            Look::Next => return Poll::Ready(None),
            Look::At(at) => Some(at),
            Look::Readable => {
                if let Poll::Ready(result) = waker.poll(readable) {
                    return Poll::Ready(Some(result));
                }
                None
            }
        };
        // All are asked, since each of them has to know whom to wake.
        let notified = self.driver.notifier.poll_notified(cx).is_ready();
        let look = look.map_or(self.round_by, |look| look.min(self.round_by));
        let timeout = self.driver.machine.next_timeout();
        let due = self.alarm.poll(cx, timeout, look);
        if due && !notified && timeout.is_some_and(|timeout| timeout <= Instant::now()) {
            self.driver.work.timer_wakes.add(1);
        }
        if notified || due {
            return Poll::Ready(None);
        }
        self.sleeps = true;
        Poll::Pending
    }

    /// Whether to read the socket in a turn that goes on at once.
    fn may_be_readable(&self) -> bool {
        match self.receiver.look() {
            Look::Readable => self.doze.for_socket(Duration::ZERO) == Woken::Readable,
            Look::At(_) | Look::Next => self.is_look_due(),
        }
    }

    fn is_look_due(&self) -> bool {
        match self.receiver.look() {
            Look::Readable => false,
            Look::At(at) => at <= Instant::now(),
            Look::Next => true,
        }
    }

    /// Hands the machine what the socket has, in place, and lets it answer after each batch.
    fn receive(&mut self) {
        while self.receiver.receive() {
            let now = Instant::now();
            let driver = &mut self.driver;
            self.receiver.for_each_datagram(|datagram| {
                driver.handle(
                    now,
                    Input::Datagram {
                        from: datagram.from,
                        to: datagram.to,
                        payload: datagram.payload,
                    },
                );
            });
            if !self.receiver.goes_on() {
                return;
            }
            self.driver.drive(now);
        }
    }

    /// Sets when the loop goes round at the latest, and promises it to the watchdog, which wakes an
    /// executor that sleeps with work to do.
    fn promise(&mut self, now: Instant) {
        self.round_by = now
            + if self.driver.is_stopping() {
                STOP_LOOK
            } else {
                LOOP_IDLE_MAX
            };
        let look = match self.receiver.look() {
            Look::Readable => self.round_by,
            Look::At(at) => at.min(self.round_by),
            Look::Next => now,
        };
        let timeout = self.driver.machine.next_timeout();
        let due = timeout.map_or(look, |timeout| timeout.min(look));
        // What is due already is run at once, however late it is.
        self.heartbeat.promise(Some(due.max(now)));
    }

    /// Ends the codec workers, in bounded time.
    async fn stop_codecs(&mut self) {
        let video = &mut self.driver.video;
        video.stop();
        let deadline = Instant::now() + CODEC_STOP;
        while Instant::now() < deadline && !video.has_ended() {
            sleep(STOP_LOOK).await;
        }
    }
}
