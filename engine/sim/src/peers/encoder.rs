//! Encoders that publish by RTMP. What control reads of them is read here, up to `publish`, and handed to the
//! shard as control does.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use shardcast_core::{
    h264::VideoUnit,
    io::{ConnId, Input, TcpEvent},
    rtmp::{MediaKind, PublishError, flv},
};
use shardcast_link::{Command, HandedOver};

use super::{World, broadcast, session};
use crate::{
    b_frames::{self, BFrames},
    picture::{self, Picture},
    rtmp_encoder::RtmpEncoder,
};

/// One encoder.
#[derive(Debug)]
pub struct Encoder {
    socket: String,
    conn: Option<ConnId>,
    client: RtmpEncoder,
    /// The shard has closed its connection.
    pub closed: bool,
}

/// The AVCDecoderConfigurationRecord of [`World::encode_video`]'s pictures, with B-frames or without.
pub fn record(b_frames: bool) -> Bytes {
    if b_frames {
        b_frames::record()
    } else {
        picture::record(0)
    }
}

/// The pictures of an encoder, in the order of decoding.
#[allow(missing_debug_implementations, reason = "of no use")]
pub struct Pictures {
    b_frames: Option<BFrames>,
    sent: u64,
    since_keyframe: u64,
    shown_from: u64,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct EncodedPicture {
    /// It is an IDR.
    pub key: bool,
    /// By how many frames later than it is decoded it is shown.
    pub composition_frames: i32,
    /// NAL units behind lengths of four bytes, without parameter sets.
    pub avcc: Bytes,
}

impl Pictures {
    /// With two B-frames between P-frames, or without any.
    pub fn new(b_frames: bool) -> Self {
        Self {
            b_frames: b_frames.then(BFrames::default),
            sent: 0,
            since_keyframe: 0,
            shown_from: 0,
        }
    }

    /// The next one, of about so many bytes; with B-frames a keyframe comes as soon as it can.
    pub fn next(&mut self, key_wanted: bool, bytes: usize) -> EncodedPicture {
        let number = self.sent;
        self.sent += 1;
        let Some(b_frames) = &mut self.b_frames else {
            let key = key_wanted || number == 0;
            self.since_keyframe = if key { 0 } else { self.since_keyframe + 1 };
            let picture = Picture::sent(number, 0, self.since_keyframe);
            return EncodedPicture {
                key,
                composition_frames: 0,
                avcc: avcc(&picture.annex_b(bytes)),
            };
        };
        let (key, place, unit) = b_frames.next(key_wanted, bytes);
        if key {
            self.shown_from = number;
        }
        // Decoding is a frame ahead of showing, so that none is shown before it is decoded.
        let shown = self.shown_from + place + 1;
        EncodedPicture {
            key,
            composition_frames: i32::try_from(shown - number).unwrap(),
            avcc: avcc(&unit),
        }
    }
}

fn avcc(annex_b: &[u8]) -> Bytes {
    VideoUnit::from_annex_b(annex_b).unwrap().avcc
}

impl Encoder {
    fn begin(socket: &str) -> (Self, Vec<u8>) {
        let (client, read) = RtmpEncoder::begin();
        let encoder = Self {
            socket: socket.to_owned(),
            conn: None,
            client,
            closed: false,
        };
        (encoder, read)
    }

    /// Whether the server has let it begin.
    pub fn is_publishing(&self) -> bool {
        self.client.is_publishing()
    }

    /// What the server told it when it ended the stream.
    pub fn refusal(&self) -> Option<&PublishError> {
        self.client.refusal.as_ref()
    }

    pub(super) fn receive(&mut self, slices: &[Bytes]) {
        self.client.receive(slices);
    }
}

impl World {
    /// An encoder publishes as session `name`, and is let in.
    pub fn publish_rtmp(&mut self, name: &str) -> usize {
        let (encoder, read) = Encoder::begin(name);
        self.hand_over(name, encoder, &read)
    }

    /// The same of one of whom control says that it has sent this.
    pub fn publish_rtmp_read(&mut self, name: &str, read: &[u8]) -> usize {
        let (encoder, _) = Encoder::begin(name);
        self.hand_over(name, encoder, read)
    }

    fn hand_over(&mut self, name: &str, encoder: Encoder, read: &[u8]) -> usize {
        self.encoders.push(encoder);
        self.command(Command::PublishRtmp {
            session: session(name),
            broadcast: broadcast(),
            connection: HandedOver {
                socket: name.to_owned(),
                remote: "192.0.2.9:40000".to_owned(),
                read_base64: BASE64.encode(read),
            },
            start_timeout_ms: 10_000,
        });
        self.encoders.len() - 1
    }

    /// Encoder `index` sends an audio or video message.
    pub fn encode(&mut self, index: usize, kind: MediaKind, timestamp_ms: u32, payload: &Bytes) {
        let client = &mut self.encoders[index].client;
        let bytes = client.media(kind, timestamp_ms, payload);
        self.from_encoder(index, &bytes);
    }

    /// Encoder `index` has sent these messages, and one read brings them all.
    pub fn encode_together(&mut self, index: usize, messages: &[(MediaKind, u32, Bytes)]) {
        let client = &mut self.encoders[index].client;
        let messages = messages.iter();
        let bytes: Vec<Vec<u8>> = messages
            .map(|(kind, timestamp_ms, payload)| client.media(*kind, *timestamp_ms, payload))
            .collect();
        self.from_encoder(index, &bytes.concat());
    }

    /// Encoder `index` sends its sequence headers.
    pub fn encode_headers(&mut self, index: usize, timestamp_ms: u32, b_frames: bool, aac: &[u8]) {
        let video = flv::avc_sequence_header(&record(b_frames));
        self.encode(index, MediaKind::Video, timestamp_ms, &video);
        let audio = flv::aac_sequence_header(aac);
        self.encode(index, MediaKind::Audio, timestamp_ms, &audio);
    }

    /// Encoder `index` ends its stream by commands.
    pub fn end_encoding(&mut self, index: usize) {
        let bytes = self.encoders[index].client.finish();
        self.from_encoder(index, &bytes);
    }

    /// The connection of encoder `index` is lost.
    pub fn lose_encoder(&mut self, index: usize) {
        let event = TcpEvent::Closed {
            reason: "connection reset by peer".to_owned(),
            retryable: true,
        };
        self.encoder_event(index, event);
    }

    /// Bytes of encoder `index` arrive.
    pub fn from_encoder(&mut self, index: usize, bytes: &[u8]) {
        self.encoder_event(index, TcpEvent::Received(bytes));
    }

    fn encoder_event(&mut self, index: usize, event: TcpEvent<'_>) {
        let encoder = &self.encoders[index];
        if let Some(conn) = encoder.conn.filter(|_| !encoder.closed) {
            self.shard.handle(self.now, Input::Tcp { conn, event });
            self.process_outputs();
        }
    }

    pub(super) fn adopt(&mut self, conn: ConnId, socket: &str) {
        if self.adopt_player(conn, socket) {
            return;
        }
        let left = self.encoders.iter_mut();
        let mut left = left.filter(|it| it.socket == socket && it.conn.is_none());
        left.next().expect("a socket that was left").conn = Some(conn);
    }

    pub(super) fn encoder_of(&mut self, conn: ConnId) -> Option<&mut Encoder> {
        self.encoders.iter_mut().find(|it| it.conn == Some(conn))
    }
}
