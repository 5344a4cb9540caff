//! The RTMP port without an engine: an encoder that may not publish is told why, whatever others do at the port; one that
//! may is told that the media server is away. The same of players.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use shardcast_rtmp::{
    PublishClient, PublishConfig, PublishOutput, RtmpUrl,
    body::{MessageHeader, encode},
    client::Step,
    command::Command,
    message::type_id,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::server::{PATIENCE, Server, broadcasts};

pub(crate) fn port(server: &Server) -> SocketAddr {
    server.handle.rtmp_addr.expect("an RTMP port")
}

/// Publishes to `path`; what the server says when it refuses, with its code.
async fn publish(server: &Server, path: &str) -> String {
    publish_at(port(server), path).await
}

/// The same at an address of the port.
pub(crate) async fn publish_at(port: SocketAddr, path: &str) -> String {
    let url = RtmpUrl::parse(&format!("rtmp://{port}/{path}")).unwrap();
    let mut client = PublishClient::new(&url, PublishConfig::default());
    let mut stream = TcpStream::connect(port).await.unwrap();
    stream.write_all(&client.start()).await.unwrap();
    let mut buffer = [0; 4_096];
    let refused = async {
        loop {
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "closed without a word");
            if let Err(error) = client.handle(&buffer[..length]) {
                return format!("{error:?} {error}");
            }
            while let Some(output) = client.poll() {
                match output {
                    PublishOutput::Send(bytes) => stream.write_all(&bytes).await.unwrap(),
                    PublishOutput::Publishing { .. } => panic!("it was let in"),
                    _ => {}
                }
            }
        }
    };
    timeout(PATIENCE, refused).await.expect("an answer")
}

#[tokio::test]
async fn an_encoder_that_may_not_publish_is_told_why() {
    let server = Server::start_with_file(
        "acceptOnlyStreamsInDataStore = true\n\
         [application.Tokens]\npublishTokenControlEnabled = true\n\
         [application.Inside]\nallowedPublisherCIDR = \"192.0.2.0/24\"",
    )
    .await;
    server.create("one").await;
    for (path, words) in [
        ("StreamLick/unknown", "create the broadcast by REST"),
        ("Nowhere/one", "invalidStreamName"),
        ("StreamLick/o%20ne", "cannot be used"),
        ("Tokens/one", "the token is missing, wrong or expired"),
        (
            "Tokens/one?token=guessed",
            "the token is missing, wrong or expired",
        ),
        ("Inside/one", "this address may not publish"),
        ("StreamLick/one", "the media server is away"),
        ("sink/any", "the media server is away"),
    ] {
        let refusal = publish(&server, path).await;
        assert!(refusal.contains(words), "{path}: {refusal}");
    }
    let show = server.get(&broadcasts("one")).await.json();
    assert_eq!(show["status"], json!("created"), "{show}");
}

#[tokio::test]
async fn a_token_may_stand_behind_the_stream_name() {
    let server = Server::start_with(|settings| {
        for application in settings.application.values_mut() {
            application.publish_token_control_enabled = true;
        }
    })
    .await;
    server.create("one").await;
    let path = broadcasts("one/token?expireDate=4000000000&type=publish");
    let token = server.get(&path).await.json()["tokenId"]
        .as_str()
        .unwrap()
        .to_owned();
    let refusal = publish(&server, &format!("StreamLick/one?token={token}")).await;
    assert!(refusal.contains("the media server is away"), "{refusal}");
}

#[tokio::test]
async fn idle_and_hostile_connections_keep_nobody_out() {
    let server = Server::start().await;
    let mut idle = Vec::new();
    for n in 0..1_000_u32 {
        let mut stream = TcpStream::connect(port(&server)).await.unwrap();
        match n % 4 {
            // One byte of a handshake, TLS, HTTP, and nothing at all.
            0 => stream.write_all(&[3]).await.unwrap(),
            1 => stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap(),
            2 => stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap(),
            _ => {}
        }
        idle.push(stream);
    }
    let start = Instant::now();
    let refusal = publish(&server, "Nowhere/one").await;
    assert!(refusal.contains("invalidStreamName"), "{refusal}");
    assert!(start.elapsed() < PATIENCE);
    // More than a client says before it publishes.
    let mut talker = TcpStream::connect(port(&server)).await.unwrap();
    let handshake = [&[3][..], &[0; 3_072]].concat();
    talker.write_all(&handshake).await.unwrap();
    // Whole messages of a type that nobody knows, on chunk stream 3.
    let message = [&[3, 0, 0, 0, 0, 0, 100, 99, 0, 0, 0, 0][..], &[0; 100]].concat();
    let talk = async {
        let mut buffer = [0; 4_096];
        loop {
            if talker.write_all(&message).await.is_err() {
                return;
            }
            let read = timeout(Duration::from_millis(1), talker.read(&mut buffer)).await;
            if let Ok(Ok(0) | Err(_)) = read {
                return;
            }
        }
    };
    timeout(PATIENCE, talk).await.expect("it is let go");
}

/// Plays `name` of `application`; what the server says when it refuses, as it is on the wire.
async fn play(server: &Server, application: &str, name: &str) -> String {
    let url = RtmpUrl::parse(&format!("rtmp://{}/{application}/any", port(server))).unwrap();
    let config = PublishConfig::default();
    let chunk_bytes = config.chunk_bytes as usize;
    let mut client = PublishClient::new(&url, config);
    let mut stream = TcpStream::connect(port(server)).await.unwrap();
    stream.write_all(&client.start()).await.unwrap();
    let mut buffer = [0; 4_096];
    let refused = async {
        // Up to where it would publish.
        while client.step() != Step::CreateStream {
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "closed without a word");
            client.handle(&buffer[..length]).unwrap();
            while let Some(output) = client.poll() {
                if let PublishOutput::Send(bytes) = output {
                    stream.write_all(&bytes).await.unwrap();
                }
            }
        }
        let header = MessageHeader {
            csid: 8,
            timestamp_ms: 0,
            type_id: type_id::COMMAND_AMF0,
            stream_id: 1,
        };
        let play = Command::new(
            "play",
            0.0,
            vec![shardcast_rtmp::amf::Value::Null, name.into()],
        );
        let play = encode(header, &play.encode(), chunk_bytes);
        stream.write_all(&play).await.unwrap();
        let mut said = Vec::new();
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..length]);
        }
        String::from_utf8_lossy(&said).into_owned()
    };
    timeout(PATIENCE, refused).await.expect("an answer")
}

#[tokio::test]
async fn a_player_that_may_not_play_is_told_why() {
    let server =
        Server::start_with_file("[application.Tokens]\nplayTokenControlEnabled = true").await;
    server.create("one").await;
    for (application, name, words) in [
        ("StreamLick", "one", "the broadcast is not on air"),
        ("StreamLick", "unknown", "the broadcast is not on air"),
        ("Nowhere", "one", "invalidStreamName"),
        ("StreamLick", "o ne", "cannot be used"),
        ("Tokens", "one", "the token is missing, wrong or expired"),
        ("Tokens", "one?token=guessed", "the token is missing"),
    ] {
        let refusal = play(&server, application, name).await;
        assert!(refusal.contains(words), "{name}: {refusal}");
        assert!(refusal.contains("NetStream.Play."), "{name}: {refusal}");
    }
}
