//! The local test sink: an RTMP server inside the shard that takes a stream, looks at it and
//! throws it away. It lets somebody without a stream key see a whole broadcast work.
//!
//! The shard listens for RTMP already (encoders will publish there); the application `sink` is
//! this, every other one is refused with words.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shardcast_link::SinkStatus;

use crate::{
    context::Context,
    ids::ConnId,
    io::{Close, Output},
    rtmp::{Message, ServerConfig, ServerOutput, ServerSession, amf::Value, message::type_id},
};

/// The application under which the sink takes streams.
const APPLICATION: &str = "sink";
/// A connection that says nothing for so long is closed.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// `FrameType` 1 (keyframe) and `CodecID` 7 (AVC) in the first byte of a video tag.
const AVC_KEYFRAME: u8 = 0x17;

/// One connection to the sink.
#[derive(Debug)]
pub(crate) struct TestSink {
    conn: ConnId,
    session: ServerSession,
    application: String,
    heard: Instant,
    keyframe_ms: Option<u32>,
    bytes: u64,
    bytes_at_last_status: u64,
    status: SinkStatus,
}

impl TestSink {
    pub(crate) fn new(conn: ConnId, now: Instant) -> Self {
        Self {
            conn,
            session: ServerSession::new(ServerConfig::default()),
            application: String::new(),
            heard: now,
            keyframe_ms: None,
            bytes: 0,
            bytes_at_last_status: 0,
            status: SinkStatus::default(),
        }
    }

    /// Takes what control has read of the client, and has answered as the session would: up to `publish`,
    /// which is answered now. False when that has not come.
    pub(crate) fn resume(&mut self, ctx: &mut Context, read: &[u8]) -> bool {
        if self.session.handle(read).is_err() {
            return false;
        }
        let mut published = false;
        while let Some(output) = self.session.poll() {
            match output {
                ServerOutput::Connect { application, .. } => self.application = application,
                ServerOutput::Publish { stream_key } => {
                    published = true;
                    self.publish(ctx, stream_key);
                    break;
                }
                _ => {}
            }
        }
        published
    }

    /// Takes bytes of the client. False when the connection is closed.
    pub(crate) fn received(&mut self, ctx: &mut Context, bytes: &[u8]) -> bool {
        self.heard = ctx.now;
        self.bytes += bytes.len() as u64;
        if let Err(error) = self.session.handle(bytes) {
            tracing::debug!(%error, "the local sink closes a connection");
            self.abort(ctx);
            return false;
        }
        while let Some(output) = self.session.poll() {
            match output {
                ServerOutput::Send(bytes) => self.write(ctx, bytes),
                ServerOutput::Connect { application, .. } => self.application = application,
                ServerOutput::Publish { stream_key } => self.publish(ctx, stream_key),
                ServerOutput::Metadata(properties) => self.metadata(&properties),
                ServerOutput::Media(message) => self.media(&message),
                _ => {}
            }
        }
        true
    }

    /// Its deadline may have come. False when the connection is closed.
    pub(crate) fn timeout(&mut self, ctx: &mut Context) -> bool {
        let is_open = ctx.now < self.next_timeout();
        if !is_open {
            self.abort(ctx);
        }
        is_open
    }

    pub(crate) fn next_timeout(&self) -> Instant {
        self.heard + SILENCE_MAX
    }

    /// What it receives; none before something is published.
    pub(crate) fn status(&self) -> Option<SinkStatus> {
        let bitrate_bps = 8 * (self.bytes - self.bytes_at_last_status);
        (!self.status.key.is_empty()).then(|| SinkStatus {
            bitrate_bps,
            ..self.status.clone()
        })
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        self.bytes_at_last_status = self.bytes;
    }

    fn write(&self, ctx: &mut Context, bytes: Bytes) {
        ctx.output(Output::Write {
            conn: self.conn,
            slices: vec![bytes],
        });
    }

    fn abort(&self, ctx: &mut Context) {
        let (conn, how) = (self.conn, Close::Abort);
        ctx.output(Output::Close { conn, how });
    }

    fn publish(&mut self, ctx: &mut Context, stream_key: String) {
        if self.application == APPLICATION && stream_key.is_empty() {
            let words = "the stream key is empty";
            self.session
                .reject_publish("NetStream.Publish.BadName", words);
        } else if self.application == APPLICATION {
            self.status.key = stream_key;
            self.session.accept_publish();
        } else {
            let words =
                "encoders cannot publish here yet; the application 'sink' takes test streams";
            self.session
                .reject_publish("NetStream.Publish.BadName", words);
        }
        while let Some(output) = self.session.poll() {
            if let ServerOutput::Send(bytes) = output {
                self.write(ctx, bytes);
            }
        }
    }

    fn metadata(&mut self, properties: &[(String, Value)]) {
        let number = |name: &str| {
            let found = properties.iter().find(|(key, _)| key == name);
            found
                .and_then(|(_, value)| value.as_number())
                .map_or(0, |number| number as u32)
        };
        self.status.width = number("width");
        self.status.height = number("height");
    }

    fn media(&mut self, message: &Message) {
        // The second byte of an AVC or AAC tag is 0 for a sequence header.
        if message.payload.get(1) == Some(&0) {
            return;
        }
        if message.type_id == type_id::AUDIO {
            self.status.audio_frames += 1;
            return;
        }
        self.status.video_frames += 1;
        if message.payload.first() == Some(&AVC_KEYFRAME) {
            if let Some(before) = self.keyframe_ms {
                self.status.keyframe_interval_ms = message.timestamp_ms.wrapping_sub(before);
            }
            self.keyframe_ms = Some(message.timestamp_ms);
        }
    }
}
