//! One connection of a destination: the line to the server, the server, and what checks the stream
//! that arrives there.

use std::time::Instant;

use bytes::Bytes;
use shardcast_core::rtmp::ServerConfig;
use shardcast_link::Reencode;

use super::stream_checker::{Rules, StreamChecker};
use crate::{
    random::Random,
    rtmp_server::{Answer, FaultMode, RtmpServer, ServerEvent},
    tcp::{Path, Wire},
};

#[derive(Debug)]
pub(super) struct Conn {
    /// The id of the destination whose connection it is.
    pub(super) owner: String,
    pub(super) host: usize,
    pub(super) server: RtmpServer,
    pub(super) wire: Wire,
    pub(super) checker: StreamChecker,
    /// Neither side has closed it.
    pub(super) open: bool,
    /// The shard has closed it.
    pub(super) left: bool,
    /// The shard knows that it stands.
    pub(super) established: bool,
    /// The shard has reported that the stream was taken.
    pub(super) taken: bool,
    pub(super) last_written: Bytes,
    /// Acknowledged bytes that the shard knows of.
    pub(super) reported_bytes: u64,
    /// At some time the settings allowed passthrough, and a rendition.
    pub(super) may_pass: bool,
    pub(super) may_be_made: bool,
    /// At some time re-encoding was off, so that a foreign codec left the destination without video.
    pub(super) may_pause: bool,
    /// The shard ended it in order: what it still sends is read.
    pub(super) lingers: bool,
    pub(super) reading: bool,
    /// The server ends the connection.
    pub(super) stumbles: bool,
    /// Arrived and not read.
    pub(super) unread: Vec<Bytes>,
    /// Of the unread, what the kernel has not acknowledged.
    pub(super) held_bytes: usize,
}

impl Conn {
    pub(super) fn new(
        now: Instant,
        host: usize,
        mode: FaultMode,
        path: Path,
        owner: String,
        takes_opus: bool,
        random: &mut Random,
    ) -> Self {
        let config = ServerConfig {
            chunk_bytes: random.pick(&[64, 128, 4_096, 60_000]),
            window_ack_bytes: random.pick(&[1_000, 100_000, 2_500_000]),
            takes_opus,
            ..ServerConfig::default()
        };
        Self {
            owner,
            host,
            server: RtmpServer::new(mode, config, random.chance(30)),
            wire: Wire::new(now, path),
            checker: StreamChecker::of_server(takes_opus),
            open: true,
            left: false,
            established: false,
            taken: false,
            last_written: Bytes::new(),
            reported_bytes: 0,
            may_pass: false,
            may_be_made: false,
            may_pause: false,
            lingers: false,
            reading: true,
            stumbles: false,
            unread: Vec::new(),
            held_bytes: 0,
        }
    }

    /// Other settings hold from now on.
    pub(super) fn allow(&mut self, reencode: Reencode) {
        self.may_pass |= reencode != Reencode::Always;
        self.may_be_made |= reencode != Reencode::Off;
        self.may_pause |= reencode == Reencode::Off;
    }

    /// The server reads these bytes, and what they carry is checked.
    pub(super) fn read(&mut self, bytes: &[u8], rules: Rules<'_>) -> Result<Vec<Answer>, String> {
        let mut answers = Vec::new();
        for event in self.server.read(bytes)? {
            match event {
                ServerEvent::Answer(answer) => answers.push(answer),
                ServerEvent::Metadata => self.checker.metadata(),
                ServerEvent::Media(message) => self.checker.message(&message, rules)?,
                ServerEvent::Ended(by) => self.checker.ended_by.push(by),
                ServerEvent::Key(_) => {}
                ServerEvent::HangsUp => self.stumbles = true,
            }
        }
        Ok(answers)
    }
}
