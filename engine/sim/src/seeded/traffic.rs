//! Bytes between the shard and its servers: written, taken by the kernel, read, answered, acknowledged.

use std::time::Duration;

use bytes::Bytes;
use shardcast_core::{
    io::{ConnId, TcpEvent},
    simulation_hook::DESTINATION_OUTSTANDING_BYTES_MAX,
};

use super::{
    stream_checker::Rules,
    trace::note,
    world::{SimEvent, Verdict, World, ms},
};
use crate::{rtmp_server::Answer, tcp::Reads};

/// One access unit and the headers before it, above the bound of what is outstanding.
pub(super) const UNIT_BYTES_MAX: usize = 256 << 10;

/// A switch that comes longer than this after new settings comes of what the publisher does.
const ON_REQUEST: Duration = Duration::from_secs(14);

impl World {
    /// The engine may have an event in hand when the shard closes its connection. The shard has to
    /// pass over it.
    pub(super) fn stale(&mut self, conn: ConnId, event: TcpEvent<'_>) -> Verdict {
        self.tally.count("event of a connection that was closed");
        self.stale = true;
        self.tcp(conn, event)?;
        self.stale = false;
        Ok(())
    }

    /// The kernel has taken bytes.
    pub(super) fn accepted(&mut self, conn: ConnId, bytes: usize) -> Verdict {
        if self.is_open(conn) {
            self.tcp(conn, TcpEvent::Accepted { bytes })
        } else if self.is_left(conn) {
            self.stale(conn, TcpEvent::Accepted { bytes })
        } else {
            Ok(())
        }
    }

