//! Names are looked up beside the executor and answered in reason when they cannot be.

use shardcast_core::io::{LookupId, Output};

use crate::rig::{Rig, Seen};

fn resolve(id: u64, host: &str) -> Output {
    Output::Resolve {
        lookup: LookupId::numbered(id),
        host: host.into(),
        port: 1_935,
    }
}

#[test]
fn an_address_is_answered_as_it_is() {
    let rig = Rig::new();
    rig.ask([resolve(1, "192.0.2.1"), resolve(2, "[2001:db8::1]")]);
    let first = Ok(vec!["192.0.2.1:1935".parse().unwrap()]);
    let second = Ok(vec!["[2001:db8::1]:1935".parse().unwrap()]);
    assert_eq!(rig.next(), Seen::Resolved(LookupId::numbered(1), first));
    assert_eq!(rig.next(), Seen::Resolved(LookupId::numbered(2), second));
}

#[test]
fn many_names_at_a_time_are_all_answered() {
    let rig = Rig::new();
    rig.ask((0..50).map(|id| resolve(id, "localhost")));
    let mut answered: Vec<u64> = (0..50)
        .map(|_| match rig.next() {
            Seen::Resolved(lookup, Ok(addresses)) => {
                assert!(addresses.iter().all(|address| address.ip().is_loopback()));
                lookup.number()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..50));
}

#[test]
fn a_name_without_an_address_is_answered_with_a_reason() {
    let rig = Rig::new();
    rig.ask([resolve(1, "no-such-server.invalid")]);
    match rig.next() {
        Seen::Resolved(lookup, Err(reason)) if lookup.number() == 1 => {
            assert!(reason.contains("no-such-server.invalid"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
