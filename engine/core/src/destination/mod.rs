//! A destination: one RTMP server that a broadcast is sent to, with its own state machine, cursor, timers
//! and verdict.
//!
//! ```text
//!  Idle ─► Resolving ─► Connecting ─► Handshaking ─► Publishing ─► Live ⇄ Holding
//!              │             │              │             │        Stalled
//!              └─────────────┴──────┬───────┴─────────────┴──────────┘ a failure
//!                                   └─► BackingOff ─► Resolving …
//!  Ended: on request, from anywhere  └─► GivenUp: the policy allows no more retries
//! ```
//!
//! A destination takes units from the broadcast's ring at its own pace and has a bounded number of
//! bytes outstanding; a failure of one never delays another. Unless its policy limits retries it never
//! gives up by itself: a failure that only its owner can repair (a refused stream key) is retried seldom
//! instead.

mod backoff;
mod burst;
mod connect;
mod failure;
mod feed;
#[cfg(test)]
mod feed_tests;
mod liveness;
mod metadata;
mod phase;
mod player;
mod race;
mod report;
mod switch;
mod verdict;

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Instant,
};

use shardcast_link::{
    DestinationId, DestinationState, RetryPolicy, VideoSettings, WantedDestination,
    rtmp_url::is_same_destination,
};

pub(crate) use self::player::{PlayOffer, Player};
use self::{
    backoff::Backoff,
    connect::Route,
    feed::Wire,
    phase::Phase,
    report::Totals,
    verdict::{About, Verdict},
};
use crate::{
    broadcast::renditions::Rings,
    broadcast::renditions::VideoSelector,
    broadcast::ring::RingId,
    codec::AudioCodec,
    context::{Context, TimerKey},
    ids::{BroadcastKey, ConnId, DestinationKey, LookupId},
    io::{Close, Output, TcpEvent},
    rtmp::{Platform, RtmpUrl},
    timers::LazyTimer,
};
pub use shardcast_link::AddressRules;

/// What a destination asks of its broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// It waits for a keyframe to begin with.
    pub(crate) keyframe: bool,
    /// Its state or its verdict has changed: control is to be sent its status.
    pub(crate) report: bool,
}

#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) id: DestinationId,
    broadcast: BroadcastKey,
    key: DestinationKey,
    url_text: String,
    url: Option<RtmpUrl>,
    platform: &'static Platform,
    pub(crate) video: VideoSelector,
    /// What the last connection was sent audio in; AAC from the beginning where nothing else is possible.
    audio: Option<AudioCodec>,
    /// Its server did not take the last `connect` that offered Opus, so the next offers none.
    plain: bool,
    rules: Rc<AddressRules>,
    /// Where the last attempt led.
    route: Option<Route>,
    /// The address at which the stream was taken last, which is tried first.
    winner: Option<IpAddr>,
    /// Connections made and names looked up so far: the number of the next.
    dials: u64,
    lookups: u64,
    phase: Phase,
    on_air: bool,
    /// The publisher was lost and is waited for.
    holding: bool,
    backoff: Backoff,
    attempts: u32,
    verdict: Option<Verdict>,
    /// When media was last known to arrive there.
    live_at: Option<Instant>,
    since: Instant,
    reported: Option<DestinationState>,
    totals: Totals,
    /// Each write moves its deadlines.
    timer: LazyTimer,
    requests: Requests,
}

impl Destination {
    pub(crate) fn new(
        ctx: &mut Context,
        broadcast: BroadcastKey,
        wanted: &WantedDestination,
    ) -> Self {
        let key = DestinationKey(ctx.ids.next());
        let mut destination = Self {
            id: wanted.id.clone(),
            broadcast,
            key,
            url_text: wanted.url.clone(),
            url: None,
            platform: Platform::generic(),
            video: VideoSelector::new(wanted.video, Platform::generic()),
            audio: None,
            plain: false,
            rules: Rc::clone(&ctx.address_rules),
            route: None,
            winner: None,
            dials: 0,
            lookups: 0,
            phase: Phase::Idle,
            on_air: false,
            holding: false,
            backoff: Backoff::new(wanted.retry, ctx.seed ^ key.0),
            attempts: 0,
            verdict: None,
            live_at: None,
            since: ctx.now,
            reported: None,
            totals: Totals::default(),
            timer: LazyTimer::default(),
            requests: Requests::default(),
        };
        match RtmpUrl::parse(&wanted.url) {
            Ok(url) => {
                destination.platform = Platform::of(url.host());
                destination.audio = (!destination.platform.opus).then_some(AudioCodec::Aac);
                destination.video = VideoSelector::new(wanted.video, destination.platform);
                destination.url = Some(url);
            }
            Err(error) => destination.unusable(ctx.now, &error.to_string()),
        }
        destination
    }

    pub(crate) fn key(&self) -> DestinationKey {
        self.key
    }

    /// Whether `conn` is open or being made for it.
    #[cfg(feature = "simulation")]
    pub(crate) fn owns(&self, conn: ConnId) -> bool {
        self.phase.owns(conn)
    }

