//! The rules of signalling, one test each, on the hub alone: no sockets, no shard, no clock.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use shardcast_link::{BroadcastId, EndReason, Fault, Problem, SessionId};

use super::{
    Client, Effect, Eviction, Hub, LastMedia, PublishRequest, SocketId, message::ServerMessage,
};

/// Two sockets of the studio, and one of a stranger.
pub(super) const A: SocketId = SocketId(1);
pub(super) const B: SocketId = SocketId(2);
pub(super) const STRANGER: SocketId = SocketId(3);
pub(super) const STUDIO: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

/// A hub with these sockets and a clock that is moved by hand.
pub(super) struct Stage {
    pub(super) hub: Hub,
    pub(super) now: Instant,
    pub(super) media_age_ms: Option<u64>,
    /// Where the shard says that media comes from.
    pub(super) media_from: Option<IpAddr>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let mut stage = Self {
            hub: Hub::new("test".into()),
            now: Instant::now(),
            media_age_ms: None,
            media_from: None,
        };
        for (socket, address) in [(A, STUDIO), (B, STUDIO), (STRANGER, ELSEWHERE)] {
            let client = Client {
                address,
                is_trusted: false,
            };
            stage.hub.socket_opened(stage.now, socket, client);
        }
        stage
    }

    pub(super) fn last_media(&self) -> Option<LastMedia> {
        self.media_age_ms.map(|age_ms| LastMedia {
            age_ms,
            from: self.media_from,
        })
    }

    pub(super) fn id(&self) -> BroadcastId {
        BroadcastId::new("app", "s").unwrap()
    }

    pub(super) fn act(
        &mut self,
        act: impl FnOnce(&mut Hub, Instant, &mut Vec<Effect>),
    ) -> Vec<Effect> {
        let mut out = Vec::new();
        act(&mut self.hub, self.now, &mut out);
        out
    }

    pub(super) fn publish(&mut self, socket: SocketId) -> Vec<Effect> {
        self.publish_with(socket, Ok(()))
    }

    fn publish_with(
        &mut self,
        socket: SocketId,
        admission: Result<(), &'static str>,
    ) -> Vec<Effect> {
        let request = PublishRequest {
            broadcast: self.id(),
            name: String::new(),
            meta_data: String::new(),
            admission,
            was_asked: false,
            last_media: self.last_media(),
            start_timeout_ms: 10_000,
        };
        self.act(|hub, now, out| hub.publish(now, socket, request, out))
    }

    /// Sends the offer and lets shard 0 take it.
    pub(super) fn offer(&mut self, socket: SocketId) -> SessionId {
        let id = self.id();
        let effects =
            self.act(|hub, now, out| hub.offer(now, socket, &id, Some("v=0".into()), out));
        let [Effect::Offer { session, .. }] = effects.as_slice() else {
            panic!("no offer: {effects:?}");
        };
        let session = session.clone();
        self.act(|hub, _, out| hub.offer_handed_over(&session, 0, out));
        session
    }

    pub(super) fn answer(&mut self, session: &SessionId) -> Vec<Effect> {
        let sdp = "v=0\r\na=mid:audio\r\n".to_owned();
        let candidates = vec!["candidate:1".to_owned()];
        self.act(|hub, _, out| hub.answered(session, sdp, candidates, true, out))
    }

    /// From `publish` to `publish_started`.
    pub(super) fn live(&mut self, socket: SocketId) -> SessionId {
        self.publish(socket);
        let session = self.offer(socket);
        self.answer(&session);
        let id = self.id();
        self.act(|hub, _, out| hub.publishing(&session, &id, out));
        self.media_age_ms = Some(5);
        session
    }

    pub(super) fn stop(&mut self, socket: SocketId) -> Vec<Effect> {
        self.stop_with(socket, Duration::from_secs(2))
    }

    pub(super) fn stop_with(&mut self, socket: SocketId, grace: Duration) -> Vec<Effect> {
        let id = self.id();
        self.act(|hub, now, out| hub.stop(now, socket, &id, grace, out))
    }

    pub(super) fn ended(&mut self, session: &SessionId, reason: EndReason) -> Vec<Effect> {
        self.act(|hub, now, out| hub.ended(now, session, reason, out))
    }

    pub(super) fn close(&mut self, socket: SocketId) {
        self.hub.socket_closed(self.now, socket);
    }

    /// Moves the clock on; sockets that are open are heard all the while.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        self.now += Duration::from_millis(ms);
        for socket in [A, B, STRANGER] {
            self.hub.socket_heard(self.now, socket);
        }
        self.tick()
    }

    pub(super) fn tick(&mut self) -> Vec<Effect> {
        self.act(|hub, now, out| hub.tick(now, out))
    }
}

