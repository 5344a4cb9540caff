//! Between the shard and its servers: look-ups, connections, bytes, and what goes wrong with them.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;

use super::{
    plan::Mood,
    server::{Answer, Conn, Doom},
    trace::note,
    wire::{Path, Reads},
    witness::Rules,
    world::{Happening, Verdict, World, ms},
};
use crate::{
    io::{Close, ConnId, LookupId, TcpEvent},
    limits::{CONNECTS_AT_ONCE_MAX, DESTINATION_OUTSTANDING_BYTES_MAX},
    rtmp::UnpublishedBy,
};

/// One access unit and the headers before it, above the bound of what is outstanding.
const UNIT_BYTES_MAX: usize = 256 << 10;
/// How long the shell writes on after a close by wish, and the way to the server.
const LINGER_MS: u64 = 2_500;
/// A connection on which nothing is acknowledged is left ten seconds after that was noticed: the
/// kernel is asked once a second when there is media, and its first answer may still have news.
const DEAD_MS_MAX: u64 = 15_000;
/// It is no longer called live three seconds after that was noticed.
const SILENT_MS_MAX: u64 = 8_000;

/// A change of picture so long after the wish for it comes of what the publisher does.
const AT_WILL: Duration = Duration::from_secs(14);

impl World {
    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.open)
    }

    /// The id of the destination that a key of the shard stands for.
    fn owner(&self, key: crate::broadcast::DestinationKey) -> Option<String> {
        let mut slots = self.shard.broadcasts.values().flat_map(|each| &each.slots);
        let slot = slots.find(|slot| slot.key == key)?;
        Some(slot.destination.id.0.clone())
    }

    pub(super) fn resolve(&mut self, lookup: LookupId, host: &str) -> Verdict {
        let around = self.around();
        let key = self.shard.lookups.get(&lookup).map(|(_, key)| *key);
        let owner = key.and_then(|key| self.owner(key));
        let Some(owner) = owner else {
            return Err(format!("a look-up of {host} that nobody waits for"));
        };
        if let Some(entry) = self.entries.get_mut(&owner) {
            entry
                .attempt(around)
                .map_err(|broken| format!("{owner}: {broken}"))?;
        }
        let site = (0..self.sites.len()).find(|site| host == format!("site{site}.example"));
        let Some(site) = site else {
            return Err(format!("a look-up of {host}, which nobody wants"));
        };
        let (mood, version) = (self.sites[site].mood, self.sites[site].version);
        let delay_ms = match mood {
            Mood::SlowName(ms) => ms,
            _ => self.random.pick(&[0, 1, 30, 200]),
        };
        let result = if mood == Mood::NoName {
            self.tally.count(name_of(mood));
            Err("no such host".to_owned())
        } else {
            let mut addresses = vec![address(site, version)];
            if version > 1 && self.random.chance(50) {
                addresses.insert(0, address(site, version - 1));
            }
            Ok(addresses)
        };
        self.after(ms(delay_ms), Happening::Resolved(lookup, result));
        Ok(())
    }

    pub(super) fn connect(&mut self, id: ConnId, address: SocketAddr, tls: bool) -> Verdict {
        let key = self.shard.conns.get(&id).map(|(_, key)| *key);
        let Some(owner) = key.and_then(|key| self.owner(key)) else {
            return Err("a connection of nobody".to_owned());
        };
        let mut making = 0;
        for conn in self
            .conns
            .values()
            .filter(|conn| conn.open && conn.owner == owner)
        {
            if conn.established {
                return Err(format!("a second connection of {owner}"));
            }
            making += 1;
        }
        if making >= CONNECTS_AT_ONCE_MAX {
            return Err(format!(
                "{owner} makes more than {making} connections at once"
            ));
        }
        if making > 0 {
            self.tally.count("next address tried beside");
        }
        let SocketAddr::V4(v4) = address else {
            return Err(format!("{address} is nobody's address"));
        };
        let [_, site, version, _] = v4.ip().octets();
        let site = usize::from(site);
        let here = self.sites[site].version == version;
        let mood = if here {
            self.sites[site].mood
        } else {
            Mood::Refuses
        };
        note!(self, "{owner} connects to {address}, which is {mood:?}");
        self.tally.count(name_of(mood));
        let mut path = Path::new(&mut self.random, self.plan.steady[site]);
        if let Mood::Crawls(bytes_per_s) = mood {
            path.bytes_per_s = bytes_per_s;
            path.buffer_bytes = path.buffer_bytes.min(4_000);
        }
        if matches!(path.reads, Reads::Pieces(_)) {
            self.tally.count("answers in pieces");
        }
        let round_trips = if tls { 3 } else { 1 };
        let established = 2 * round_trips * path.one_way;
        let wish = self.entries.get(&owner).map(|entry| entry.wish);
        let mut conn = Conn::new(self.now, site, mood, path, owner, &mut self.random);
        conn.wish(wish.unwrap_or_default().reencode);
        self.conns.insert(id, conn);
        self.conns_open += 1;
        let refused = |heals, reason| Happening::Closed {
            conn: id,
            reason,
            heals,
        };
        match mood {
            Mood::Silent => {}
            Mood::Refuses => self.after(established, refused(true, "connection refused")),
            Mood::TlsFails if tls => self.after(established, refused(false, "unknown issuer")),
            Mood::TlsFails => self.after(established, refused(true, "connection refused")),
            _ => self.after(established, Happening::Connected(id)),
        }
        Ok(())
    }

    pub(super) fn connected(&mut self, id: ConnId) -> Verdict {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open) else {
            return Ok(());
        };
        conn.established = true;
        let (owner, mood) = (conn.owner.clone(), conn.mood);
        if let Some(entry) = self.entries.get_mut(&owner) {
            entry.refused = false;
        }
        if mood == Mood::HangsUp {
            self.closes(id, "closed by the peer");
        }
        self.tcp(id, TcpEvent::Connected)?;
        let mut others = self.conns.iter().filter(|(other, _)| **other != id);
        if others.any(|(_, conn)| conn.open && conn.owner == owner) {
            return Err(format!(
                "{owner} keeps a connection beside the one that stands"
            ));
        }
        Ok(())
    }

    pub(super) fn closed(&mut self, id: ConnId, reason: &'static str, heals: bool) -> Verdict {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open) else {
            return Ok(());
        };
        if conn.wire.cut {
            return Ok(());
        }
        conn.open = false;
        self.conns_open -= 1;
        note!(
            self,
            "{} loses its connection: {reason}",
            self.conns[&id].owner
        );
        if let Some(entry) = self.entries.get_mut(&self.conns[&id].owner) {
            // Of several that were being made one refusal decides.
            entry.refused = !heals || (entry.refused && !self.conns[&id].established);
        }
        let reason = reason.to_owned();
        self.tcp(id, TcpEvent::Closed { reason, heals })
    }

    pub(super) fn write(&mut self, id: ConnId, slices: Vec<Bytes>) -> Verdict {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open) else {
            return Err(format!("a write to {id:?}, which is closed"));
        };
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
    fn pump(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (taken, segments) = conn.wire.take(now);
        let cut = conn.wire.cut;
        if taken > 0 && conn.open {
            self.after(Duration::ZERO, Happening::Accepted(id, taken));
        }
        if !cut {
            for (at, bytes) in segments {
                self.at(at, Happening::Arrived(id, bytes));
            }
        }
    }

    pub(super) fn inspected(&mut self, id: ConnId) -> Verdict {
        let now = self.now;
        let info = self.conns[&id].wire.info();
        let conn = self.conns.get_mut(&id).unwrap();
        let news = info.acked_bytes > conn.told_bytes;
        conn.told_bytes = info.acked_bytes;
        let owner = conn.owner.clone();
        self.tcp(id, TcpEvent::Info(info))?;
        if let Some(entry) = self.entries.get_mut(&owner)
            && news
            && entry.is_open()
        {
            entry.acknowledged(now);
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
        self.after(one_way, Happening::Acked(id, len));
        Ok(())
    }

    fn read(&mut self, id: ConnId, bytes: &[u8]) -> Verdict {
        let conn = self.conns.get_mut(&id).unwrap();
        let switches = conn.witness.switches;
        let rules = Rules {
            now: self.now,
            admitted: &self.stage.admitted,
            loom: &self.loom,
            may_pass: conn.may_pass,
            may_be_made: conn.may_be_made,
            may_rest: conn.may_rest && self.stage.foreign,
            punctual: self.plan.lanes.is_punctual(),
            foreign: self.stage.foreign,
            lossy: self.stage.lossy,
            whole: self.plan.steady[conn.site],
            interleaved: !self.stage.strange_clock,
            silent_ms_max: self.plan.silent_ms_max(),
            keyframe_ms: u32::try_from(self.wanted.keyframe_interval_ms).unwrap(),
            frame_ms: u32::try_from(self.plan.frame_ms).unwrap(),
        };
        let was_publishing = conn.publishing;
        let answers = conn
            .read(bytes, rules)
            .map_err(|broken| format!("{}: {broken}", conn.owner))?;
        if conn.witness.switches > switches {
            let to = conn.witness.shown();
            let returned = conn.witness.rendition().is_none();
            note!(self, "{} is sent {to} from here on", self.conns[&id].owner);
            let wish = self.entries.get(&self.conns[&id].owner);
            if let Some(wished_at) = wish.map(|entry| entry.wished_at) {
                self.tally
                    .count(match (returned, self.now - wished_at < AT_WILL) {
                        (true, true) => "sent the publisher's picture at will",
                        (true, false) => "sent the publisher's picture again",
                        (false, true) => "sent a rendition at will",
                        (false, false) => "sent a rendition when terms were broken",
                    });
            }
        }
        let conn = self.conns.get_mut(&id).unwrap();
        if !conn.lingers && !conn.witness.ended_by.is_empty() {
            return Err(format!("{} ends a stream that nobody ended", conn.owner));
        }
        let at = self.now + conn.lateness();
        let doom = conn.doom().filter(|_| conn.publishing && !was_publishing);
        for answer in answers {
            let arrives = self.conns.get_mut(&id).unwrap().wire.down(at);
            self.at(arrives, Happening::Answered(id, answer));
        }
        if let Some((after_ms, doom)) = doom {
            self.after(ms(after_ms), Happening::Doomed(id, doom));
        }
        Ok(())
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
        if answer.refuses
            && let Some(entry) = self.entries.get_mut(&conn.owner)
        {
            entry.refused = true;
        }
        let bytes_max = match conn.wire.path.reads {
            Reads::Whole => answer.bytes.len().max(1),
            Reads::Pieces(bytes) => bytes,
        };
        for piece in answer.bytes.chunks(bytes_max) {
            if self.is_open(id) {
                self.tcp(id, TcpEvent::Received(piece))?;
            }
        }
        Ok(())
    }

    /// The server, or the cable to it, does to a connection what was to happen.
    pub(super) fn doomed(&mut self, id: ConnId, doom: Doom) -> Verdict {
        let now = self.now;
        let calm = now >= self.calm_at();
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open && !calm) else {
            return Ok(());
        };
        match doom {
            Doom::Reset => self.closes(id, "connection reset by peer"),
            Doom::Fin => self.closes(id, "closed by the peer"),
            Doom::StopReading => conn.reading = false,
            Doom::Cut => conn.wire.cut = true,
            Doom::Unpublish => {
                let bytes = conn.unpublish();
                let at = conn.wire.down(now);
                let answer = Answer {
                    bytes,
                    refuses: false,
                };
                self.at(at, Happening::Answered(id, answer));
            }
        }
        note!(self, "{} suffers {doom:?}", self.conns[&id].owner);
        Ok(())
    }

    /// The server is well again, and with it a connection that it still has.
    pub(super) fn mend(&mut self, id: ConnId) -> Verdict {
        let conn = self.conns.get_mut(&id).unwrap();
        if matches!(conn.mood, Mood::Mute | Mood::Garbage | Mood::HangsUp) {
            return Ok(());
        }
        conn.mood = Mood::Well;
        conn.reading = true;
        let held_bytes = std::mem::take(&mut conn.held_bytes);
        let one_way = conn.wire.path.one_way;
        for bytes in std::mem::take(&mut conn.unread) {
            self.read(id, &bytes)?;
        }
        if held_bytes > 0 {
            self.after(one_way, Happening::Acked(id, held_bytes));
        }
        Ok(())
    }

    pub(super) fn close(&mut self, id: ConnId, how: Close) -> Verdict {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open) else {
            return Err(format!("{id:?} is closed twice"));
        };
        conn.open = false;
        self.conns_open -= 1;
        let owner = &conn.owner;
        match (how, self.wished, conn.taken) {
            (Close::Flush, false, _) => Err(format!("{owner} ends a stream that nobody ended")),
            (Close::Abort, true, true) => Err(format!("{owner} was ended and breaks off")),
            (Close::Abort, _, _) => {
                self.tally.count("connection left");
                Ok(())
            }
            (Close::Flush, true, _) => {
                if !says_goodbye(&conn.last_written) {
                    return Err(format!("{owner} ends without FCUnpublish and deleteStream"));
                }
                conn.lingers = true;
                self.tally.count("stream ended by wish");
                self.after(ms(LINGER_MS), Happening::LingeredOut(id));
                Ok(())
            }
        }
    }

    /// Time is up for what was still to be written. A server that was well has heard the end.
    pub(super) fn lingered_out(&mut self, id: ConnId) -> Verdict {
        let conn = self.conns.get_mut(&id).unwrap();
        conn.lingers = false;
        let heard = conn.reading && !conn.wire.cut && conn.wire.unacked_since().is_none();
        let goodbye = [UnpublishedBy::FcUnpublish, UnpublishedBy::DeleteStream];
        if heard && conn.publishing && conn.witness.ended_by != goodbye {
            return Err(format!(
                "the server of {} heard {:?} and not {goodbye:?}",
                conn.owner, conn.witness.ended_by
            ));
        }
        Ok(())
    }

    /// A connection that leads nowhere is noticed, and is not called live meanwhile.
    pub(super) fn look_at_connections(&mut self) -> Verdict {
        let Some(flows_since) = self.stage.flows_since() else {
            return Ok(());
        };
        for conn in self.conns.values().filter(|conn| conn.open && conn.taken) {
            let Some(unacked_since) = conn.wire.unacked_since() else {
                continue;
            };
            let silent = self.now - unacked_since.max(flows_since);
            let starves = self.may_starve(&conn.owner);
            if silent > ms(DEAD_MS_MAX) && !starves {
                return Err(format!("{} keeps a connection that is dead", conn.owner));
            }
            let entry = self.entries.get(&conn.owner);
            if silent > ms(SILENT_MS_MAX) && entry.is_some_and(super::ledger::Entry::is_live) {
                return Err(format!(
                    "{} is called live and nothing was acknowledged for {} ms",
                    conn.owner,
                    silent.as_millis()
                ));
            }
        }
        Ok(())
    }
}

