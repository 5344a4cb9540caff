//! When an offer goes to its shard. Reading one takes an executor, which carries other people's
//! shows, up to some milliseconds, and anybody may send offers. So each client and each shard has a
//! budget; offers beyond it wait here, and clients take turns.

use std::{collections::HashMap, time::Instant};

use shardcast_link::SessionId;

use super::{Effect, Hub, claims::is_same_client, hub::Client, session::Phase};
use crate::{
    limits::{self, OfferRate},
    places::Network,
};

/// The budgets, and the offers that wait for them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    clients: HashMap<Network, Bucket>,
    shards: HashMap<u16, Bucket>,
    /// In the order in which they came. Of sessions that have ended too, until the next tick.
    waiting: Vec<Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    session: SessionId,
    client: Client,
    shard: u16,
    cost: u32,
}

impl Turns {
    /// Takes `cost` from the budgets of `client` and of `shard`, if both have it.
    fn take(&mut self, now: Instant, client: Client, shard: u16, cost: u32) -> bool {
        let shard_has = self.of_shard(shard).has(now, cost);
        shard_has && self.take_at_once(now, client, shard, cost)
    }

    /// The same for what cannot wait: whatever it makes `shard` lack, first offers wait for.
    pub(super) fn take_at_once(
        &mut self,
        now: Instant,
        client: Client,
        shard: u16,
        cost: u32,
    ) -> bool {
        let rate = if client.is_trusted {
            limits::OFFERS_PER_TRUSTED_CLIENT
        } else {
            limits::OFFERS_PER_CLIENT
        };
        let key = Network::of(client.address);
        let of_client = self.clients.entry(key).or_insert_with(|| Bucket::new(rate));
        let has = of_client.has(now, cost);
        if has {
            of_client.spent += f64::from(cost);
            self.of_shard(shard).spent += f64::from(cost);
        }
        has
    }

    fn of_shard(&mut self, shard: u16) -> &mut Bucket {
        let new = || Bucket::new(limits::OFFERS_PER_SHARD);
        self.shards.entry(shard).or_insert_with(new)
    }

    #[cfg(test)]
    pub(super) fn clients_known(&self) -> usize {
        self.clients.len()
    }

    /// Forgets budgets that nobody has drawn on of late.
    fn tidy(&mut self, now: Instant) {
        self.clients.retain(|_, bucket| !bucket.is_full(now));
    }
}

/// What an offer costs: one for what a browser sends for sound and picture, and as much again for
/// each time that it is longer.
pub(super) fn cost(sdp: &str) -> u32 {
    let units = sdp.len().div_ceil(limits::OFFER_UNIT_BYTES).max(1);
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// What has been spent of a burst; it is earned back over time.
#[derive(Debug)]
struct Bucket {
    rate: OfferRate,
    spent: f64,
    at: Option<Instant>,
}

impl Bucket {
    fn new(rate: OfferRate) -> Self {
        Self {
            rate,
            spent: 0.0,
            at: None,
        }
    }

    fn has(&mut self, now: Instant, cost: u32) -> bool {
        self.earn(now);
        self.spent + f64::from(cost) <= f64::from(self.rate.burst)
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.earn(now);
        self.spent <= 0.0
    }

    fn earn(&mut self, now: Instant) {
        let at = self.at.replace(now).unwrap_or(now);
        let passed = now.saturating_duration_since(at).as_secs_f64();
        self.spent = (self.spent - passed * f64::from(self.rate.per_second)).max(0.0);
    }
}

impl Hub {
    /// Whether the offer of `session` may go to `shard` now. If not, it is handed over again by an
    /// [`Effect::Offer`] when it is its turn.
    pub(crate) fn take_turn(&mut self, now: Instant, session: &SessionId, shard: u16) -> bool {
        let Some(entry) = self.sessions.get_mut(session) else {
            return false;
        };
        if std::mem::take(&mut entry.has_turn) {
            return true;
        }
        let Phase::AwaitingShard { sdp } = &entry.phase else {
            return false;
        };
        let (client, cost) = (entry.client, cost(sdp));
        let mut waiting = self.turns.waiting.iter();
        let is_behind_others =
            waiting.any(|other| is_same_client(other.client.address, client.address));
        if !is_behind_others && self.turns.take(now, client, shard, cost) {
            return true;
        }
        self.turns.waiting.push(Waiting {
            session: session.clone(),
            client,
            shard,
            cost,
        });
        false
    }

    /// Hands over the offers whose turn it is: the oldest of each client, then the second of each.
    pub(crate) fn tick_turns(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut seen: HashMap<Network, usize> = HashMap::new();
        let mut waiting: Vec<(usize, Waiting)> = Vec::new();
        for entry in std::mem::take(&mut self.turns.waiting) {
            let session = self.sessions.get(&entry.session);
            if session.is_some_and(|session| matches!(session.phase, Phase::AwaitingShard { .. })) {
                let nth = seen.entry(Network::of(entry.client.address)).or_default();
                waiting.push((*nth, entry));
                *nth += 1;
            }
        }
        waiting.sort_by_key(|(nth, _)| *nth);
        for (_, entry) in waiting {
            if self.turns.take(now, entry.client, entry.shard, entry.cost) {
                self.give_turn(&entry.session, out);
            } else {
                self.turns.waiting.push(entry);
            }
        }
        self.turns.tidy(now);
    }

    fn give_turn(&mut self, id: &SessionId, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Phase::AwaitingShard { sdp } = &session.phase {
            session.has_turn = true;
            out.push(Effect::Offer {
                session: id.clone(),
                broadcast: session.broadcast.clone(),
                sdp: sdp.clone(),
                start_timeout_ms: session.start_timeout_ms,
            });
        }
    }
}