/// The words sent to `socket`, in short.
pub(super) fn words(effects: &[Effect], socket: SocketId) -> Vec<String> {
    let word = |effect: &Effect| match effect {
        Effect::Send {
            socket: to,
            message,
        } if *to == socket => Some(match message {
            ServerMessage::Start { .. } => "start".to_owned(),
            ServerMessage::Answer { .. } => "answer".to_owned(),
            ServerMessage::Candidate { mid, .. } => format!("candidate {mid}"),
            ServerMessage::Notification { definition, .. } => (*definition).to_owned(),
            ServerMessage::Error { definition, .. } => format!("error {definition}"),
            ServerMessage::Stop { .. } => "stop".to_owned(),
            ServerMessage::ServerWillStop => "server_will_stop".to_owned(),
            other => format!("{other:?}"),
        }),
        _ => None,
    };
    effects.iter().filter_map(word).collect()
}

pub(super) fn unpublish(session: &SessionId) -> Effect {
    Effect::Unpublish {
        session: session.clone(),
        shard: 0,
    }
}

#[test]
fn a_publish_goes_from_start_over_the_answer_to_publish_started() {
    let mut stage = Stage::new();
    assert_eq!(words(&stage.publish(A), A), ["start"]);
    let session = stage.offer(A);
    assert_eq!(
        words(&stage.answer(&session), A),
        ["answer", "candidate audio"]
    );
    let id = stage.id();
    let effects = stage.act(|hub, _, out| hub.publishing(&session, &id, out));
    assert_eq!(words(&effects, A), ["publish_started"]);
    assert!(
        matches!(effects[0], Effect::Started { .. }),
        "the store is told first: {effects:?}"
    );
}

#[test]
fn a_stop_frees_the_id_at_once() {
    let mut stage = Stage::new();
    let first = stage.live(A);
    assert_eq!(stage.stop(A), [unpublish(&first)]);
    assert_eq!(words(&stage.publish(B), B), ["start"]);
}

#[test]
fn a_stop_is_confirmed_at_once_and_held_for_the_retry_of_the_sdk() {
    let mut stage = Stage::new();
    let first = stage.live(A);
    assert_eq!(stage.stop(A), [unpublish(&first)]);
    assert_eq!(
        words(&stage.ended(&first, EndReason::Lost), A),
        ["publish_finished"]
    );
    stage.pass(500);
    assert_eq!(words(&stage.publish(A), A), ["start"]);
    let finished = stage.pass(20_000).contains(&Effect::Finish {
        broadcast: stage.id(),
    });
    assert!(!finished, "the retry has come, so nothing is over");
}

#[test]
fn a_stop_without_a_retry_ends_the_broadcast() {
    let mut stage = Stage::new();
    stage.live(A);
    stage.stop(A);
    assert!(!stage.pass(1_000).contains(&Effect::Finish {
        broadcast: stage.id()
    }));
    assert!(stage.pass(2_500).contains(&Effect::Finish {
        broadcast: stage.id()
    }));
}

#[test]
fn a_stop_without_a_grace_ends_the_broadcast_at_once() {
    let mut stage = Stage::new();
    let first = stage.live(A);
    let over = Effect::Finish {
        broadcast: stage.id(),
    };
    assert_eq!(
        stage.stop_with(A, Duration::ZERO),
        [unpublish(&first), over.clone()]
    );
    assert!(!stage.pass(10_000).contains(&over), "it ends once");
}

