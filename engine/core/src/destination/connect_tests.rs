//! Proves: the addresses of a name are tried as RFC 8305 says, servers that ask for user and password
//! or send a stream on are followed within bounds, and what fails is told in words.

use std::{
    ops::{Deref, DerefMut},
    rc::Rc,
    time::Instant,
};

use bytes::Bytes;
use shardcast_link::{DestinationId, WantedDestination};

use super::*;
use crate::{
    destination::AddressRules,
    ids::BroadcastKey,
    io::TcpEvent,
    limits::{
        CONNECT_STAGGER_MS, CONNECTS_AT_ONCE_MAX, DESTINATION_FLOODED_BYTES, REFUSED_DELAY_MS_MIN,
    },
    rtmp::{
        ServerConfig, ServerOutput, ServerSession,
        amf::Value,
        body::{MessageHeader, encode},
        command::Command,
    },
};

const V6: &str = "[2001:db8::1]:1935";
const V4: &str = "192.0.2.1:1935";
const REJECTED: &str = "NetConnection.Connect.Rejected";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A destination and the context that it puts its effects into.
struct Rig {
    destination: Destination,
    ctx: Context,
}

impl Deref for Rig {
    type Target = Destination;

    fn deref(&self) -> &Destination {
        &self.destination
    }
}

impl DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut Destination {
        &mut self.destination
    }
}

impl Rig {
    /// Its connection number `attempt`.
    fn conn(&self, attempt: u64) -> ConnId {
        ConnId::of_destination(self.broadcast, self.key, attempt)
    }

    fn tcp(&mut self, now: Instant, conn: ConnId, event: TcpEvent<'_>) {
        self.ctx.now = now;
        self.destination.tcp(&mut self.ctx, conn, event);
    }

    fn connected(&mut self, now: Instant, attempt: u64) {
        self.tcp(now, self.conn(attempt), TcpEvent::Connected);
    }

    fn timeout(&mut self, now: Instant) {
        self.ctx.now = now;
        self.destination.timeout(&mut self.ctx);
    }
}

/// A destination that is on air.
fn on_air(now: Instant, url: &str, rules: AddressRules) -> Rig {
    let wanted = WantedDestination::new(DestinationId("one".to_owned()), url.to_owned());
    let mut ctx = Context::for_tests(now);
    ctx.address_rules = Rc::new(rules);
    let mut destination = Destination::new(&mut ctx, BroadcastKey(1), &wanted);
    destination.set_on_air(&mut ctx, true);
    Rig { destination, ctx }
}

/// Answers the look-up that it waits for.
fn resolve(rig: &mut Rig, now: Instant, addresses: &[&str]) {
    let addresses = addresses.iter().map(|address| address.parse().unwrap());
    let Phase::Resolving { lookup, .. } = rig.phase else {
        return;
    };
    rig.ctx.now = now;
    rig.destination
        .resolved(&mut rig.ctx, lookup, Ok(addresses.collect()));
}

/// A destination whose name has these addresses.
fn connecting(now: Instant, addresses: &[&str]) -> Rig {
    let mut rig = on_air(now, "rtmp://host.example/app/key", AddressRules::default());
    resolve(&mut rig, now, addresses);
    rig
}

fn refused(rig: &mut Rig, now: Instant, attempt: u64, reason: &str, retryable: bool) {
    let reason = reason.to_owned();
    let conn = rig.conn(attempt);
    rig.tcp(now, conn, TcpEvent::Closed { reason, retryable });
}

/// What it wants done, in short.
fn wishes(rig: &mut Rig) -> Vec<String> {
    let outputs = std::iter::from_fn(|| rig.ctx.outputs.pop_front());
    let short = |output| match output {
        Output::Connect { conn, addr, .. } => Some(format!("connect {} {addr}", conn.number())),
        Output::Close { conn, .. } => Some(format!("close {}", conn.number())),
        Output::Resolve { host, port, .. } => Some(format!("resolve {host}:{port}")),
        Output::Write { .. } => Some("write".to_owned()),
        _ => None,
    };
    outputs.filter_map(short).collect()
}

fn message(destination: &Rig) -> &str {
    &destination.verdict.as_ref().unwrap().problem.message
}

/// How a server answers `connect`.
enum Answer {
    Accept,
    Reject(String),
    Redirect(String),
}

