//! Gives broadcasts their shards: when they are published, and before, by reservation. Both decide and
//! record under one lock, so that a broadcast has one shard whichever comes first.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use shardcast_link::BroadcastId;

use super::{
    Inner, ShardView, Shards,
    cost::{self, Cost, ExpectedLoad},
    placement::{self, Member},
    reservations::Reservation,
};
use crate::{clock, limits, store::ShardRecord};

/// Why a broadcast is not placed. The operator's, or the load's; the client asks again later or
/// elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlacementRefusal {
    #[error("this server drains: it takes nothing new")]
    Draining,
    #[error("no shard is reachable: the engine is starting or away")]
    NoShard,
    #[error(
        "every reachable shard drains or has weight 0; an operator changes that with PATCH /shards/{{n}}"
    )]
    ShardsDraining,
    #[error("no shard has room for this load: ask for less, end something, or add cores")]
    Full,
    #[error(
        "there are {} reservations, the most that are kept",
        limits::RESERVATIONS_MAX
    )]
    TooMany(Duration),
}

impl PlacementRefusal {
    /// For metrics, in the order of [`PlacementRefusal::word`].
    pub(crate) const WORDS: [&'static str; 5] = [
        "draining",
        "no_shard",
        "shards_draining",
        "full",
        "too_many",
    ];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Draining => 0,
            Self::NoShard => 1,
            Self::ShardsDraining => 2,
            Self::Full => 3,
            Self::TooMany(_) => 4,
        }
    }

    /// For programs.
    pub(crate) fn word(self) -> &'static str {
        Self::WORDS.get(self.index()).copied().unwrap_or_default()
    }

    /// When to ask again.
    pub(crate) fn retry_after(self) -> Duration {
        match self {
            Self::NoShard => Duration::from_secs(1),
            Self::Full => Duration::from_secs(10),
            Self::Draining | Self::ShardsDraining => Duration::from_secs(60),
            Self::TooMany(wait) => wait.max(Duration::from_secs(1)),
        }
    }
}

/// Where a broadcast lives or will live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) reservation: Reservation,
    pub(crate) udp_port: u16,
    /// It is on its shard already.
    pub(crate) is_assigned: bool,
}

/// What placement knows of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// In force: the operator's, or the shard's own.
    pub(crate) weight: u32,
    pub(crate) draining: bool,
    /// In use or promised.
    pub(crate) used: Cost,
    pub(crate) capacity: Cost,
}

impl Shards {
    /// The reachable shard that has `id` or shall have it; the assignment is recorded. What is
    /// published is not refused for lack of room, which is an estimate.
    pub(crate) fn place(&self, id: &BroadcastId) -> Option<u16> {
        let mut inner = self.lock();
        if let Some(shard) = inner.own_shard(id) {
            return Some(shard);
        }
        inner.expire(Instant::now());
        let shard = match inner.promised_shard(id) {
            Some(shard) => shard,
            None => inner.choose(id, &ExpectedLoad::default())?.0,
        };
        inner.assignments.insert(id.clone(), shard);
        inner.forget_later.remove(id);
        inner.reservations.moved(id, shard);
        Some(shard)
    }

    /// Whether shards are reachable and none takes `id`: they drain, and it is on none of them.
    pub(crate) fn refuse(&self, id: &BroadcastId) -> bool {
        let mut inner = self.lock();
        inner.expire(Instant::now());
        let has_one = inner.own_shard(id).or(inner.promised_shard(id)).is_some();
        let mut connected = inner.shards.iter().filter(|(_, view)| view.is_connected());
        let is_closed = |shard: u16, view: &ShardView| {
            let policy = inner.policy(shard);
            policy.draining || policy.weight.unwrap_or(view.hello.capacity) == 0
        };
        !has_one
            && connected.clone().next().is_some()
            && connected.all(|(shard, view)| is_closed(*shard, view))
    }

