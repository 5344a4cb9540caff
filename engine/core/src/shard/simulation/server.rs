//! One connection at a server: a real RTMP session, and what the server's mood makes of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shardcast_link::Reencode;

use super::{
    plan::Mood,
    random::Random,
    wire::{Path, Wire},
    witness::{Rules, Witness},
};
use crate::rtmp::{
    ServerConfig, ServerOutput, ServerSession,
    amf::Value,
    body::{MessageHeader, encode},
    command::Command,
    message::{csid, type_id},
};

/// S0, S1 and S2 (RTMP specification 5.2).
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;
/// The basic and message header of a type 0 chunk on a chunk stream below 64.
const FIRST_HEADER_BYTES: usize = 12;
/// Ping Request (RTMP specification 7.1.7) at time 0.
const PING_REQUEST: [u8; 6] = [0, 6, 0, 0, 0, 0];
const CHUNK_BYTES_DEFAULT: usize = 128;

/// How a taken stream ends by the server's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    Reset,
    Fin,
    Unpublish,
    StopReading,
    Cut,
}

/// What the server has to say to the shard.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Bytes,
    /// After it, only a person can help.
    pub(super) refuses: bool,
}

#[derive(Debug)]
pub(super) struct Conn {
    /// The id of the destination whose connection it is.
    pub(super) owner: String,
    pub(super) site: usize,
    pub(super) mood: Mood,
    pub(super) wire: Wire,
    pub(super) witness: Witness,
    /// Neither side has closed it.
    pub(super) open: bool,
    /// The shard was told that it stands.
    pub(super) established: bool,
    /// The shard has reported that the stream was taken.
    pub(super) taken: bool,
    pub(super) last_written: Bytes,
    /// What the shard was told of acknowledged bytes.
    pub(super) told_bytes: u64,
    /// At some time the wish allowed the publisher's picture, and a rendition.
    pub(super) may_pass: bool,
    pub(super) may_be_made: bool,
    /// At some time neither was: re-encoding was off, whatever the publisher sent.
    pub(super) may_rest: bool,
    /// The shard ended it by wish: what it still sends is read.
    pub(super) lingers: bool,
    pub(super) reading: bool,
    /// Arrived and not read.
    pub(super) unread: Vec<Bytes>,
    /// Of the unread, what the kernel has not acknowledged.
    pub(super) held_bytes: usize,
    session: ServerSession,
    chunk_bytes: usize,
    sent_bytes: usize,
    greeted: bool,
    /// Pings in the middle of longer messages.
    pub(super) interleaves: bool,
    pub(super) publishing: bool,
}

impl Conn {
    pub(super) fn new(
        now: Instant,
        site: usize,
        mood: Mood,
        path: Path,
        owner: String,
        random: &mut Random,
    ) -> Self {
        let chunk_bytes = random.pick(&[64, 128, 4_096, 60_000]);
        let config = ServerConfig {
            chunk_bytes,
            window_ack_bytes: random.pick(&[1_000, 100_000, 2_500_000]),
            ..ServerConfig::default()
        };
        Self {
            owner,
            site,
            mood,
            wire: Wire::new(now, path),
            witness: Witness::default(),
            open: true,
            established: false,
            taken: false,
            last_written: Bytes::new(),
            told_bytes: 0,
            may_pass: false,
            may_be_made: false,
            may_rest: false,
            lingers: false,
            reading: true,
            unread: Vec::new(),
            held_bytes: 0,
            session: ServerSession::new(config),
            chunk_bytes: usize::try_from(chunk_bytes).unwrap(),
            sent_bytes: 0,
            greeted: false,
            interleaves: random.chance(30),
            publishing: false,
        }
    }

    /// Another picture is wanted from now on.
    pub(super) fn wish(&mut self, reencode: Reencode) {
        self.may_pass |= reencode != Reencode::Always;
        self.may_be_made |= reencode != Reencode::Off;
        self.may_rest |= reencode == Reencode::Off;
    }

    /// How much later than at once the server answers.
    pub(super) fn lateness(&self) -> Duration {
        Duration::from_millis(match self.mood {
            Mood::Late(ms) => ms,
            _ => 0,
        })
    }

