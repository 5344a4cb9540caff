//! Proves: the client publishes to two independent servers, media arrives whole and in order,
//! acknowledgements and pings are answered, and the wished end is told.

use bytes::Bytes;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ServerSession as OtherServer, ServerSessionConfig, ServerSessionEvent, ServerSessionResult,
};
use shardcast_core::rtmp::body::{MessageHeader, encode};
use shardcast_core::rtmp::flv::{AudioMetadata, Metadata};
use shardcast_core::rtmp::{
    MediaKind, PublishClient, PublishConfig, PublishOutput, RtmpUrl, ServerConfig, ServerOutput,
    ServerSession, UnpublishedBy,
};

const METADATA: Metadata = Metadata {
    width: 1280,
    height: 720,
    frame_rate: 30.0,
    video_kbps: 2_500,
    audio: AudioMetadata::Aac {
        kbps: 128,
        sample_rate: 48_000,
        channels: 2,
    },
};

#[test]
fn a_stream_reaches_our_own_server_and_ends_cleanly() {
    let (mut client, mut server) = publishing("rtmp://host/live/key?q=1", ServerConfig::default());
    let video = Bytes::from(vec![0x17; 150_000]);
    let mut wire = client
        .media(MediaKind::Data, 0, &METADATA.set_data_frame())
        .concat();
    wire.extend(client.media(MediaKind::Video, 40, &video).concat());
    wire.extend(
        client
            .media(
                MediaKind::Audio,
                0xFFFF_FFFF,
                &Bytes::from_static(&[0xAF, 1]),
            )
            .concat(),
    );
    wire.extend(client.finish());
    let seen = feed(&mut server, &wire);
    let [metadata, video_seen, audio_seen, first_end, second_end] = &seen[..] else {
        panic!("{seen:?}")
    };
    let ServerOutput::Metadata(properties) = metadata else {
        panic!("{metadata:?}")
    };
    assert!(
        properties
            .iter()
            .any(|(key, value)| key == "width" && value.as_number() == Some(1280.0))
    );
    let ServerOutput::Media(message) = video_seen else {
        panic!("{video_seen:?}")
    };
    assert_eq!((message.timestamp_ms, &message.payload), (40, &video));
    let ServerOutput::Media(message) = audio_seen else {
        panic!("{audio_seen:?}")
    };
    assert_eq!((message.timestamp_ms, message.type_id), (0xFFFF_FFFF, 8));
    assert_eq!(
        *first_end,
        ServerOutput::Unpublish {
            by: UnpublishedBy::FcUnpublish
        }
    );
    assert_eq!(
        *second_end,
        ServerOutput::Unpublish {
            by: UnpublishedBy::DeleteStream
        }
    );
}

#[test]
fn a_stream_reaches_rml_rtmps_server() {
    let url = RtmpUrl::parse("rtmp://host/live/key").unwrap();
    let mut client = PublishClient::new(&url, PublishConfig::default());
    let mut peer = OtherPeer::new();
    let mut to_server = client.start().to_vec();
    let mut events = Vec::new();
    while !to_server.is_empty() {
        let (to_client, new_events) = peer.take(&to_server);
        events.extend(new_events);
        client.handle(&to_client).unwrap();
        to_server = sends(&mut client);
    }
    assert!(client.is_publishing());
    assert_eq!(events, ["connect live", "publish key"]);
    let mut wire = client
        .media(MediaKind::Data, 0, &METADATA.set_data_frame())
        .concat();
    wire.extend(
        client
            .media(MediaKind::Video, 33, &Bytes::from(vec![0x27; 100_000]))
            .concat(),
    );
    wire.extend(
        client
            .media(MediaKind::Audio, 34, &Bytes::from(vec![0xAF; 300]))
            .concat(),
    );
    wire.extend(client.finish());
    let (_, events) = peer.take(&wire);
    assert_eq!(
        events,
        [
            "metadata Some(1280)",
            "video 33 100000",
            "audio 34 300",
            "end key"
        ]
    );
}

#[test]
fn a_server_that_wants_acknowledgements_gets_them() {
    let config = ServerConfig {
        window_ack_bytes: 1_000,
        chunk_bytes: 128,
        ..ServerConfig::default()
    };
    let (mut client, _server) = publishing("rtmp://host/live/key", config);
    let ping = encode(control(4), &[0, 6, 1, 2, 3, 4], 128);
    client.handle(&ping).unwrap();
    assert_eq!(
        sends(&mut client)[12..],
        [0, 7, 1, 2, 3, 4],
        "the pong repeats the time"
    );
    let mut acknowledgements = Vec::new();
    for _ in 0..200 {
        client
            .handle(&encode(control(4), &[0, 0, 0, 0, 0, 1], 128))
            .unwrap();
        acknowledgements.extend(sends(&mut client));
    }
    assert!(
        acknowledgements.len() >= 3 * 16,
        "{} bytes",
        acknowledgements.len()
    );
    assert!(acknowledgements.chunks(16).all(|chunk| chunk[7] == 3));
}

