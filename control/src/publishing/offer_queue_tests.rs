//! Offers of one client do not take a shard from the others.

use std::time::{Duration, Instant};

use shardcast_link::{BroadcastId, SessionId};

use super::{
    Client, Effect, Hub, PublishRequest, SocketId,
    hub_tests::words,
    offer_queue::{self, Waiting},
};
use crate::limits;

const SHARD: u16 = 0;

/// A hub with one socket for each client, and how many offers its shard has got of each.
struct Stage {
    hub: Hub,
    now: Instant,
    taken: [usize; 2],
    made: usize,
}

fn stranger(address: [u8; 4]) -> Client {
    Client {
        address: address.into(),
        is_trusted: false,
    }
}

fn offer_of(address: [u8; 4], shard: u16) -> Waiting {
    Waiting {
        session: SessionId(String::new()),
        client: stranger(address),
        shard,
        cost: 1,
        is_further: false,
        since: Instant::now(),
    }
}

impl Stage {
    fn new() -> Self {
        let mut hub = Hub::new("test".into());
        let now = Instant::now();
        for client in 0..2u8 {
            let sockets = 0..limits::STARTING_PER_CLIENT_MAX as u64;
            for socket in sockets {
                let id = SocketId(u64::from(client) * 1_000 + socket);
                hub.socket_opened(now, id, stranger([192, 0, 2, client]));
            }
        }
        Self {
            hub,
            now,
            taken: [0; 2],
            made: 0,
        }
    }

    /// Publishes and offers over a socket of `client`; the words that it gets.
    fn offer(&mut self, client: usize) -> (SocketId, BroadcastId, Vec<String>) {
        self.made += 1;
        let id = BroadcastId::new("app", &format!("s{}", self.made)).unwrap();
        let socket = client * 1_000 + self.made % limits::STARTING_PER_CLIENT_MAX;
        let socket = SocketId(socket as u64);
        let mut out = Vec::new();
        let request = PublishRequest {
            broadcast: id.clone(),
            name: String::new(),
            meta_data: String::new(),
            admission: Ok(()),
            was_asked: false,
            last_media: None,
            start_timeout_ms: 60_000,
        };
        self.hub.publish(self.now, socket, request, &mut out);
        let messages = words(&out, socket);
        out.clear();
        self.hub
            .offer(self.now, socket, &id, Some("v=0".into()), &mut out);
        self.hand_over(out);
        (socket, id, messages)
    }

    /// Does with offers what control does: asks for the turn, and gives them to the shard.
    fn hand_over(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Offer { session, .. } = effect
                && self.hub.take_turn(self.now, &session, SHARD)
            {
                self.taken[self.client_of(&session)] += 1;
                self.hub.offer_handed_over(&session, SHARD, &mut Vec::new());
            }
        }
    }

    fn client_of(&self, session: &SessionId) -> usize {
        usize::try_from(self.hub.sessions[session].socket.0 / 1_000).unwrap()
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now += limits::OFFER_TURN;
            let mut out = Vec::new();
            self.hub.tick_turns(self.now, &mut out);
            self.hand_over(out);
        }
    }
}

#[test]
fn a_burst_passes_at_once_and_the_rest_waits_for_its_turn() {
    let mut stage = Stage::new();
    let burst = limits::OFFERS_PER_CLIENT.burst as usize;
    for _ in 0..burst + 9 {
        stage.offer(0);
    }
    let at_once = limits::OFFERS_PER_SHARD.burst as usize;
    assert_eq!(stage.taken, [at_once, 0]);
    stage.pass(1_000);
    let second = limits::OFFERS_PER_CLIENT.per_second as usize;
    let taken = stage.taken[0];
    assert!((burst..=burst + second).contains(&taken), "{taken}");
    stage.pass(60_000);
    assert_eq!(stage.taken, [burst + 9, 0]);
}

#[test]
fn offers_that_are_withdrawn_before_their_turn_cost_the_shard_nothing() {
    let mut stage = Stage::new();
    for _ in 0..1_000 {
        let (socket, id, messages) = stage.offer(0);
        assert_eq!(messages, ["start"]);
        let grace = Duration::from_secs(2);
        stage
            .hub
            .stop(stage.now, socket, &id, grace, &mut Vec::new());
    }
    stage.pass(10_000);
    assert_eq!(stage.taken[0], limits::OFFERS_PER_SHARD.burst as usize);
}

#[test]
fn one_client_that_waits_holds_up_no_other() {
    let mut stage = Stage::new();
    for _ in 0..limits::STARTING_PER_CLIENT_MAX {
        stage.offer(0);
    }
    stage.pass(50);
    stage.offer(1);
    stage.pass(50);
    assert_eq!(stage.taken[1], 1);
}

#[test]
fn clients_take_turns_at_a_shard_that_has_too_many() {
    let mut stage = Stage::new();
    let spent = limits::OFFERS_PER_SHARD.burst as u8;
    for n in 0..spent {
        let offer = offer_of([198, 18, 0, n], SHARD);
        assert!(stage.hub.offer_queue.take(stage.now, &offer));
    }
    for client in [0, 0, 0, 0, 1, 1] {
        stage.offer(client);
    }
    assert_eq!(stage.taken, [0, 0]);
    stage.pass(50);
    assert!(
        stage.taken[0] > 0 && stage.taken[1] > 0,
        "{:?}",
        stage.taken
    );
}

#[test]
fn an_address_has_so_many_sessions_without_media_and_no_more() {
    let mut stage = Stage::new();
    for _ in 0..limits::STARTING_PER_CLIENT_MAX {
        assert_eq!(stage.offer(0).2, ["start"]);
    }
    assert_eq!(stage.offer(0).2, ["error highResourceUsage"]);
    assert_eq!(stage.offer(1).2, ["start"]);
}

#[test]
fn a_long_offer_counts_as_several() {
    for (bytes, cost) in [(0, 1), (5_700, 1), (6 << 10, 1), (18_000, 3), (32 << 10, 6)] {
        assert_eq!(offer_queue::cost(&"x".repeat(bytes)), cost, "{bytes}");
    }
}

#[test]
fn budgets_of_clients_that_are_gone_are_forgotten() {
    let mut stage = Stage::new();
    for n in 0..200u8 {
        let offer = offer_of([198, 18, 0, n], n.into());
        assert!(stage.hub.offer_queue.take(stage.now, &offer));
    }
    assert_eq!(stage.hub.offer_queue.clients_known(), 200);
    stage.pass(2_000);
    assert_eq!(stage.hub.offer_queue.clients_known(), 0);
}
