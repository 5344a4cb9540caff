//! Proves: the server takes the stream of an independent client, lets the caller refuse one, and
//! stands garbage.

use bytes::Bytes;
use proptest::prelude::*;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult,
    PublishRequestType, StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;
use shardcast_core::rtmp::{
    PublishClient, PublishConfig, PublishError, PublishOutput, RtmpUrl, ServerConfig, ServerOutput,
    ServerSession, UnpublishedBy,
    amf::Value,
    body::{MessageHeader, encode},
    command::Command,
    message::type_id,
};

#[test]
fn rml_rtmps_client_publishes_to_it() {
    let mut server = ServerSession::new(ServerConfig::default());
    let mut seen = Vec::new();
    shake_hands(&mut server);
    let (mut client, results) = ClientSession::new(ClientSessionConfig::new()).unwrap();
    exchange(&mut client, &mut server, results, &mut seen);
    let connect = client.request_connection("live".to_owned()).unwrap();
    exchange(&mut client, &mut server, vec![connect], &mut seen);
    let publish = client
        .request_publishing("key".to_owned(), PublishRequestType::Live)
        .unwrap();
    exchange(&mut client, &mut server, vec![publish], &mut seen);
    assert!(server.is_publishing());
    let mut metadata = StreamMetadata::new();
    metadata.video_width = Some(640);
    let video = Bytes::from(vec![0x17; 10_000]);
    let results = vec![
        client.publish_metadata(&metadata).unwrap(),
        client
            .publish_video_data(video.clone(), RtmpTimestamp::new(20), false)
            .unwrap(),
    ];
    exchange(&mut client, &mut server, results, &mut seen);
    let end = client.stop_publishing().unwrap();
    exchange(&mut client, &mut server, end, &mut seen);
    assert!(!server.is_publishing());
    let [connect, publish, metadata, media, ends @ ..] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert!(matches!(connect, ServerOutput::Connect { application, .. } if application == "live"));
    assert_eq!(
        *publish,
        ServerOutput::Publish {
            stream_key: "key".to_owned()
        }
    );
    assert!(
        matches!(metadata, ServerOutput::Metadata(list) if list.iter().any(|(k, _)| k == "width"))
    );
    assert!(matches!(media, ServerOutput::Media(m) if m.payload == video && m.timestamp_ms == 20));
    assert_eq!(
        ends,
        [ServerOutput::Unpublish {
            by: UnpublishedBy::DeleteStream
        }]
    );
}

