//! Further offers wait for their turn like first ones, and take no shard from them.

use std::net::IpAddr;

use shardcast_link::BroadcastId;

use super::{
    Client, Effect, PublishRequest, SocketId,
    hub_tests::{A, B, STRANGER, STUDIO, Stage, words},
};
use crate::limits;

/// Sends a further offer of `socket` for the broadcast of `stage`.
fn offer_again(stage: &mut Stage, socket: SocketId, sdp: &str) -> Vec<Effect> {
    let (id, sdp) = (stage.id(), Some(sdp.to_owned()));
    stage.act(|hub, now, out| hub.offer(now, socket, &id, sdp, out))
}

fn candidate(stage: &mut Stage, candidate: &str) -> Vec<Effect> {
    let id = stage.id();
    stage.act(|hub, _, out| hub.candidate(A, &id, candidate.to_owned(), out))
}

/// What is handed over within `ticks` of the turns.
fn turns(stage: &mut Stage, ticks: usize) -> Vec<Effect> {
    let mut effects = Vec::new();
    for _ in 0..ticks {
        stage.now += limits::OFFER_TURN;
        effects.extend(stage.act(|hub, now, out| hub.tick_turns(now, out)));
    }
    effects
}

/// The SDPs and candidates that go to the shard, in order.
fn handed_over(effects: &[Effect]) -> Vec<&str> {
    let shown = effects.iter().filter_map(|effect| match effect {
        Effect::Renegotiate { sdp, .. } => Some(sdp.as_str()),
        Effect::Candidate { candidate, .. } => Some(candidate.as_str()),
        _ => None,
    });
    shown.collect()
}

/// As many sessions of as many strangers, each answered.
fn strangers(stage: &mut Stage, count: u8) -> Vec<(SocketId, BroadcastId)> {
    let numbers = 0..count;
    let made = numbers.map(|n| session_at(stage, [198, 18, 0, n].into(), 1_000 + u64::from(n)));
    made.collect()
}

/// A session of its own with the socket `number` of the client at `address`, answered.
fn session_at(stage: &mut Stage, address: IpAddr, number: u64) -> (SocketId, BroadcastId) {
    let socket = SocketId(number);
    let client = Client {
        address,
        is_trusted: false,
    };
    stage.hub.socket_opened(stage.now, socket, client);
    let broadcast = BroadcastId::new("app", &format!("session{number}")).unwrap();
    let request = PublishRequest {
        broadcast: broadcast.clone(),
        name: String::new(),
        meta_data: String::new(),
        admission: Ok(()),
        was_asked: false,
        last_media: None,
        start_timeout_ms: 60_000,
    };
    let effects = stage.act(|hub, now, out| {
        hub.publish(now, socket, request, out);
        hub.offer(now, socket, &broadcast, Some("v=0".into()), out);
    });
    let Some(Effect::Offer { session, .. }) = effects.last() else {
        panic!("no offer: {effects:?}");
    };
    stage.act(|hub, _, out| hub.offer_handed_over(session, 0, out));
    stage.answer(session);
    (socket, broadcast)
}

