//! Inputs to the machine, and its outputs to the sub-systems.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use shardcast_core::io::{Input, Output, TcpEvent};
use shardcast_link::{Command, WorkCounters};
use shardcast_log::Limiter;

use super::Driver;
use crate::{
    limits::{PANICS_MAX, STOP_FLUSH},
    tcp::{Event, listener::Accepted},
};

static TOO_MANY: Limiter = Limiter::refusals();

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Driver {
    /// Hands the machine one input and dispatches what it puts out; [`Self::drive`] sends it. A
    /// panic is a defect of ours: it is logged and the other broadcasts go on.
    pub(super) fn handle(&mut self, now: Instant, input: Input<'_>) {
        let machine = &mut self.machine;
        if catch_unwind(AssertUnwindSafe(|| machine.handle(now, input))).is_err() {
            self.panicked("taking an input");
        }
        self.process_outputs(now);
    }

    /// Runs what is due, then processes completions and writes until there is no more of either.
    pub(super) fn drive(&mut self, now: Instant) {
        if self.machine.next_timeout().is_some_and(|next| next <= now) {
            // What the inputs brought leaves first: viewers are fed as a timer, and one turn takes many.
            self.tcp.flush();
            if let Some(permille) = self.cpu.sample(now) {
                self.machine.set_cpu_permille(permille);
                self.machine.set_work(self.work_counters());
            }
            self.handle(now, Input::Timeout);
        }
        loop {
            self.process_completions(now);
            if !self.tcp.flush() {
                break;
            }
        }
        self.sender.flush();
        self.link.wake();
    }

    fn work_counters(&self) -> WorkCounters {
        WorkCounters {
            opus_us: micros(self.audio.opus_time()),
            aac_us: micros(self.audio.aac_time()),
            ..self.work.read()
        }
    }

    /// The result of the shard, once it has one.
    pub(super) fn end(&mut self, now: Instant) -> Option<Result<(), String>> {
        while let Some(asked) = self.ends.take() {
            match asked {
                Ok(()) => self.shut_down(now),
                Err(reason) => return Some(Err(reason)),
            }
        }
        let deadline = self.drains_until?;
        (deadline <= now || self.is_drained()).then_some(Ok(()))
    }

    /// Whether it was asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.drains_until.is_some()
    }

    /// Asks the shard to end all broadcasts properly.
    fn shut_down(&mut self, now: Instant) {
        if self.drains_until.is_none() {
            self.drains_until = Some(now + STOP_FLUSH);
            for broadcast in self.machine.broadcast_ids() {
                self.handle(now, Input::Command(Command::Forget { broadcast }));
            }
            self.drive(now);
        }
    }

    /// Whether nothing is left to be written before the end.
    fn is_drained(&self) -> bool {
        self.tcp.is_empty()
            && self.link.is_empty()
            && self.recordings.is_empty()
            && self.machine.broadcast_ids().is_empty()
    }

    /// Hands the machine all completions, those included that come of handling others.
    fn process_completions(&mut self, now: Instant) {
        while self.process_tcp(now)
            | self.process_link(now)
            | self.process_jobs(now)
            | self.process_codecs(now)
        {}
    }

    /// False when there was nothing; so do the three that follow.
    fn process_tcp(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(Accepted { incoming, stream }) = self.accepted.take() {
            any = true;
            match self.machine.accept(now, incoming) {
                Some(conn) => self.tcp.adopt(conn, stream),
                None => {
                    if let Some(left_out) = TOO_MANY.admit(now) {
                        tracing::warn!(
                            left_out,
                            port = incoming.to.port(),
                            "a connection was closed: there are too many to this port"
                        );
                    }
                }
            }
            self.process_outputs(now);
        }
        while let Some(completion) = self.tcp.completion() {
            any = true;
            let conn = completion.conn;
            match completion.event {
                Event::Received(bytes) => {
                    let event = TcpEvent::Received(&bytes);
                    self.handle(now, Input::Tcp { conn, event });
                }
                Event::Other(event) => self.handle(now, Input::Tcp { conn, event }),
            }
        }
        any
    }

    fn process_link(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(command) = self.link.command() {
            any = true;
            self.handle(now, Input::Command(command));
        }
        while self.link.connect() {
            any = true;
            let machine = &mut self.machine;
            if catch_unwind(AssertUnwindSafe(|| machine.control_connected(now))).is_err() {
                self.panicked("greeting control");
            }
            self.process_outputs(now);
        }
        any
    }

    fn process_jobs(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((lookup, result)) = self.lookups.completion(now) {
            any = true;
            self.handle(now, Input::Resolved { lookup, result });
        }
        while let Some((still, result)) = self.still_frames.completion(now) {
            any = true;
            self.handle(now, Input::StillFrame { still, result });
        }
        while let Some((preview, result)) = self.previews.completion(now) {
            any = true;
            self.handle(now, Input::Preview { preview, result });
        }
        while let Some((file, result)) = self.recordings.completion() {
            any = true;
            self.handle(now, Input::Recorded { file, result });
        }
        any
    }

    fn process_codecs(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((transcoder, frame)) = self.audio.completion() {
            any = true;
            self.handle(now, Input::AudioFrame { transcoder, frame });
        }
        while let Some((transcoder, result)) = self.video.completion() {
            any = true;
            self.handle(now, Input::Video { transcoder, result });
        }
        if let Some(reason) = self.video.failure() {
            self.ends.push(Err(reason));
        }
        any
    }

    fn process_outputs(&mut self, now: Instant) {
        loop {
            let machine = &mut self.machine;
            match catch_unwind(AssertUnwindSafe(|| machine.poll())) {
                Ok(Some(output)) => self.dispatch(now, output),
                Ok(None) => return,
                Err(_) => {
                    self.panicked("saying what to do");
                    return;
                }
            }
        }
    }

    fn dispatch(&mut self, now: Instant, output: Output) {
        match output {
            Output::Datagram { from, to, payload } => self.sender.push(from, to, payload),
            Output::Connect { conn, addr, tls } => self.tcp.connect(conn, addr, tls.as_deref()),
            Output::Adopt { conn, socket } => {
                self.tcp.adopt_left(conn, self.sockets.take(&socket));
            }
            Output::Write { conn, slices } => self.tcp.write(conn, slices),
            Output::Inspect { conn } => self.tcp.inspect(conn),
            Output::Close { conn, how } => self.tcp.close(conn, how),
            Output::Resolve { lookup, host, port } => self.lookups.ask(now, lookup, host, port),
            Output::Audio(job) => self.audio.run(&job),
            Output::StillFrame(job) => self.still_frames.ask(now, job),
            Output::Preview(job) => self.previews.ask(now, job),
            Output::PreviewMade(made) => self.fragments.push_preview(*made),
            Output::Video(job) => self.video.run(Instant::now(), job),
            Output::Fragment(part) => self.fragments.push(*part),
            Output::Record(job) => self.recordings.run(job),
            Output::Event(event) => self.link.push(*event),
        }
    }

    fn panicked(&mut self, doing: &str) {
        self.panics += 1;
        tracing::error!(
            panics = self.panics,
            "the shard panicked while {doing}; it goes on"
        );
        if self.panics >= PANICS_MAX {
            self.ends
                .push(Err(format!("it panicked {PANICS_MAX} times")));
        }
    }
}
