//! The shards as control sees them: which are reachable, what they reported last, which broadcast
//! is assigned to which.

mod cost;
mod placement;
mod placing;
mod reservations;
mod transcode_admission;
mod view;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use shardcast_link::{
    BroadcastId, BroadcastStatus, Command, DestinationStatus, SessionId, ShardHello, ShardStatus,
};

pub(crate) use cost::{Cost, ExpectedLoad};
pub(crate) use placing::{Placed, PlacementRefusal, Room};
pub(crate) use transcode_admission::{RenditionDelta, TranscodeRefusal};
pub(crate) use view::{Commands, ShardView};

use self::reservations::Reservations;
use crate::{
    limits,
    publishing::LastMedia,
    store::{ShardRecord, SlateRecord},
};

/// All shards. Every method is short and never waits.
#[derive(Debug, Default)]
pub(crate) struct Shards {
    inner: Mutex<Inner>,
    /// Shard 0's socket refused the last connection.
    absent: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    shards: BTreeMap<u16, ShardView>,
    /// Recorded when a broadcast is placed; sticky until it is over.
    assignments: HashMap<BroadcastId, u16>,
    reservations: Reservations,
    /// What the operator has said; of other shards it is what they say themselves.
    policies: BTreeMap<u16, ShardRecord>,
    /// Broadcasts that ended while their shard was unreachable.
    forget_later: HashSet<BroadcastId>,
    /// When each shard was last heard, with a hello, a report or anything else.
    heard: HashMap<u16, Heard>,
    /// When a broadcast's media was last known to flow, in Unix milliseconds.
    media_seen: HashMap<BroadcastId, u64>,
}

/// When a shard was heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    last: Instant,
    /// Since then without a pause of [`limits::SHARD_SILENCE_MAX`].
    since: Instant,
}

impl Shards {
    /// Bytes have come from `shard`.
    pub(crate) fn heard(&self, now: Instant, shard: u16) {
        let mut inner = self.lock();
        let first = Heard {
            last: now,
            since: now,
        };
        let heard = inner.heard.entry(shard).or_insert(first);
        if now.saturating_duration_since(heard.last) > limits::SHARD_SILENCE_MAX {
            heard.since = now;
        }
        heard.last = now;
    }

    /// When each shard was last heard.
    pub(crate) fn last_heard(&self) -> HashMap<u16, Instant> {
        let inner = self.lock();
        let last = |(shard, heard): (&u16, &Heard)| (*shard, heard.last);
        inner.heard.iter().map(last).collect()
    }

    /// The engine is another one from now on.
    pub(crate) fn forget_heard(&self) {
        self.lock().heard.clear();
    }

    /// For how long the shard of `id` has been heard without a pause; of one without a shard, any
    /// shard. `None`: it is silent now, so the state of `id` is unknown.
    pub(crate) fn heard_for(&self, now: Instant, id: &BroadcastId) -> Option<Duration> {
        let inner = self.lock();
        let for_how_long = |heard: &Heard| {
            let silent = now.saturating_duration_since(heard.last);
            (silent <= limits::SHARD_SILENCE_MAX)
                .then(|| now.saturating_duration_since(heard.since))
        };
        match inner.assignments.get(id) {
            Some(shard) => inner.heard.get(shard).and_then(for_how_long),
            None => inner.heard.values().filter_map(for_how_long).max(),
        }
    }

    /// Whether shards have been heard before and none is now.
    pub(crate) fn are_silent(&self, now: Instant) -> bool {
        let inner = self.lock();
        let is_silent =
            |heard: &Heard| now.saturating_duration_since(heard.last) > limits::SHARD_SILENCE_MAX;
        !inner.heard.is_empty() && inner.heard.values().all(is_silent)
    }

    /// Shards that are connected and silent, with the seconds since they were heard.
    pub(crate) fn silent(&self, now: Instant) -> Vec<(u16, u64)> {
        let inner = self.lock();
        let connected = inner.shards.iter().filter(|(_, view)| view.is_connected());
        let silent = connected.filter_map(|(shard, _)| {
            let since = now.saturating_duration_since(inner.heard.get(shard)?.last);
            (since > limits::SHARD_SILENCE_MAX).then_some((*shard, since.as_secs()))
        });
        silent.collect()
    }