#[test]
fn an_encoder_with_amf3_commands_one_byte_chunks_aggregates_and_no_fcpublish_is_taken() {
    let mut server = ServerSession::new(ServerConfig::default());
    shake_hands(&mut server);
    let mut send = |type_id: u8, stream_id: u32, payload: &[u8], chunk_bytes: usize| {
        let header = MessageHeader {
            csid: 3,
            timestamp_ms: 5_000,
            type_id,
            stream_id,
        };
        server
            .handle(&encode(header, payload, chunk_bytes))
            .unwrap();
        let mut told = Vec::new();
        while let Some(output) = server.poll() {
            match output {
                ServerOutput::Send(_) => {}
                ServerOutput::Publish { stream_key } => {
                    assert_eq!(stream_key, "show?token=t");
                    server.accept_publish();
                }
                other => told.push(other),
            }
        }
        told
    };
    let amf3 = |name: &str, transaction: f64, arguments: Vec<Value>| {
        let command = Command::new(name, transaction, arguments);
        [&[0][..], &command.encode()].concat()
    };
    send(type_id::SET_CHUNK_SIZE, 0, &1_u32.to_be_bytes(), 128);
    let app = Value::object([("app", "LiveApp".into())]);
    let told = send(
        type_id::COMMAND_AMF3,
        0,
        &amf3("connect", 1.0, vec![app]),
        1,
    );
    assert!(
        matches!(&told[..], [ServerOutput::Connect { application, .. }] if application == "LiveApp")
    );
    let create = amf3("createStream", 2.0, vec![Value::Null]);
    send(type_id::COMMAND_AMF3, 0, &create, 1);
    let arguments = vec![Value::Null, "show?token=t".into(), "live".into()];
    let publish = amf3("publish", 3.0, arguments);
    send(type_id::COMMAND_AMF3, 1, &publish, 1);
    // A video message of three bytes, at 7 ms on a clock of its own.
    let aggregate = b"\x09\0\0\x03\0\0\x07\0\0\0\0\x17\x01\x00\0\0\0\x0E";
    let told = send(type_id::AGGREGATE, 1, aggregate, 1);
    let [ServerOutput::Media(message)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(
        (message.type_id, message.timestamp_ms),
        (type_id::VIDEO, 5_000)
    );
    assert_eq!(&message.payload[..], b"\x17\x01\x00");
}

#[test]
fn a_refused_publisher_hears_the_code() {
    let url = RtmpUrl::parse("rtmp://h/live/key").unwrap();
    let mut client = PublishClient::new(&url, PublishConfig::default());
    let mut server = ServerSession::new(ServerConfig::default());
    let mut to_server = client.start().to_vec();
    let error = loop {
        let mut to_client = Vec::new();
        server.handle(&to_server).unwrap();
        while let Some(output) = server.poll() {
            match output {
                ServerOutput::Send(bytes) => to_client.extend(bytes),
                ServerOutput::Publish { .. } => {
                    server.reject_publish("NetStream.Publish.BadName", "unknown key");
                }
                _ => {}
            }
        }
        if let Err(error) = client.handle(&to_client) {
            break error;
        }
        to_server.clear();
        while let Some(PublishOutput::Send(bytes)) = client.poll() {
            to_server.extend(bytes);
        }
        while client.poll().is_some() {}
    };
    let description = "NetStream.Publish.BadName: unknown key".to_owned();
    assert_eq!(error, PublishError::BadName { description });
    assert!(!server.is_publishing());
}

proptest! {
    #[test]
    fn no_garbage_makes_it_panic(
        garbage in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..8], 0..600),
    ) {
        let mut server = ServerSession::new(ServerConfig::default());
        shake_hands(&mut server);
        for piece in garbage.chunks(40) {
            let _ = server.handle(piece);
            while server.poll().is_some() {}
        }
    }
}

fn shake_hands(server: &mut ServerSession) {
    let mut handshake = Handshake::new(PeerType::Client);
    let mut to_server = handshake.generate_outbound_p0_and_p1().unwrap();
    loop {
        server.handle(&to_server).unwrap();
        let mut answer = Vec::new();
        while let Some(ServerOutput::Send(bytes)) = server.poll() {
            answer.extend(bytes);
        }
        match handshake.process_bytes(&answer).unwrap() {
            HandshakeProcessResult::InProgress { response_bytes } => to_server = response_bytes,
            HandshakeProcessResult::Completed { response_bytes, .. } => {
                server.handle(&response_bytes).unwrap();
                return;
            }
        }
    }
}

/// Carries bytes both ways until nothing is left; the server accepts what it is asked.
fn exchange(
    client: &mut ClientSession,
    server: &mut ServerSession,
    mut results: Vec<ClientSessionResult>,
    seen: &mut Vec<ServerOutput>,
) {
    while !results.is_empty() {
        let mut to_client = Vec::new();
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    server.handle(&packet.bytes).unwrap();
                }
                ClientSessionResult::RaisedEvent(event) => {
                    assert!(!matches!(
                        event,
                        ClientSessionEvent::ConnectionRequestRejected { .. }
                    ));
                }
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        while let Some(output) = server.poll() {
            match output {
                ServerOutput::Send(bytes) => to_client.extend(bytes),
                other => {
                    if matches!(other, ServerOutput::Publish { .. }) {
                        server.accept_publish();
                    }
                    seen.push(other);
                }
            }
        }
        results = if to_client.is_empty() {
            Vec::new()
        } else {
            client.handle_input(&to_client).unwrap()
        };
    }
}