#[test]
fn what_the_server_acknowledges_is_counted_across_the_wrap() {
    let (mut client, _server) = publishing("rtmp://host/live/key", ServerConfig::default());
    for (sequence, total) in [
        (1_000, 1_000),
        (900, 1_000), // a step back is ignored
        (0x7000_0000, 0x7000_0000),
        (0xE000_0000, 0xE000_0000),
        (16, 0x1_0000_0010),
    ] {
        client
            .handle(&encode(control(3), &u32::to_be_bytes(sequence), 128))
            .unwrap();
        assert_eq!(client.acknowledged_bytes(), total);
    }
}

#[test]
fn the_bytes_may_come_one_at_a_time() {
    let url = RtmpUrl::parse("rtmp://host/live/key").unwrap();
    let mut client = PublishClient::new(&url, PublishConfig::default());
    let mut server = ServerSession::new(ServerConfig::default());
    let mut to_server = client.start().to_vec();
    while !to_server.is_empty() {
        let mut to_client = Vec::new();
        for byte in to_server {
            server.handle(&[byte]).unwrap();
            while let Some(output) = server.poll() {
                match output {
                    ServerOutput::Send(bytes) => to_client.extend(bytes),
                    ServerOutput::Publish { .. } => server.accept_publish(),
                    _ => {}
                }
            }
        }
        to_client
            .iter()
            .for_each(|byte| client.handle(&[*byte]).unwrap());
        to_server = sends(&mut client);
    }
    assert!(client.is_publishing());
}

#[test]
fn a_server_that_asks_decides_on_the_application_itself() {
    for accepts in [true, false] {
        let url = RtmpUrl::parse("rtmp://host/live/key").unwrap();
        let mut client = PublishClient::new(&url, PublishConfig::default());
        let mut server = ServerSession::new(ServerConfig {
            asks_on_connect: true,
            ..ServerConfig::default()
        });
        let (to_client, _) = take(&mut server, &client.start());
        client.handle(&to_client).unwrap();
        let (to_client, seen) = take(&mut server, &sends(&mut client));
        assert!(matches!(seen[..], [ServerOutput::Connect { .. }]));
        assert!(to_client.is_empty(), "answered before the caller decided");
        if accepts {
            server.accept_connect();
        } else {
            server.reject_connect("NetConnection.Connect.InvalidApp", "no such place");
        }
        let (to_client, _) = take(&mut server, &[]);
        let answered = client.handle(&to_client);
        assert_eq!(answered.is_ok(), accepts, "{answered:?}");
        let connected = std::iter::from_fn(|| client.poll()).any(|o| o == PublishOutput::Connected);
        assert_eq!(connected, accepts);
    }
}

#[test]
fn stages_are_told_in_order_and_nothing_shows_the_key() {
    let url = RtmpUrl::parse("rtmp://host/live/secretkey").unwrap();
    let mut client = PublishClient::new(&url, PublishConfig::default());
    let mut server = ServerSession::new(ServerConfig::default());
    let (mut told, mut shown) = (Vec::new(), String::new());
    let mut to_server = client.start().to_vec();
    while !to_server.is_empty() {
        let (to_client, seen) = take(&mut server, &to_server);
        shown += &format!("{seen:?} {server:?}");
        client.handle(&to_client).unwrap();
        to_server.clear();
        while let Some(output) = client.poll() {
            shown += &format!("{output:?}");
            match output {
                PublishOutput::Send(bytes) => to_server.extend(bytes),
                other => told.push(other),
            }
        }
    }
    assert_eq!(
        told,
        [
            PublishOutput::Connected,
            PublishOutput::Publishing { stream_id: 1 }
        ]
    );
    shown += &format!("{client:?} {url:?}");
    let (as_text, as_numbers) = ("secretkey", "115, 101, 99, 114, 101, 116");
    assert!(
        !shown.contains(as_text) && !shown.contains(as_numbers),
        "{shown}"
    );
}

#[test]
fn an_end_before_the_stream_is_created_tells_the_server_nothing() {
    let url = RtmpUrl::parse("rtmp://host/live/key").unwrap();
    let mut client = PublishClient::new(&url, PublishConfig::default());
    let _ = client.start();
    assert!(client.finish().is_empty());
}

fn control(type_id: u8) -> MessageHeader {
    MessageHeader {
        csid: 2,
        timestamp_ms: 0,
        type_id,
        stream_id: 0,
    }
}

