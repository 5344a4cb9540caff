//! Attempts that wait for the backend are known to the hub.

use super::{
    Client, Effect, Eviction, PublishRequest, SocketId,
    hub_tests::{A, B, STRANGER, STUDIO, Stage, words},
};
use crate::limits;

/// The backend has let `socket` publish.
fn publish_answered(stage: &mut Stage, socket: SocketId) -> Vec<Effect> {
    let request = PublishRequest {
        broadcast: stage.id(),
        name: String::new(),
        meta_data: String::new(),
        admission: Ok(()),
        was_asked: true,
        last_media: stage.last_media(),
        start_timeout_ms: 10_000,
    };
    stage.act(|hub, now, out| hub.publish(now, socket, request, out))
}

#[test]
fn an_answered_attempt_publishes_once() {
    let mut stage = Stage::new();
    let id = stage.id();
    assert!(stage.hub.begin_question(A, &id).is_ok());
    assert_eq!(words(&publish_answered(&mut stage, A), A), ["start"]);
    assert_eq!(publish_answered(&mut stage, B), []);
    assert!(stage.hub.questions.is_empty());
}

#[test]
fn an_attempt_whose_broadcast_rest_ends_is_told_so_and_its_answer_counts_no_more() {
    let mut stage = Stage::new();
    let id = stage.id();
    stage.live(A);
    stage.close(A);
    assert!(stage.hub.begin_question(B, &id).is_ok());
    let effects = stage.act(|hub, _, out| hub.evict(&id, Eviction::ByRest, out));
    assert_eq!(words(&effects, B), ["publish_finished", "stop"]);
    assert_eq!(publish_answered(&mut stage, B), []);
    assert!(!stage.hub.is_claimed(&id));
    // What comes afterwards is a new wish.
    assert!(stage.hub.begin_question(B, &id).is_ok());
    stage.media_age_ms = None;
    assert_eq!(words(&publish_answered(&mut stage, B), B), ["start"]);
}

#[test]
fn nobody_is_asked_about_what_its_socket_publishes_already_or_has_no_room_for() {
    let mut stage = Stage::new();
    let id = stage.id();
    stage.live(A);
    let refused = stage.hub.begin_question(A, &id);
    assert_eq!(refused.err(), Some("already_publishing"));
    assert!(stage.hub.awaits_stop(A, &id));
    assert!(!stage.hub.awaits_stop(B, &id));

    for n in 0..limits::STARTING_PER_CLIENT_MAX {
        let socket = SocketId(100 + n as u64);
        let client = Client {
            address: STUDIO,
            is_trusted: false,
        };
        stage.hub.socket_opened(stage.now, socket, client);
        let broadcast = shardcast_link::BroadcastId::new("app", &format!("n{n}")).unwrap();
        let request = PublishRequest {
            broadcast,
            name: String::new(),
            meta_data: String::new(),
            admission: Ok(()),
            was_asked: false,
            last_media: None,
            start_timeout_ms: 10_000,
        };
        stage.act(|hub, now, out| hub.publish(now, socket, request, out));
    }
    let refused = stage.hub.begin_question(B, &id);
    assert_eq!(refused.err(), Some("highResourceUsage"));
    assert!(stage.hub.begin_question(STRANGER, &id).is_ok());
    stage.close(STRANGER);
    assert!(stage.hub.questions.is_empty());
}
