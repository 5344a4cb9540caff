//! One place that a broadcast is sent to: its own state machine, cursor, timers and verdict.
//!
//! ```text
//!  Idle ─► Resolving ─► Connecting ─► Handshaking ─► Publishing ─► Live ⇄ Holding
//!              │             │              │             │        Stalled
//!              └─────────────┴──────┬───────┴─────────────┴──────────┘ a failure
//!                                   └─► BackingOff ─► Resolving …
//!  Ended: by wish, from anywhere     └─► GivenUp: the policy allows no more retries
//! ```
//!
//! A destination takes units from the broadcast's ring at its own pace and has a bounded number of
//! bytes outstanding; its trouble stays its own. Unless its policy limits retries it never gives up
//! by itself: what only a person can mend (a refused stream key) is tried seldom instead.

mod attempt;
mod backoff;
mod contract;
mod failure;
mod feed;
#[cfg(test)]
mod feed_tests;
mod picture;
mod progress;
mod race;
mod report;
mod switch;
mod trouble;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Instant,
};

use bytes::Bytes;
use shardcast_link::{
    DestinationId, DestinationState, RetryPolicy, WantedDestination, WantedPicture,
    rtmp_url::is_same_destination,
};

use self::{
    attempt::Route,
    backoff::Backoff,
    feed::{Feed, Wire},
    picture::Picture,
    race::Race,
    report::Totals,
    trouble::{About, Trouble},
};
pub(crate) use self::{contract::SourceFacts, picture::Choice, race::Dial};
use crate::{
    io::{Close, TcpEvent},
    rendition::{RingId, Rings},
    rtmp::{Platform, PublishClient, RtmpUrl},
};
pub use shardcast_link::AddressRules;

/// Something a destination wants done. It has one connection that is open, which it need not name,
/// or several that it is making.
#[derive(Debug)]
pub(crate) enum DestinationOutput {
    Resolve {
        host: String,
        port: u16,
    },
    Connect {
        dial: Dial,
        address: SocketAddr,
        /// Whom the certificate has to name, where TLS is spoken.
        tls: Option<String>,
    },
    /// The kernel shall tell what the peer has acknowledged.
    Inspect,
    Write(Vec<Bytes>),
    /// This connection, or all that it has.
    Close(Option<Dial>, Close),
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
        race: Race,
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
    /// As many retries failed as the policy allows.
    GivenUp,
    /// The URL cannot be used as it stands.
    Unusable,
}

#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) id: DestinationId,
    url_text: String,
    url: Option<RtmpUrl>,
    platform: &'static Platform,
    pub(crate) picture: Picture,
    rules: Rc<AddressRules>,
    /// Where the last attempt led.
    route: Option<Route>,
    /// The address at which the stream was taken last, which is tried first.
    winner: Option<IpAddr>,
    /// Connections made so far.
    dials: u64,
    phase: Phase,
    on_air: bool,
    /// Nobody publishes, and whoever did is waited for.
    holding: bool,
    backoff: Backoff,
    attempts: u32,
    trouble: Option<Trouble>,
    /// When media was last known to arrive there.
    live_at: Option<Instant>,
    since: Instant,
    reported: Option<DestinationState>,
    totals: Totals,
    outputs: VecDeque<DestinationOutput>,
}

impl Destination {
    /// `seed` makes the jitter of retries repeatable.
    pub(crate) fn new(
        now: Instant,
        wanted: &WantedDestination,
        rules: Rc<AddressRules>,
        seed: u64,
    ) -> Self {
        let mut destination = Self {
            id: wanted.id.clone(),
            url_text: wanted.url.clone(),
            url: None,
            platform: Platform::generic(),
            picture: Picture::new(wanted.picture, Platform::generic()),
            rules,
            route: None,
            winner: None,
            dials: 0,
            phase: Phase::Idle,
            on_air: false,
            holding: false,
            backoff: Backoff::new(wanted.retry, seed),
            attempts: 0,
            trouble: None,
            live_at: None,
            since: now,
            reported: None,
            totals: Totals::default(),
            outputs: VecDeque::new(),
        };
        match RtmpUrl::parse(&wanted.url) {
            Ok(url) => {
                destination.platform = Platform::of(url.host());
                destination.picture = Picture::new(wanted.picture, destination.platform);
                destination.url = Some(url);
            }
            Err(error) => destination.unusable(now, &error.to_string()),
        }
        destination
    }

