//! One place that a broadcast is sent to: its own state machine, cursor, timers and verdict.
//!
//! ```text
//!  Idle ─► Resolving ─► Connecting ─► Handshaking ─► Publishing ─► Live ⇄ Holding
//!   ▲          │             │              │             │          │
//!   │          └─────────────┴──────┬───────┴─────────────┴──────────┘ a failure
//!   └── the broadcast went off air  └─► BackingOff ─► Resolving …        Ended: by wish
//! ```
//!
//! A destination takes units from the broadcast's ring at its own pace and has a bounded number of
//! bytes outstanding; its trouble stays its own. It never gives up by itself: what only a person
//! can mend (a refused stream key) is tried seldom instead.

mod backoff;
mod feed;
mod report;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::{DestinationId, DestinationState, Fault, Problem};

use self::{backoff::Backoff, feed::Feed, report::Totals};
use crate::{
    io::{Close, TcpEvent},
    limits::{
        ADDRESSES_MAX, BACKOFF_RESET_MS, CONNECT_TIMEOUT_MS, DESTINATION_STALL_MS,
        HANDSHAKE_TIMEOUT_MS, RESOLVE_TIMEOUT_MS,
    },
    ring::Ring,
    rtmp::{PublishClient, PublishConfig, PublishOutput, RtmpUrl},
};

/// What the broadcast tells its destinations about the media in the ring.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MediaFacts {
    /// Video is there or will come; without, audio alone is sent.
    pub(crate) expects_video: bool,
    /// Measured; 0 when not known yet.
    pub(crate) frames_per_second: u32,
    /// Measured video bitrate; 0 when not known yet.
    pub(crate) video_bps: u64,
}

/// Something a destination wants done. It has at most one connection, which it need not name.
#[derive(Debug)]
pub(crate) enum DestinationOutput {
    Resolve {
        host: String,
        port: u16,
    },
    Connect(SocketAddr),
    Write(Vec<Bytes>),
    Close(Close),
    /// It waits for a keyframe to start with.
    WantsKeyframe,
    /// Its state or verdict has changed.
    Changed,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Resolving {
        until: Instant,
    },
    Connecting {
        until: Instant,
        address: SocketAddr,
        others: VecDeque<SocketAddr>,
    },
    /// From TCP connected to the answer to `publish`.
    Opening {
        until: Instant,
        address: SocketAddr,
        client: Box<PublishClient>,
    },
    Open {
        client: Box<PublishClient>,
        feed: Box<Feed>,
        since: Instant,
    },
    BackingOff {
        until: Instant,
    },
    Ended,
    /// The URL cannot be used as it stands.
    Unusable,
}

#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) id: DestinationId,
    url_text: String,
    url: Option<RtmpUrl>,
    phase: Phase,
    on_air: bool,
    backoff: Backoff,
    attempts: u32,
    last_problem: Option<Problem>,
    since: Instant,
    reported: Option<DestinationState>,
    totals: Totals,
    outputs: VecDeque<DestinationOutput>,
}

impl Destination {
    pub(crate) fn new(now: Instant, id: DestinationId, url: &str, seed: u64) -> Self {
        let mut destination = Self {
            id,
            url_text: url.to_owned(),
            url: None,
            phase: Phase::Idle,
            on_air: false,
            backoff: Backoff::new(seed),
            attempts: 0,
            last_problem: None,
            since: now,
            reported: None,
            totals: Totals::default(),
            outputs: VecDeque::new(),
        };
        match RtmpUrl::parse(url) {
            Ok(url) if !url.is_tls() => destination.url = Some(url),
            Ok(_) => destination
                .unusable("rtmps:// is not supported yet: use the platform's rtmp:// address"),
            Err(error) => destination.unusable(&error.to_string()),
        }
        destination
    }

    /// Whether this is the destination for `url`.
    pub(crate) fn is_for(&self, url: &str) -> bool {
        self.url_text == url
    }

    /// The broadcast has gone on or off air. Off air, the stream is ended properly.
    pub(crate) fn set_on_air(&mut self, now: Instant, on_air: bool) {
        if self.on_air == on_air {
            return;
        }
        self.on_air = on_air;
        if on_air {
            self.backoff.reset();
            self.attempts = 0;
            if matches!(self.phase, Phase::Idle | Phase::Ended) {
                self.resolve(now);
            }
        } else {
            self.finish();
            if !matches!(self.phase, Phase::Unusable) {
                self.enter(now, Phase::Ended);
            }
        }
    }

    /// The destination is no longer wanted. What that takes comes out of [`Self::poll`].
    pub(crate) fn remove(&mut self, now: Instant) {
        self.finish();
        self.on_air = false;
        self.enter(now, Phase::Ended);
    }