    pub(super) fn write(&mut self, id: ConnId, slices: Vec<Bytes>) -> Verdict {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open) else {
            return Err(format!("a write to {id:?}, which is closed"));
        };
        self.viewers.written(self.now - self.start, conn, &slices);
        // The bytes of a handshake are random.
        if let Some(written) = self.written.as_mut().filter(|_| conn.server.publishing) {
            let us = i64::try_from((self.now - self.start).as_micros()).unwrap();
            written.written(us, &conn.owner, &slices);
        }
        conn.last_written = slices.last().cloned().unwrap_or_default();
        conn.wire.write(slices);
        self.pump(id);
        let conn = &self.conns[&id];
        if conn.wire.waiting_bytes() > DESTINATION_OUTSTANDING_BYTES_MAX + UNIT_BYTES_MAX {
            return Err(format!(
                "{} has {} bytes outstanding",
                conn.owner,
                conn.wire.waiting_bytes()
            ));
        }
        Ok(())
    }

    /// The kernel takes what it has room for.
    pub(super) fn pump(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (taken, segments) = conn.wire.take(now);
        let cut = conn.wire.cut;
        if taken > 0 && conn.open {
            self.after(Duration::ZERO, SimEvent::Accepted(id, taken));
        }
        if !cut {
            for (at, bytes) in segments {
                self.at(at, SimEvent::Arrived(id, bytes));
            }
        }
    }

    pub(super) fn inspected(&mut self, id: ConnId) -> Verdict {
        let now = self.now;
        let info = self.conns[&id].wire.info();
        if self.is_left(id) {
            return self.stale(id, TcpEvent::Info(info));
        } else if !self.is_open(id) {
            return Ok(());
        }
        let conn = self.conns.get_mut(&id).unwrap();
        let news = info.acked_bytes > conn.reported_bytes;
        conn.reported_bytes = info.acked_bytes;
        let owner = conn.owner.clone();
        self.tcp(id, TcpEvent::Info(info))?;
        if let Some(expected) = self.expected.get_mut(&owner)
            && news
            && expected.is_open()
        {
            expected.acknowledged(now);
        }
        Ok(())
    }

    pub(super) fn arrived(&mut self, id: ConnId, bytes: Bytes) -> Verdict {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Ok(());
        };
        if conn.wire.cut || !(conn.open || conn.lingers) {
            return Ok(());
        }
        let len = bytes.len();
        if !conn.reading {
            conn.unread.push(bytes);
            let unread: usize = conn.unread.iter().map(Bytes::len).sum();
            if unread > conn.wire.path.window_bytes {
                conn.held_bytes += len;
                return Ok(());
            }
        } else {
            self.read(id, &bytes)?;
        }
        let one_way = self.conns[&id].wire.path.one_way;
        self.after(one_way, SimEvent::Acked(id, len));
        Ok(())
    }

    pub(super) fn read(&mut self, id: ConnId, bytes: &[u8]) -> Verdict {
        let conn = self.conns.get_mut(&id).unwrap();
        let switches = conn.checker.switches;
        let rules = Rules {
            now: self.now,
            admitted: &self.publisher.admitted,
            ledger: &self.encoders.ledger,
            encoders: self.plan.encoders,
            audio: self.plan.audio,
            video_transcoders: &self.video_transcoders,
            may_pass: conn.may_pass,
            may_be_made: conn.may_be_made,
            may_pause: conn.may_pause && self.publisher.foreign,
            punctual: self.plan.transcoders.is_punctual() && !self.publisher.stalled,
            foreign: self.publisher.foreign,
            lossy: self.publisher.lossy,
            whole: self.plan.steady[conn.host] && !self.publisher.bunched,
            interleaved: !self.publisher.strange_clock,
            fine: false,
            silent_ms_max: self.plan.silent_ms_max(),
            keyframe_ms: u32::try_from(self.wanted.keyframe_interval_ms).unwrap(),
            frame_ms: u32::try_from(self.plan.frame_ms).unwrap(),
        };
        let was_publishing = conn.server.publishing;
        let answers = conn
            .read(bytes, rules)
            .map_err(|broken| format!("{}: {broken}", conn.owner))?;
        if conn.checker.switches > switches {
            self.count_switch(id);
        }
        let conn = self.conns.get_mut(&id).unwrap();
        if !conn.lingers && !conn.checker.ended_by.is_empty() {
            return Err(format!(
                "{} ends a stream that control did not end",
                conn.owner
            ));
        }
        if std::mem::take(&mut conn.stumbles) {
            self.closes(id, "closed by the peer");
            return Ok(());
        }
        let at = self.now + conn.server.lateness();
        let begins = conn.server.publishing && !was_publishing;
        let failure = conn.server.failure().filter(|_| begins);
        for answer in answers {
            let arrives = self.conns.get_mut(&id).unwrap().wire.down(at);
            self.at(arrives, SimEvent::Answered(id, answer));
        }
        if let Some((after_ms, failure)) = failure {
            self.after(ms(after_ms), SimEvent::Fails(id, failure));
        }
        Ok(())
    }

    /// Counts what the last switch of a stream was for.
    fn count_switch(&mut self, id: ConnId) {
        let conn = &self.conns[&id];
        let to = conn.checker.shown();
        let returned = conn.checker.rendition().is_none();
        note!(self, "{} is sent {to} from here on", self.conns[&id].owner);
        let settings = self.expected.get(&self.conns[&id].owner);
        if let Some(settings_since) = settings.map(|expected| expected.settings_since) {
            self.tally
                .count(match (returned, self.now - settings_since < ON_REQUEST) {
                    (true, true) => "sent passthrough on request",
                    (true, false) => "sent passthrough again",
                    (false, true) => "sent a rendition on request",
                    (false, false) => "sent a rendition after a violation",
                });
        }
    }

    pub(super) fn acked(&mut self, id: ConnId, bytes: usize) -> Verdict {
        let now = self.now;
        if let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.wire.cut) {
            conn.wire.acknowledged(now, bytes);
            self.pump(id);
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, id: ConnId, answer: &Answer) -> Verdict {
        let Some(conn) = self.conns.get(&id) else {
            return Ok(());
        };
        if conn.wire.cut {
            return Ok(());
        }
        // One that comes after the connection was lost is not heard.
        if answer.refuses
            && conn.open
            && let Some(expected) = self.expected.get_mut(&conn.owner)
        {
            expected.refused = true;
        }
        let bytes_max = match conn.wire.path.reads {
            Reads::Whole => answer.bytes.len().max(1),
            Reads::Pieces(bytes) => bytes,
        };
        for piece in answer.bytes.chunks(bytes_max) {
            if self.is_open(id) {
                self.tcp(id, TcpEvent::Received(piece))?;
            } else if self.is_left(id) {
                self.stale(id, TcpEvent::Received(piece))?;
            }
        }
        Ok(())
    }
}
