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

use self::{
    jobs::{lookup::Lookups, preview::Previews, still_frame::StillFrames},
    machine::Machine,
};
use crate::{
    codecs::{VideoTranscoders, audio::AudioTranscoders},
    completions::{Completions, Notifier},
    fragments::FragmentQueue,
    link_server::LinkServer,
    os::clock::CpuMeter,
    recordings::RecordingFiles,
    tcp::{ConnectionTable, listener::Accepted, socket_lot::SocketLot},
    udp::send::SendQueue,
    work::Work,
};

/// Everything of one shard.
pub(crate) struct Driver {
    machine: Box<dyn Machine>,
    sender: SendQueue,
    tcp: ConnectionTable,
    /// Connections that others made to the ports of the shard.
    accepted: Completions<Accepted>,
    /// Connections that control has left with the engine.
    sockets: SocketLot,
    /// Parts of HLS and previews on their way to control.
    fragments: FragmentQueue,
    link: LinkServer,
    lookups: Lookups,
    still_frames: StillFrames,
    previews: Previews,
    audio: AudioTranscoders,
    video: VideoTranscoders,
    recordings: RecordingFiles,
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
    pub(crate) sockets: SocketLot,
    pub(crate) fragments: FragmentQueue,
    pub(crate) link: LinkServer,
    pub(crate) audio: AudioTranscoders,
    pub(crate) video: VideoTranscoders,
    pub(crate) recordings: RecordingFiles,
    pub(crate) notifier: Notifier,
    pub(crate) work: Rc<Work>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            machine,
            sender,
            tcp,
            sockets,
            fragments,
            link,
            audio,
            video,
            recordings,
            notifier,
            work,
        } = parts;
        Self {
            machine,
            sender,
            tcp,
            accepted: Completions::new(notifier.clone()),
            sockets,
            fragments,
            link,
            lookups: Lookups::new(notifier.clone()),
            still_frames: StillFrames::new(notifier.clone()),
            previews: Previews::new(notifier.clone()),
            audio,
            video,
            recordings,
            ends: Completions::new(notifier.clone()),
            notifier,
            cpu: CpuMeter::new(Instant::now()),
            work,
            panics: 0,
            drains_until: None,
        }
    }

    /// Where the ports hand over connections.
    pub(crate) fn accepted(&self) -> Completions<Accepted> {
        self.accepted.clone()
    }

    /// Where the shard is asked to stop (`Ok`), or a reason says why it cannot go on.
    pub(crate) fn ends(&self) -> Completions<Result<(), String>> {
        self.ends.clone()
    }
}
