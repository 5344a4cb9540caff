//! Clients that play by RTMP: an independent one gets the encoder's video and audio to the byte, from a keyframe
//! on; who reads too slowly goes on at a keyframe or is closed; and who may not play is told why.

use bytes::Bytes;
use rml_rtmp::{
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    sessions::{ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult},
};
use shardcast_core::rtmp::{ServerConfig, ServerOutput, ServerSession, flv};
use shardcast_link::{Command, Event, ViewEndReason, ViewRefusal};

use crate::{
    encoders::Show,
    sim::{
        World,
        client::{Client, Sends},
        renditions::run_s,
        session,
    },
};

/// A player of rml_rtmp, and what control has read of it.
struct Player {
    client: ClientSession,
    index: usize,
    video: Vec<(u32, Bytes)>,
    audio: Vec<(u32, Bytes)>,
    /// Of `onMetaData`.
    width: Option<u32>,
    has_begun: bool,
}

impl Player {
    /// Comes as session `name`, up to the shard's first words.
    fn begin(world: &mut World, name: &str) -> Self {
        let mut server = ServerSession::new(ServerConfig::default());
        let mut read = shake_hands(&mut server);
        let (mut client, mut results) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        results.push(client.request_connection("StreamLick".to_owned()).unwrap());
        let (mut is_connected, mut asks) = (false, false);
        while !asks {
            for result in std::mem::take(&mut results) {
                match result {
                    ClientSessionResult::OutboundResponse(packet) => {
                        server.handle(&packet.bytes).unwrap();
                        read.extend_from_slice(&packet.bytes);
                    }
                    ClientSessionResult::RaisedEvent(event) => {
                        is_connected |=
                            matches!(event, ClientSessionEvent::ConnectionRequestAccepted);
                    }
                    ClientSessionResult::UnhandleableMessageReceived(_) => {}
                }
            }
            while let Some(output) = server.poll() {
                match output {
                    ServerOutput::Send(bytes) => {
                        results.extend(client.handle_input(&bytes).unwrap());
                    }
                    ServerOutput::Play { stream_key } => {
                        assert_eq!(stream_key, "show?token=t");
                        asks = true;
                    }
                    _ => {}
                }
            }
            if std::mem::take(&mut is_connected) {
                results.push(client.request_playback("show?token=t".to_owned()).unwrap());
            }
        }
        let index = world.play_rtmp(name, &read);
        let mut player = Self {
            client,
            index,
            video: Vec::new(),
            audio: Vec::new(),
            width: None,
            has_begun: false,
        };
        player.read(world);
        player
    }

    /// Takes what the shard has written.
    fn read(&mut self, world: &mut World) {
        let written = std::mem::take(&mut world.players[self.index].written);
        for result in self.client.handle_input(&written.concat()).unwrap() {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    world.from_player(self.index, &packet.bytes);
                }
                ClientSessionResult::RaisedEvent(event) => match event {
                    ClientSessionEvent::PlaybackRequestAccepted => self.has_begun = true,
                    ClientSessionEvent::StreamMetadataReceived { metadata } => {
                        self.width = metadata.video_width;
                    }
                    ClientSessionEvent::VideoDataReceived { timestamp, data } => {
                        self.video.push((timestamp.value, data));
                    }
                    ClientSessionEvent::AudioDataReceived { timestamp, data } => {
                        self.audio.push((timestamp.value, data));
                    }
                    _ => {}
                },
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }
}

fn shake_hands(server: &mut ServerSession) -> Vec<u8> {
    let mut handshake = Handshake::new(PeerType::Client);
    let mut to_server = handshake.generate_outbound_p0_and_p1().unwrap();
    let mut read = Vec::new();
    loop {
        server.handle(&to_server).unwrap();
        read.extend_from_slice(&to_server);
        let mut answer = Vec::new();
        while let Some(ServerOutput::Send(bytes)) = server.poll() {
            answer.extend(bytes);
        }
        match handshake.process_bytes(&answer).unwrap() {
            HandshakeProcessResult::InProgress { response_bytes } => to_server = response_bytes,
            HandshakeProcessResult::Completed { response_bytes, .. } => {
                server.handle(&response_bytes).unwrap();
                read.extend_from_slice(&response_bytes);
                return read;
            }
        }
    }
}

fn run(world: &mut World, show: &mut Show, player: &mut Player, seconds: u32) {
    for _ in 0..seconds {
        show.run(world, 1);
        player.read(world);
    }
}

/// Payloads, and times from the first on.
fn relative(messages: &[(u32, Bytes)]) -> Vec<(u32, Bytes)> {
    let first = messages[0].0;
    let messages = messages.iter();
    messages
        .map(|(at, body)| (at.wrapping_sub(first), body.clone()))
        .collect()
}

