//! Proves: whatever a server refuses, ends or garbles, the client says so in words, knows whether
//! another attempt can help, never shows the key, and never panics.

use bytes::Bytes;
use proptest::prelude::*;
use shardcast_core::rtmp::amf::Value;
use shardcast_core::rtmp::body::{MessageHeader, encode, gather};
use shardcast_core::rtmp::client::Step;
use shardcast_core::rtmp::command::Command;
use shardcast_core::rtmp::{
    ChunkError, ConnectionError, PublishClient, PublishConfig, PublishError, PublishOutput,
    RtmpUrl, ServerConfig, ServerOutput, ServerSession,
};

const KEY: &str = "abcd-efgh";

/// Where a scripted server stops answering as it should.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    Connect,
    CreateStream,
    Publish,
    Live,
}

/// Code and description of a refusal, whether it is retried, and what is reported.
const REFUSALS: [(&str, &str, bool, &str); 10] = [
    (
        "NetStream.Publish.BadName",
        "Already publishing",
        true,
        "stream key is in use",
    ),
    (
        "NetStream.Publish.BadName",
        "Stream name is busy",
        true,
        "stream key is in use",
    ),
    (
        "NetStream.Publish.BadName",
        "no such stream",
        false,
        "check the key",
    ),
    (
        "NetStream.Publish.Unauthorized",
        "",
        false,
        "denies permission",
    ),
    (
        "NetStream.Publish.Denied",
        "go away",
        false,
        "denies permission",
    ),
    (
        "NetConnection.Connect.InvalidApp",
        "unknown application",
        false,
        "no such application",
    ),
    (
        "NetConnection.Connect.Rejected",
        "[ code=403 permission denied ]",
        false,
        "denies",
    ),
    (
        "NetConnection.Connect.Rejected",
        "server full",
        true,
        "server full",
    ),
    ("NetStream.Failed", "internal error", true, "internal error"),
    ("", "", true, "it said: nothing"),
];

#[test]
fn what_the_server_says_decides_whether_it_is_retried() {
    for (code, text, retryable, words) in REFUSALS {
        for until in [Until::Connect, Until::Publish, Until::Live] {
            let error = refuse(until, "onStatus", code, text);
            assert_eq!(
                error.retryable(),
                retryable,
                "{code} {text} {until:?}: {error}"
            );
            assert!(error.to_string().contains(words), "{code} {text}: {error}");
        }
    }
}

#[test]
fn each_step_refused_by_error_says_which() {
    for (until, step) in [
        (Until::Connect, Step::Connect),
        (Until::CreateStream, Step::CreateStream),
        (Until::Publish, Step::Publish),
    ] {
        let error = refuse(until, "_error", "NetConnection.Call.Failed", "no");
        let PublishError::Refused { step: seen, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*seen, step);
    }
}

#[test]
fn a_running_stream_that_the_server_ends_is_told_as_ended() {
    let error = refuse(
        Until::Live,
        "onStatus",
        "NetStream.Unpublish.Success",
        "kicked",
    );
    assert!(
        matches!(error, PublishError::Ended { .. }) && error.retryable(),
        "{error:?}"
    );
}

#[test]
fn answers_to_what_nobody_waits_for_are_ignored() {
    let (mut client, _server) = client_until(Until::Publish);
    let failed = |transaction| command("_error", transaction, "NetConnection.Call.Failed", "no");
    // releaseStream and FCPublish, which many servers refuse, and transactions never asked.
    for transaction in [2.0, 3.0, 77.0, f64::NAN, -1.0] {
        client.handle(&failed(transaction)).unwrap();
    }
    client.handle(&command("onBWDone", 0.0, "", "")).unwrap();
    client
        .handle(&command("onStatus", 0.0, "NetStream.Play.Reset", ""))
        .unwrap();
    let unknown = MessageHeader {
        csid: 9,
        timestamp_ms: 0,
        type_id: 99,
        stream_id: 7,
    };
    client.handle(&encode(unknown, &[1, 2, 3], 60_000)).unwrap();
    let unreadable = MessageHeader {
        csid: 3,
        timestamp_ms: 0,
        type_id: 20,
        stream_id: 0,
    };
    client
        .handle(&encode(unreadable, &[0x42; 9], 60_000))
        .unwrap();
    assert!(!client.is_publishing());
    client
        .handle(&command("onStatus", 0.0, "NetStream.Publish.Start", "go"))
        .unwrap();
    assert!(client.is_publishing());
}