    /// The shard has sent its hello and a report. Returns whether it belongs to another engine
    /// process than before.
    pub(crate) fn connected(
        &self,
        hello: ShardHello,
        engine_pid: Option<i32>,
        commands: Commands,
    ) -> bool {
        let mut inner = self.lock();
        let shard = hello.shard;
        let before = inner
            .shards
            .get(&shard)
            .map(|view| view.hello.engine.clone());
        let replaced = before.is_some_and(|engine| engine != hello.engine);
        inner
            .shards
            .insert(shard, ShardView::new(hello, engine_pid, commands));
        if replaced {
            inner.assignments.retain(|_, assigned| *assigned != shard);
        }
        replaced
    }

    /// Whether there is no engine: known only after the first attempt to reach it.
    pub(crate) fn is_absent(&self) -> bool {
        self.absent.load(Ordering::Relaxed)
    }

    pub(crate) fn set_absent(&self, absent: bool) {
        self.absent.store(absent, Ordering::Relaxed);
    }

    pub(crate) fn disconnected(&self, shard: u16) {
        if let Some(view) = self.lock().shards.get_mut(&shard) {
            view.disconnect();
        }
    }

    pub(crate) fn status(&self, shard: u16, status: ShardStatus) {
        let mut inner = self.lock();
        let now_unix_ms = crate::clock::unix_ms();
        let mut flowing = Vec::new();
        for broadcast in &status.broadcasts {
            inner
                .assignments
                .entry(broadcast.id.clone())
                .or_insert(shard);
            if let Some(publisher) = broadcast.publisher.as_ref().filter(|_| !broadcast.holding) {
                let seen = now_unix_ms.saturating_sub(publisher.media_age_ms);
                flowing.push((broadcast.id.clone(), seen));
            }
        }
        inner.media_seen.extend(flowing);
        if let Some(view) = inner.shards.get_mut(&shard) {
            view.report(status);
        }
    }

    pub(crate) fn destination(&self, shard: u16, id: &BroadcastId, status: DestinationStatus) {
        if let Some(view) = self.lock().shards.get_mut(&shard) {
            view.destination(id, status);
        }
    }

    /// Queues a command. `false`: the shard cannot be reached; it is brought up to date when it
    /// can.
    pub(crate) fn send(&self, shard: u16, command: Command) -> bool {
        let mut inner = self.lock();
        let Some(view) = inner.shards.get_mut(&shard) else {
            return false;
        };
        let Some(commands) = view.commands.as_ref() else {
            return false;
        };
        let sent = commands.queue.try_send(command).is_ok();
        if !sent {
            // One command less, and what the shard has is no longer what is wanted.
            tracing::warn!(shard, "the shard does not take commands; its link is cut");
            commands.broken.notify_one();
            view.disconnect();
        }
        sent
    }

    pub(crate) fn assignment(&self, id: &BroadcastId) -> Option<u16> {
        self.lock().assignments.get(id).copied()
    }

    /// The broadcast is over: its shard forgets it, now or when it can be reached again.
    pub(crate) fn forget(&self, id: &BroadcastId) {
        if let Some(shard) = self.assignment(id) {
            let sent = self.send(
                shard,
                Command::Forget {
                    broadcast: id.clone(),
                },
            );
            if !sent {
                self.lock().forget_later.insert(id.clone());
            }
        }
        let mut inner = self.lock();
        let inner = &mut *inner;
        let assigned = inner.assignments.remove(id);
        if let Some(view) = assigned.and_then(|shard| inner.shards.get_mut(&shard)) {
            view.forget(id);
        }
        inner.media_seen.remove(id);
        inner.reservations.remove(id);
    }

    /// Whether `id` has ended while its shard was unreachable; true once.
    pub(crate) fn is_forgotten(&self, id: &BroadcastId) -> bool {
        self.lock().forget_later.remove(id)
    }

