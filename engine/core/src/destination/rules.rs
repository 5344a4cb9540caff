//! Which addresses destinations may have, looked at after the name is resolved: a name that leads
//! inside the operator's own network must not open it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shardcast_link::CidrList;

/// The operator's allow and deny lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Only these; `None` is everywhere.
    pub allow: Option<CidrList>,
    /// None of these, whatever is allowed.
    pub deny: Option<CidrList>,
}

impl AddressRules {
    pub(super) fn permit(&self, address: IpAddr) -> bool {
        let reached = reached(address);
        let allowed = self
            .allow
            .as_ref()
            .is_none_or(|list| list.contains(reached));
        let denied = self
            .deny
            .as_ref()
            .is_some_and(|list| list.contains(reached) || list.contains(address));
        allowed && !denied
    }
}

/// Where a connection to `address` ends: Linux takes the unspecified address for this machine.
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
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
            (None, Some("127.0.0.0/8"), "::", true),
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
    fn without_lists_everything_is_permitted() {
        let rules = rules(None, None);
        assert!(rules.permit("127.0.0.1".parse().unwrap()));
        assert!(rules.permit("2001:db8::1".parse().unwrap()));
    }
}