    /// Whether this is the destination for `url`, however that is written.
    pub(crate) fn is_for(&self, url: &str) -> bool {
        is_same_destination(&self.url_text, url)
    }

    /// The broadcast has gone on or off air. Off air, the stream is ended properly.
    pub(crate) fn set_on_air(&mut self, now: Instant, on_air: bool) {
        if self.on_air == on_air {
            return;
        }
        self.on_air = on_air;
        self.picture.reset(self.platform);
        if on_air {
            self.backoff.reset();
            self.attempts = 0;
            if matches!(self.phase, Phase::Idle | Phase::Ended | Phase::GivenUp) {
                self.resolve(now);
            }
        } else {
            self.finish();
            if !matches!(self.phase, Phase::Unusable) {
                self.end_trouble(now);
                self.enter(now, Phase::Ended);
            }
        }
    }

    /// The publisher is waited for, or is there.
    pub(crate) fn set_holding(&mut self, now: Instant, holding: bool) {
        if self.holding != holding {
            self.holding = holding;
            self.changed(now);
        }
    }

    /// The destination is no longer wanted. What that takes comes out of [`Self::poll`].
    pub(crate) fn remove(&mut self, now: Instant) {
        self.finish();
        self.on_air = false;
        self.end_trouble(now);
        self.enter(now, Phase::Ended);
    }

    /// Takes over another wish for the picture.
    pub(crate) fn set_picture(&mut self, wanted: WantedPicture) {
        self.picture.want(wanted, self.platform);
    }

    /// Whether it is sent media, or will be by itself.
    pub(crate) fn takes_media(&self) -> bool {
        !matches!(self.phase, Phase::Ended | Phase::GivenUp | Phase::Unusable)
    }

    /// The ring that it is fed from; `None` while nothing is sent.
    pub(crate) fn ring(&self) -> Option<RingId> {
        match &self.phase {
            Phase::Open { feed, .. } if feed.is_open_for_media() => Some(feed.ring()),
            _ => None,
        }
    }

    /// Takes over another policy. A destination that was given up is tried again.
    pub(crate) fn set_retry(&mut self, now: Instant, policy: RetryPolicy) {
        if self.backoff.policy() == policy {
            return;
        }
        self.backoff.set_policy(policy);
        if matches!(self.phase, Phase::GivenUp) && self.on_air {
            self.backoff.reset();
            self.resolve(now);
        }
    }

    pub(crate) fn resolved(&mut self, now: Instant, result: Result<Vec<SocketAddr>, String>) {
        if !matches!(self.phase, Phase::Resolving { .. }) {
            return;
        }
        match result {
            Ok(addresses) if !addresses.is_empty() => self.pick(now, &addresses),
            Ok(_) => self.fail(now, "its name has no address: check the host in the URL"),
            Err(reason) => {
                let words =
                    format!("its name does not resolve ({reason}): check the host in the URL");
                self.fail(now, &words);
            }
        }
    }

    /// Something happened on the connection that it made as `dial`.
    pub(crate) fn tcp(&mut self, now: Instant, dial: Dial, event: TcpEvent<'_>) {
        match event {
            TcpEvent::Connected => self.connected(now, dial),
            TcpEvent::Received(bytes) => self.received(now, bytes),
            TcpEvent::Accepted { bytes } => {
                self.totals.bytes_sent += bytes as u64;
                if let Phase::Open { feed, .. } = &mut self.phase {
                    feed.progress.accepted(now, bytes);
                }
            }
            TcpEvent::Info(info) => {
                if let Phase::Open { feed, .. } = &mut self.phase {
                    let news = feed.progress.inspected(now, info);
                    self.totals.acked(now, news);
                    if news > 0 && feed.is_live() {
                        self.live_at = Some(now);
                        if let Some(trouble) = &mut self.trouble {
                            trouble.connected(now);
                        }
                    }
                    self.changed(now);
                }
            }
            TcpEvent::Closed { reason, heals } => self.closed(now, dial, &reason, heals),
        }
    }

