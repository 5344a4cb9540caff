//! The encoders of a seeded run: they publish by RTMP, over lines that delay, stall and bunch what they send.
//! They cannot be asked for keyframes. A session of theirs ends when they or the operator end it, and never else.

use std::{collections::BTreeMap, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use shardcast_core::{
    h264::VideoUnit,
    io::{ConnId, Input, TcpEvent},
    rtmp::{MediaKind, flv},
};
use shardcast_link::{Command, EndReason, HandedOver, SessionId};

use super::{
    encoder_ledger::{self, EncoderLedger},
    trace::note,
    world::{SimEvent, Verdict, World, ms},
};
use crate::{
    picture::{Picture, Shows, record},
    random::Random,
    rtmp_encoder::RtmpEncoder,
};

/// How often an encoder writes its audio.
const AUDIO_MS: u64 = 64;
const AAC_SAMPLES: u64 = 1_024;
const START_TIMEOUT_MS: u64 = 10_000;
/// What the network varies by.
const JITTER_MS_MAX: u64 = 10;
/// So far apart are the first message of a session, which is placed at its arrival, and another at most.
pub(super) const JITTER_MS: u32 = 2 * JITTER_MS_MAX as u32;
/// How much later than it is decoded a picture may be shown.
pub(super) const COMPOSITION_MS_MAX: u32 = 66;
/// When nothing has come for about so long, filler begins. What was held back finds its place taken then; and where one stall follows
/// another the encoder may be led on, so its clock is ahead of the shard's from there on.
const ENCODER_SILENT_MS: u64 = 1_400;
/// AudioSpecificConfig of AAC-LC in stereo (ISO/IEC 14496-3, 1.6.2.1).
const AAC_44_100: [u8; 2] = [0x12, 0x10];
const AAC_48_000: [u8; 2] = [0x11, 0x90];

/// What an encoder is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct EncoderPlan {
    /// Distance of keyframes.
    gop_ms: u64,
    /// Pictures are shown so much later than they are decoded.
    composition_ms: u32,
    /// 44.1 kHz, or else 48.
    is_44_100: bool,
    /// Its first timestamp.
    start_ms: u32,
    /// Of a thousand messages, those before which the line stalls.
    pub(super) stall_permille: u64,
    /// Its bytes come in pieces of so many.
    piece_bytes: usize,
    one_way_ms: u64,
}

impl EncoderPlan {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            gop_ms: random.pick(&[500, 1_000, 2_000, 2_000]),
            composition_ms: random.pick(&[0, 0, 40, COMPOSITION_MS_MAX]),
            is_44_100: random.chance(50),
            start_ms: random.pick(&[0, 90_000, (1 << 24) - 3_000, u32::MAX - 3_000]),
            stall_permille: random.pick(&[0, 0, 5, 20]),
            piece_bytes: random.pick(&[usize::MAX, usize::MAX, 1_400, 211]),
            one_way_ms: random.pick(&[1, 20, 80]),
        }
    }

    fn aac(self) -> [u8; 2] {
        if self.is_44_100 {
            AAC_44_100
        } else {
            AAC_48_000
        }
    }

    /// Milliseconds to the beginning of the frame of that number.
    fn frame_at_ms(self, number: u64) -> u64 {
        number * AAC_SAMPLES * 1_000 / if self.is_44_100 { 44_100 } else { 48_000 }
    }

    /// Whether the picture behind so many others since the last keyframe is one.
    pub(super) fn is_key(self, since_keyframe: u64, frame_ms: u64) -> bool {
        (since_keyframe + 1) * frame_ms >= self.gop_ms
    }
}

/// The session of an encoder, as the publisher knows it.
#[derive(Debug)]
pub(super) struct EncoderSession {
    pub(super) plan: EncoderPlan,
    conn: ConnId,
    began: Instant,
    /// Parameter sets that it told last.
    told: Option<u8>,
    /// Of the next audio frame, by the time that has passed.
    frame: u64,
    silent_until: Instant,
}

impl EncoderSession {
    fn elapsed_ms(&self, now: Instant) -> u64 {
        u64::try_from((now - self.began).as_millis()).unwrap()
    }

    /// The timestamp of what is so old in the session.
    fn timestamp(&self, at_ms: u64) -> u32 {
        self.plan
            .start_ms
            .wrapping_add(u32::try_from(at_ms).unwrap())
    }
}

/// The connection of one.
#[derive(Debug)]
struct EncoderConn {
    client: RtmpEncoder,
    session: u64,
    plan: EncoderPlan,
    /// What was sent before arrives before.
    line_free: Instant,
    /// The encoder has closed it.
    is_lost: bool,
    /// The shard has.
    is_closed: bool,
}

/// All of a run.
#[derive(Debug, Default)]
pub(super) struct Encoders {
    /// Its socket is with the engine, and not adopted yet.
    arriving: Option<EncoderConn>,
    conns: BTreeMap<ConnId, EncoderConn>,
    pub(super) ledger: EncoderLedger,
}