    /// What befalls the stream after it was taken, and after how many milliseconds.
    pub(super) fn doom(&self) -> Option<(u64, Doom)> {
        match self.mood {
            Mood::Resets(ms) => Some((ms, Doom::Reset)),
            Mood::Fins(ms) => Some((ms, Doom::Fin)),
            Mood::Unpublishes(ms) => Some((ms, Doom::Unpublish)),
            Mood::StopsReading(ms) => Some((ms, Doom::StopReading)),
            Mood::Vanishes(ms) => Some((ms, Doom::Cut)),
            _ => None,
        }
    }

    /// The server reads these bytes.
    pub(super) fn read(&mut self, bytes: &[u8], rules: Rules<'_>) -> Result<Vec<Answer>, String> {
        match self.mood {
            Mood::Mute => return Ok(Vec::new()),
            Mood::Garbage => {
                let first = !std::mem::replace(&mut self.greeted, true);
                let garbage = Answer {
                    bytes: Bytes::from(vec![0x48; 4_000]),
                    refuses: true,
                };
                return Ok(first.then_some(garbage).into_iter().collect());
            }
            _ => {}
        }
        self.session
            .handle(bytes)
            .map_err(|error| format!("the shard does not speak RTMP: {error}"))?;
        let mut answers = Vec::new();
        self.poll(&mut answers, rules)?;
        Ok(answers)
    }

    fn poll(&mut self, answers: &mut Vec<Answer>, rules: Rules<'_>) -> Result<(), String> {
        let mut refuses = false;
        while let Some(output) = self.session.poll() {
            match output {
                ServerOutput::Send(bytes) => {
                    let bytes = self.interleaved(bytes);
                    answers.push(Answer { bytes, refuses });
                }
                ServerOutput::Publish { .. } => refuses = self.publish(),
                ServerOutput::Metadata(_) => self.witness.metadata(),
                ServerOutput::Media(message) => self.witness.message(&message, rules)?,
                ServerOutput::Unpublish { by } => self.witness.ended_by.push(by),
                ServerOutput::Connect { .. } => {}
            }
        }
        Ok(())
    }

    /// Answers `publish`; true if the answer is one that only a person can mend.
    fn publish(&mut self) -> bool {
        match self.mood {
            Mood::RejectsKey => {
                self.session
                    .reject_publish("NetStream.Publish.BadName", "no such key");
                true
            }
            Mood::KeyInUse => {
                self.session
                    .reject_publish("NetStream.Publish.BadName", "already publishing");
                false
            }
            _ => {
                self.session.accept_publish();
                self.publishing = true;
                false
            }
        }
    }

    /// A message long enough is cut after its first chunk, with a ping between, as servers do that
    /// send on several chunk streams at once.
    fn interleaved(&mut self, bytes: Bytes) -> Bytes {
        let before = self.sent_bytes;
        self.sent_bytes += bytes.len();
        let cut = FIRST_HEADER_BYTES + self.chunk_bytes;
        let is_command = bytes.first() == Some(&csid::COMMAND);
        if !self.interleaves || before < HANDSHAKE_BYTES || !is_command || bytes.len() <= cut {
            return bytes;
        }
        let header = MessageHeader {
            csid: csid::CONTROL,
            timestamp_ms: 0,
            type_id: type_id::USER_CONTROL,
            stream_id: 0,
        };
        let ping = encode(header, &PING_REQUEST, CHUNK_BYTES_DEFAULT);
        [&bytes[..cut], &ping[..], &bytes[cut..]].concat().into()
    }

    /// The words with which the server ends a running stream.
    pub(super) fn unpublish(&self) -> Bytes {
        let info = Value::object([
            ("level", "status".into()),
            ("code", "NetStream.Unpublish.Success".into()),
            ("description", "the event is over".into()),
        ]);
        let status = Command::new("onStatus", 0.0, vec![Value::Null, info]);
        let header = MessageHeader {
            csid: csid::COMMAND,
            timestamp_ms: 0,
            type_id: type_id::COMMAND_AMF0,
            stream_id: 1,
        };
        encode(header, &status.encode(), self.chunk_bytes)
    }
}