/// Without the sequence header, which must come first.
fn assert_as_sent(received: &[(u32, Bytes)], sent: &[(u32, Bytes)], what: &str) {
    assert_eq!(received[0].1[1], 0, "{what}: a sequence header");
    let received = &received[1..];
    let from = sent.iter().position(|(_, body)| *body == received[0].1);
    let sent = &sent[from.expect("it was sent")..];
    assert!(received.len() > 100, "{what}: {}", received.len());
    assert_eq!(
        relative(received),
        relative(&sent[..received.len()]),
        "{what}"
    );
}

#[test]
fn a_player_gets_what_the_encoder_sent_to_the_byte_from_a_keyframe_on() {
    for b_frames in [false, true] {
        let mut world = World::new();
        let mut show = Show::begin(&mut world, "first", 50_000, b_frames);
        show.run(&mut world, 3);
        let mut player = Player::begin(&mut world, "player");
        assert!(player.has_begun);
        let first = &player.video[1].1;
        assert_eq!(first[0], 0x17, "a keyframe at once");
        run(&mut world, &mut show, &mut player, 8);
        assert_eq!(player.width, Some(1_280));
        assert_as_sent(&player.video, &show.video, "video");
        assert_as_sent(&player.audio, &show.audio, "audio");
        let status = world.latest();
        assert_eq!(status.broadcasts[0].rtmp_viewers, 1);
        let viewing = |event: &Event| matches!(event, Event::Viewing { .. });
        assert!(!world.events.iter().any(viewing), "it was told before");
    }
}

#[test]
fn a_player_of_a_browsers_broadcast_gets_aac() {
    let mut world = World::new();
    let client = Client::new(world.now, 4_000, Sends::default());
    world.publish("browser", client);
    run_s(&mut world, 3);
    let mut player = Player::begin(&mut world, "player");
    for _ in 0..6 {
        world.run_ms(1_000);
        player.read(&mut world);
    }
    assert_eq!(player.audio[0].1, flv::aac_sequence_header(&[0x11, 0x90]));
    assert!(player.audio.len() > 200, "{}", player.audio.len());
    assert!(player.video.len() > 100, "{}", player.video.len());
}

#[test]
fn a_player_that_reads_nothing_is_closed_and_another_one_misses_nothing() {
    let mut world = World::new();
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 2);
    let slow = Player::begin(&mut world, "slow");
    let mut well = Player::begin(&mut world, "well");
    run(&mut world, &mut show, &mut well, 2);
    world.players[slow.index].stalls = true;
    run(&mut world, &mut show, &mut well, 12);
    assert!(world.players[slow.index].closed);
    assert_eq!(world.view_ended("slow"), Some(ViewEndReason::Lost));
    assert_as_sent(&well.video, &show.video, "video");
    assert_eq!(world.view_ended("well"), None);
    assert_eq!(world.latest().broadcasts[0].rtmp_viewers, 1);
}

#[test]
fn the_end_of_a_player_and_of_the_broadcast_are_told() {
    let mut world = World::new();
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 2);
    let names = ["lost", "ended", "last"];
    let players = names.map(|name| Player::begin(&mut world, name));
    show.run(&mut world, 1);
    world.lose_player(players[0].index);
    assert_eq!(world.view_ended("lost"), Some(ViewEndReason::Lost));
    world.command(Command::EndView {
        session: session("ended"),
    });
    assert!(world.players[players[1].index].closed);
    let broadcast = crate::sim::broadcast();
    world.command(Command::Forget { broadcast });
    assert_eq!(
        world.view_ended("last"),
        Some(ViewEndReason::BroadcastEnded)
    );
    let written = world.players[players[2].index].written.concat();
    let says = |words: &[u8]| written.windows(words.len()).any(|it| it == words);
    assert!(says(b"NetStream.Play.UnpublishNotify"));
    assert!(world.players[players[2].index].closed);
}

#[test]
fn who_may_not_play_is_told_why() {
    let mut world = World::new();
    let off = Player::begin(&mut world, "off");
    let written = world.players[off.index].written.concat();
    assert!(
        !off.has_begun && world.players[off.index].closed,
        "{written:?}"
    );
    let refused = world.events.iter().any(|event| {
        matches!(
            event,
            Event::ViewRefused {
                refusal: ViewRefusal::NotOnAir,
                ..
            }
        )
    });
    assert!(refused);
    let strange = world.play_rtmp("strange", b"what another version would write");
    assert!(world.players[strange].closed);
}