/// Addresses carry the number of their site and which of its addresses they are.
fn address(site: usize, version: u8) -> SocketAddr {
    SocketAddr::from(([10, u8::try_from(site).unwrap(), version, 1], 1935))
}

fn says_goodbye(bytes: &[u8]) -> bool {
    let place = |words: &[u8]| bytes.windows(words.len()).position(|at| at == words);
    matches!((place(b"FCUnpublish"), place(b"deleteStream")), (Some(a), Some(b)) if a < b)
}

fn name_of(mood: Mood) -> &'static str {
    match mood {
        Mood::Well => "server well",
        Mood::NoName => "name unknown",
        Mood::SlowName(_) => "name answered late",
        Mood::Refuses => "connection refused",
        Mood::Silent => "connection hangs",
        Mood::TlsFails => "TLS fails",
        Mood::Mute => "handshake hangs",
        Mood::Garbage => "answers garbage",
        Mood::HangsUp => "hangs up",
        Mood::RejectsKey => "key rejected",
        Mood::KeyInUse => "key in use",
        Mood::Late(_) => "answers late",
        Mood::Resets(_) => "resets",
        Mood::Fins(_) => "closes in order",
        Mood::Unpublishes(_) => "ends the stream",
        Mood::StopsReading(_) => "stops reading",
        Mood::Vanishes(_) => "vanishes",
        Mood::Crawls(_) => "reads slowly",
    }
}