    /// Connections that are open or being made.
    #[cfg(feature = "simulation")]
    pub(crate) fn connections(&self) -> usize {
        match &self.phase {
            Phase::Connecting { race } => race.making().count(),
            Phase::Opening { .. } | Phase::Open { .. } => 1,
            _ => 0,
        }
    }

    /// Whether it waits for this look-up.
    #[cfg(feature = "simulation")]
    pub(crate) fn awaits(&self, lookup: LookupId) -> bool {
        matches!(self.phase, Phase::Resolving { lookup: asked, .. } if asked == lookup)
    }

    /// Whether this is the destination for `url`, however that is written.
    pub(crate) fn is_for(&self, url: &str) -> bool {
        is_same_destination(&self.url_text, url)
    }

    /// The broadcast has gone on or off air. Off air, the stream is ended properly.
    pub(crate) fn set_on_air(&mut self, ctx: &mut Context, on_air: bool) {
        if self.on_air == on_air {
            return;
        }
        self.on_air = on_air;
        self.video.reset(self.platform);
        if on_air {
            self.backoff.reset();
            self.attempts = 0;
            if matches!(self.phase, Phase::Idle | Phase::Ended | Phase::GivenUp) {
                self.resolve(ctx);
            }
        } else {
            self.shut_down(ctx);
            if !matches!(self.phase, Phase::Unusable) {
                self.end_verdict(ctx.now);
                self.enter(ctx.now, Phase::Ended);
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

    /// The destination is no longer wanted: its stream is ended properly, and nothing more comes of it.
    pub(crate) fn remove(&mut self, ctx: &mut Context) {
        self.shut_down(ctx);
        self.on_air = false;
        self.end_verdict(ctx.now);
        self.enter(ctx.now, Phase::Ended);
        debug_assert!(self.next_timeout().is_none(), "it was removed and waits");
        let timer = TimerKey::Destination(self.broadcast, self.key);
        ctx.timers.set(timer, None);
    }

    /// Takes over other video settings.
    pub(crate) fn set_video(&mut self, wanted: VideoSettings) {
        self.video.want(wanted, self.platform);
    }

    /// Whether it is sent media, or will be by itself.
    pub(crate) fn takes_media(&self) -> bool {
        !matches!(self.phase, Phase::Ended | Phase::GivenUp | Phase::Unusable)
    }

    /// What it takes audio in: what its server said last. `None` while that has said nothing.
    pub(crate) fn audio(&self) -> Option<AudioCodec> {
        self.audio.filter(|_| self.takes_media())
    }

    /// The ring that it is fed from; `None` while nothing is sent.
    pub(crate) fn ring(&self) -> Option<RingId> {
        match &self.phase {
            Phase::Open { feed, .. } if feed.is_open_for_media() => Some(feed.ring()),
            _ => None,
        }
    }

    /// Takes over another policy. A destination that was given up is tried again.
    pub(crate) fn set_retry(&mut self, ctx: &mut Context, policy: RetryPolicy) {
        if self.backoff.policy() == policy {
            return;
        }
        self.backoff.set_policy(policy);
        if matches!(self.phase, Phase::GivenUp) && self.on_air {
            self.backoff.reset();
            self.resolve(ctx);
        }
    }

    /// The answer to a look-up. One that is no longer waited for is passed over.
    pub(crate) fn resolved(
        &mut self,
        ctx: &mut Context,
        lookup: LookupId,
        result: Result<Vec<SocketAddr>, String>,
    ) {
        if !matches!(self.phase, Phase::Resolving { lookup: asked, .. } if asked == lookup) {
            return;
        }
        match result {
            Ok(addresses) if !addresses.is_empty() => self.pick(ctx, &addresses),
            Ok(_) => self.fail(ctx, "its name has no address: check the host in the URL"),
            Err(reason) => {
                let words =
                    format!("its name does not resolve ({reason}): check the host in the URL");
                self.fail(ctx, &words);
            }
        }
    }

    /// Something happened on a connection. One that was left is passed over.
    pub(crate) fn tcp(&mut self, ctx: &mut Context, conn: ConnId, event: TcpEvent<'_>) {
        if !self.phase.owns(conn) {
            return;
        }
        let now = ctx.now;
        match event {
            TcpEvent::Connected => self.connected(ctx, conn),
            TcpEvent::Received(bytes) => self.received(ctx, bytes),
            TcpEvent::Accepted { bytes } => {
                self.totals.bytes_sent += bytes as u64;
                if let Phase::Open { feed, .. } = &mut self.phase {
                    feed.liveness.accepted(now, bytes);
                }
            }
            TcpEvent::Info(info) => {
                if let Phase::Open { feed, .. } = &mut self.phase {
                    let news = feed.liveness.inspected(now, info);
                    self.totals.acked(now, news);
                    if news > 0 && feed.is_live() {
                        self.live_at = Some(now);
                        if let Some(verdict) = &mut self.verdict {
                            verdict.connected(now);
                        }
                    }
                    self.changed(now);
                }
            }
            TcpEvent::Closed { reason, retryable } => self.closed(ctx, conn, &reason, retryable),
        }
    }

    /// It waits for room in the socket.
    pub(crate) fn is_full(&self) -> bool {
        matches!(&self.phase, Phase::Open { feed, .. } if feed.liveness.is_full())
    }

    /// New units are in the rings, or room is in the socket. `wanted` is the ring that it shall be
    /// fed from, if that can be had.
    pub(crate) fn feed(&mut self, ctx: &mut Context, rings: Rings<'_>, wanted: Option<RingId>) {
        let now = ctx.now;
        let Phase::Open {
            conn, client, feed, ..
        } = &mut self.phase
        else {
            return;
        };
        let conn = *conn;
        let wire = &mut Wire {
            conn,
            writer: client.writer(),
            totals: &mut self.totals,
            outputs: &mut ctx.outputs,
            copied_bytes: &mut ctx.counters.payload_copied_bytes,
        };
        feed.run(now, rings, wanted, wire);
        self.requests.keyframe |= feed.take_keyframe_wanted();
        let complaint = feed.take_complaint();
        if feed.is_open_for_media() && feed.liveness.wants_inspection(now) {
            ctx.output(Output::Inspect { conn });
        }
        if feed.is_slow()
            && let Some(verdict) = &mut self.verdict
        {
            verdict.persists(now, About::Pace);
        }
        if let Some((about, problem)) = complaint
            && Verdict::note(&mut self.verdict, now, about, problem)
        {
            self.requests.report = true;
        }
    }

    /// Nothing that is made from the publisher's video is to be sent any more.
    pub(crate) fn leave_rendition(&mut self, rings: Rings<'_>) {
        if let Phase::Open { feed, .. } = &mut self.phase {
            feed.leave_rendition(rings.source, rings.source_facts);
        }
    }

    pub(crate) fn timeout(&mut self, ctx: &mut Context) {
        let now = ctx.now;
        self.timer.fired();
        if self.next_timeout().is_none_or(|at| at > now) {
            return;
        }
        match &mut self.phase {
            Phase::Resolving { .. } => {
                self.fail(
                    ctx,
                    "its name was not resolved in time: check the host and this machine's DNS",
                );
            }
            Phase::Connecting { .. } => self.dial_timeout(ctx),
            Phase::Opening { .. } => self.fail(
                ctx,
                "it accepted the connection but did not answer as an RTMP server: check the port",
            ),
            Phase::Open { conn, feed, .. }
                if feed.liveness.deadline().is_none_or(|at| at > now) =>
            {
                if feed.liveness.wants_inspection(now) {
                    ctx.output(Output::Inspect { conn: *conn });
                }
            }
            Phase::Open { .. } => {
                self.fail(
                    ctx,
                    "it took or acknowledged no data for 10 seconds: its network or the server is \
                     stuck",
                );
            }
            Phase::BackingOff { .. } => self.resolve(ctx),
            Phase::Idle | Phase::Ended | Phase::GivenUp | Phase::Unusable => {}
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Connecting { race } => race.next_timeout(),
            Phase::Resolving { until, .. }
            | Phase::Opening { until, .. }
            | Phase::BackingOff { until } => Some(*until),
            Phase::Open { feed, .. } => {
                let times = [feed.liveness.deadline(), feed.liveness.next_look()];
                times.into_iter().flatten().min()
            }
            Phase::Idle | Phase::Ended | Phase::GivenUp | Phase::Unusable => None,
        }
    }

    /// Sets its timer, and gives back what it asks of its broadcast; once.
    pub(crate) fn flush(&mut self, ctx: &mut Context) -> Requests {
        let deadline = self.next_timeout();
        if let Some(at) = self.timer.nearer(deadline) {
            let timer = TimerKey::Destination(self.broadcast, self.key);
            ctx.timers.set(timer, Some(at));
        }
        std::mem::take(&mut self.requests)
    }

    /// A requested end: FCUnpublish and deleteStream, then close.
    fn shut_down(&mut self, ctx: &mut Context) {
        if let Phase::Open { conn, client, .. } = &mut self.phase {
            let (conn, slices) = (*conn, vec![client.finish()]);
            ctx.output(Output::Write { conn, slices });
            let how = Close::Flush;
            ctx.output(Output::Close { conn, how });
        } else {
            self.abort(ctx);
        }
    }

    /// Closes what is open or being made, whatever is still to be written.
    fn abort(&self, ctx: &mut Context) {
        let how = Close::Abort;
        match &self.phase {
            Phase::Connecting { race } => {
                for conn in race.making() {
                    ctx.output(Output::Close { conn, how });
                }
            }
            Phase::Opening { conn, .. } | Phase::Open { conn, .. } => {
                ctx.output(Output::Close { conn: *conn, how });
            }
            _ => {}
        }
    }

    fn end_verdict(&mut self, now: Instant) {
        if let Some(verdict) = &mut self.verdict {
            verdict.end(now);
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
            self.requests.report = true;
        }
    }
}
