//! An encoder that publishes by RTMP: its messages become access units and AAC frames on the media clock.
//!
//! ```text
//!  TCP bytes ──► ServerSession ──► VideoTag, AudioTag ──► EncoderClock ──► IngestEvent
//! ```
//!
//! Control has admitted it. What it sends in another form than is taken ends the session, and it is told so in
//! words that its log shows.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::{EndReason, HandedOver, SessionId};

use super::{
    clock::{EncoderClock, Track},
    resumed,
};
use crate::{
    codec::{
        aac::AacConfig,
        h264::{DecoderRecord, VideoUnit},
    },
    context::Context,
    ids::ConnId,
    ingest_event::IngestEvent,
    io::{Close, Output, TcpEvent},
    limits::MEDIA_LOST_MS,
    rtmp::{
        Message, ServerOutput, ServerSession,
        message::type_id,
        tag::{AudioTag, TagError, VideoTag},
    },
    webrtc::publisher::Reception,
};

/// Tells the client that its stream cannot be taken.
const FAILED: &str = "NetStream.Publish.Failed";

/// An encoder as control hands it over.
#[derive(Debug)]
pub(crate) struct EncoderOffer {
    pub(crate) session: SessionId,
    pub(crate) connection: HandedOver,
    pub(crate) start_timeout: Duration,
}

/// What was read. It is placed on the media clock when it is handed on, since what is before it may move the place.
#[derive(Debug)]
enum Read {
    Picture {
        timestamp_ms: u32,
        composition_ms: i32,
        unit: Box<VideoUnit>,
    },
    Aac {
        timestamp_ms: u32,
        config: AacConfig,
        frame: Bytes,
    },
    Event(IngestEvent),
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct RtmpPublisher {
    pub(crate) session: SessionId,
    conn: ConnId,
    remote: String,
    rtmp: ServerSession,
    clock: EncoderClock,
    record: Option<DecoderRecord>,
    aac: Option<AacConfig>,
    /// Handed on by [`Self::poll`]. What one read brings makes a few.
    events: VecDeque<Read>,
    sends: VecDeque<Bytes>,
    start_deadline: Instant,
    first_media: Option<Instant>,
    last_media: Instant,
    reception: Reception,
    is_open: bool,
}

impl RtmpPublisher {
    /// Takes the connection over, and lets the encoder begin.
    pub(crate) fn accept(ctx: &mut Context, conn: ConnId, offer: EncoderOffer) -> Self {
        let EncoderOffer {
            session,
            connection,
            start_timeout,
        } = offer;
        let resumed = resumed(&connection);
        let is_open = resumed.is_some();
        let rtmp = resumed.map_or_else(|| ServerSession::new(Default::default()), |(rtmp, _)| rtmp);
        ctx.output(Output::Adopt {
            conn,
            socket: connection.socket,
        });
        let mut publisher = Self {
            session,
            conn,
            remote: connection.remote,
            rtmp,
            clock: EncoderClock::default(),
            record: None,
            aac: None,
            events: VecDeque::new(),
            sends: VecDeque::new(),
            start_deadline: ctx.now + start_timeout,
            first_media: None,
            last_media: ctx.now,
            reception: Reception::default(),
            is_open,
        };
        if is_open {
            publisher.rtmp.accept_publish();
            publisher.take_outputs();
        } else {
            tracing::error!(
                "an encoder was handed over in a state that this version does not know"
            );
            publisher.end(EndReason::Internal);
        }
        publisher
    }

    /// Something happened on its connection.
    pub(crate) fn tcp(&mut self, now: Instant, event: &TcpEvent<'_>) {
        match event {
            TcpEvent::Received(bytes) if self.is_open => {
                self.reception.bytes += bytes.len() as u64;
                match self.rtmp.handle(bytes) {
                    Ok(()) => self.take_outputs(),
                    Err(error) => {
                        tracing::info!(session = %self.session, %error, "an encoder breaks RTMP");
                        self.refuse(&error.to_string());
                    }
                }
                if self.has_media() {
                    self.first_media.get_or_insert(now);
                    self.last_media = now;
                }
            }
            TcpEvent::Closed { .. } => {
                self.is_open = false;
                self.end(EndReason::Lost);
            }
            _ => {}
        }
    }

    /// Its deadline may have come.
    pub(crate) fn timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|at| now >= at) {
            self.end(match self.first_media {
                None => EndReason::StartTimeout,
                Some(_) => EndReason::Lost,
            });
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        Some(match self.first_media {
            None => self.start_deadline,
            Some(_) => self.last_media + Duration::from_millis(MEDIA_LOST_MS),
        })
    }

    /// What its broadcast shall take; what is for the encoder is put out.
    pub(crate) fn poll(&mut self, ctx: &mut Context) -> Option<IngestEvent> {
        self.flush(ctx);
        let read = self.events.pop_front()?;
        Some(self.placed(read, ctx.now_us()))
    }

    fn placed(&mut self, read: Read, now_us: i64) -> IngestEvent {
        match read {
            Read::Picture {
                timestamp_ms,
                composition_ms,
                unit,
            } => {
                let dts_us = self.clock.place(Track::Video, timestamp_ms, now_us);
                IngestEvent::AccessUnit {
                    pts_us: dts_us + i64::from(composition_ms) * 1_000,
                    dts_us,
                    unit,
                }
            }
            Read::Aac {
                timestamp_ms,
                config,
                frame,
            } => IngestEvent::Aac {
                pts_us: self.clock.place(Track::Audio, timestamp_ms, now_us),
                config,
                frame,
            },
            Read::Event(event) => event,
        }
    }