#[test]
fn an_unusable_stream_number_is_refused() {
    for number in [-1.0, 0.5, f64::NAN, f64::INFINITY, 4_294_967_296.0] {
        let (mut client, _server) = client_until(Until::CreateStream);
        let answer = Command::new("_result", 4.0, vec![Value::Null, Value::Number(number)]);
        let error = client.handle(&wire(&answer)).unwrap_err();
        assert_eq!(error, PublishError::BadStreamId, "{number}");
    }
}

#[test]
fn the_key_is_blotted_out_of_what_the_server_says() {
    let text = format!("stream {KEY} ({KEY}?x=1) unknown\r\n{}", "x".repeat(5_000));
    let error = refuse(
        Until::Publish,
        "onStatus",
        "NetStream.Publish.BadName",
        &text,
    );
    let words = error.to_string();
    assert!(!words.contains(KEY) && !words.contains('\n'), "{words}");
    assert!(
        words.contains("stream *** ") && words.len() < 400,
        "{words}"
    );
}

#[test]
fn nothing_secret_of_the_address_is_shown_though_the_server_repeats_it() {
    for (address, said, shown) in [
        (
            "live/tenant-4711/the-key",
            "no app live/tenant-4711 for the-key",
            "no app live/*** for ***",
        ),
        (
            "live/inst?token=s3cr3t/x&v=1/the-key",
            "inst?token=s3cr3t/x&v=1/the-key: s3cr3t/x is stale",
            "***: *** is stale",
        ),
        (
            "live?auth=abcd1234/the-key",
            "live?auth=abcd1234: token abcd1234 expired",
            "***: token *** expired",
        ),
        (
            "live/the-key?sig=abcdef&n=1&word",
            "sig abcdef, n 1, word: the-key?sig=abcdef&n=1&word",
            "sig ***, n 1, ***: ***",
        ),
        ("live/k?sig=abcdefg&abcd", "abcdefg k abcd", "*** k ***"),
        ("live/abc", "no abc in live", "no abc in live"),
    ] {
        let url = format!("rtmp://host/{address}");
        let (mut client, _server) = client_to(&url, Until::Connect);
        let refusal = command("_error", 1.0, "NetConnection.Connect.Rejected", said);
        let words = client.handle(&refusal).unwrap_err().to_string();
        assert!(words.contains(shown), "{words}");
    }
}

#[test]
fn a_server_of_another_protocol_is_told_apart() {
    let mut client = new_client();
    let _ = client.start();
    let error = client
        .handle(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::Connection(ConnectionError::Handshake(_))
        ),
        "{error:?}"
    );
    assert!(!error.retryable());
    assert_eq!(client.handle(&[]), Err(PublishError::AlreadyFailed));
}

#[test]
fn a_port_that_speaks_tls_is_told_by_its_first_byte() {
    // The alerts of OpenSSL and rustls, a ServerHello, and an alert of which one byte has come.
    for answer in [
        &[21, 3, 1, 0, 2, 2, 70][..],
        &[21, 3, 3, 0, 2, 2, 50],
        &[22, 3, 3, 0, 90, 2],
        &[21],
    ] {
        let mut client = new_client();
        let _ = client.start();
        client.handle(&[]).unwrap();
        let error = client.handle(answer).unwrap_err();
        assert!(
            error.to_string().contains("rtmps://") && !error.retryable(),
            "{error}"
        );
    }
    // The same byte later in the handshake is nobody's alert.
    let mut client = new_client();
    let _ = client.start();
    client.handle(&[3]).unwrap();
    client.handle(&[21, 3, 3, 0, 2]).unwrap();
}

#[test]
fn a_huge_announced_message_ends_the_attempt() {
    for until in [
        Until::Connect,
        Until::CreateStream,
        Until::Publish,
        Until::Live,
    ] {
        let (mut client, _server) = client_until(until);
        let error = client
            .handle(&[9, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 0, 0, 0, 0])
            .unwrap_err();
        let PublishError::Connection(ConnectionError::Chunk(chunk)) = &error else {
            panic!("{error:?}")
        };
        assert!(matches!(chunk, ChunkError::MessageTooLong { .. }));
        assert!(error.retryable());
    }
}

#[test]
fn a_server_that_interleaves_its_answers_is_understood() {
    let (mut client, _server) = client_until(Until::Publish);
    let header = |csid, type_id| MessageHeader {
        csid,
        timestamp_ms: 0,
        type_id,
        stream_id: 0,
    };
    client
        .handle(&encode(header(2, 1), &128_u32.to_be_bytes(), 60_000))
        .unwrap();
    let started = status(
        "onStatus",
        0.0,
        "NetStream.Publish.Start",
        &"go ".repeat(60),
    )
    .encode();
    let answer = gather(header(8, 20), &started, 128);
    let noise = gather(header(9, 8), &Bytes::from(vec![1; 300]), 128);
    for (answer, noise) in answer.chunks(2).zip(noise.chunks(2)) {
        client.handle(&answer.concat()).unwrap();
        client.handle(&noise.concat()).unwrap();
    }
    assert!(client.is_publishing());
}