impl Encoders {
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// Connections that the shard has not closed.
    pub(super) fn open(&self) -> usize {
        let conns = self.conns.values();
        conns.filter(|conn| !conn.is_closed).count()
    }

    /// The shard takes the socket that was left for it.
    pub(super) fn adopt(&mut self, id: ConnId, socket: &str) -> Verdict {
        let conn = self.arriving.take();
        let conn = conn.filter(|conn| name_of(conn.session) == socket);
        let conn = conn.ok_or_else(|| format!("{socket} is adopted, which nobody left"))?;
        self.conns.insert(id, conn);
        Ok(())
    }

    pub(super) fn write(&mut self, id: ConnId, slices: &[Bytes]) -> Verdict {
        let conn = self.conns.get_mut(&id).filter(|conn| !conn.is_closed);
        let conn = conn.ok_or("a write to an encoder whose connection was closed")?;
        conn.client.receive(slices);
        Ok(())
    }

    pub(super) fn close(&mut self, id: ConnId) -> Verdict {
        let conn = self.conns.get_mut(&id).filter(|conn| !conn.is_closed);
        let conn = conn.ok_or("the connection of an encoder is closed twice")?;
        conn.is_closed = true;
        Ok(())
    }
}

fn name_of(session: u64) -> String {
    format!("e{session}")
}

impl World {
    /// An encoder begins as session `number`.
    pub(super) fn publish_by_rtmp(&mut self, number: u64, plan: EncoderPlan) -> Verdict {
        self.tally.count("encoder came");
        let (client, read) = RtmpEncoder::begin();
        self.encoders.arriving = Some(EncoderConn {
            client,
            session: number,
            plan,
            line_free: self.now,
            is_lost: false,
            is_closed: false,
        });
        self.handle(Input::Command(Command::PublishRtmp {
            session: SessionId(name_of(number)),
            broadcast: self.wanted.id.clone(),
            connection: HandedOver {
                socket: name_of(number),
                remote: "192.0.2.9:40000".to_owned(),
                read_base64: BASE64.encode(&read),
            },
            start_timeout_ms: START_TIMEOUT_MS,
        }))?;
        let mut conns = self.encoders.conns.iter();
        let adopted = conns.find(|(_, conn)| conn.session == number && conn.client.is_publishing());
        let Some((conn, _)) = adopted else {
            return Err(format!("encoder {number} was not let in"));
        };
        let session = EncoderSession {
            plan,
            conn: *conn,
            began: self.now,
            told: None,
            frame: 0,
            silent_until: self.now,
        };
        let header = flv::aac_sequence_header(&plan.aac());
        let (conn, timestamp) = (session.conn, session.timestamp(0));
        self.publisher.set_encoder(session);
        if self.plan.audio {
            self.send(conn, MediaKind::Audio, timestamp, &header);
        }
        Ok(())
    }

    /// The encoder's next picture, which has that number.
    pub(super) fn encode(&mut self, number: u64, picture: Picture, bytes: usize) {
        let now = self.now;
        let Some(session) = self.publisher.encoder() else {
            return;
        };
        let (conn, plan, at_ms) = (session.conn, session.plan, session.elapsed_ms(now));
        let timestamp = session.timestamp(at_ms);
        let is_told = session.told.replace(picture.config) == Some(picture.config);
        let unit = VideoUnit::from_annex_b(&picture.annex_b(bytes)).unwrap();
        let of = self.publisher.sessions();
        self.encoders
            .ledger
            .picture(of, number, at_ms, plan.composition_ms, &unit.avcc);
        if !is_told {
            let header = flv::avc_sequence_header(&record(picture.config));
            self.send(conn, MediaKind::Video, timestamp, &header);
        }
        let composition_ms = i32::try_from(plan.composition_ms).unwrap();
        let head = flv::avc_header(picture.is_key(), composition_ms);
        let body = Bytes::from([&head[..], &unit.avcc].concat());
        self.send(conn, MediaKind::Video, timestamp, &body);
    }

    /// The encoder writes the audio of the time that has passed, if it is not silent.
    pub(super) fn encode_audio(&mut self, number: u64, stall_percent: u64) -> Verdict {
        self.after(ms(AUDIO_MS), SimEvent::Audio(number));
        let begins_stall = self.random.chance(stall_percent);
        let stall_ms = self.random.between(100, 4_000);
        let now = self.now;
        let Some(session) = self.publisher.encoder() else {
            return Ok(());
        };
        if begins_stall && now >= session.silent_until {
            session.silent_until = now + ms(stall_ms);
            self.tally.count("encoder silent");
        }
        let Some(session) = self.publisher.encoder() else {
            return Ok(());
        };
        let (conn, plan, elapsed_ms) = (session.conn, session.plan, session.elapsed_ms(now));
        let is_silent = now < session.silent_until;
        let mut frames = Vec::new();
        while plan.frame_at_ms(session.frame) <= elapsed_ms {
            let at_ms = plan.frame_at_ms(session.frame);
            frames.push((at_ms, session.timestamp(at_ms)));
            session.frame += 1;
        }
        let of = self.publisher.sessions();
        for (at_ms, timestamp) in frames.into_iter().filter(|_| !is_silent) {
            let number = self.encoders.ledger.frame(of, at_ms);
            let frame = encoder_ledger::frame(number);
            let body = Bytes::from([&flv::AAC_RAW_HEADER[..], &frame].concat());
            self.send(conn, MediaKind::Audio, timestamp, &body);
        }
        Ok(())
    }