#[test]
fn a_peer_connection_that_closes_before_the_stop_still_ends_the_broadcast() {
    let mut stage = Stage::new();
    let session = stage.live(A);
    assert_eq!(
        words(&stage.ended(&session, EndReason::PeerClosed), A),
        ["publish_finished"]
    );
    assert_eq!(stage.stop(A), []);
    assert!(stage.pass(2_500).contains(&Effect::Finish {
        broadcast: stage.id()
    }));
}

#[test]
fn a_closed_socket_ends_its_session_after_a_grace_and_holds_the_broadcast() {
    let mut stage = Stage::new();
    let session = stage.live(A);
    stage.close(A);
    assert_eq!(stage.pass(2_000), []);
    assert_eq!(stage.pass(1_500), [unpublish(&session)]);
    assert!(!stage.hub.is_claimed(&stage.id()));
}

#[test]
fn commands_out_of_order_are_answered() {
    let mut stage = Stage::new();
    let id = stage.id();
    let offer = stage.act(|hub, now, out| hub.offer(now, A, &id, Some("v=0".into()), out));
    assert_eq!(words(&offer, A), ["error not_initialized_yet"]);
    let candidate = stage.act(|hub, _, out| hub.candidate(A, &id, "candidate:1".into(), out));
    assert_eq!(words(&candidate, A), ["error not_initialized_yet"]);
    assert_eq!(words(&stage.stop(A), A), ["error not_initialized_yet"]);
    stage.publish(A);
    let empty = stage.act(|hub, now, out| hub.offer(now, A, &id, None, out));
    assert_eq!(words(&empty, A), ["error notSetRemoteDescription"]);
    stage.offer(A);
    let again = stage.act(|hub, now, out| hub.offer(now, A, &id, Some("v=0".into()), out));
    assert_eq!(words(&again, A), ["error already_publishing"]);
}

#[test]
fn nothing_is_sent_for_a_stream_after_its_stop() {
    // A candidate would make the SDK open a stray peer connection.
    let mut stage = Stage::new();
    stage.publish(A);
    let session = stage.offer(A);
    stage.stop(A);
    assert_eq!(stage.answer(&session), []);
    let id = stage.id();
    assert_eq!(
        stage.act(|hub, _, out| hub.candidate(A, &id, "candidate:1".into(), out)),
        []
    );
}

#[test]
fn news_of_an_old_session_is_kept_from_a_socket_that_has_published_again() {
    let mut stage = Stage::new();
    let old = stage.live(A);
    stage.stop(A);
    stage.publish(A);
    assert_eq!(stage.ended(&old, EndReason::Requested), []);
}

