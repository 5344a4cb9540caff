//! Between the shard and its servers: look-ups, connections, bytes, and what goes wrong with them.

use std::net::SocketAddr;

use shardcast_core::{
    io::{Close, ConnId, LookupId, TcpEvent},
    rtmp::UnpublishedBy,
    simulation_hook::CONNECTS_AT_ONCE_MAX,
};

use super::{
    connection::Conn,
    expected_state::ExpectedState,
    trace::note,
    world::{SimEvent, Verdict, World, ms},
};
use crate::{
    rtmp_server::{Answer, Connecting, Failure, FaultMode},
    tcp::{Path, Reads},
};

/// How long the driver writes on after a requested close, and the way to the server.
const LINGER_MS: u64 = 2_500;
/// A connection on which nothing is acknowledged is left ten seconds after that was noticed: the
/// kernel is asked once a second when there is media, and its first answer may still have news.
const DEAD_MS_MAX: u64 = 15_000;
/// Of a hundred connections so many end at a server that takes Opus, in shows with audio.
const OPUS_PERCENT: u64 = 40;
/// It is no longer called live three seconds after that was noticed.
const SILENT_MS_MAX: u64 = 8_000;

impl World {
    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.open)
    }

    /// The shard has closed it.
    pub(super) fn is_left(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.left)
    }

    pub(super) fn resolve(&mut self, lookup: LookupId, host: &str) -> Verdict {
        let conditions = self.conditions();
        let owner = self.view().destination_of_lookup(lookup);
        let Some(owner) = owner.map(|id| id.0.clone()) else {
            return Err(format!("a look-up of {host} for no destination"));
        };
        if let Some(expected) = self.expected.get_mut(&owner) {
            expected
                .attempt(conditions)
                .map_err(|broken| format!("{owner}: {broken}"))?;
        }
        let number = (0..self.hosts.len()).find(|number| host == format!("host{number}.example"));
        let Some(number) = number else {
            return Err(format!("a look-up of {host}, which is no host of a URL"));
        };
        let (mode, version) = (self.hosts[number].mode, self.hosts[number].version);
        let delay_ms = match mode {
            FaultMode::SlowName(ms) => ms,
            _ => self.random.pick(&[0, 1, 30, 200]),
        };
        let result = if mode == FaultMode::NoName {
            self.tally.count(name_of(mode));
            Err("no such host".to_owned())
        } else {
            let mut addresses = vec![address(number, version)];
            if version > 1 && self.random.chance(50) {
                addresses.insert(0, address(number, version - 1));
            }
            Ok(addresses)
        };
        self.after(ms(delay_ms), SimEvent::Resolved(lookup, result));
        Ok(())
    }

    /// A destination has one connection, or makes several of which none stands.
    fn may_connect(&mut self, owner: &str) -> Verdict {
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
        Ok(())
    }

    pub(super) fn connect(&mut self, id: ConnId, address: SocketAddr, tls: bool) -> Verdict {
        let owner = self.view().destination_of_connection(id);
        let Some(owner) = owner.map(|id| id.0.clone()) else {
            return Err("a connection for no destination".to_owned());
        };
        self.may_connect(&owner)?;
        let SocketAddr::V4(v4) = address else {
            return Err(format!("{address} is no host's address"));
        };
        let [_, host, version, _] = v4.ip().octets();
        let host = usize::from(host);
        let here = self.hosts[host].version == version;
        let mode = if here {
            self.hosts[host].mode
        } else {
            FaultMode::Refuses
        };
        note!(self, "{owner} connects to {address}, which is {mode:?}");
        self.tally.count(name_of(mode));
        let mut path = Path::new(&mut self.random, self.plan.steady[host]);
        if let FaultMode::Crawls(bytes_per_s) = mode {
            path = path.crawling(bytes_per_s);
        }
        if matches!(path.reads, Reads::Pieces(_)) {
            self.tally.count("answers in pieces");
        }
        let round_trips = if tls { 3 } else { 1 };
        let established = 2 * round_trips * path.one_way;
        let settings = self.expected.get(&owner).map(|expected| expected.settings);
        let takes_opus = self.plan.audio && self.random.chance(OPUS_PERCENT);
        let mut conn = Conn::new(
            self.now,
            host,
            mode,
            path,
            owner,
            takes_opus,
            &mut self.random,
        );
        conn.allow(settings.unwrap_or_default().reencode);
        self.conns.insert(id, conn);
        self.conns_open += 1;
        match mode.connecting(tls) {
            Connecting::Hangs => {}
            Connecting::Stands => self.after(established, SimEvent::Connected(id)),
            Connecting::Fails { reason, retryable } => {
                let conn = id;
                self.after(
                    established,
                    SimEvent::Closed {
                        conn,
                        reason,
                        retryable,
                    },
                );
            }
        }
        Ok(())
    }

    pub(super) fn connected(&mut self, id: ConnId) -> Verdict {
        if self.is_left(id) {
            return self.stale(id, TcpEvent::Connected);
        }
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open) else {
            return Ok(());
        };
        conn.established = true;
        let (owner, mode) = (conn.owner.clone(), conn.server.mode);
        if let Some(expected) = self.expected.get_mut(&owner) {
            expected.refused = false;
        }
        if mode == FaultMode::HangsUp {
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

    pub(super) fn closed(&mut self, id: ConnId, reason: &'static str, retryable: bool) -> Verdict {
        if self.is_left(id) {
            let reason = reason.to_owned();
            return self.stale(id, TcpEvent::Closed { reason, retryable });
        }
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
        if let Some(expected) = self.expected.get_mut(&self.conns[&id].owner) {
            // Of several that were being made one refusal decides.
            expected.refused = !retryable || (expected.refused && !self.conns[&id].established);
        }
        let reason = reason.to_owned();
        self.tcp(id, TcpEvent::Closed { reason, retryable })
    }

    /// A connection fails as its fault mode says.
    pub(super) fn fails(&mut self, id: ConnId, failure: Failure) -> Verdict {
        let now = self.now;
        let calm = now >= self.calm_at();
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open && !calm) else {
            return Ok(());
        };
        match failure {
            Failure::Reset => self.closes(id, "connection reset by peer"),
            Failure::Fin => self.closes(id, "closed by the peer"),
            Failure::StopReading => conn.reading = false,
            Failure::Cut => conn.wire.cut = true,
            Failure::Unpublish => {
                let bytes = conn.server.unpublish();
                let at = conn.wire.down(now);
                let answer = Answer {
                    bytes,
                    refuses: false,
                };
                self.at(at, SimEvent::Answered(id, answer));
            }
        }
        note!(self, "{} suffers {failure:?}", self.conns[&id].owner);
        Ok(())
    }

    /// The server is well again, and with it a connection that it still has.
    pub(super) fn mend(&mut self, id: ConnId) -> Verdict {
        let conn = self.conns.get_mut(&id).unwrap();
        if matches!(
            conn.server.mode,
            FaultMode::Mute | FaultMode::Garbage | FaultMode::HangsUp
        ) {
            return Ok(());
        }
        conn.server.mode = FaultMode::Well;
        conn.reading = true;
        let held_bytes = std::mem::take(&mut conn.held_bytes);
        let one_way = conn.wire.path.one_way;
        for bytes in std::mem::take(&mut conn.unread) {
            self.read(id, &bytes)?;
        }
        if held_bytes > 0 {
            self.after(one_way, SimEvent::Acked(id, held_bytes));
        }
        Ok(())
    }

    pub(super) fn close(&mut self, id: ConnId, how: Close) -> Verdict {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open) else {
            return Err(format!("{id:?} is closed twice"));
        };
        conn.open = false;
        conn.left = true;
        self.conns_open -= 1;
        let owner = &conn.owner;
        match (how, self.end_requested, conn.taken) {
            (Close::Flush, false, _) => {
                Err(format!("{owner} ends a stream that control did not end"))
            }
            (Close::Abort, true, true) => Err(format!("{owner} was ended and breaks off")),
            (Close::Abort, _, _) => {
                self.tally.count("connection left");
                Ok(())
            }
            (Close::Flush, true, _) => {
                if !ends_in_order(&conn.last_written) {
                    return Err(format!("{owner} ends without FCUnpublish and deleteStream"));
                }
                conn.lingers = true;
                self.tally.count("stream ended in order");
                self.after(ms(LINGER_MS), SimEvent::LingeredOut(id));
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
        if heard && conn.server.publishing && conn.checker.ended_by != goodbye {
            return Err(format!(
                "the server of {} heard {:?} and not {goodbye:?}",
                conn.owner, conn.checker.ended_by
            ));
        }
        Ok(())
    }

    /// A connection that leads nowhere is noticed, and is not called live meanwhile.
    pub(super) fn check_connections(&mut self) -> Verdict {
        let Some(flows_since) = self.publisher.flows_since() else {
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
            let expected = self.expected.get(&conn.owner);
            if silent > ms(SILENT_MS_MAX) && expected.is_some_and(ExpectedState::is_live) {
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

/// An address carries the number of its host, and which of the host's addresses it is.
fn address(host: usize, version: u8) -> SocketAddr {
    SocketAddr::from(([10, u8::try_from(host).unwrap(), version, 1], 1935))
}

fn ends_in_order(bytes: &[u8]) -> bool {
    let place = |words: &[u8]| bytes.windows(words.len()).position(|at| at == words);
    matches!((place(b"FCUnpublish"), place(b"deleteStream")), (Some(a), Some(b)) if a < b)
}

fn name_of(mode: FaultMode) -> &'static str {
    match mode {
        FaultMode::Well => "server well",
        FaultMode::NoName => "name unknown",
        FaultMode::SlowName(_) => "name answered late",
        FaultMode::Refuses => "connection refused",
        FaultMode::Silent => "connection hangs",
        FaultMode::TlsFails => "TLS fails",
        FaultMode::Mute => "handshake hangs",
        FaultMode::Garbage => "answers garbage",
        FaultMode::HangsUp => "hangs up",
        FaultMode::RejectsKey => "key rejected",
        FaultMode::KeyInUse => "key in use",
        FaultMode::Late(_) => "answers late",
        FaultMode::Resets(_) => "resets",
        FaultMode::Fins(_) => "closes in order",
        FaultMode::Unpublishes(_) => "ends the stream",
        FaultMode::StopsReading(_) => "stops reading",
        FaultMode::Vanishes(_) => "vanishes",
        FaultMode::Crawls(_) => "reads slowly",
        FaultMode::Stumbles => "stumbles over an offer of Opus",
    }
}
