//! What ties the parts together: the settings, the catalog, the shards and the signalling hub.
//!
//! Lock order: hub, then wants, then shards, then catalog or sockets. The hub's effects are carried
//! out while it is locked, so that they happen in the order in which it decided them; none of them
//! waits.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant},
};

use shardcast_link::{
    BroadcastId, Command, EndReason, Event, SessionId, ShardHello, ShardStatus, WantedBroadcast,
    WantedDestination,
};
use shardcast_log::{Limiter, outsider};
use tokio::{
    sync::{Notify, Semaphore},
    time::MissedTickBehavior,
};

use crate::{
    clock::{self, ClockWatch},
    drain::Drain,
    lifecycle, limits,
    metrics::Metrics,
    picture, redact,
    settings::{ApplicationSettings, Settings},
    shards::{Commands, Shards},
    signalling::{self, Effect, Eviction, Hub, LastMedia, SocketId, socket::Sockets},
    slates,
    store::{BroadcastRecord, Catalog},
    tasks::Rounds,
    token_expiry,
    webhooks::{self, authenticate::Authenticator},
};

// What anybody outside can cause as often as he likes where tokens are off.
static NO_MEDIA: Limiter = Limiter::refusals();
static REFUSED: Limiter = Limiter::refusals();
static PUBLISHING: Limiter = Limiter::new(limits::SESSION_LINES, limits::SESSION_LINES_EVERY);
static SESSIONS: Limiter = Limiter::new(limits::SESSION_LINES, limits::SESSION_LINES_EVERY);

/// One control process.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) settings: Settings,
    /// A name for logs and session ids, unique per process start.
    pub(crate) instance: String,
    pub(crate) catalog: Catalog,
    pub(crate) shards: Shards,
    pub(crate) sockets: Sockets,
    pub(crate) metrics: Metrics,
    /// Shards that the engine has; the configured number until one has said its own.
    pub(crate) shards_expected: AtomicU64,
    /// When this process began; what was live before is given its hold time from here.
    pub(crate) started_unix_ms: u64,
    /// No new sockets or sessions.
    pub(crate) stopping: AtomicBool,
    pub(crate) drain: Drain,
    /// Told when a webhook is owed.
    pub(crate) webhook_owed: Notify,
    /// Held by who decodes a slate: it may take half a gigabyte.
    pub(crate) slate_decoding: Arc<Semaphore>,
    /// Asks backends before anybody publishes.
    pub(crate) authenticator: Authenticator,
    hub: Mutex<Hub>,
    wants: Mutex<()>,
}

impl Control {
    pub(crate) fn new(settings: Settings, catalog: Catalog) -> Self {
        let instance = format!("{:x}-{:08x}", clock::unix_ms(), rand::random::<u32>());
        let shards_expected = AtomicU64::new(u64::from(settings.engine.shards));
        Self {
            hub: Mutex::new(Hub::new(instance.clone())),
            wants: Mutex::new(()),
            instance,
            catalog,
            shards: Shards::default(),
            sockets: Sockets::default(),
            metrics: Metrics::default(),
            shards_expected,
            started_unix_ms: clock::unix_ms(),
            stopping: AtomicBool::new(false),
            drain: Drain::default(),
            webhook_owed: Notify::new(),
            slate_decoding: Arc::new(Semaphore::new(1)),
            authenticator: Authenticator::new(&settings),
            settings,
        }
    }

    pub(crate) fn application(&self, name: &str) -> Option<&ApplicationSettings> {
        self.settings.application.get(name)
    }

    /// Runs `decide` on the hub and carries out what it decided.
    pub(crate) fn with_hub<R>(&self, decide: impl FnOnce(&mut Hub, &mut Vec<Effect>) -> R) -> R {
        let mut hub = self.lock_hub();
        let mut effects = Vec::new();
        let result = decide(&mut hub, &mut effects);
        self.carry_out(&mut hub, effects);
        result
    }

    /// The last media of `id`, if any is known.
    pub(crate) fn last_media(&self, id: &BroadcastId) -> Option<LastMedia> {
        let reported = self.shards.last_media(id);
        // Between the first media and the first report.
        let seen = || {
            self.shards.media_seen(id).map(|at| LastMedia {
                age_ms: clock::unix_ms().saturating_sub(at),
                from: None,
            })
        };
        reported.or_else(seen)
    }