    /// What comes from now on is so much later, since its place on the media clock is taken.
    pub(crate) fn lead(&mut self, by_us: i64) {
        self.clock.lead(by_us);
    }

    pub(crate) fn reception(&self) -> &Reception {
        &self.reception
    }

    pub(crate) fn remote(&self) -> &str {
        &self.remote
    }

    pub(crate) fn media_age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_media)
    }

    /// The session is over: tells the encoder, and closes its connection.
    pub(crate) fn close(&mut self, ctx: &mut Context, reason: EndReason) {
        if std::mem::take(&mut self.is_open) {
            let description = match reason {
                EndReason::Replaced => "another encoder has taken the stream over",
                EndReason::StartTimeout | EndReason::NoMediaOffered => "no media came in time",
                EndReason::Requested => "the broadcast was ended",
                _ => "the stream is over",
            };
            self.rtmp.end_publish(FAILED, description);
            while let Some(output) = self.rtmp.poll() {
                if let ServerOutput::Send(bytes) = output {
                    self.sends.push_back(bytes);
                }
            }
        }
        self.flush(ctx);
        let (conn, how) = (self.conn, Close::Flush);
        ctx.output(Output::Close { conn, how });
    }

    /// Closes its connection without a word.
    pub(crate) fn abandon(&self, ctx: &mut Context) {
        let (conn, how) = (self.conn, Close::Abort);
        ctx.output(Output::Close { conn, how });
    }

    fn flush(&mut self, ctx: &mut Context) {
        let slices: Vec<Bytes> = self.sends.drain(..).collect();
        if !slices.is_empty() {
            let conn = self.conn;
            ctx.output(Output::Write { conn, slices });
        }
    }

    fn has_media(&self) -> bool {
        let mut events = self.events.iter();
        events.any(|read| matches!(read, Read::Picture { .. } | Read::Aac { .. }))
    }

    fn end(&mut self, reason: EndReason) {
        let ended = IngestEvent::Ended(reason);
        self.events.push_back(Read::Event(ended));
    }

    /// Ends the session with words for who has set the encoder up.
    fn refuse(&mut self, description: &str) {
        self.rtmp.end_publish(FAILED, description);
        while let Some(output) = self.rtmp.poll() {
            if let ServerOutput::Send(bytes) = output {
                self.sends.push_back(bytes);
            }
        }
        self.is_open = false;
        self.end(EndReason::Unsupported);
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.rtmp.poll() {
            match output {
                ServerOutput::Send(bytes) => self.sends.push_back(bytes),
                ServerOutput::Media(message) => {
                    if let Err(error) = self.media(&message) {
                        tracing::info!(session = %self.session, %error, "an encoder is refused");
                        return self.refuse(&error);
                    }
                }
                ServerOutput::Unpublish { .. } => return self.end(EndReason::PeerClosed),
                _ => {}
            }
        }
    }

    fn media(&mut self, message: &Message) -> Result<(), String> {
        let result = if message.type_id == type_id::VIDEO {
            self.video(message)
        } else {
            self.audio(message)
        };
        match result {
            Ok(()) => Ok(()),
            // One message alone is damaged.
            Err(Refused::Tag(TagError::CutOff)) => Ok(()),
            Err(Refused::Tag(error)) => Err(error.to_string()),
            Err(Refused::Words(words)) => Err(words),
        }
    }

    fn video(&mut self, message: &Message) -> Result<(), Refused> {
        match VideoTag::read(&message.payload)? {
            VideoTag::Nothing => {}
            VideoTag::SequenceHeader(record) => {
                let record = DecoderRecord::read(&record)
                    .map_err(|error| Refused::Words(error.to_string()))?;
                self.record = Some(record);
            }
            VideoTag::Picture {
                composition_ms,
                avcc,
                ..
            } => {
                let Some(record) = &self.record else {
                    return Ok(()); // It cannot be read before its description has come.
                };
                let Ok(mut unit) = VideoUnit::from_avcc(&avcc, record) else {
                    self.events.push_back(Read::Event(IngestEvent::Unreadable));
                    return Ok(());
                };
                if unit.key && unit.sps.is_none() {
                    unit.sps = Some(record.sps.clone());
                }
                if unit.key && unit.pps.is_empty() {
                    unit.pps.clone_from(&record.pps);
                }
                self.events.push_back(Read::Picture {
                    timestamp_ms: message.timestamp_ms,
                    composition_ms,
                    unit: Box::new(unit),
                });
            }
        }
        Ok(())
    }

    fn audio(&mut self, message: &Message) -> Result<(), Refused> {
        match AudioTag::read(&message.payload)? {
            AudioTag::Nothing => {}
            AudioTag::SequenceHeader(config) => {
                let config =
                    AacConfig::read(&config).map_err(|error| Refused::Words(error.to_string()))?;
                self.aac = Some(config);
                let event = IngestEvent::AacConfig(config);
                self.events.push_back(Read::Event(event));
            }
            AudioTag::Frame(frame) => {
                let Some(config) = self.aac else {
                    return Ok(()); // As with video.
                };
                self.events.push_back(Read::Aac {
                    timestamp_ms: message.timestamp_ms,
                    config,
                    frame,
                });
            }
        }
        Ok(())
    }
}

/// Why media is not taken.
enum Refused {
    Tag(TagError),
    Words(String),
}

impl From<TagError> for Refused {
    fn from(error: TagError) -> Self {
        Self::Tag(error)
    }
}