    fn send(&mut self, id: ConnId, kind: MediaKind, timestamp_ms: u32, body: &Bytes) {
        if let Some(conn) = self.encoders.conns.get_mut(&id) {
            let bytes = conn.client.media(kind, timestamp_ms, body);
            self.put_on_line(id, bytes.into());
        }
    }

    fn put_on_line(&mut self, id: ConnId, bytes: Bytes) {
        let jitter_ms = self.random.between(0, JITTER_MS_MAX);
        let Some(conn) = self.encoders.conns.get_mut(&id) else {
            return;
        };
        let mut at = conn
            .line_free
            .max(self.now + ms(conn.plan.one_way_ms + jitter_ms));
        if self.random.between(0, 999) < conn.plan.stall_permille {
            let stall_ms = if self.random.chance(25) {
                self.random.between(1_600, 4_000)
            } else {
                self.random.between(100, 1_000)
            };
            at += ms(stall_ms);
            self.tally.count("encoder's line stalled");
            note!(self, "the line of {id:?} stalls for {stall_ms} ms");
            let noticed_ms = ENCODER_SILENT_MS.saturating_sub(self.plan.frame_ms);
            self.publisher.held_back(at > self.now + ms(noticed_ms));
        }
        conn.line_free = at;
        self.at(at, SimEvent::FromEncoder(id, bytes));
    }

    /// Bytes of an encoder arrive.
    pub(super) fn read_encoder(&mut self, id: ConnId, bytes: &Bytes) -> Verdict {
        let is_open = |it: &Self| {
            let conn = it.encoders.conns.get(&id);
            conn.filter(|conn| !conn.is_lost && !conn.is_closed)
                .is_some()
        };
        if !is_open(self) {
            return Ok(());
        }
        let (of, piece_bytes) = {
            let conn = &self.encoders.conns[&id];
            (conn.session, conn.plan.piece_bytes)
        };
        for piece in bytes.chunks(piece_bytes) {
            if !is_open(self) {
                break;
            }
            let from = self.view().ring_end();
            let was_on_air = self.view().is_on_air();
            let event = TcpEvent::Received(piece);
            self.shard.handle(self.now, Input::Tcp { conn: id, event });
            self.came_on_air(was_on_air);
            let units = self.view().video_units(from);
            let pictures = units.filter_map(|unit| Picture::read_unit(unit));
            let numbers = pictures.filter_map(|picture| match picture.shows {
                Shows::Sent(number) if !picture.is_resent() => Some(number),
                _ => None,
            });
            let numbers: Vec<u64> = numbers.collect();
            self.publisher.encoder_admitted(self.now, of, &numbers);
            self.process_outputs()?;
        }
        Ok(())
    }

    /// The connection of the encoder is lost.
    pub(super) fn lose_encoder(&mut self, session: &EncoderSession) -> Verdict {
        self.tally.count("encoder lost");
        let id = session.conn;
        if let Some(conn) = self.encoders.conns.get_mut(&id) {
            conn.is_lost = true;
        }
        let reason = "connection reset by peer".to_owned();
        let retryable = true;
        self.tcp(id, TcpEvent::Closed { reason, retryable })
    }

    /// The encoder ends its stream by commands.
    pub(super) fn stop_encoder(&mut self, session: &EncoderSession) {
        self.tally.count("encoder ended its stream");
        if let Some(conn) = self.encoders.conns.get_mut(&session.conn) {
            let bytes = conn.client.finish();
            let at = conn.line_free.max(self.now + ms(conn.plan.one_way_ms));
            conn.line_free = at;
            self.at(at, SimEvent::FromEncoder(session.conn, bytes));
        }
    }

    /// The shard reports that media of a session has begun, or that it is over.
    pub(super) fn encoder_reported(
        &mut self,
        SessionId(name): &SessionId,
        ended: Option<EndReason>,
    ) -> Verdict {
        let number = name.strip_prefix('e').and_then(|it| it.parse().ok());
        let Some(number) = number else {
            return Ok(());
        };
        note!(self, "encoder {number}: ended {ended:?}");
        let is_in_use = self.publisher.session_of(number).is_some();
        let Some(reason) = ended else {
            self.publisher.encoder_began(number);
            return Ok(());
        };
        match reason {
            _ if is_in_use => Err(format!("encoder {number} is ended: {reason:?}")),
            EndReason::Requested
            | EndReason::Lost
            | EndReason::Replaced
            | EndReason::PeerClosed
            | EndReason::StartTimeout => {
                if reason == EndReason::Replaced {
                    self.tally.count("encoder replaced");
                }
                Ok(())
            }
            _ => Err(format!("encoder {number} ends by {reason:?}")),
        }
    }
}