/// Lets a server answer on the open connection: what it was told as application and `tcUrl`, and what
/// the destination then wants done.
fn serve(destination: &mut Rig, now: Instant, answer: &Answer) -> (String, Vec<String>) {
    let mut server = ServerSession::new(ServerConfig {
        asks_on_connect: true,
        ..ServerConfig::default()
    });
    let (mut told, mut wished, mut conn) = (String::new(), Vec::new(), None);
    while let Some(output) = destination.ctx.outputs.pop_front() {
        match output {
            Output::Write { conn: open, slices } => {
                conn = Some(open);
                let slices = slices.iter();
                slices.for_each(|slice| server.handle(slice).unwrap());
            }
            Output::Connect { addr, .. } => wished.push(format!("connect {addr}")),
            Output::Resolve { host, port, .. } => {
                wished.push(format!("resolve {host}:{port}"));
            }
            Output::Close { .. } => wished.push("close".to_owned()),
            _ => {}
        }
        while let Some(output) = server.poll() {
            match output {
                ServerOutput::Send(bytes) => {
                    destination.tcp(now, conn.unwrap(), TcpEvent::Received(&bytes));
                }
                ServerOutput::Connect {
                    application,
                    tc_url,
                } => {
                    told = format!("{application} {tc_url}");
                    match answer {
                        Answer::Accept => server.accept_connect(),
                        Answer::Reject(words) => server.reject_connect(REJECTED, words),
                        Answer::Redirect(tc_url) => {
                            let bytes = redirect(tc_url);
                            destination.tcp(now, conn.unwrap(), TcpEvent::Received(&bytes));
                        }
                    }
                }
                ServerOutput::Publish { .. } => server.accept_publish(),
                _ => {}
            }
        }
    }
    (told, wished)
}

/// A refusal of `connect` that names another server, as Flash Media Server has it.
fn redirect(tc_url: &str) -> Bytes {
    let extra = Value::object([("code", 302_u32.into()), ("redirect", tc_url.into())]);
    let info = Value::object([
        ("level", "error".into()),
        ("code", REJECTED.into()),
        (
            "description",
            "[ AccessManager.Reject ] : redirected".into(),
        ),
        ("ex", extra),
    ]);
    let header = MessageHeader {
        csid: 3,
        timestamp_ms: 0,
        type_id: 20,
        stream_id: 0,
    };
    let error = Command::new("_error", 1.0, vec![Value::Null, info]);
    encode(header, &error.encode(), 128)
}

#[test]
fn the_next_address_is_tried_while_the_first_swallows_what_it_is_sent() {
    let now = Instant::now();
    let mut destination = connecting(now, &[V6, V4]);
    assert_eq!(
        wishes(&mut destination),
        ["resolve host.example:1935", &format!("connect 0 {V6}")]
    );
    let later = now + ms(CONNECT_STAGGER_MS);
    assert_eq!(destination.next_timeout(), Some(later));
    destination.timeout(later - ms(1));
    assert!(wishes(&mut destination).is_empty());
    destination.timeout(later);
    assert_eq!(wishes(&mut destination), [format!("connect 1 {V4}")]);

    destination.connected(later + ms(20), 1);
    assert_eq!(wishes(&mut destination), ["close 0", "write"]);
    assert!(matches!(destination.phase, Phase::Opening { .. }));
}

#[test]
fn a_refusal_starts_the_next_address_at_once() {
    let now = Instant::now();
    let mut destination = connecting(now, &[V6, V4]);
    wishes(&mut destination);
    refused(&mut destination, now + ms(1), 0, "refused", true);
    assert_eq!(wishes(&mut destination), [format!("connect 1 {V4}")]);
}

#[test]
fn of_two_that_are_slow_the_first_to_connect_wins() {
    for winner in [0, 1] {
        let now = Instant::now();
        let mut destination = connecting(now, &[V6, V4]);
        destination.timeout(now + ms(CONNECT_STAGGER_MS));
        wishes(&mut destination);
        destination.connected(now + ms(900), winner);
        let loser = format!("close {}", 1 - winner);
        assert_eq!(wishes(&mut destination), [&loser, "write"]);
    }
}

