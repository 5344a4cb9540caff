//! The driver of one shard: its thread, its loop, and what the loop does with inputs and outputs.
//!
//! ```text
//!   socket ── datagrams, borrowed ─────────────┐
//!   sub-systems ── completions, by value ──────┼──► Machine::handle ──► Machine::poll ──► dispatch
//!   alarm ── timeouts ─────────────────────────┘                                           │
//!   sub-systems ◄── jobs, slices, datagrams ───────────────────────────────────────────────┘
//! ```
//!
//! The driver owns the machine and all sub-systems. A sub-system does what it is called for and
//! queues what it has to report; it knows nothing of the driver, so no call comes back into a
//! driver that is still at work.

mod alarm;
mod dispatch;
mod event_loop;
mod executor_turns;
mod guard;
pub(crate) mod jobs;
pub(crate) mod machine;
mod socket_waker;
pub(crate) mod thread;

use std::{rc::Rc, time::Instant};

use glommio::net::TcpStream;

use self::{
    jobs::{lookup::Lookups, still_frame::StillFrames},
    machine::Machine,
};
use crate::{
    codecs::{VideoTranscoders, audio::AudioTranscoders},
    completions::{Completions, Notifier},
    link_server::LinkServer,
    os::clock::CpuMeter,
    tcp::ConnectionTable,
    udp::send::SendQueue,
    work::Work,
};

/// Everything of one shard.
pub(crate) struct Driver {
    machine: Box<dyn Machine>,
    sender: SendQueue,
    tcp: ConnectionTable,
    /// Connections that peers made to the RTMP port.
    accepted: Completions<TcpStream>,
    link: LinkServer,
    lookups: Lookups,
    still_frames: StillFrames,
    audio: AudioTranscoders,
    video: VideoTranscoders,
    /// `Ok` asks the shard to stop, an error is the reason why it cannot go on.
    ends: Completions<Result<(), String>>,
    notifier: Notifier,
    cpu: CpuMeter,
    work: Rc<Work>,
    panics: u32,
    /// Until when a shard that stops waits for its connections.
    drains_until: Option<Instant>,
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) sender: SendQueue,
    pub(crate) tcp: ConnectionTable,
    pub(crate) link: LinkServer,
    pub(crate) audio: AudioTranscoders,
    pub(crate) video: VideoTranscoders,
    pub(crate) notifier: Notifier,
    pub(crate) work: Rc<Work>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            machine,
            sender,
            tcp,
            link,
            audio,
            video,
            notifier,
            work,
        } = parts;
        Self {
            machine,
            sender,
            tcp,
            accepted: Completions::new(notifier.clone()),
            link,
            lookups: Lookups::new(notifier.clone()),
            still_frames: StillFrames::new(notifier.clone()),
            audio,
            video,
            ends: Completions::new(notifier.clone()),
            notifier,
            cpu: CpuMeter::new(Instant::now()),
            work,
            panics: 0,
            drains_until: None,
        }
    }

    /// Where the RTMP port hands over connections.
    pub(crate) fn accepted(&self) -> Completions<TcpStream> {
        self.accepted.clone()
    }

    /// Where the shard is asked to stop (`Ok`), or a reason says why it cannot go on.
    pub(crate) fn ends(&self) -> Completions<Result<(), String>> {
        self.ends.clone()
    }
}