fn sends(client: &mut PublishClient) -> Vec<u8> {
    let mut wire = Vec::new();
    while let Some(output) = client.poll() {
        if let PublishOutput::Send(bytes) = output {
            wire.extend(bytes);
        }
    }
    wire
}

/// A client that publishes to our own server.
fn publishing(url: &str, config: ServerConfig) -> (PublishClient, ServerSession) {
    let url = RtmpUrl::parse(url).unwrap();
    let mut client = PublishClient::new(&url, PublishConfig::default());
    let mut server = ServerSession::new(config);
    let mut seen = Vec::new();
    let mut to_server = client.start().to_vec();
    while !to_server.is_empty() {
        let (to_client, outputs) = take(&mut server, &to_server);
        seen.extend(outputs);
        client.handle(&to_client).unwrap();
        to_server = sends(&mut client);
    }
    assert!(client.is_publishing());
    let connect = ServerOutput::Connect {
        application: url.application().to_owned(),
        tc_url: url.tc_url(),
    };
    let publish = ServerOutput::Publish {
        stream_key: url.stream_key().to_owned(),
    };
    assert_eq!(seen, [connect, publish]);
    (client, server)
}

/// What the server answers and learns; it lets everybody publish.
fn take(server: &mut ServerSession, bytes: &[u8]) -> (Vec<u8>, Vec<ServerOutput>) {
    server.handle(bytes).unwrap();
    let (mut wire, mut seen) = (Vec::new(), Vec::new());
    while let Some(output) = server.poll() {
        match output {
            ServerOutput::Send(bytes) => wire.extend(bytes),
            other => {
                if matches!(other, ServerOutput::Publish { .. }) {
                    server.accept_publish();
                }
                seen.push(other);
            }
        }
    }
    (wire, seen)
}

fn feed(server: &mut ServerSession, bytes: &[u8]) -> Vec<ServerOutput> {
    take(server, bytes).1
}

/// rml_rtmp's server with its handshake, accepting everything.
struct OtherPeer {
    handshake: Option<Handshake>,
    /// Chunk size and window, for when the handshake is complete.
    greeting: Vec<u8>,
    session: OtherServer,
}

impl OtherPeer {
    fn new() -> Self {
        let (session, results) = OtherServer::new(ServerSessionConfig::new()).unwrap();
        let packets = results.into_iter().filter_map(|result| match result {
            ServerSessionResult::OutboundResponse(packet) => Some(packet.bytes),
            _ => None,
        });
        let greeting = packets.flatten().collect();
        Self {
            handshake: Some(Handshake::new(PeerType::Server)),
            greeting,
            session,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
        let mut wire = Vec::new();
        let mut input = bytes.to_vec();
        if let Some(handshake) = &mut self.handshake {
            match handshake.process_bytes(bytes).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    return (response_bytes, Vec::new());
                }
                HandshakeProcessResult::Completed {
                    response_bytes,
                    remaining_bytes,
                } => {
                    wire.extend(response_bytes);
                    wire.append(&mut self.greeting);
                    input = remaining_bytes;
                    self.handshake = None;
                }
            }
        }
        let mut events = Vec::new();
        let mut results = self.session.handle_input(&input).unwrap();
        while !results.is_empty() {
            let mut more = Vec::new();
            for result in results {
                match result {
                    ServerSessionResult::OutboundResponse(packet) => wire.extend(packet.bytes),
                    ServerSessionResult::RaisedEvent(event) => {
                        let (words, request) = describe(event);
                        events.extend(words);
                        more.extend(request.map(|id| self.session.accept_request(id).unwrap()));
                    }
                    ServerSessionResult::UnhandleableMessageReceived(_) => {}
                }
            }
            results = more.into_iter().flatten().collect();
        }
        (wire, events)
    }
}

fn describe(event: ServerSessionEvent) -> (Option<String>, Option<u32>) {
    match event {
        ServerSessionEvent::ConnectionRequested {
            request_id,
            app_name,
        } => (Some(format!("connect {app_name}")), Some(request_id)),
        ServerSessionEvent::PublishStreamRequested {
            request_id,
            stream_key,
            ..
        } => (Some(format!("publish {stream_key}")), Some(request_id)),
        ServerSessionEvent::StreamMetadataChanged { metadata, .. } => {
            (Some(format!("metadata {:?}", metadata.video_width)), None)
        }
        ServerSessionEvent::VideoDataReceived {
            data, timestamp, ..
        } => (
            Some(format!("video {} {}", timestamp.value, data.len())),
            None,
        ),
        ServerSessionEvent::AudioDataReceived {
            data, timestamp, ..
        } => (
            Some(format!("audio {} {}", timestamp.value, data.len())),
            None,
        ),
        ServerSessionEvent::PublishStreamFinished { stream_key, .. } => {
            (Some(format!("end {stream_key}")), None)
        }
        _ => (None, None),
    }
}