#[test]
fn all_that_hang_are_left_each_in_its_time_and_the_end_is_told() {
    let now = Instant::now();
    let addresses: Vec<String> = (1..=5).map(|n| format!("192.0.2.{n}:1935")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut destination = connecting(now, &addresses);
    let mut making = 0_usize;
    let mut at = now;
    while matches!(destination.phase, Phase::Connecting { .. }) {
        for wish in wishes(&mut destination) {
            making += usize::from(wish.starts_with("connect"));
            making -= usize::from(wish.starts_with("close"));
            assert!(making <= CONNECTS_AT_ONCE_MAX, "{wish}");
        }
        at = destination.next_timeout().unwrap();
        destination.timeout(at);
    }
    assert!(message(&destination).contains("no answer"));
    assert!(at < now + ms(3 * CONNECT_TIMEOUT_MS));
}

#[test]
fn the_address_that_took_the_stream_is_tried_first_the_next_time() {
    let now = Instant::now();
    let mut destination = connecting(now, &[V6, V4]);
    refused(&mut destination, now, 0, "refused", true);
    destination.connected(now, 1);
    serve(&mut destination, now, &Answer::Accept);
    assert!(matches!(destination.phase, Phase::Open { .. }));

    refused(&mut destination, now + ms(1), 1, "reset", true);
    destination.timeout(now + ms(1));
    wishes(&mut destination);
    resolve(&mut destination, now + ms(2), &[V6, V4]);
    assert_eq!(wishes(&mut destination), [format!("connect 2 {V4}")]);
    // It connects, and hangs up before it takes the stream: the resolver's order holds again.
    destination.connected(now + ms(3), 2);
    refused(&mut destination, now + ms(4), 2, "reset", true);
    let retry = destination.next_timeout().unwrap();
    destination.timeout(retry);
    wishes(&mut destination);
    resolve(&mut destination, retry, &[V6, V4]);
    assert_eq!(wishes(&mut destination), [format!("connect 3 {V6}")]);
}

#[test]
fn addresses_that_the_operator_denies_take_no_part() {
    let now = Instant::now();
    let rules = || AddressRules {
        allow: None,
        deny: Some("2001:db8::/32".parse().unwrap()),
    };
    let url = "rtmp://host.example/app/key";
    let mut destination = on_air(now, url, rules());
    resolve(&mut destination, now, &[V6, V4]);
    destination.timeout(now + ms(CONNECT_STAGGER_MS));
    assert_eq!(wishes(&mut destination)[1..], [format!("connect 0 {V4}")]);

    let mut destination = on_air(now, url, rules());
    resolve(&mut destination, now, &[V6]);
    assert!(message(&destination).contains("destination_deny"));
    assert_eq!(wishes(&mut destination).len(), 1);
}

#[test]
fn the_address_that_a_person_has_to_look_at_decides_in_either_order() {
    for retryable in [[true, false], [false, true], [false, false]] {
        let now = Instant::now();
        let mut destination = connecting(now, &["192.0.2.1:443", "192.0.2.2:443"]);
        for (index, retryable) in retryable.into_iter().enumerate() {
            let reason = ["reason one", "reason two"][index];
            refused(&mut destination, now, index as u64, reason, retryable);
        }
        let wanted = if retryable[0] {
            "no connection to 192.0.2.2:443: reason two"
        } else {
            "no connection to 192.0.2.1:443: reason one"
        };
        assert_eq!(message(&destination), wanted);
        let seldom = now + ms(REFUSED_DELAY_MS_MIN);
        assert!(destination.next_timeout() >= Some(seldom), "{retryable:?}");
    }
}

#[test]
fn addresses_that_are_only_away_are_tried_again_at_once() {
    let now = Instant::now();
    let mut destination = connecting(now, &["192.0.2.1:443", "192.0.2.2:443"]);
    for dial in 0..2 {
        refused(&mut destination, now, dial, "refused", true);
    }
    assert_eq!(destination.next_timeout(), Some(now));
}

#[test]
fn a_server_that_asks_for_user_and_password_is_told_on_connections_of_their_own() {
    let now = Instant::now();
    let url = "rtmp://alice:secret@host.example/live/key";
    let mut destination = on_air(now, url, AddressRules::default());
    resolve(&mut destination, now, &[V6, V4]);
    let need = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
    let ask = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=alice\
               &salt=c2FsdA==&challenge=Y2hhbA==&opaque=b3BhcXVl";
    let wrong = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed&opaque=b3BhcXVl";
    wishes(&mut destination);
    let mut heard = Vec::new();
    for (dial, words) in [need, ask, wrong].into_iter().enumerate() {
        destination.connected(now, dial as u64);
        let (told, wished) = serve(&mut destination, now, &Answer::Reject(words.to_owned()));
        heard.push(told);
        if words == wrong {
            assert_eq!(wished, ["close"]);
        } else {
            assert_eq!(wished, ["close".to_owned(), format!("connect {V6}")]);
        }
    }
    let tc_url = "rtmp://host.example:1935/live";
    assert_eq!(heard[0], format!("live {tc_url}"));
    let name = "?authmod=adobe&user=alice";
    assert_eq!(heard[1], format!("live{name} {tc_url}{name}"));
    assert!(heard[2].contains("&response=") && heard[2].contains("&opaque=b3BhcXVl"));
    assert!(message(&destination).contains("check both"));
    assert!(!message(&destination).contains("secret"));
    // As seldom as any refusal.
    let seldom = now + ms(REFUSED_DELAY_MS_MIN);
    assert!(destination.next_timeout() >= Some(seldom));
    assert_eq!(destination.attempts, 1);
}

#[test]
fn a_server_that_sends_the_stream_on_is_followed_three_times() {
    let now = Instant::now();
    let url = "rtmp://host.example/live/the-key";
    let mut destination = on_air(now, url, AddressRules::default());
    for hop in 0..4_u64 {
        resolve(&mut destination, now, &[V4]);
        destination.connected(now, hop);
        let next = format!("rtmp://edge{hop}.example:1936/live");
        let (told, wished) = serve(&mut destination, now, &Answer::Redirect(next));
        match hop {
            0 => assert_eq!(told, "live rtmp://host.example:1935/live"),
            hop => assert_eq!(
                told,
                format!("live rtmp://edge{}.example:1936/live", hop - 1)
            ),
        }
        let resolve = format!("resolve edge{hop}.example:1936");
        if hop < 3 {
            assert_eq!(wished[wished.len() - 2..], ["close".to_owned(), resolve]);
        } else {
            assert_eq!(wished.last().unwrap(), "close");
        }
    }
    let words = message(&destination);
    assert!(words.contains("more than 3 times"), "{words}");
    assert!(
        words.starts_with("sent on to rtmp://edge2.example:1936: "),
        "{words}"
    );
    assert!(!words.contains("the-key"));
}

#[test]
fn a_server_that_sends_the_stream_on_says_where_it_went_and_the_next_attempt_begins_anew() {
    let now = Instant::now();
    let mut destination = on_air(
        now,
        "rtmps://h.example/live/the-key",
        AddressRules::default(),
    );
    resolve(&mut destination, now, &[V4]);
    destination.connected(now, 0);
    // Some write the stream name behind the application.
    let next = Answer::Redirect("rtmps://edge.example/live/the-key".to_owned());
    serve(&mut destination, now, &next);
    resolve(&mut destination, now, &[V6]);
    destination.connected(now, 1);
    let (told, _) = serve(&mut destination, now, &Answer::Accept);
    assert_eq!(told, "live rtmps://edge.example:443/live");
    let status = destination.status(&destination.ctx);
    let shown = "rtmps://edge.example";
    assert_eq!(status.redirected_to.as_deref(), Some(shown));

    refused(&mut destination, now, 1, "reset", true);
    destination.timeout(now);
    assert_eq!(wishes(&mut destination), ["resolve h.example:443"]);
}

#[test]
fn a_stream_is_sent_on_neither_past_the_operators_rules_nor_out_of_tls_nor_to_nonsense() {
    for (to, words, retryable) in [
        ("rtmps://inside.example/live", "destination_deny", false),
        ("rtmp://edge.example/live", "rtmps:// to rtmp://", false),
        ("http://edge.example/live", "must begin with", true),
        ("rtmps://edge.example:0/live", "port", true),
        ("", "must begin with", true),
    ] {
        let now = Instant::now();
        let rules = AddressRules {
            allow: None,
            deny: Some("10.0.0.0/8".parse().unwrap()),
        };
        let mut destination = on_air(now, "rtmps://h.example/live/the-key", rules);
        resolve(&mut destination, now, &[V4]);
        destination.connected(now, 0);
        serve(&mut destination, now, &Answer::Redirect(to.to_owned()));
        resolve(&mut destination, now, &["10.1.2.3:443"]);
        let said = message(&destination);
        assert!(
            said.contains(words) && !said.contains("the-key"),
            "{to}: {said}"
        );
        let seldom = destination.next_timeout() >= Some(now + ms(REFUSED_DELAY_MS_MIN));
        assert_eq!(seldom, !retryable, "{to}");
    }
}

#[test]
fn a_server_that_hangs_up_at_the_first_bytes_may_speak_tls() {
    for (url, words) in [
        ("rtmp://h/app/key", "rtmps://"),
        ("rtmps://h/app/key", "check the stream key"),
        ("rtmps://h/app", "no stream key"),
    ] {
        let now = Instant::now();
        let mut destination = on_air(now, url, AddressRules::default());
        resolve(&mut destination, now, &[V4]);
        destination.connected(now, 0);
        refused(&mut destination, now, 0, "closed", true);
        let said = message(&destination);
        assert!(said.contains(words), "{url}: {said}");
    }
}

#[test]
fn a_flooded_connection_on_which_the_server_also_errs_fails_once() {
    let now = Instant::now();
    let mut destination = connecting(now, &["192.0.2.1:1935"]);
    destination.connected(now, 0);
    serve(&mut destination, now, &Answer::Accept);
    let Phase::Open { feed, .. } = &mut destination.destination.phase else {
        panic!("it is not open");
    };
    feed.liveness.written(now, DESTINATION_FLOODED_BYTES + 1);

    let message_of_16_mb = [9, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 0, 0, 0, 0];
    let conn = destination.conn(0);
    destination.tcp(now, conn, TcpEvent::Received(&message_of_16_mb));
    assert_eq!(destination.backoff.failures(), 1);
    assert_eq!(wishes(&mut destination), ["close 0"]);
    assert!(message(&destination).contains("does not take them"));
}