#[test]
fn those_of_many_addresses_stay_within_the_budget_of_the_shard_and_first_ones_get_their_turn() {
    let mut stage = Stage::new();
    let strangers = strangers(&mut stage, 40);
    let mut handed = 0;
    for _ in 0..20 {
        for (socket, broadcast) in &strangers {
            let sdp = Some("v=0".to_owned());
            let effects = stage.act(|hub, now, out| hub.offer(now, *socket, broadcast, sdp, out));
            handed += handed_over(&effects).len();
        }
        handed += handed_over(&turns(&mut stage, 1)).len();
    }
    // A second has passed, and each costs three.
    let rate = limits::OFFERS_PER_SHARD;
    let most = (rate.burst + rate.per_second) as usize / 3 + 1;
    assert!((1..=most).contains(&handed), "{handed} of {most}");

    // A client that has spent nothing goes behind those that have not either: each once, in two seconds.
    stage.publish(A);
    let id = stage.id();
    let effects = stage.act(|hub, now, out| hub.offer(now, A, &id, Some("v=0".into()), out));
    let [Effect::Offer { session, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let now = stage.now;
    assert!(!stage.hub.take_turn(now, session, 0), "the shard is busy");
    let next = turns(&mut stage, 45);
    let mut offers = next.iter();
    assert!(offers.any(|effect| matches!(effect, Effect::Offer { .. })));
}

#[test]
fn a_page_that_turns_its_cameras_on_waits_for_its_turn_and_is_not_refused() {
    let mut stage = Stage::new();
    stage.live(A);
    let cameras = ["v=0 1", "v=0 2", "v=0 3", "v=0 4", "v=0 5"];
    let mut effects = Vec::new();
    for sdp in cameras {
        effects.extend(offer_again(&mut stage, A, sdp));
    }
    assert_eq!(words(&effects, A), [""; 0]);
    // Two cost six; the third is more than a shard takes at once.
    assert_eq!(handed_over(&effects), cameras[..2]);
    let later = turns(&mut stage, 20);
    assert_eq!(handed_over(&later), cameras[2..]);
    let sixth = offer_again(&mut stage, A, "v=0 6");
    assert_eq!(words(&sixth, A), ["error highResourceUsage"]);
}

#[test]
fn one_of_the_largest_size_gets_its_turn_though_cheap_ones_come_all_the_time() {
    let mut stage = Stage::new();
    stage.live(A);
    let strangers = strangers(&mut stage, 200);
    let sdp = "x".repeat(limits::SDP_BYTES_MAX);
    let mut effects = offer_again(&mut stage, A, "v=0");
    effects.extend(offer_again(&mut stage, A, &sdp));
    assert_eq!(handed_over(&effects), ["v=0"]);
    let mut handed = 0;
    for (socket, broadcast) in &strangers {
        let cheap = Some("v=0".to_owned());
        stage.act(|hub, now, out| hub.offer(now, *socket, broadcast, cheap, out));
        let effects = turns(&mut stage, 1);
        handed += usize::from(handed_over(&effects).contains(&sdp.as_str()));
    }
    assert_eq!(handed, 1);
}

#[test]
fn a_costly_one_gets_its_turn_though_cheap_ones_of_the_same_client_come_all_the_time() {
    let mut stage = Stage::new();
    stage.live(A);
    let sdp = "x".repeat(limits::SDP_BYTES_MAX);
    let id = stage.id();
    // Other sessions of the same client have spent its budget, and go on to want more.
    let others: Vec<_> = (0..20)
        .map(|n| session_at(&mut stage, STUDIO, 2_000 + n))
        .collect();
    let cheap = |stage: &mut Stage, n: usize| {
        let (socket, broadcast) = &others[n % others.len()];
        let sdp = Some("v=0".to_owned());
        stage.act(|hub, now, out| hub.offer(now, *socket, broadcast, sdp, out));
    };
    for n in 0..8 {
        cheap(&mut stage, n);
    }
    turns(&mut stage, 20);
    assert!(
        stage.hub.offer_queue.waiting.is_empty(),
        "the burst is over"
    );
    stage.act(|hub, now, out| hub.offer(now, A, &id, Some(sdp.clone()), out));
    let mut handed = 0;
    for n in 8..88 {
        cheap(&mut stage, n);
        let effects = turns(&mut stage, 1);
        handed += usize::from(handed_over(&effects).contains(&sdp.as_str()));
    }
    assert_eq!(handed, 1);
}

#[test]
fn one_that_waits_for_too_long_is_refused() {
    let mut stage = Stage::new();
    stage.live(A);
    offer_again(&mut stage, A, "v=0 1");
    offer_again(&mut stage, A, "v=0 2");
    offer_again(&mut stage, A, "v=0 3");
    candidate(&mut stage, "candidate:1");
    assert!(!stage.hub.offer_queue.waiting.is_empty(), "one waits");
    stage.now += limits::FURTHER_OFFER_WAIT;
    let late = stage.act(|hub, now, out| hub.tick_turns(now, out));
    assert_eq!(words(&late, A), ["error highResourceUsage"]);
    assert_eq!(handed_over(&late), ["candidate:1"]);
    assert_eq!(words(&turns(&mut stage, 20), A), [""; 0], "once");
    // The session goes on, and may offer again.
    let next = offer_again(&mut stage, A, "v=0 4");
    assert_eq!(handed_over(&next), ["v=0 4"]);
}

#[test]
fn those_of_a_session_that_was_superseded_are_refused_and_behind_a_stop_there_is_no_answer() {
    for stops in [false, true] {
        let mut stage = Stage::new();
        stage.live(A);
        for _ in 0..3 {
            offer_again(&mut stage, A, "v=0");
        }
        if stops {
            stage.stop(A);
        } else {
            stage.media_age_ms = None;
            assert_eq!(words(&stage.publish(B), B), ["start"]);
        }
        let wanted: &[&str] = if stops {
            &[]
        } else {
            &["error highResourceUsage"]
        };
        assert_eq!(words(&turns(&mut stage, 20), A), wanted, "stops: {stops}");
    }
}

#[test]
fn candidates_of_an_ice_restart_follow_its_offer_to_the_shard() {
    let mut stage = Stage::new();
    stage.live(A);
    for _ in 0..2 {
        offer_again(&mut stage, A, "v=0");
    }
    let mut effects = offer_again(&mut stage, A, "v=0 restart");
    effects.extend(candidate(&mut stage, "candidate:1"));
    assert_eq!(handed_over(&effects), [""; 0]);
    let later = turns(&mut stage, 20);
    assert_eq!(handed_over(&later), ["v=0 restart", "candidate:1"]);
    let effects = candidate(&mut stage, "candidate:2");
    assert_eq!(handed_over(&effects), ["candidate:2"]);
}

#[test]
fn those_of_a_session_that_ends_are_forgotten() {
    let mut stage = Stage::new();
    stage.live(A);
    for _ in 0..5 {
        offer_again(&mut stage, A, "v=0");
    }
    stage.stop(A);
    assert_eq!(handed_over(&turns(&mut stage, 20)), [""; 0]);
}

#[test]
fn a_client_has_no_more_of_them_waiting_than_its_places() {
    let mut stage = Stage::new();
    let client = Client {
        address: [203, 0, 113, 9].into(),
        is_trusted: false,
    };
    let since = stage.now;
    let offer = || super::offer_queue::Waiting {
        session: shardcast_link::SessionId("s".into()),
        client,
        shard: 0,
        cost: 1,
        is_further: true,
        since,
    };
    let waiting = std::iter::repeat_with(offer);
    let most = limits::FURTHER_OFFERS_WAITING_PER_CLIENT_MAX;
    stage.hub.offer_queue.waiting.extend(waiting.take(most));
    stage.live(STRANGER);
    let refused = offer_again(&mut stage, STRANGER, "v=0");
    assert_eq!(words(&refused, STRANGER), ["error highResourceUsage"]);
}

#[test]
fn one_of_a_client_with_few_displaces_the_newest_of_the_client_with_the_most() {
    let mut stage = Stage::new();
    stage.live(A);
    let since = stage.now;
    let most = limits::FURTHER_OFFERS_WAITING_MAX;
    for n in 0..most {
        let client = Client {
            address: [198, 18, 0, (n / 100) as u8].into(),
            is_trusted: false,
        };
        stage
            .hub
            .offer_queue
            .waiting
            .push(super::offer_queue::Waiting {
                session: shardcast_link::SessionId(format!("s{n}")),
                client,
                shard: 0,
                cost: 1,
                is_further: true,
                since,
            });
    }
    let mut effects = Vec::new();
    for n in 0..3 {
        effects.extend(offer_again(&mut stage, A, &format!("v=0 {n}")));
    }
    // Two cost what the shard has; the third waits.
    assert_eq!(words(&effects, A), [""; 0]);
    let waiting = &stage.hub.offer_queue.waiting;
    assert_eq!(waiting.len(), most);
    let has = |n: usize| {
        waiting
            .iter()
            .any(|offer| offer.session.0 == format!("s{n}"))
    };
    assert!(!has(1_999) && has(1_998) && has(most - 1));
}

#[test]
fn candidates_are_counted_anew_after_an_ice_restart_alone() {
    let mut stage = Stage::new();
    stage.live(A);
    let taken = |stage: &mut Stage| {
        let sent = (0..1_000).map(|_| handed_over(&candidate(stage, "candidate:1")).len());
        sent.sum::<usize>()
    };
    let most = limits::CANDIDATES_PER_SESSION_MAX;
    assert_eq!(taken(&mut stage), most);
    for (sdp, more) in [
        ("v=0\r\na=ice-ufrag:one\r\n", most),
        ("v=0\r\na=ice-ufrag:one\r\na=mid:1\r\n", 0),
        ("v=0\r\na=ice-ufrag:two\r\n", most),
    ] {
        offer_again(&mut stage, A, sdp);
        turns(&mut stage, 20);
        assert_eq!(taken(&mut stage), more, "{sdp}");
    }
}