    /// Drops assignments of broadcasts that no shard has and for which `is_used` does not hold,
    /// and returns those that a shard still has though they are unused.
    pub(crate) fn unused(&self, is_used: impl Fn(&BroadcastId) -> bool) -> Vec<BroadcastId> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut idle = Vec::new();
        inner.assignments.retain(|id, shard| {
            let held = inner
                .shards
                .get(shard)
                .and_then(|view| view.broadcasts.get(id));
            let Some(status) = held else {
                return is_used(id);
            };
            if status.publisher.is_none() && !status.holding && !is_used(id) {
                idle.push(id.clone());
            }
            true
        });
        idle
    }

    /// Slates that `shard` lacks of the broadcasts that it has, to be sent now.
    pub(crate) fn slates_due(
        &self,
        shard: u16,
        wanted: impl Fn(&BroadcastId) -> Option<Arc<SlateRecord>>,
    ) -> Vec<Arc<SlateRecord>> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let assigned = |id: &BroadcastId| inner.assignments.get(id) == Some(&shard);
        let view = inner.shards.get_mut(&shard);
        let Some(view) = view.filter(|view| view.is_connected()) else {
            return Vec::new();
        };
        view.slates_due(|id| wanted(id).filter(|_| assigned(id)))
    }

    /// Lets renditions of `id` in, if its shard has room for them. Without a shard there is nothing
    /// to ask yet.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn admit(
        &self,
        id: &BroadcastId,
        delta: &RenditionDelta,
    ) -> Result<(), TranscodeRefusal> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let assigned = inner.assignments.get(id);
        match assigned.and_then(|shard| inner.shards.get_mut(shard)) {
            Some(view) => view.admit(id, delta),
            None => Ok(()),
        }
    }

    /// What the shard that has `id` reported of it.
    pub(crate) fn broadcast(&self, id: &BroadcastId) -> Option<BroadcastStatus> {
        let inner = self.lock();
        inner.find(id).cloned()
    }

    /// Whether the shard that has `id` keeps its destinations open for a lost publisher.
    pub(crate) fn is_holding(&self, id: &BroadcastId) -> bool {
        self.lock().find(id).is_some_and(|status| status.holding)
    }

    /// The last media of `id`, when a shard has a publisher for it.
    pub(crate) fn last_media(&self, id: &BroadcastId) -> Option<LastMedia> {
        let inner = self.lock();
        let publisher = inner.find(id)?.publisher.as_ref()?;
        let from = publisher.remote.parse::<SocketAddr>();
        Some(LastMedia {
            // The report itself is up to a second old; a flowing stream is younger than that.
            age_ms: publisher.media_age_ms,
            from: from.ok().map(|from| from.ip().to_canonical()),
        })
    }

    /// `session` has ended: what the last report shows of its media is stale.
    pub(crate) fn media_ended(&self, id: &BroadcastId, session: &SessionId) {
        let mut inner = self.lock();
        let assigned = inner.assignments.get(id).copied();
        let publisher = assigned
            .and_then(|shard| inner.shards.get_mut(&shard))
            .and_then(|view| view.broadcasts.get_mut(id))
            .and_then(|broadcast| broadcast.publisher.as_mut());
        if let Some(publisher) = publisher.filter(|publisher| publisher.session == *session) {
            publisher.media_age_ms = publisher.media_age_ms.max(limits::MEDIA_STALE_MS + 1);
        }
    }

    /// When media of `id` was last known to flow, in Unix milliseconds.
    pub(crate) fn media_seen(&self, id: &BroadcastId) -> Option<u64> {
        self.lock().media_seen.get(id).copied()
    }

    /// Media of `id` flows now.
    pub(crate) fn media_flows(&self, id: &BroadcastId) {
        self.lock()
            .media_seen
            .insert(id.clone(), crate::clock::unix_ms());
    }

    /// Calls `read` with every shard, by number.
    pub(crate) fn each(&self, mut read: impl FnMut(u16, &ShardView)) {
        for (shard, view) in &self.lock().shards {
            read(*shard, view);
        }
    }

    /// A shard that can be reached now.
    pub(crate) fn any_connected(&self) -> Option<u16> {
        let shards = &self.lock().shards;
        let mut connected = shards.iter().filter(|(_, view)| view.is_connected());
        connected.next().map(|(shard, _)| *shard)
    }

    /// Shards that can be reached now.
    pub(crate) fn connected_count(&self) -> usize {
        self.lock()
            .shards
            .values()
            .filter(|view| view.is_connected())
            .count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn find(&self, id: &BroadcastId) -> Option<&BroadcastStatus> {
        let assigned = self.assignments.get(id)?;
        self.shards.get(assigned)?.broadcasts.get(id)
    }
}