    fn lock_hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn carry_out(&self, hub: &mut Hub, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { socket, message } => self.sockets.send(socket, &message),
                Effect::Close { socket, code } => self.sockets.close(socket, code),
                Effect::Offer {
                    session,
                    broadcast,
                    sdp,
                    start_timeout_ms,
                } => {
                    self.hand_over(hub, &session, broadcast, sdp, start_timeout_ms);
                }
                Effect::Candidate {
                    session,
                    shard,
                    candidate,
                } => {
                    self.shards
                        .send(shard, Command::Candidate { session, candidate });
                }
                Effect::Renegotiate {
                    session,
                    shard,
                    sdp,
                } => self.renegotiate(hub, &session, shard, sdp),
                Effect::Unpublish { session, shard } => {
                    self.shards.send(shard, Command::Unpublish { session });
                }
                Effect::Started {
                    broadcast,
                    name,
                    meta_data,
                } => {
                    lifecycle::started(self, &broadcast, name, meta_data);
                }
                Effect::Finish { broadcast } => {
                    let now = Instant::now();
                    if lifecycle::is_out_of_hearing(self, now, &broadcast) {
                        hub.end_later(now, broadcast);
                    } else {
                        lifecycle::finish(self, &broadcast);
                    }
                }
                Effect::TimedOut { broadcast } => webhooks::timed_out(self, &broadcast),
            }
        }
    }

    /// The state that the shard of `id` shall bring about.
    pub(crate) fn wanted(&self, id: &BroadcastId) -> WantedBroadcast {
        let mut wanted = WantedBroadcast::new(id.clone());
        let Some(application) = self.application(id.application()) else {
            return wanted;
        };
        wanted.hold_ms = application.hold_ms;
        wanted.keyframe_interval_ms = application.keyframe_interval_ms;
        wanted.rendition_default = picture::rendition_default(&application.encoding);
        if let Some(record) = self.catalog.broadcast(id) {
            wanted.hold_ms = self.hold_ms(&record);
            wanted.destinations = destinations(&record, application);
        }
        wanted.slate = self.catalog.slate(id).map(|slate| slate.name.clone());
        wanted
    }

    /// How long destinations of `record` are held open for a lost publisher.
    pub(crate) fn hold_ms(&self, record: &BroadcastRecord) -> u64 {
        let application = self.application(record.id.application());
        let hold_ms = application.map_or(0, |application| application.hold_ms);
        record.profile.hold_ms.unwrap_or(hold_ms)
    }

    /// What is wanted of `id` has changed: its shard is told, if it has one.
    pub(crate) fn want_again(&self, id: &BroadcastId) {
        let _order = self.order_of_wants();
        if let Some(shard) = self.shards.assignment(id) {
            let broadcast = self.wanted(id);
            self.shards.send(shard, Command::Want { broadcast });
        }
    }

    pub(crate) fn want(&self, shard: u16, id: &BroadcastId) -> bool {
        let _order = self.order_of_wants();
        let broadcast = self.wanted(id);
        self.shards.send(shard, Command::Want { broadcast })
    }

    /// Held from reading what is wanted until it is queued, so that of two the later read is the
    /// one that the shard is left with.
    pub(crate) fn order_of_wants(&self) -> MutexGuard<'_, ()> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends `id` for its publisher and its destinations.
    pub(crate) fn end(&self, id: &BroadcastId, why: Eviction) {
        self.with_hub(|hub, out| hub.evict(id, why, out));
        lifecycle::finish(self, id);
    }

    pub(crate) fn shard_connected(
        &self,
        hello: ShardHello,
        status: ShardStatus,
        engine_pid: Option<i32>,
        commands: Commands,
    ) {
        let shard = hello.shard;
        self.shards_expected.store(
            u64::from(hello.shards.max(1)),
            std::sync::atomic::Ordering::Relaxed,
        );
        tracing::info!(
            shard,
            engine = hello.engine,
            udp_port = hello.udp_port,
            broadcasts = status.broadcasts.len(),
            "shard connected"
        );
        let replaced = self.shards.connected(hello, engine_pid, commands);
        self.with_hub(|hub, out| {
            if replaced {
                tracing::warn!(shard, "the engine is a new one; its sessions are lost");
                hub.engine_replaced(shard, out);
            }
            self.reconcile(hub, shard, &status);
            // Before offers that wait are handed over: whether they may depends on it.
            self.shards.status(shard, status);
            hub.shard_reachable(out);
        });
        slates::bring(self, shard);
    }

    /// Tells a shard what it shall have of what it has.
    fn reconcile(&self, hub: &Hub, shard: u16, status: &ShardStatus) {
        for broadcast in &status.broadcasts {
            let id = &broadcast.id;
            let elsewhere = self
                .shards
                .assignment(id)
                .is_some_and(|other| other != shard);
            let over = self.shards.is_forgotten(id);
            let record = self.catalog.broadcast(id);
            let known = !over && (record.is_some() || hub.is_claimed(id));
            // Media came while no control process was there to hear of it.
            let publishes = broadcast
                .publisher
                .as_ref()
                .is_some_and(|p| p.bytes_received > 0);
            if known && publishes && record.is_some_and(|record| !record.is_live()) {
                lifecycle::started(self, id, String::new(), String::new());
            }
            if known && !elsewhere {
                self.want(shard, id);
            } else {
                tracing::warn!(shard, broadcast = %id, "the shard has a broadcast that is over");
                let broadcast = id.clone();
                self.shards.send(shard, Command::Forget { broadcast });
            }
        }
    }

    pub(crate) fn shard_disconnected(&self, shard: u16) {
        self.shards.disconnected(shard);
    }

    pub(crate) fn shard_event(&self, shard: u16, event: Event) {
        match event {
            Event::Status(status) => {
                for live in &status.broadcasts {
                    webhooks::destinations_reported(self, &live.id, &live.destinations);
                }
                self.shards.status(shard, status);
                slates::bring(self, shard);
            }
            Event::Destination { broadcast, status } => {
                log_destination(&broadcast, &status);
                webhooks::destinations_reported(self, &broadcast, std::slice::from_ref(&status));
                self.shards.destination(shard, &broadcast, status);
            }
            Event::Answer {
                session,
                sdp,
                candidates,
                offers_video,
                offers_audio,
            } => {
                let media = offers_video || offers_audio;
                if !media && let Some(left_out) = NO_MEDIA.admit(Instant::now()) {
                    let why = signalling::NO_MEDIA_OFFERED;
                    tracing::warn!(%session, why, left_out, "a publisher offers no media");
                }
                self.with_hub(|hub, out| hub.answered(&session, sdp, candidates, media, out));
            }
            Event::Refused { session, problem } => {
                if let Some(left_out) = REFUSED.admit(Instant::now()) {
                    let problem = outsider(&problem.message);
                    tracing::warn!(%session, %problem, left_out, "an offer was refused");
                }
                self.with_hub(|hub, out| hub.refused(&session, problem, out));
            }
            Event::NotRenegotiated { session, problem } => {
                tracing::info!(%session, problem = problem.message, "a further offer was refused");
                self.with_hub(|hub, out| hub.not_renegotiated(&session, problem, out));
            }
            Event::Publishing { session, broadcast } => {
                if let Some(left_out) = PUBLISHING.admit(Instant::now()) {
                    tracing::info!(%broadcast, %session, shard, left_out, "publishing");
                }
                self.with_hub(|hub, out| hub.publishing(&session, &broadcast, out));
            }
            Event::Ended {
                session,
                broadcast,
                reason,
            } => self.ended(&session, &broadcast, reason),
            Event::Hello(_) => tracing::warn!(shard, "a second hello is ignored"),
            _ => {}
        }
    }

    fn ended(&self, session: &SessionId, broadcast: &BroadcastId, reason: EndReason) {
        if let Some(left_out) = SESSIONS.admit(Instant::now()) {
            tracing::info!(%broadcast, %session, ?reason, left_out, "session ended");
        }
        self.shards.media_ended(broadcast, session);
        self.with_hub(|hub, out| hub.ended(Instant::now(), session, reason, out));
    }

    /// Runs what becomes due, until the process ends.
    pub(crate) async fn run_deadlines(self: Arc<Self>, rounds: Arc<Rounds>) {
        let mut clock_watch = ClockWatch::new(Instant::now(), clock::unix_s());
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for n in 0u64.. {
            ticks.tick().await;
            rounds.count();
            self.with_hub(|hub, out| {
                let now = Instant::now();
                hub.wait_for_shards(now, |id| lifecycle::is_out_of_hearing(&self, now, id));
                hub.tick(now, out);
                hub.leave_open_while(self.shards.are_silent(now), out);
            });
            if n.is_multiple_of(4) {
                self.with_hub(|hub, _| lifecycle::sweep(&self, hub));
            }
            if n.is_multiple_of(240) {
                let unix_s = clock::unix_s();
                let steady_for = clock_watch.steady_for(Instant::now(), unix_s);
                token_expiry::sweep(&self.catalog, unix_s, steady_for);
            }
        }
    }

    /// Takes a socket into the hub.
    pub(crate) fn socket_opened(&self, socket: SocketId, client: signalling::Client) {
        self.with_hub(|hub, _| hub.socket_opened(Instant::now(), socket, client));
    }

    pub(crate) fn socket_closed(&self, socket: SocketId) {
        self.with_hub(|hub, _| hub.socket_closed(Instant::now(), socket));
    }
}

fn destinations(
    record: &BroadcastRecord,
    application: &ApplicationSettings,
) -> Vec<WantedDestination> {
    let retry = application.retry_policy();
    let destination = |endpoint: &crate::store::EndpointRecord| WantedDestination {
        id: endpoint.id.clone(),
        url: endpoint.url.clone(),
        retry: endpoint.retry.map_or(retry, |own| own.over(retry)),
        picture: endpoint.picture.over(&application.encoding),
    };
    record.endpoints().iter().map(destination).collect()
}

fn log_destination(broadcast: &BroadcastId, status: &shardcast_link::DestinationStatus) {
    let problem = status
        .last_problem
        .as_ref()
        .map(|problem| redact::text(&problem.message));
    tracing::info!(
        %broadcast,
        destination = %status.id,
        state = ?status.state,
        attempts = status.attempts,
        problem,
        "destination"
    );
}