    /// Promises a shard to `id` for `hold` from `now`; one that it has stays. Says whether that is
    /// its first reservation.
    ///
    /// # Errors
    /// When no shard takes it.
    pub(crate) fn reserve(
        &self,
        now: Instant,
        id: &BroadcastId,
        load: ExpectedLoad,
        hold: Duration,
    ) -> Result<(Placed, bool), PlacementRefusal> {
        let mut inner = self.lock();
        inner.expire(now);
        let known = inner.reservations.of(id).map(|known| known.id.clone());
        if known.is_none() && inner.reservations.is_full() {
            let assigned = &inner.assignments;
            let wait = inner
                .reservations
                .next_end(now, |id| assigned.contains_key(id));
            return Err(PlacementRefusal::TooMany(wait.unwrap_or_default()));
        }
        let shard = inner.shard_for(id, &load)?;
        let is_first = known.is_none();
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        inner.reservations.put(Reservation {
            id: known.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>())),
            broadcast: id.clone(),
            shard,
            load,
            until: now + hold,
            until_unix_ms: clock::unix_ms().saturating_add(hold_ms),
        });
        let reservation = inner.reservations.of(id).cloned();
        let placed = reservation.map(|reservation| inner.placed(reservation));
        placed
            .map(|placed| (placed, is_first))
            .ok_or(PlacementRefusal::NoShard)
    }

    /// The shard and UDP port that `id` would be promised now.
    ///
    /// # Errors
    /// When no shard takes it.
    pub(crate) fn what_if(
        &self,
        now: Instant,
        id: &BroadcastId,
        load: &ExpectedLoad,
    ) -> Result<(u16, u16), PlacementRefusal> {
        let mut inner = self.lock();
        inner.expire(now);
        let shard = inner.shard_for(id, load)?;
        let view = inner.shards.get(&shard);
        Ok((shard, view.map_or(0, |view| view.hello.udp_port)))
    }

    /// The reservation `placement`.
    pub(crate) fn reservation(&self, now: Instant, placement: &str) -> Option<Placed> {
        let mut inner = self.lock();
        inner.expire(now);
        let reservation = inner.reservations.find(placement).cloned();
        reservation.map(|reservation| inner.placed(reservation))
    }

    /// Of all reservations `size` from `offset` on, by broadcast; and how many there are.
    pub(crate) fn reservations(
        &self,
        now: Instant,
        offset: usize,
        size: usize,
    ) -> (Vec<Placed>, usize) {
        let mut inner = self.lock();
        inner.expire(now);
        let mut all: Vec<&Reservation> = inner.reservations.each().collect();
        all.sort_by(|a, b| a.broadcast.cmp(&b.broadcast));
        let page = all.iter().skip(offset).take(size);
        let page = page.map(|one| inner.placed((*one).clone())).collect();
        (page, all.len())
    }

    /// Gives the reservation `placement` up; a broadcast that is there stays. Says whether there was
    /// one.
    pub(crate) fn cancel(&self, now: Instant, placement: &str) -> bool {
        let mut inner = self.lock();
        inner.expire(now);
        let broadcast = inner.reservations.find(placement);
        let Some(broadcast) = broadcast.map(|one| one.broadcast.clone()) else {
            return false;
        };
        inner.reservations.remove(&broadcast).is_some()
    }

    /// What the operator has said of shards, from the store.
    pub(crate) fn set_policies(&self, policies: Vec<ShardRecord>) {
        let policies = policies.into_iter().map(|policy| (policy.shard, policy));
        self.lock().policies = policies.collect();
    }

    /// Changes what is said of `shard`; `store` is called under the lock, so that the store is left
    /// with the later of two. `None`: no such shard has been reached.
    pub(crate) fn change_policy<R>(
        &self,
        shard: u16,
        change: impl FnOnce(&mut ShardRecord),
        store: impl FnOnce(ShardRecord) -> R,
    ) -> Option<R> {
        let mut inner = self.lock();
        inner.shards.get(&shard)?;
        let mut policy = inner.policy(shard);
        change(&mut policy);
        inner.policies.insert(shard, policy);
        Some(store(policy))
    }

    /// What placement knows of each shard that has ever been reached.
    pub(crate) fn rooms(&self, now: Instant) -> BTreeMap<u16, Room> {
        let mut inner = self.lock();
        inner.expire(now);
        let used = inner.used();
        let of = |(shard, view): (&u16, &ShardView)| (*shard, inner.room(*shard, view, &used));
        inner.shards.iter().map(of).collect()
    }

    /// The assignment of `id`, if it has one, and all shards that take broadcasts in its hash order.
    pub(crate) fn preference(&self, id: &BroadcastId) -> (Option<u16>, Vec<u16>) {
        let inner = self.lock();
        let (shards, members, _) = inner.members(&ExpectedLoad::default());
        let order = placement::order(id, &members);
        let order = order
            .into_iter()
            .filter_map(|index| shards.get(index).copied());
        (inner.assignments.get(id).copied(), order.collect())
    }

    /// The reachable shard that a new broadcast `id` would go to now.
    pub(crate) fn would_take(&self, id: &BroadcastId) -> Option<u16> {
        let inner = self.lock();
        let promised = inner.promised_shard(id);
        promised.or_else(|| Some(inner.choose(id, &ExpectedLoad::default())?.0))
    }
}

impl Inner {
    fn expire(&mut self, now: Instant) {
        let assigned = &self.assignments;
        self.reservations
            .expire(now, |id| assigned.contains_key(id));
    }

    fn reachable(&self, shard: u16) -> Option<u16> {
        let view = self.shards.get(&shard)?;
        view.is_connected().then_some(shard)
    }