    pub(crate) fn resolved(&mut self, now: Instant, result: Result<Vec<SocketAddr>, String>) {
        if !matches!(self.phase, Phase::Resolving { .. }) {
            return;
        }
        match result {
            Ok(addresses) if !addresses.is_empty() => {
                self.connect(now, addresses.into_iter().take(ADDRESSES_MAX).collect());
            }
            Ok(_) => self.fail(now, "its name has no address: check the host in the URL"),
            Err(reason) => {
                let words =
                    format!("its name does not resolve ({reason}): check the host in the URL");
                self.fail(now, &words);
            }
        }
    }

    pub(crate) fn tcp(&mut self, now: Instant, event: TcpEvent<'_>) {
        match event {
            TcpEvent::Connected => self.connected(now),
            TcpEvent::Received(bytes) => self.received(now, bytes),
            TcpEvent::Accepted { bytes } => {
                self.totals.bytes_sent += bytes as u64;
                if let Phase::Open { feed, .. } = &mut self.phase {
                    feed.accepted(now, bytes);
                }
            }
            TcpEvent::Closed { reason } => self.closed(now, &reason),
        }
    }

    /// New units are in the ring, or room is in the socket.
    pub(crate) fn feed(&mut self, now: Instant, ring: &Ring, facts: MediaFacts) {
        let Phase::Open { client, feed, .. } = &mut self.phase else {
            return;
        };
        let was_live = feed.is_live();
        feed.run(
            now,
            ring,
            facts,
            client,
            &mut self.totals,
            &mut self.outputs,
        );
        if let Some(words) = feed.take_complaint() {
            self.last_problem = Some(problem(words));
            self.outputs.push_back(DestinationOutput::Changed);
        }
        if !was_live && self.state(false) == DestinationState::Live {
            self.changed(now);
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        if self.next_timeout().is_none_or(|at| at > now) {
            return;
        }
        match &mut self.phase {
            Phase::Resolving { .. } => {
                self.fail(
                    now,
                    "its name was not resolved in time: check the host and this machine's DNS",
                );
            }
            Phase::Connecting { .. } => {
                self.next_address(now, "no answer to the connection attempt");
            }
            Phase::Opening { .. } => self.fail(
                now,
                "it accepted the connection but did not answer as an RTMP server: check the port",
            ),
            Phase::Open { .. } => {
                self.fail(
                    now,
                    "it took no data for 10 seconds: its network or the server is stuck",
                );
            }
            Phase::BackingOff { .. } => self.resolve(now),
            Phase::Idle | Phase::Ended | Phase::Unusable => {}
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Resolving { until }
            | Phase::Connecting { until, .. }
            | Phase::Opening { until, .. }
            | Phase::BackingOff { until } => Some(*until),
            Phase::Open { feed, .. } => feed
                .stuck_since()
                .map(|since| since + Duration::from_millis(DESTINATION_STALL_MS)),
            Phase::Idle | Phase::Ended | Phase::Unusable => None,
        }
    }

    /// Whether [`Self::poll`] has something.
    pub(crate) fn wants_something(&self) -> bool {
        !self.outputs.is_empty()
    }

    pub(crate) fn poll(&mut self) -> Option<DestinationOutput> {
        self.outputs.pop_front()
    }

    fn resolve(&mut self, now: Instant) {
        let Some(url) = &self.url else { return };
        self.attempts = self.attempts.saturating_add(1);
        let (host, port) = (url.host().to_owned(), url.port());
        self.outputs
            .push_back(DestinationOutput::Resolve { host, port });
        let until = now + Duration::from_millis(RESOLVE_TIMEOUT_MS);
        self.enter(now, Phase::Resolving { until });
    }

    fn connect(&mut self, now: Instant, mut addresses: VecDeque<SocketAddr>) {
        let Some(address) = addresses.pop_front() else {
            return;
        };
        self.outputs.push_back(DestinationOutput::Connect(address));
        let until = now + Duration::from_millis(CONNECT_TIMEOUT_MS);
        self.enter(
            now,
            Phase::Connecting {
                until,
                address,
                others: addresses,
            },
        );
    }

    fn next_address(&mut self, now: Instant, reason: &str) {
        let Phase::Connecting {
            address, others, ..
        } = &mut self.phase
        else {
            return;
        };
        let (address, others) = (*address, std::mem::take(others));
        if others.is_empty() {
            let words = format!("no connection to {address}: {reason}");
            self.fail(now, &words);
        } else {
            self.outputs
                .push_back(DestinationOutput::Close(Close::Abort));
            self.connect(now, others);
        }
    }

    fn connected(&mut self, now: Instant) {
        let (Phase::Connecting { address, .. }, Some(url)) = (&self.phase, &self.url) else {
            return;
        };
        let address = *address;
        let mut client = Box::new(PublishClient::new(url, PublishConfig::default()));
        self.outputs
            .push_back(DestinationOutput::Write(vec![client.start()]));
        let until = now + Duration::from_millis(HANDSHAKE_TIMEOUT_MS);
        self.enter(
            now,
            Phase::Opening {
                until,
                address,
                client,
            },
        );
        self.pump(now);
    }

    fn received(&mut self, now: Instant, bytes: &[u8]) {
        let result = match &mut self.phase {
            Phase::Opening { client, .. } | Phase::Open { client, .. } => client.handle(bytes),
            _ => return,
        };
        self.pump(now);
        if let Err(error) = result {
            let heals = error.heals();
            self.fail_with(now, problem(error.to_string()), heals);
        }
    }

    /// Moves what the RTMP session wants to say, and notices when it may send media.
    fn pump(&mut self, now: Instant) {
        loop {
            if let Phase::Open { feed, .. } = &self.phase
                && feed.is_flooded()
            {
                self.fail(now, "it asks for answers and does not take them");
                return;
            }
            let output = match &mut self.phase {
                Phase::Opening { client, .. } | Phase::Open { client, .. } => client.poll(),
                _ => return,
            };
            match output {
                Some(PublishOutput::Send(bytes)) => {
                    if let Phase::Open { feed, .. } = &mut self.phase {
                        feed.count_outstanding(now, bytes.len());
                    }
                    self.outputs
                        .push_back(DestinationOutput::Write(vec![bytes]));
                }
                Some(PublishOutput::Publishing { .. }) => self.open(now),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn open(&mut self, now: Instant) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Opening { client, .. } => {
                let feed = Box::new(Feed::new());
                self.enter(
                    now,
                    Phase::Open {
                        client,
                        feed,
                        since: now,
                    },
                );
            }
            other => self.phase = other,
        }
    }

    fn closed(&mut self, now: Instant, reason: &str) {
        match &self.phase {
            Phase::Connecting { .. } => self.next_address(now, reason),
            Phase::Opening { address, .. } => {
                let words = format!(
                    "{address} ended the connection before it accepted the stream ({reason}): \
                     check the stream key"
                );
                self.gone(now, &words);
            }
            Phase::Open { .. } => self.gone(now, &format!("the connection was lost: {reason}")),
            _ => {}
        }
    }

    /// Fails for a connection that no longer exists.
    fn gone(&mut self, now: Instant, words: &str) {
        self.back_off(now, problem(words.to_owned()), true);
    }

    fn fail(&mut self, now: Instant, words: &str) {
        self.fail_with(now, problem(words.to_owned()), true);
    }

    fn fail_with(&mut self, now: Instant, problem: Problem, heals: bool) {
        if matches!(
            self.phase,
            Phase::Connecting { .. } | Phase::Opening { .. } | Phase::Open { .. }
        ) {
            self.outputs
                .push_back(DestinationOutput::Close(Close::Abort));
        }
        self.back_off(now, problem, heals);
    }

    fn back_off(&mut self, now: Instant, problem: Problem, heals: bool) {
        if let Phase::Open { since, .. } = &self.phase
            && now.saturating_duration_since(*since) > Duration::from_millis(BACKOFF_RESET_MS)
        {
            self.backoff.reset();
        }
        self.last_problem = Some(problem);
        if self.on_air {
            let until = now + self.backoff.next_delay(heals);
            self.enter(now, Phase::BackingOff { until });
        } else {
            self.enter(now, Phase::Ended);
        }
    }

    fn unusable(&mut self, words: &str) {
        self.last_problem = Some(Problem {
            fault: Fault::Operator,
            message: words.to_owned(),
        });
        self.phase = Phase::Unusable;
    }

    /// A wished end: FCUnpublish and deleteStream, then close.
    fn finish(&mut self) {
        match &mut self.phase {
            Phase::Open { client, .. } => {
                self.outputs
                    .push_back(DestinationOutput::Write(vec![client.finish()]));
                self.outputs
                    .push_back(DestinationOutput::Close(Close::Flush));
            }
            Phase::Connecting { .. } | Phase::Opening { .. } => {
                self.outputs
                    .push_back(DestinationOutput::Close(Close::Abort));
            }
            _ => {}
        }
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.changed(now);
    }

    fn changed(&mut self, now: Instant) {
        let state = self.state(false);
        if self.reported != Some(state) {
            self.reported = Some(state);
            self.since = now;
            self.outputs.push_back(DestinationOutput::Changed);
        }
    }
}

fn problem(message: String) -> Problem {
    Problem {
        fault: Fault::Destination,
        message,
    }
}
