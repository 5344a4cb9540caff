//! Address ranges in CIDR notation: who may use REST, where destinations may be.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One range, such as `127.0.0.1`, `10.0.0.0/8` or `::/0`. One of mapped addresses
/// (`::ffff:10.0.0.0/104`) is read as the range of IPv4 that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// The text is not an address or an address and a prefix length. The operator's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an address range: write it as 10.0.0.0/8, ::/0 or a single address")]
pub struct InvalidCidr(String);

impl Cidr {
    /// Whether `address` lies in the range. IPv4 addresses that arrive on an IPv6 socket count as
    /// IPv4. `::1` lies in each range of 127.0.0.1 too: both are this machine alone, and which of
    /// them a program takes for `localhost` is its own choice.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = match (self.network, address.to_canonical()) {
            (IpAddr::V4(_), IpAddr::V6(Ipv6Addr::LOCALHOST)) => Ipv4Addr::LOCALHOST.into(),
            (_, address) => address,
        };
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                let (a, b) = (u32::from(network), u32::from(address));
                a.checked_shr(shift) == b.checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                let (a, b) = (u128::from(network), u128::from(address));
                a.checked_shr(shift) == b.checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// Ranges with shorter prefixes than these, in IPv4 and IPv6, belong to many organizations: one has at
/// most 10.0.0.0/8 (RFC 1918), and no registry has given one a /16 of IPv6.
const OWN_PREFIX_MIN: (u8, u8) = (8, 16);
/// Wider ranges of IPv6 that hold no strangers all the same: unique local addresses (RFC 4193, 3.1) and
/// link-local ones (RFC 4291, 2.5.6).
const LOCAL_V6: [Cidr; 2] = [
    Cidr {
        network: IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)),
        prefix: 7,
    },
    Cidr {
        network: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)),
        prefix: 10,
    },
];

