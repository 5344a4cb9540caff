//! Which of a name's addresses is connected to: the next one starts while the one before still hangs,
//! and the first to connect wins (RFC 8305, "Happy Eyeballs").

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    ids::ConnId,
    limits::{ADDRESSES_MAX, CONNECT_STAGGER_MS, CONNECTS_AT_ONCE_MAX},
};

#[derive(Debug)]
struct Attempt {
    conn: ConnId,
    address: SocketAddr,
    until: Instant,
}

/// One race over the addresses of a name.
#[derive(Debug)]
pub(super) struct Race {
    /// How long one connection may take, TLS included.
    patience: Duration,
    waiting: VecDeque<SocketAddr>,
    attempts: Vec<Attempt>,
    /// The next address is not begun before that, unless one fails.
    next_at: Instant,
    /// The first reason that the destination's owner has to repair.
    refusal: Option<String>,
    /// The last reason.
    failure: String,
}

impl Race {
    /// `preferred`, where it is among the addresses, goes first; then families take turns
    /// (RFC 8305, 4), so that one that is dead as a whole costs one delay.
    pub(super) fn new(
        now: Instant,
        addresses: impl IntoIterator<Item = SocketAddr>,
        preferred: Option<IpAddr>,
        patience: Duration,
    ) -> Self {
        let mut addresses: Vec<SocketAddr> = addresses.into_iter().collect();
        addresses.sort_by_key(|address| Some(address.ip()) != preferred);
        let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
        let (mut first, mut second): (VecDeque<_>, VecDeque<_>) = addresses
            .into_iter()
            .partition(|address| address.is_ipv6() == first_is_v6);
        let mut waiting = VecDeque::new();
        while !(first.is_empty() && second.is_empty()) {
            waiting.extend(first.pop_front());
            waiting.extend(second.pop_front());
        }
        waiting.truncate(ADDRESSES_MAX);
        Self {
            patience,
            waiting,
            attempts: Vec::new(),
            next_at: now,
            refusal: None,
            failure: String::new(),
        }
    }

    /// The next address to connect to, if it is time; ask until `None`.
    pub(super) fn begin(&mut self, now: Instant, conn: ConnId) -> Option<SocketAddr> {
        if now < self.next_at || self.attempts.len() >= CONNECTS_AT_ONCE_MAX {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.next_at = now + Duration::from_millis(CONNECT_STAGGER_MS);
        self.attempts.push(Attempt {
            conn,
            address,
            until: now + self.patience,
        });
        Some(address)
    }

    /// A connection did not come about: the next address need not wait.
    pub(super) fn failed(&mut self, now: Instant, conn: ConnId, reason: &str, retryable: bool) {
        let Some(index) = self.attempts.iter().position(|each| each.conn == conn) else {
            return;
        };
        let address = self.attempts.swap_remove(index).address;
        self.failure = format!("no connection to {address}: {reason}");
        if !retryable {
            self.refusal.get_or_insert_with(|| self.failure.clone());
        }
        self.next_at = self.next_at.min(now);
    }

    /// Whether `conn` is still being made.
    pub(super) fn is_making(&self, conn: ConnId) -> bool {
        self.attempts.iter().any(|each| each.conn == conn)
    }

    /// The connections that are being made.
    pub(super) fn making(&self) -> impl Iterator<Item = ConnId> {
        self.attempts.iter().map(|each| each.conn)
    }

    /// A connection that has taken too long; ask until `None`, and tell each as failed.
    pub(super) fn late(&self, now: Instant) -> Option<ConnId> {
        let late = self.attempts.iter().find(|each| each.until <= now);
        late.map(|each| each.conn)
    }

    /// Whether `conn` was still in the race: its address, and who has lost.
    pub(super) fn won(&mut self, conn: ConnId) -> Option<(SocketAddr, Vec<ConnId>)> {
        let index = self.attempts.iter().position(|each| each.conn == conn)?;
        let winner = self.attempts.swap_remove(index);
        let losers = self.attempts.drain(..).map(|each| each.conn).collect();
        self.waiting.clear();
        Some((winner.address, losers))
    }

    /// When nothing is left to try: why, and whether a retry may succeed. The first address that the
    /// owner has to look at decides, in whichever order they were tried: that another is only away
    /// for a moment makes no certificate right.
    pub(super) fn lost(&self) -> Option<(String, bool)> {
        let is_over = self.waiting.is_empty() && self.attempts.is_empty();
        is_over.then(|| match &self.refusal {
            Some(refusal) => (refusal.clone(), false),
            None => (self.failure.clone(), true),
        })
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let may_begin = !self.waiting.is_empty() && self.attempts.len() < CONNECTS_AT_ONCE_MAX;
        let begins = may_begin.then_some(self.next_at);
        let ends = self.attempts.iter().map(|each| each.until);
        ends.chain(begins).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn race(now: Instant, addresses: &[&str], preferred: Option<&str>) -> Race {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let preferred = preferred.map(|text| text.parse().unwrap());
        Race::new(now, addresses, preferred, Duration::from_secs(5))
    }

    #[test]
    fn families_take_turns_from_the_preferred_address_on() {
        let all = [
            "[2001:db8::1]:1",
            "[2001:db8::2]:1",
            "[2001:db8::3]:1",
            "192.0.2.1:1",
            "192.0.2.2:1",
        ];
        for (preferred, order) in [
            (None, [0, 3, 1, 4, 2]),
            (Some("2001:db8::2"), [1, 3, 0, 4, 2]),
            (Some("192.0.2.2"), [4, 0, 3, 1, 2]),
            (Some("192.0.2.9"), [0, 3, 1, 4, 2]),
        ] {
            let race = race(Instant::now(), &all, preferred);
            let seen: Vec<String> = race.waiting.iter().map(ToString::to_string).collect();
            assert_eq!(seen, order.map(|index| all[index]), "{preferred:?}");
        }
    }

    #[test]
    fn no_more_are_made_at_once_than_the_limit_and_no_more_in_all_than_the_other() {
        let now = Instant::now();
        let all: Vec<String> = (0..20).map(|n| format!("192.0.2.{n}:1")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut race = race(now, &all, None);
        let (mut at, mut dials) = (now, 0);
        while race.lost().is_none() {
            while let Some(late) = race.late(at) {
                race.failed(at, late, "no answer", true);
            }
            while race.begin(at, ConnId::numbered(dials)).is_some() {
                dials += 1;
            }
            assert!(race.attempts.len() <= CONNECTS_AT_ONCE_MAX);
            assert!(at < now + Duration::from_secs(60));
            at = race.next_timeout().unwrap_or(at);
        }
        assert_eq!(dials, ADDRESSES_MAX as u64);
    }
}