proptest! {
    #[test]
    fn no_garbage_at_any_step_makes_it_panic(
        until in prop::sample::select(vec![
            Until::Connect, Until::CreateStream, Until::Publish, Until::Live]),
        garbage in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..8], 0..600),
    ) {
        let (mut client, _server) = client_until(until);
        for piece in garbage.chunks(50) {
            let _ = client.handle(piece);
            while client.poll().is_some() {}
        }
        let _ = client.finish();
    }

    #[test]
    fn no_garbage_in_the_handshake_makes_it_panic(
        garbage in prop::collection::vec(any::<u8>(), 0..4_000),
        pieces in 1_usize..2_000,
    ) {
        let mut client = new_client();
        let _ = client.start();
        let answer: Vec<u8> = std::iter::once(3).chain(garbage).collect();
        for piece in answer.chunks(pieces) {
            let _ = client.handle(piece);
        }
    }
}

fn new_client() -> PublishClient {
    client_of(&format!("rtmp://host/live/{KEY}?x=1"))
}

fn client_of(url: &str) -> PublishClient {
    PublishClient::new(&RtmpUrl::parse(url).unwrap(), PublishConfig::default())
}

/// The error of a server that refuses at this step.
fn refuse(until: Until, name: &str, code: &str, text: &str) -> PublishError {
    let (mut client, _server) = client_until(until);
    let transaction = match until {
        Until::Connect => 1.0,
        Until::CreateStream => 4.0,
        Until::Publish | Until::Live => 5.0,
    };
    client
        .handle(&command(name, transaction, code, text))
        .unwrap_err()
}

fn command(name: &str, transaction: f64, code: &str, text: &str) -> Bytes {
    wire(&status(name, transaction, code, text))
}

fn status(name: &str, transaction: f64, code: &str, text: &str) -> Command {
    let level = if code.ends_with("Start") || code.ends_with("Reset") {
        "status"
    } else {
        "error"
    };
    let info = Value::object([
        ("level", level.into()),
        ("code", code.into()),
        ("description", text.into()),
    ]);
    Command::new(name, transaction, vec![Value::Null, info])
}

/// As the server of [`client_until`] sends it, in chunks of 60 000 bytes.
fn wire(command: &Command) -> Bytes {
    let header = MessageHeader {
        csid: 10,
        timestamp_ms: 0,
        type_id: 20,
        stream_id: 0,
    };
    encode(header, &command.encode(), 60_000)
}

/// A client that has come this far with a real server, which then falls silent.
fn client_until(until: Until) -> (PublishClient, ServerSession) {
    client_to(&format!("rtmp://host/live/{KEY}?x=1"), until)
}

fn client_to(url: &str, until: Until) -> (PublishClient, ServerSession) {
    let mut client = client_of(url);
    let mut server = ServerSession::new(ServerConfig::default());
    let mut to_server = client.start().to_vec();
    // Stop before the answer to the step's question is heard, but hear the chunk size.
    while !to_server.is_empty() {
        server.handle(&to_server).unwrap();
        let mut to_client = Vec::new();
        while let Some(output) = server.poll() {
            match output {
                ServerOutput::Send(bytes) => {
                    let answer = step_answered(&bytes);
                    if answer.is_some() && answer == Some(until) {
                        client.handle(&to_client).unwrap();
                        while client.poll().is_some() {}
                        return (client, server);
                    }
                    to_client.extend(bytes);
                }
                ServerOutput::Publish { .. } => server.accept_publish(),
                _ => {}
            }
        }
        client.handle(&to_client).unwrap();
        to_server.clear();
        while let Some(output) = client.poll() {
            if let PublishOutput::Send(bytes) = output {
                to_server.extend(bytes);
            }
        }
    }
    assert!(client.is_publishing() && until == Until::Live);
    (client, server)
}

/// Which question these bytes of our server answer.
fn step_answered(bytes: &[u8]) -> Option<Until> {
    let has = |text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    let create_stream = [&b"_result\0\x40\x10"[..]].concat();
    if has("NetConnection.Connect.Success") {
        Some(Until::Connect)
    } else if bytes
        .windows(create_stream.len())
        .any(|window| window == create_stream)
    {
        Some(Until::CreateStream)
    } else if has("onStatus") && has("NetStream.Publish.Start") {
        Some(Until::Publish)
    } else {
        None
    }
}