    fn own_shard(&self, id: &BroadcastId) -> Option<u16> {
        self.reachable(*self.assignments.get(id)?)
    }

    fn promised_shard(&self, id: &BroadcastId) -> Option<u16> {
        self.reachable(self.reservations.of(id)?.shard)
    }

    fn policy(&self, shard: u16) -> ShardRecord {
        let none = ShardRecord {
            shard,
            weight: None,
            draining: false,
        };
        self.policies.get(&shard).copied().unwrap_or(none)
    }

    /// The shard to promise to `id`: its own, the one promised before, or the chosen one if it has
    /// room.
    fn shard_for(&self, id: &BroadcastId, load: &ExpectedLoad) -> Result<u16, PlacementRefusal> {
        if let Some(shard) = self.own_shard(id).or(self.promised_shard(id)) {
            return Ok(shard);
        }
        match self.choose(id, load) {
            Some((shard, true)) => Ok(shard),
            Some((_, false)) => Err(PlacementRefusal::Full),
            None if self.shards.values().any(ShardView::is_connected) => {
                Err(PlacementRefusal::ShardsDraining)
            }
            None => Err(PlacementRefusal::NoShard),
        }
    }

    /// The shard that takes a new broadcast, and whether it has room for it.
    fn choose(&self, id: &BroadcastId, load: &ExpectedLoad) -> Option<(u16, bool)> {
        let (shards, members, cost_ppm) = self.members(load);
        let index = placement::choose(id, cost_ppm, &members)?;
        Some((*shards.get(index)?, members.get(index)?.has_room))
    }

    fn placed(&self, reservation: Reservation) -> Placed {
        let view = self.shards.get(&reservation.shard);
        Placed {
            udp_port: view.map_or(0, |view| view.hello.udp_port),
            is_assigned: self.assignments.contains_key(&reservation.broadcast),
            reservation,
        }
    }

    /// The shards that take broadcasts, as members; and the CPU that `load` costs, in millionths of a
    /// core.
    fn members(&self, load: &ExpectedLoad) -> (Vec<u16>, Vec<Member>, u64) {
        let used = self.used();
        let mut cost_ppm = 0;
        let (mut shards, mut members) = (Vec::new(), Vec::new());
        for (shard, view) in self.shards.iter().filter(|(_, view)| view.is_connected()) {
            let room = self.room(*shard, view, &used);
            if room.draining {
                continue;
            }
            let cost = cost::expected(load, &view.status.codec);
            cost_ppm = cost_ppm.max(cost.cpu_ppm());
            shards.push(*shard);
            members.push(Member {
                name: shard.to_string(),
                weight: room.weight,
                load: room.used.cpu_ppm(),
                has_room: room.used.is_within(cost, room.capacity),
            });
        }
        (shards, members, cost_ppm)
    }

    fn room(&self, shard: u16, view: &ShardView, used: &HashMap<u16, Used>) -> Room {
        let policy = self.policy(shard);
        let weight = policy.weight.unwrap_or(view.hello.capacity);
        let used = used.get(&shard).copied().unwrap_or_default();
        Room {
            weight,
            draining: policy.draining,
            used: cost::measured(&view.status, used.live).plus(used.pending),
            capacity: cost::capacity(weight, &view.status, self.shards.len()),
        }
    }

    /// What runs on each shard and what is to come, by estimate.
    fn used(&self) -> HashMap<u16, Used> {
        let mut all: HashMap<u16, Used> = HashMap::new();
        for (id, shard) in &self.assignments {
            let used = all.entry(*shard).or_default();
            let status = self.shards.get(shard).and_then(|v| v.broadcasts.get(id));
            match status.filter(|status| status.publisher.is_some() || status.holding) {
                Some(status) => used.live = used.live.plus(cost::live(status)),
                None => used.pending = used.pending.plus(self.pending(id, *shard)),
            }
        }
        for one in self.reservations.each() {
            if !self.assignments.contains_key(&one.broadcast) {
                let used = all.entry(one.shard).or_default();
                used.pending = used.pending.plus(self.pending(&one.broadcast, one.shard));
            }
        }
        all
    }

    /// What `id` will cost `shard`, by its reservation or as a usual one.
    fn pending(&self, id: &BroadcastId, shard: u16) -> Cost {
        let Some(view) = self.shards.get(&shard) else {
            return Cost::default();
        };
        let codec = &view.status.codec;
        match self.reservations.of(id) {
            Some(reservation) => cost::expected(&reservation.load, codec),
            None => cost::expected(&ExpectedLoad::default(), codec),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    live: Cost,
    pending: Cost,
}

#[cfg(test)]
#[path = "placing_tests.rs"]
mod tests;