    /// New units are in the rings, or room is in the socket. `wanted` is the ring that it shall be
    /// fed from, if that can be had.
    pub(crate) fn feed(&mut self, now: Instant, rings: Rings<'_>, wanted: Option<RingId>) {
        let Phase::Open { client, feed, .. } = &mut self.phase else {
            return;
        };
        let wire = &mut Wire {
            client,
            totals: &mut self.totals,
            outputs: &mut self.outputs,
        };
        feed.run(now, rings, wanted, wire);
        let complaint = feed.take_complaint();
        if feed.is_open_for_media() && feed.progress.wants_inspection(now) {
            self.outputs.push_back(DestinationOutput::Inspect);
        }
        if feed.is_slow()
            && let Some(trouble) = &mut self.trouble
        {
            trouble.persists(now, About::Pace);
        }
        if let Some((about, problem)) = complaint
            && Trouble::note(&mut self.trouble, now, about, problem)
        {
            self.outputs.push_back(DestinationOutput::Changed);
        }
    }

    /// Nothing that is made from the publisher's picture is to be sent any more.
    pub(crate) fn leave_rendition(&mut self, rings: Rings<'_>) {
        if let Phase::Open { feed, .. } = &mut self.phase {
            feed.leave_rendition(rings.source);
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
            Phase::Connecting { .. } => self.dial_timeout(now),
            Phase::Opening { .. } => self.fail(
                now,
                "it accepted the connection but did not answer as an RTMP server: check the port",
            ),
            Phase::Open { feed, .. } if feed.progress.deadline().is_none_or(|at| at > now) => {
                if feed.progress.wants_inspection(now) {
                    self.outputs.push_back(DestinationOutput::Inspect);
                }
            }
            Phase::Open { .. } => {
                self.fail(
                    now,
                    "it took or acknowledged no data for 10 seconds: its network or the server is \
                     stuck",
                );
            }
            Phase::BackingOff { .. } => self.resolve(now),
            Phase::Idle | Phase::Ended | Phase::GivenUp | Phase::Unusable => {}
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Connecting { race } => race.next_timeout(),
            Phase::Resolving { until }
            | Phase::Opening { until, .. }
            | Phase::BackingOff { until } => Some(*until),
            Phase::Open { feed, .. } => {
                let times = [feed.progress.deadline(), feed.progress.next_look()];
                times.into_iter().flatten().min()
            }
            Phase::Idle | Phase::Ended | Phase::GivenUp | Phase::Unusable => None,
        }
    }

    /// Whether [`Self::poll`] has something.
    pub(crate) fn wants_something(&self) -> bool {
        !self.outputs.is_empty()
    }

    pub(crate) fn poll(&mut self) -> Option<DestinationOutput> {
        self.outputs.pop_front()
    }

    /// A wished end: FCUnpublish and deleteStream, then close.
    fn finish(&mut self) {
        match &mut self.phase {
            Phase::Open { client, .. } => {
                self.outputs
                    .push_back(DestinationOutput::Write(vec![client.finish()]));
                self.outputs
                    .push_back(DestinationOutput::Close(None, Close::Flush));
            }
            Phase::Connecting { .. } | Phase::Opening { .. } => {
                self.outputs
                    .push_back(DestinationOutput::Close(None, Close::Abort));
            }
            _ => {}
        }
    }

    fn end_trouble(&mut self, now: Instant) {
        if let Some(trouble) = &mut self.trouble {
            trouble.end(now);
        }
    }

    /// Whatever comes of it is reported.
    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.changed(now);
    }

    fn changed(&mut self, now: Instant) {
        let state = self.state(now);
        if self.reported != Some(state) {
            self.reported = Some(state);
            self.since = now;
            self.outputs.push_back(DestinationOutput::Changed);
        }
    }
}
