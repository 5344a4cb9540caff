//! Which peer a datagram is for.

use std::{collections::HashMap, net::SocketAddr};

use str0m::ice::StunMessage;

use crate::{broadcast::PeerId, limits::PEER_ADDRESSES_MAX};

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Known(PeerId),
    /// A STUN request from a new address names this peer. Anybody can write that: only its
    /// MESSAGE-INTEGRITY proves it.
    Claimed(PeerId),
    Nobody,
}

/// By the remote address, once it is known; before that by the ufrag in a STUN request, which we
/// chose so that it names the peer.
#[derive(Debug, Default)]
pub(super) struct Demux {
    by_address: HashMap<SocketAddr, PeerId>,
    by_ufrag: HashMap<String, PeerId>,
    of_peer: HashMap<PeerId, (String, Vec<SocketAddr>)>,
}

impl Demux {
    pub(super) fn add(&mut self, peer: PeerId, ufrag: String) {
        self.by_ufrag.insert(ufrag.clone(), peer);
        self.of_peer.insert(peer, (ufrag, Vec::new()));
    }

    /// `peer` has restarted ICE: this is its name in STUN from now on.
    pub(super) fn rename(&mut self, peer: PeerId, ufrag: &str) {
        let Some((known, _)) = self
            .of_peer
            .get_mut(&peer)
            .filter(|(known, _)| known != ufrag)
        else {
            return;
        };
        self.by_ufrag.remove(known);
        ufrag.clone_into(known);
        self.by_ufrag.insert(ufrag.to_owned(), peer);
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        let Some((ufrag, addresses)) = self.of_peer.remove(&peer) else {
            return;
        };
        self.by_ufrag.remove(&ufrag);
        for address in addresses {
            if self.by_address.get(&address) == Some(&peer) {
                self.by_address.remove(&address);
            }
        }
    }

    pub(super) fn find(&self, from: SocketAddr, payload: &[u8]) -> Found {
        // RFC 7983: the first byte of STUN is 0 to 3. A browser may use one address for session
        // after session, so a STUN request always decides anew.
        let known = self.by_address.get(&from).copied();
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
            Some(peer) if known == Some(*peer) => Found::Known(*peer),
            Some(peer) => Found::Claimed(*peer),
            None => Found::Nobody,
        }
    }

    /// `peer` has proved that it is at `from`.
    pub(super) fn learn(&mut self, from: SocketAddr, peer: PeerId) {
        let Some((_, addresses)) = self.of_peer.get_mut(&peer) else {
            return;
        };
        if addresses.len() >= PEER_ADDRESSES_MAX {
            let oldest = addresses.remove(0);
            if self.by_address.get(&oldest) == Some(&peer) {
                self.by_address.remove(&oldest);
            }
        }
        addresses.push(from);
        self.by_address.insert(from, peer);
    }
}