impl Cidr {
    /// Whether it is so wide that it holds strangers, such as one half of the Internet.
    fn holds_strangers(&self) -> bool {
        let (v4, v6) = OWN_PREFIX_MIN;
        let is_wide = self.prefix < if self.network.is_ipv4() { v4 } else { v6 };
        let is_within = |local: &Cidr| self.prefix >= local.prefix && local.contains(self.network);
        is_wide && !LOCAL_V6.iter().any(is_within)
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidCidr(text.chars().take(60).collect());
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let network: IpAddr = address.parse().map_err(|_| invalid())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| invalid())?,
            None => longest,
        };
        if prefix > longest {
            return Err(invalid());
        }
        // Addresses are compared in IPv4 (see `contains`), so a mapped network would hold none. One
        // of a shorter prefix than the mapping's own is no range of IPv4.
        match (network.to_canonical(), prefix.checked_sub(96)) {
            (IpAddr::V4(mapped), Some(prefix)) if network.is_ipv6() => Ok(Self {
                network: mapped.into(),
                prefix,
            }),
            _ => Ok(Self { network, prefix }),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Several ranges: a comma-separated text as Ant Media Server writes it, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrList(Vec<Cidr>);

impl CidrList {
    /// This machine only, in IPv4 and IPv6.
    pub fn loopback() -> Self {
        let v4 = Cidr {
            network: IpAddr::from([127, 0, 0, 0]),
            prefix: 8,
        };
        let v6 = Cidr {
            network: IpAddr::from(Ipv6Addr::LOCALHOST),
            prefix: 128,
        };
        Self(vec![v4, v6])
    }

    /// All addresses, IPv4 and IPv6.
    pub fn everywhere() -> Self {
        let v4 = Cidr {
            network: IpAddr::from([0, 0, 0, 0]),
            prefix: 0,
        };
        let v6 = Cidr {
            network: IpAddr::from(Ipv6Addr::UNSPECIFIED),
            prefix: 0,
        };
        Self(vec![v4, v6])
    }

    /// Whether it has no range, so that it contains no address.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of the ranges contains `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }

    /// Whether `address` is in a range that holds strangers too: shorter than /8 in IPv4 and than /16
    /// in IPv6, but for local addresses. `0.0.0.0/1,128.0.0.0/1` contains as many addresses as `0.0.0.0/0`.
    pub fn holds_strangers(&self, address: IpAddr) -> bool {
        let is_wide = |range: &Cidr| range.holds_strangers() && range.contains(address);
        self.0.iter().any(is_wide)
    }

    /// Whether it contains all addresses of the family of `address`.
    pub fn is_open(&self, address: IpAddr) -> bool {
        let is_everybody = |range: &Cidr| range.prefix == 0 && range.contains(address);
        self.0.iter().any(is_everybody)
    }
}

impl FromStr for CidrList {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts
            .map(Cidr::from_str)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for CidrList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.0.iter().enumerate() {
            write!(f, "{}{range}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Serialize for CidrList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CidrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            List(Vec<String>),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::List(list) => list.join(","),
        };
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, address: &str) -> bool {
        list.parse::<CidrList>()
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        assert!(allows("10.0.0.0/8", "10.255.1.2"));
        assert!(!allows("10.0.0.0/8", "11.0.0.1"));
        assert!(allows("2001:db8::/32", "2001:db8:1::5"));
        assert!(!allows("2001:db8::/32", "2001:db9::5"));
        assert!(allows("192.168.1.7", "192.168.1.7"));
        assert!(!allows("192.168.1.7", "192.168.1.8"));
    }

    #[test]
    fn the_whole_world_is_a_prefix_of_zero() {
        assert!(allows("0.0.0.0/0, ::/0", "203.0.113.9"));
        assert!(allows("0.0.0.0/0,::/0", "2001:db8::1"));
        assert!(!allows("0.0.0.0/0", "2001:db8::1"));
    }

    #[test]
    fn ranges_that_make_up_the_whole_world_hold_strangers() {
        for (list, address, wanted) in [
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/1,128.0.0.0/1", "203.0.113.9", true),
            ("0.0.0.0/1,128.0.0.0/1", "10.0.0.1", true),
            ("0.0.0.0/1", "203.0.113.9", false),
            ("8.0.0.0/7,10.0.0.0/8", "10.0.0.1", false),
            ("10.0.0.0/7", "10.0.0.1", true),
            ("::/1,8000::/1", "2001:db8::1", true),
            ("2000::/3", "2001:db8::1", true),
            ("2400::/12", "2400::1", true),
            ("2001::/16", "2001:db8::1", false),
            ("fc00::/7", "fd00::1", false),
            ("fe80::/10", "fe80::1", false),
            ("fc00::/6", "fd00::1", true),
            ("::/0", "203.0.113.9", false),
        ] {
            let list: CidrList = list.parse().unwrap();
            let found = list.holds_strangers(address.parse().unwrap());
            assert_eq!(found, wanted, "{list} {address}");
        }
    }

    #[test]
    fn an_ipv4_peer_on_an_ipv6_socket_counts_as_ipv4() {
        assert!(allows("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(CidrList::loopback().contains("::ffff:127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn localhost_is_this_machine_in_either_family() {
        for (range, address, holds) in [
            ("127.0.0.1", "::1", true),
            ("127.0.0.0/8", "::1", true),
            ("0.0.0.0/0", "::1", true),
            ("127.0.0.2", "::1", false),
            ("10.0.0.0/8", "::1", false),
            ("127.0.0.1", "::2", false),
            ("::1", "::1", true),
            ("::1", "127.0.0.1", false),
        ] {
            assert_eq!(allows(range, address), holds, "{range} {address}");
        }
    }

    #[test]
    fn a_range_of_mapped_addresses_is_one_of_ipv4() {
        for (range, address, holds) in [
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:192.168.1.7", "192.168.1.7", true),
            ("::ffff:192.168.1.7", "192.168.1.8", false),
            ("::ffff:0:0/96", "203.0.113.9", true),
            ("::ffff:0:0/96", "2001:db8::1", false),
            ("::ffff:0:0/95", "203.0.113.9", false),
        ] {
            assert_eq!(allows(range, address), holds, "{range} {address}");
        }
        let range: Cidr = "::ffff:10.0.0.0/104".parse().unwrap();
        assert_eq!(range.to_string(), "10.0.0.0/8");
    }

    #[test]
    fn a_wrong_range_is_refused_in_words() {
        for text in ["10.0.0.0/33", "x", "10.0.0.0/-1", "::/129", "10.0.0/8"] {
            let error = text.parse::<CidrList>().unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("address range"),
                "{error}"
            );
        }
    }
}
