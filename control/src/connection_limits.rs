//! Places for TCP connections: so many in all, so many for one address, and some that only this
//! machine can take.
//!
//! Whoever fills the others from outside, the operator's proxy, health checks and `curl` on this
//! machine still get in, and so does the engine: descriptors are left over for it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::limits;

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 address. Every customer has a /64
/// (RFC 4291 section 2.5.4, RFC 6177), and with it more addresses than there are places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let prefix = address.to_bits() & !u128::from(u64::MAX);
                Ipv6Addr::from_bits(prefix).into()
            }
        })
    }
}

/// All places.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    /// Without those of this machine.
    by_network: HashMap<Network, usize>,
}

impl ConnectionLimits {
    /// As many as a process may have that may open so many files; `None` is without limit.
    pub(crate) fn for_descriptors(limit: Option<u64>) -> Arc<Self> {
        let three_quarters = limit.map_or(u64::MAX, |limit| limit / 4 * 3);
        let most = usize::try_from(three_quarters).unwrap_or(usize::MAX);
        Self::of(most.min(limits::CONNECTIONS_MAX))
    }

    /// So many.
    pub(crate) fn of(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: Mutex::default(),
        })
    }

    /// A place for a connection from `address`, which may have any number of them when it is
    /// `trusted`. `None`: there is none.
    pub(crate) fn take(
        self: &Arc<Self>,
        address: IpAddr,
        trusted: bool,
    ) -> Option<ConnectionPermit> {
        let is_loopback = address.to_canonical().is_loopback();
        let kept = limits::CONNECTIONS_LOOPBACK.min(self.most / 4);
        let most = if is_loopback {
            self.most
        } else {
            self.most - kept
        };
        let mut taken = self.lock();
        if taken.count >= most {
            return None;
        }
        let network = (!is_loopback).then(|| Network::of(address));
        if let Some(network) = network {
            let of_network = taken.by_network.entry(network).or_default();
            if !trusted && *of_network >= limits::CONNECTIONS_PER_ADDRESS_MAX {
                return None;
            }
            *of_network += 1;
        }
        taken.count += 1;
        Some(ConnectionPermit {
            places: Arc::clone(self),
            network,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    places: Arc<ConnectionLimits>,
    network: Option<Network>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.count -= 1;
        if let Some(network) = self.network
            && let Some(of_network) = taken.by_network.get_mut(&network)
        {
            *of_network -= 1;
            if *of_network == 0 {
                taken.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(places: &Arc<ConnectionLimits>, address: &str, trusted: bool) -> Vec<ConnectionPermit> {
        let address = address.parse().unwrap();
        std::iter::from_fn(|| places.take(address, trusted)).collect()
    }

    #[test]
    fn one_address_does_not_take_all_places_and_gets_its_own_back() {
        let places = ConnectionLimits::for_descriptors(None);
        let mut held = all(&places, "203.0.113.1", false);
        assert_eq!(held.len(), limits::CONNECTIONS_PER_ADDRESS_MAX);
        assert!(
            all(&places, "::ffff:203.0.113.1", false).is_empty(),
            "the same address"
        );
        assert!(!all(&places, "203.0.113.2", false).is_empty());
        held.pop();
        assert_eq!(all(&places, "203.0.113.1", false).len(), 1);
        drop(held);
        assert!(places.lock().by_network.is_empty());
        assert_eq!(places.lock().count, 0);
    }

    #[test]
    fn addresses_of_one_64_count_as_one() {
        let places = ConnectionLimits::for_descriptors(None);
        let addresses = (0..10_000_u32).map(|n| format!("2001:db8:0:1::{n:x}"));
        let held: Vec<_> = addresses
            .filter_map(|address| places.take(address.parse().unwrap(), false))
            .collect();
        assert_eq!(held.len(), limits::CONNECTIONS_PER_ADDRESS_MAX);
        assert!(!all(&places, "2001:db8:0:2::1", false).is_empty());
    }

    #[test]
    fn this_machine_gets_in_when_everybody_else_has_taken_what_there_is() {
        for descriptors in [16, 256, 1_024, 1_048_576] {
            let places = ConnectionLimits::for_descriptors(Some(descriptors));
            let held = all(&places, "203.0.113.1", true);
            assert!(all(&places, "203.0.113.2", false).is_empty());
            let own = all(&places, "::1", false).len();
            assert!(own > 0 && own <= limits::CONNECTIONS_LOOPBACK);
            let most = usize::try_from(descriptors).unwrap() * 3 / 4;
            assert_eq!(held.len() + own, most.min(limits::CONNECTIONS_MAX));
        }
    }
}
