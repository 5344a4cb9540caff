//! Who may take over a stream id, and whose `stop` ends a broadcast.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use shardcast_link::{EndReason, SessionId};

use super::{
    Client, Effect, Eviction, SocketId,
    client::is_same_client,
    hub_tests::{A, B, STRANGER, STUDIO, Stage, unpublish, words},
};

/// The broadcast of `stage` has ended by the time everything is due.
fn ends(stage: &mut Stage) -> bool {
    let over = Effect::Finish {
        broadcast: stage.id(),
    };
    (0..20).any(|_| stage.pass(1_000).contains(&over))
}

/// Media of an earlier process flows, as after a restart of this one.
fn restarted(from: Option<IpAddr>) -> Stage {
    let mut stage = Stage::new();
    let id = stage.id();
    let earlier = SessionId("earlier-1".into());
    let effects = stage.act(|hub, _, out| hub.publishing(&earlier, &id, out));
    assert!(
        matches!(effects.as_slice(), [Effect::Started { .. }]),
        "{effects:?}"
    );
    stage.media_age_ms = Some(5);
    stage.media_from = from;
    stage
}

#[test]
fn an_id_that_is_live_is_in_use_for_everybody() {
    let mut stage = Stage::new();
    stage.live(A);
    assert_eq!(words(&stage.publish(B), B), ["error streamIdInUse"]);
    assert_eq!(
        words(&stage.publish(STRANGER), STRANGER),
        ["error streamIdInUse"]
    );
    assert_eq!(words(&stage.publish(A), A), ["error already_publishing"]);
}

#[test]
fn a_holder_without_media_is_replaced_by_anybody() {
    for socket in [B, STRANGER] {
        let mut stage = Stage::new();
        stage.live(A);
        stage.media_age_ms = Some(2_500);
        assert_eq!(words(&stage.publish(socket), socket), ["start"]);
    }
}

#[test]
fn a_holder_whose_socket_is_stuck_or_closed_is_replaced_from_its_own_address_alone() {
    for is_closed in [false, true] {
        for (socket, word) in [(B, "start"), (STRANGER, "error streamIdInUse")] {
            let mut stage = Stage::new();
            stage.live(A);
            if is_closed {
                stage.close(A);
            } else {
                stage.now += Duration::from_secs(9);
                stage.hub.socket_heard(stage.now, socket);
            }
            let found = words(&stage.publish(socket), socket);
            assert_eq!(found, [word], "closed: {is_closed}");
        }
    }
}

#[test]
fn media_of_an_earlier_process_is_replaced_from_its_own_address_alone() {
    for (from, socket, word) in [
        (Some(STUDIO), A, "start"),
        (Some(STUDIO), STRANGER, "error streamIdInUse"),
        // Not reported: the engine that had it has died.
        (None, STRANGER, "start"),
    ] {
        let mut stage = restarted(from);
        assert_eq!(words(&stage.publish(socket), socket), [word]);
    }
    let mut stage = restarted(Some(STUDIO));
    stage.media_age_ms = Some(2_500);
    assert_eq!(words(&stage.publish(STRANGER), STRANGER), ["start"]);
}

#[test]
fn an_offer_that_waited_for_the_shard_is_refused_when_the_shard_has_media_of_another() {
    let mut stage = Stage::new();
    stage.publish(STRANGER);
    let id = stage.id();
    let offer = stage.act(|hub, now, out| hub.offer(now, STRANGER, &id, Some("v=0".into()), out));
    let [Effect::Offer { session, .. }] = offer.as_slice() else {
        panic!("{offer:?}")
    };
    let foreign = |stage: &Stage| {
        let media = stage.last_media();
        stage.hub.replaces_foreign_media(session, media)
    };
    assert!(!foreign(&stage));
    (stage.media_age_ms, stage.media_from) = (Some(5), Some(STUDIO));
    assert!(foreign(&stage));
    let effects = stage.act(|hub, _, out| hub.refuse_in_use(session, out));
    assert_eq!(words(&effects, STRANGER), ["error streamIdInUse"]);
    assert!(!stage.hub.is_claimed(&id));
}

#[test]
fn a_stop_frees_the_id_for_its_own_address_and_after_the_grace_for_anybody() {
    let mut stage = Stage::new();
    stage.live(A);
    stage.media_from = Some(STUDIO);
    stage.stop(A);
    // The last report still shows media.
    let refused = words(&stage.publish(STRANGER), STRANGER);
    assert_eq!(refused, ["error streamIdInUse"]);
    assert_eq!(words(&stage.publish(B), B), ["start"]);
    let session = stage.offer(B);
    let media = stage.last_media();
    assert!(!stage.hub.replaces_foreign_media(&session, media));

    let mut stage = Stage::new();
    stage.live(A);
    stage.stop(A);
    stage.media_age_ms = Some(2_500);
    let refused = words(&stage.publish(STRANGER), STRANGER);
    assert_eq!(refused, ["error streamIdInUse"]);
    assert!(ends(&mut stage), "nobody else cancels the end");
    assert_eq!(words(&stage.publish(STRANGER), STRANGER), ["start"]);
}

#[test]
fn the_old_session_goes_on_until_media_of_the_new_one_comes() {
    let mut stage = Stage::new();
    let old = stage.live(A);
    stage.close(A);
    let effects = stage.publish(B);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Unpublish { .. }))
    );
    let new = stage.offer(B);
    stage.answer(&new);
    assert!(
        !stage.pass(5_000).contains(&unpublish(&old)),
        "it was cut too early"
    );
    assert_eq!(stage.ended(&old, EndReason::Replaced), []);
    assert!(stage.hub.is_held_by(&stage.id(), B));
}

