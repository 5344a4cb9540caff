//! Which session a datagram or a command is for.

use std::{collections::HashMap, net::SocketAddr};

use shardcast_link::SessionId;
use str0m::ice::StunMessage;

use crate::{ids::SessionKey, limits::SESSION_ADDRESSES_MAX};

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Known(SessionKey),
    /// A STUN request from a new address names this session. Anybody can write that: only its
    /// MESSAGE-INTEGRITY proves it.
    Unverified(SessionKey),
    Nobody,
}

/// By the remote address, once it is known; before that by the ufrag in a STUN request, which we
/// chose so that it names the session.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    by_address: HashMap<SocketAddr, SessionKey>,
    by_ufrag: HashMap<String, SessionKey>,
    by_id: HashMap<SessionId, SessionKey>,
    of_session: HashMap<SessionKey, (String, Vec<SocketAddr>)>,
}

impl Demux {
    /// A session has begun: control names it `id`, its client names it `ufrag` in STUN.
    pub(crate) fn add(&mut self, session: SessionKey, id: SessionId, ufrag: String) {
        self.by_id.insert(id, session);
        self.by_ufrag.insert(ufrag.clone(), session);
        self.of_session.insert(session, (ufrag, Vec::new()));
    }

    /// An encoder's session has begun: control names it `id`. No datagrams come for it.
    pub(crate) fn add_encoder(&mut self, session: SessionKey, id: SessionId) {
        self.by_id.insert(id, session);
        self.of_session.insert(session, (String::new(), Vec::new()));
    }

    /// Sessions of the shard.
    pub(crate) fn len(&self) -> usize {
        self.of_session.len()
    }

    /// Everything that sessions are known by: their ids, ufrags and addresses.
    #[cfg(feature = "simulation")]
    pub(crate) fn names(&self) -> usize {
        self.by_id.len() + self.by_ufrag.len() + self.by_address.len()
    }

    /// The session that control names so.
    pub(crate) fn session(&self, id: &SessionId) -> Option<SessionKey> {
        self.by_id.get(id).copied()
    }

    /// `session` has restarted ICE: this is its name in STUN from now on.
    pub(crate) fn rename(&mut self, session: SessionKey, ufrag: &str) {
        let Some((known, _)) = self
            .of_session
            .get_mut(&session)
            .filter(|(known, _)| known != ufrag)
        else {
            return;
        };
        self.by_ufrag.remove(known);
        ufrag.clone_into(known);
        self.by_ufrag.insert(ufrag.to_owned(), session);
    }

    /// A session is over.
    pub(crate) fn remove(&mut self, session: SessionKey, id: &SessionId) {
        self.by_id.remove(id);
        let Some((ufrag, addresses)) = self.of_session.remove(&session) else {
            return;
        };
        self.by_ufrag.remove(&ufrag);
        for address in addresses {
            if self.by_address.get(&address) == Some(&session) {
                self.by_address.remove(&address);
            }
        }
    }

    /// Of a datagram over UDP.
    pub(crate) fn find(&self, from: SocketAddr, payload: &[u8]) -> Found {
        self.session_of(self.by_address.get(&from).copied(), payload)
    }

    /// The same of a datagram on whose way those of `known` have come before.
    pub(crate) fn session_of(&self, known: Option<SessionKey>, payload: &[u8]) -> Found {
        // RFC 7983: the first byte of STUN is 0 to 3. A browser may use one address for session
        // after session, so a STUN request always decides anew.
        let by_address = known.map_or(Found::Nobody, Found::Known);
        if payload.first().is_none_or(|first| *first > 3) {
            return by_address;
        }
        let Ok(message) = StunMessage::parse(payload) else {
            return by_address;
        };
        let Some((local, _)) = message.split_username() else {
            return by_address;
        };
        match self.by_ufrag.get(local) {
            Some(session) if known == Some(*session) => Found::Known(*session),
            Some(session) => Found::Unverified(*session),
            None => Found::Nobody,
        }
    }

    /// `session` has proved that it is at `from`.
    pub(crate) fn bind_address(&mut self, from: SocketAddr, session: SessionKey) {
        let Some((_, addresses)) = self.of_session.get_mut(&session) else {
            return;
        };
        if addresses.len() >= SESSION_ADDRESSES_MAX {
            let oldest = addresses.remove(0);
            if self.by_address.get(&oldest) == Some(&session) {
                self.by_address.remove(&oldest);
            }
        }
        addresses.push(from);
        self.by_address.insert(from, session);
    }
}
