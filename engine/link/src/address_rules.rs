//! Which addresses destinations and webhook receivers may have. Checked after the name is resolved: a
//! name that resolves into the operator's own network must not open it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cidr::CidrList;

/// The operator's allow and deny lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// The only permitted ranges; `None` permits all.
    pub allow: Option<CidrList>,
    /// Ranges that are denied, whatever is allowed.
    pub deny: Option<CidrList>,
}

impl AddressRules {
    /// Whether a connection to `address` may be made. A denied range also covers the addresses that
    /// `address` leads to: through a gateway, or because it is the unspecified one.
    pub fn permit(&self, address: IpAddr) -> bool {
        let reached = reached(address);
        let allowed = self
            .allow
            .as_ref()
            .is_none_or(|list| list.contains(reached));
        let denied = self.deny.as_ref().is_some_and(|list| {
            let mut ends = [address, reached].into_iter().chain(translated(address));
            ends.any(|end| list.contains(end))
        });
        allowed && !denied
    }
}

/// Whether `address` leads to a link-local one (RFC 3927, RFC 4291 §2.5.6), where clouds keep the
/// credentials of their machines.
pub fn is_link_local(address: IpAddr) -> bool {
    let mut ends = [reached(address)].into_iter().chain(translated(address));
    ends.any(|end| match end {
        IpAddr::V4(end) => end.is_link_local(),
        IpAddr::V6(end) => end.is_unicast_link_local(),
    })
}

/// Where a connection to `address` ends: Linux takes the unspecified address for this machine.
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// The IPv4 address that a gateway on the way may make of `address`: NAT64 (RFC 6052, RFC 8215),
/// 6to4 (RFC 3056), Teredo (RFC 4380), and the old compatible form (RFC 4291 §2.5.5.1).
fn translated(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address.to_canonical() else {
        return None;
    };
    let bits = address.to_bits();
    let last = bits as u32;
    let inside = match address.segments() {
        [0x64, 0xff9b, 0 | 1, ..] => last,
        [0x2002, ..] => (bits >> 80) as u32,
        [0x2001, 0, ..] => !last,
        [0, 0, 0, 0, 0, 0, ..] if last > 1 => last,
        _ => return None,
    };
    Some(reached(Ipv4Addr::from(inside).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: Option<&str>, deny: Option<&str>) -> AddressRules {
        let list = |text: &str| text.parse().unwrap();
        AddressRules {
            allow: allow.map(list),
            deny: deny.map(list),
        }
    }

    #[test]
    fn denied_ranges_win_over_allowed_ones_in_either_notation() {
        let rules = rules(Some("0.0.0.0/0"), Some("10.0.0.0/8,::1"));
        for (address, permitted) in [
            ("203.0.113.9", true),
            ("10.1.2.3", false),
            ("::ffff:10.1.2.3", false),
            ("::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(
                rules.permit(address.parse().unwrap()),
                permitted,
                "{address}"
            );
        }
    }

    #[test]
    fn the_unspecified_address_counts_as_this_machine() {
        for (allow, deny, address, permitted) in [
            (None, Some("127.0.0.0/8"), "0.0.0.0", false),
            (None, Some("127.0.0.0/8"), "::ffff:0.0.0.0", false),
            (None, Some("127.0.0.0/8"), "::", false),
            (None, Some("::1"), "::", false),
            (None, Some("::1"), "0.0.0.0", true),
            (None, Some("0.0.0.0"), "0.0.0.0", false),
            (None, Some("10.0.0.0/8"), "0.0.0.0", true),
            (Some("127.0.0.1"), None, "0.0.0.0", true),
            (Some("0.0.0.0/32, ::/128"), None, "0.0.0.0", false),
            (Some("203.0.113.0/24"), None, "::", false),
        ] {
            let rules = rules(allow, deny);
            let address = address.parse().unwrap();
            assert_eq!(rules.permit(address), permitted, "{rules:?} {address}");
        }
    }

    #[test]
    fn what_a_gateway_makes_ipv4_of_is_denied_as_that() {
        let rules = rules(None, Some("10.0.0.0/8, 127.0.0.0/8"));
        for (address, permitted) in [
            ("64:ff9b::10.1.2.3", false),
            ("64:ff9b:1::10.1.2.3", false),
            ("64:ff9b::203.0.113.9", true),
            ("64:ff9b::0.0.0.0", false),
            ("2002:a01:203::1", false),
            ("2002:cb00:7109::1", true),
            // Teredo: the client's address is inverted.
            ("2001:0:4136:e378:8000:63bf:f5fe:fdfc", false),
            ("2001:0:4136:e378:8000:63bf:34ff:8ef6", true),
            ("2001:db8::a01:203", true),
            ("::10.1.2.3", false),
            // This machine listens there too, and 127.0.0.0/8 is denied.
            ("::1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(rules.permit(address), permitted, "{address}");
        }
    }

    #[test]
    fn a_link_local_address_is_known_in_every_notation() {
        for (address, wanted) in [
            ("169.254.169.254", true),
            ("::ffff:169.254.169.254", true),
            ("64:ff9b::169.254.169.254", true),
            ("2002:a9fe:a9fe::1", true),
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", false),
            ("169.253.0.1", false),
            ("127.0.0.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_link_local(address.parse().unwrap()), wanted, "{address}");
        }
    }

    #[test]
    fn without_lists_everything_is_permitted() {
        let rules = rules(None, None);
        assert!(rules.permit("127.0.0.1".parse().unwrap()));
        assert!(rules.permit("2001:db8::1".parse().unwrap()));
    }
}
