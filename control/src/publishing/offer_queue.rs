//! The budgets of clients and shards for offers, and the offers that wait for them.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use shardcast_link::SessionId;

use super::client::{Client, ClientKey};
use crate::{
    displacement::displaced,
    limits::{self, OfferRate},
};

/// The budgets, and the offers that wait for them.
#[derive(Debug, Default)]
pub(super) struct OfferQueue {
    clients: HashMap<ClientKey, Bucket>,
    shards: HashMap<u16, Bucket>,
    /// In the order in which they came. Of sessions that have ended too, until the next tick.
    pub(super) waiting: Vec<Waiting>,
    /// Shards whose budget was short for an offer that waits, at the last tick: none overtakes it.
    pub(super) short: HashSet<u16>,
}

/// An offer that waits for its turn.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) session: SessionId,
    pub(super) client: Client,
    pub(super) shard: u16,
    /// In units of [`cost`].
    pub(super) cost: u32,
    /// The shard has the session; its first offer was answered.
    pub(super) is_further: bool,
    /// When it came.
    pub(super) since: Instant,
}

impl Waiting {
    /// Whether it is refused now. A first offer ends with its session's `start_timeout_ms`.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.is_further && now >= self.since + limits::FURTHER_OFFER_WAIT
    }
}

impl OfferQueue {
    /// Whether `offer` may go now. If not, it waits for its turn.
    pub(super) fn admit(&mut self, now: Instant, offer: Waiting) -> bool {
        let of_client = |other: &Waiting| other.client.key() == offer.client.key();
        let is_behind_others =
            self.short.contains(&offer.shard) || self.waiting.iter().any(of_client);
        let goes = !is_behind_others && self.take(now, &offer);
        if !goes {
            self.waiting.push(offer);
        }
        goes
    }

    /// Whether a further offer of `client` may wait here if it must.
    pub(super) fn has_place_for_further(&self, client: Client) -> bool {
        let further = self.waiting.iter().filter(|offer| offer.is_further);
        let of_client = further.filter(|offer| offer.client.key() == client.key());
        of_client.count() < most_further(client.key())
    }

    /// Where more further offers wait than may, takes out the one that gives way: the newest of the
    /// client that uses the most of its places.
    pub(super) fn take_surplus(&mut self) -> Option<Waiting> {
        let further = self.waiting.iter().enumerate();
        let further = further.filter(|(_, offer)| offer.is_further);
        let clients = further.map(|(index, offer)| (index, offer.client.key()));
        if clients.clone().count() <= limits::FURTHER_OFFERS_WAITING_MAX {
            return None;
        }
        displaced(clients, most_further).map(|index| self.waiting.remove(index))
    }

    /// Whether the shard of `offer` can afford it.
    pub(super) fn shard_has(&mut self, now: Instant, offer: &Waiting) -> bool {
        self.of_shard(offer.shard).has(now, offer.cost)
    }

    /// Takes the cost of `offer` from the budgets of its client and of its shard, if both have it.
    pub(super) fn take(&mut self, now: Instant, offer: &Waiting) -> bool {
        if !self.shard_has(now, offer) {
            return false;
        }
        let &Waiting {
            client,
            shard,
            cost,
            ..
        } = offer;
        let rate = if client.is_trusted {
            limits::OFFERS_PER_TRUSTED_CLIENT
        } else {
            limits::OFFERS_PER_CLIENT
        };
        let of_client = self
            .clients
            .entry(client.key())
            .or_insert_with(|| Bucket::new(rate));
        let has = of_client.has(now, cost);
        if has {
            of_client.spend(cost);
            self.of_shard(shard).spend(cost);
        }
        has
    }

    /// How much of its budget `client` has spent of late, in thousandths.
    pub(super) fn spent_permille(&mut self, now: Instant, client: Client) -> u32 {
        let bucket = self.clients.get_mut(&client.key());
        bucket.map_or(0, |bucket| bucket.spent_permille(now))
    }

    fn of_shard(&mut self, shard: u16) -> &mut Bucket {
        let new = || Bucket::new(limits::OFFERS_PER_SHARD);
        self.shards.entry(shard).or_insert_with(new)
    }

    #[cfg(test)]
    pub(super) fn clients_known(&self) -> usize {
        self.clients.len()
    }

    /// Forgets budgets that are full again.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.clients.retain(|_, bucket| !bucket.is_full(now));
    }
}

/// How many further offers of a client may wait.
fn most_further((_, is_trusted): ClientKey) -> usize {
    if is_trusted {
        limits::FURTHER_OFFERS_WAITING_MAX
    } else {
        limits::FURTHER_OFFERS_WAITING_PER_CLIENT_MAX
    }
}

/// What an offer costs: one for what a browser sends for audio and video, and as much again for
/// each time that it is longer.
pub(super) fn cost(sdp: &str) -> u32 {
    let units = sdp.len().div_ceil(limits::OFFER_UNIT_BYTES).max(1);
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// What has been spent of a burst; it is earned back over time.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: OfferRate,
    spent: f64,
    at: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(rate: OfferRate) -> Self {
        Self {
            rate,
            spent: 0.0,
            at: None,
        }
    }

    pub(super) fn has(&mut self, now: Instant, cost: u32) -> bool {
        self.earn(now);
        // What costs more than the whole burst goes when nothing of it is spent.
        let cost = cost.min(self.rate.burst);
        self.spent + f64::from(cost) <= f64::from(self.rate.burst)
    }

    pub(super) fn spend(&mut self, cost: u32) {
        self.spent += f64::from(cost);
    }

    fn spent_permille(&mut self, now: Instant) -> u32 {
        self.earn(now);
        (1_000.0 * self.spent / f64::from(self.rate.burst)) as u32
    }

    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.earn(now);
        self.spent <= 0.0
    }

    fn earn(&mut self, now: Instant) {
        let at = self.at.replace(now).unwrap_or(now);
        let passed = now.saturating_duration_since(at).as_secs_f64();
        self.spent = (self.spent - passed * f64::from(self.rate.per_second)).max(0.0);
    }
}
