//! The task of a viewer: attempt after attempt, until it is stopped.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval, sleep, sleep_until},
};

use super::agreement::{Agreement, Said};
use super::peer::{Peer, PeerEvent};
use super::{Shared, ViewerCommand, ViewerOptions, ViewerState};
use crate::publisher::{ServerMessage, resolve};
use crate::{BenchError, clock};

/// The SDK gives an attempt up after 3 s; a machine that runs hundreds of viewers beside the server needs
/// more.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(10);
/// Chromium calls a connection disconnected after 2.5 s without an answer; the SDK waits 3 s more.
const SILENCE_TIME_LIMIT: Duration = Duration::from_millis(5_500);
/// From the end of an attempt to the next.
const RETRY: Duration = Duration::from_millis(500);
const PING_INTERVAL: Duration = Duration::from_secs(3);

/// Why an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The owner stopped the viewer, or the server ended the session.
    Finished,
    Lost,
}

pub(super) async fn run(
    options: ViewerOptions,
    mut command: watch::Receiver<ViewerCommand>,
    shared: Arc<Shared>,
) {
    loop {
        match attempt(&options, &mut command, &shared).await {
            Ok(Ending::Finished) => break,
            Ok(Ending::Lost) => shared.error("the connection was lost"),
            Err(error) => shared.error(error.to_string()),
        }
        if command.borrow().stopped {
            break;
        }
        shared.state(ViewerState::Returning);
        tokio::select! {
            () = sleep(RETRY) => {}
            _ = command.changed() => {}
        }
    }
    shared.state(ViewerState::Stopped);
}

async fn attempt(
    options: &ViewerOptions,
    command: &mut watch::Receiver<ViewerCommand>,
    shared: &Arc<Shared>,
) -> Result<Ending, BenchError> {
    if command.borrow().stopped {
        return Ok(Ending::Finished);
    }
    let server = resolve(&options.url).await?;
    let mut peer = Peer::open(server, options.impairment, options.one_by_one).await?;
    shared.begin_attempt(clock::now_us());
    let token = options.token.as_deref();
    let beginning = Agreement::begin(&options.url, &options.stream_id, token, &mut peer);
    let mut agreement = beginning.await?;
    let mut ping = interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut attempt = Attempt {
        options,
        command,
        shared,
        peer,
        ping,
        deadline: Instant::now() + CONNECT_TIME_LIMIT,
        is_connected: false,
        is_socket_open: true,
    };
    let ending = attempt.drive(&mut agreement).await;
    attempt.peer.close();
    shared.lost_on_the_network(attempt.peer.lost());
    // The server notices by itself when it is not told.
    let _ = agreement.end(&options.stream_id).await;
    ending
}

struct Attempt<'a> {
    options: &'a ViewerOptions,
    command: &'a mut watch::Receiver<ViewerCommand>,
    shared: &'a Arc<Shared>,
    peer: Peer,
    ping: Interval,
    /// The attempt ends then if there is no connection.
    deadline: Instant,
    is_connected: bool,
    is_socket_open: bool,
}

impl Attempt<'_> {
    async fn drive(&mut self, agreement: &mut Agreement) -> Result<Ending, BenchError> {
        self.process_events();
        loop {
            let wake_at = self.peer.wake_at().min(self.give_up_at());
            tokio::select! {
                biased;
                changed = self.command.changed() => {
                    if changed.is_err() || self.command.borrow().stopped {
                        return Ok(Ending::Finished);
                    }
                    let rate_bps = self.command.borrow().rate_bps;
                    self.peer.set_rate(rate_bps);
                }
                () = sleep_until(wake_at.into()) => self.peer.wake()?,
                readable = self.peer.readable() => {
                    readable?;
                    self.peer.receive()?;
                }
                message = agreement.next(), if self.is_socket_open => {
                    if let Some(ending) = self.said(agreement, message).await? {
                        return Ok(ending);
                    }
                }
                _ = self.ping.tick(), if self.is_socket_open => {
                    // A closed socket is seen by its reader.
                    let _ = agreement.ping().await;
                }
            }
            if self.process_events() || Instant::now() >= self.give_up_at() {
                return Ok(Ending::Lost);
            }
        }
    }

    fn give_up_at(&self) -> Instant {
        if self.is_connected {
            self.peer.received_at + SILENCE_TIME_LIMIT
        } else {
            self.deadline
        }
    }

    async fn said(
        &mut self,
        agreement: &mut Agreement,
        message: ServerMessage,
    ) -> Result<Option<Ending>, BenchError> {
        let stream_id = &self.options.stream_id;
        match agreement
            .process(message, stream_id, &mut self.peer)
            .await?
        {
            Said::Nothing => {}
            Said::Started => self.shared.play_started(),
            Said::Height(height) => self.shared.height(clock::now_us(), height),
            Said::Target(bps) => self.shared.target(bps),
            Said::Finished => return Ok(Some(Ending::Finished)),
            Said::Error(definition) => {
                self.shared.error(definition);
                return Ok(Some(Ending::Lost));
            }
            // Media goes on without control; the SDK opens another socket when media ends.
            Said::Closed => self.is_socket_open = false,
        }
        Ok(None)
    }

    /// Processes the events of the connection. Says whether it is gone.
    fn process_events(&mut self) -> bool {
        let events = self.peer.events();
        if events.is_empty() {
            return false;
        }
        let at_us = clock::now_us();
        let (mut is_gone, mut keyframe) = (false, false);
        let mut seen = self.shared.lock();
        for event in events {
            match event {
                PeerEvent::Connected => {
                    self.is_connected = true;
                    seen.connected(at_us);
                }
                PeerEvent::Audio => seen.audio(at_us),
                PeerEvent::Video { packet, bytes } => {
                    seen.bytes += bytes as u64;
                    keyframe |= seen.video.packet(packet);
                }
                PeerEvent::Gone => is_gone = true,
            }
        }
        drop(seen);
        if keyframe {
            self.peer.request_keyframe();
        }
        is_gone
    }
}