#[test]
fn candidates_before_the_offer_follow_it_and_an_empty_one_says_nothing() {
    let mut stage = Stage::new();
    let id = stage.id();
    stage.publish(A);
    for text in ["candidate:1", ""] {
        stage.act(|hub, _, out| hub.candidate(A, &id, text.into(), out));
    }
    let effects = stage.act(|hub, now, out| hub.offer(now, A, &id, Some("v=0".into()), out));
    let [Effect::Offer { session, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let candidate = "candidate:1".to_owned();
    assert_eq!(
        stage.act(|hub, _, out| hub.offer_handed_over(session, 3, out)),
        [Effect::Candidate {
            session: session.clone(),
            shard: 3,
            candidate
        }]
    );
}

#[test]
fn an_offer_waits_for_a_shard_and_is_handed_over_when_one_is_there() {
    let mut stage = Stage::new();
    let id = stage.id();
    stage.publish(A);
    let first = stage.act(|hub, now, out| hub.offer(now, A, &id, Some("v=0".into()), out));
    let again = stage.act(|hub, _, out| hub.shard_reachable(out));
    assert_eq!(first, again);
}

#[test]
fn a_client_that_never_offers_is_timed_out() {
    let mut stage = Stage::new();
    stage.publish(A);
    assert_eq!(stage.pass(9_000), []);
    assert_eq!(words(&stage.pass(2_000), A), ["error publishTimeoutError"]);
    assert!(!stage.hub.is_claimed(&stage.id()));
}

#[test]
fn a_session_without_media_is_timed_out_by_the_shard_or_behind_it() {
    let mut stage = Stage::new();
    stage.publish(A);
    let session = stage.offer(A);
    let effects = stage.ended(&session, EndReason::NoMediaOffered);
    assert_eq!(words(&effects, A), ["error publishTimeoutError"]);
    stage.publish(A);
    let session = stage.offer(A);
    let effects = stage.pass(13_000);
    assert_eq!(words(&effects, A), ["error publishTimeoutError"]);
    assert!(effects.contains(&unpublish(&session)));
}

#[test]
fn an_offer_without_media_is_told_so_at_once() {
    let mut stage = Stage::new();
    stage.publish(A);
    let session = stage.offer(A);
    let effects =
        stage.act(|hub, _, out| hub.answered(&session, "v=0".into(), Vec::new(), false, out));
    assert_eq!(words(&effects, A), ["answer", "error no_media_offered"]);
}

#[test]
fn a_refused_offer_is_told_whose_fault_it_is() {
    let cases = [
        (Fault::Publisher, "error notSetRemoteDescription"),
        (Fault::Operator, "error highResourceUsage"),
        (Fault::Internal, "error server_error_check_logs"),
    ];
    for (fault, word) in cases {
        let mut stage = Stage::new();
        stage.publish(A);
        let session = stage.offer(A);
        let problem = Problem {
            fault,
            message: "why".into(),
        };
        let effects = stage.act(|hub, _, out| hub.refused(&session, problem, out));
        assert_eq!(words(&effects, A), [word]);
        assert!(!stage.hub.is_claimed(&stage.id()));
    }
}

#[test]
fn a_refused_admission_is_the_only_answer() {
    let mut stage = Stage::new();
    let effects = stage.publish_with(A, Err("unauthorized_access"));
    assert_eq!(words(&effects, A), ["error unauthorized_access"]);
    assert!(!stage.hub.is_claimed(&stage.id()));
}

#[test]
fn publishers_of_a_lost_engine_are_sent_to_a_new_socket() {
    let mut stage = Stage::new();
    stage.live(A);
    let effects = stage.act(|hub, _, out| hub.engine_replaced(0, out));
    assert_eq!(words(&effects, A), ["server_will_stop"]);
    assert!(effects.contains(&Effect::Close {
        socket: A,
        code: 1012
    }));
    assert_eq!(words(&stage.publish(B), B), ["start"]);
}

#[test]
fn a_stream_that_rest_has_ended_tells_its_publisher_to_stay_away() {
    let mut stage = Stage::new();
    stage.live(A);
    let id = stage.id();
    let effects = stage.act(|hub, _, out| hub.evict(&id, Eviction::ByRest, out));
    assert_eq!(words(&effects, A), ["publish_finished", "stop"]);
    assert!(!stage.hub.is_claimed(&id));
}

#[test]
fn a_server_that_stops_does_not_tell_publishers_to_stay_away() {
    let mut stage = Stage::new();
    stage.live(A);
    let id = stage.id();
    let effects = stage.act(|hub, _, out| hub.evict(&id, Eviction::ByShutdown, out));
    assert_eq!(words(&effects, A), ["publish_finished"]);
}

#[test]
fn late_news_of_a_session_of_this_process_that_is_over_does_not_make_a_broadcast_live() {
    let mut stage = Stage::new();
    let session = stage.live(A);
    let id = stage.id();
    stage.act(|hub, _, out| hub.evict(&id, Eviction::ByRest, out));
    let effects = stage.act(|hub, _, out| hub.publishing(&session, &id, out));
    assert_eq!(effects, []);
}

#[test]
fn a_shard_that_does_not_confirm_keeps_nobody_waiting() {
    let mut stage = Stage::new();
    stage.live(A);
    stage.stop(A);
    let effects = stage.pass(2_500);
    assert_eq!(words(&effects, A), ["publish_finished"]);
    assert!(effects.contains(&Effect::Finish {
        broadcast: stage.id()
    }));
}