#[test]
fn a_session_without_media_ends_nothing_that_is_held() {
    // Nobody is there: the shard holds the broadcast for a publisher that was lost.
    for has_offered in [false, true] {
        let mut stage = restarted(Some(STUDIO));
        stage.media_age_ms = Some(20_000);
        assert_eq!(words(&stage.publish(STRANGER), STRANGER), ["start"]);
        if has_offered {
            let session = stage.offer(STRANGER);
            assert_eq!(stage.stop(STRANGER), [unpublish(&session)]);
            stage.ended(&session, EndReason::Lost);
        } else {
            let effects = stage.stop(STRANGER);
            assert_eq!(words(&effects, STRANGER), ["publish_finished"]);
        }
        assert!(!ends(&mut stage));
    }
}

#[test]
fn a_live_session_gets_its_claim_back_from_one_that_never_brings_media() {
    // However that one ends: by its stop, its close, its time or its shard.
    for end in 0..4 {
        let mut stage = Stage::new();
        let live = stage.live(A);
        stage.media_age_ms = Some(2_500);
        stage.publish(STRANGER);
        let session = stage.offer(STRANGER);
        let mut effects = match end {
            0 => stage.stop(STRANGER),
            1 => {
                stage.close(STRANGER);
                Vec::new()
            }
            2 => stage.pass(13_000),
            _ => stage.ended(&session, EndReason::StartTimeout),
        };
        stage.media_age_ms = Some(5);
        for _ in 0..20 {
            effects.extend(stage.pass(1_000));
        }
        assert!(
            !effects.contains(&unpublish(&live)),
            "end {end}: {effects:?}"
        );
        assert!(stage.hub.is_held_by(&stage.id(), A), "end {end}");
        assert_eq!(words(&stage.publish(B), B), ["error streamIdInUse"]);
        let over = Effect::Finish {
            broadcast: stage.id(),
        };
        assert!(!effects.contains(&over), "end {end}");
    }
}

#[test]
fn attempts_that_follow_each_other_keep_the_live_session_in_mind() {
    let mut stage = Stage::new();
    let live = stage.live(A);
    stage.media_age_ms = Some(2_500);
    stage.publish(STRANGER);
    stage.pass(10_500);
    stage.publish(STRANGER);
    stage.pass(5_000);
    stage.stop(STRANGER);
    assert!(stage.hub.is_held_by(&stage.id(), A));
    assert_eq!(stage.stop(A), [unpublish(&live)]);
    assert!(ends(&mut stage));
}

#[test]
fn a_stop_during_the_retry_of_the_sdk_ends_the_broadcast_without_media() {
    let mut stage = Stage::new();
    stage.live(A);
    stage.stop(A);
    stage.pass(500);
    assert_eq!(words(&stage.publish(A), A), ["start"]);
    stage.offer(A);
    stage.stop(A);
    assert!(ends(&mut stage));
}

#[test]
fn nobody_else_completes_the_stop_that_a_retry_began_with() {
    let mut stage = Stage::new();
    stage.live(A);
    stage.stop(A);
    let refused = words(&stage.publish(STRANGER), STRANGER);
    assert_eq!(refused, ["error streamIdInUse"]);
    stage.stop(STRANGER);
    assert!(!stage.pass(1_000).contains(&Effect::Finish {
        broadcast: stage.id(),
    }));
    // Nor does anybody keep its publisher from coming back.
    assert_eq!(words(&stage.publish(A), A), ["start"]);
}

#[test]
fn a_client_that_no_proxy_names_takes_over_nothing_and_completes_its_own_stop() {
    let mut stage = Stage::new();
    let nobody = Client {
        address: Ipv4Addr::UNSPECIFIED.into(),
        is_trusted: false,
    };
    let [first, second] = [SocketId(11), SocketId(12)];
    for socket in [first, second] {
        stage.hub.socket_opened(stage.now, socket, nobody);
    }
    stage.live(first);
    stage.stop(first);
    for other in [second, STRANGER] {
        let refused = words(&stage.publish(other), other);
        assert_eq!(refused, ["error streamIdInUse"]);
    }
    assert_eq!(words(&stage.publish(first), first), ["start"]);
    stage.offer(first);
    stage.stop(first);
    assert!(ends(&mut stage), "it asked for the end twice");

    stage.live(first);
    stage.close(first);
    let refused = words(&stage.publish(second), second);
    assert_eq!(refused, ["error streamIdInUse"], "the media is fresh");
}

#[test]
fn a_stream_that_rest_ends_is_taken_from_the_one_who_publishes_and_from_the_one_who_tries() {
    let mut stage = Stage::new();
    stage.live(A);
    stage.media_age_ms = Some(2_500);
    stage.publish(STRANGER);
    let id = stage.id();
    let effects = stage.act(|hub, _, out| hub.evict(&id, Eviction::ByRest, out));
    for socket in [A, STRANGER] {
        assert_eq!(words(&effects, socket), ["publish_finished", "stop"]);
    }
    assert!(!stage.hub.is_claimed(&id));
}

#[test]
fn a_client_is_one_address_or_one_network_of_ipv6() {
    for (one, other, wanted) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::", true),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ("192.0.2.1", "2001:db8::1", false),
        ("::1", "::192.0.2.1", true),
        ("0.0.0.0", "0.0.0.0", false),
        ("::", "::1", false),
        ("::", "::", false),
    ] {
        let [a, b] = [one, other].map(|text| text.parse().unwrap());
        assert_eq!(is_same_client(a, b), wanted, "{one} {other}");
    }
}
