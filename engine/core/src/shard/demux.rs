//! Which peer a datagram is for.

use std::{collections::HashMap, net::SocketAddr};

use str0m::ice::StunMessage;

use crate::{broadcast::PeerId, limits::PEER_ADDRESSES_MAX};

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

    pub(super) fn find(&mut self, from: SocketAddr, payload: &[u8]) -> Option<PeerId> {
        // RFC 7983: the first byte of STUN is 0 to 3. A browser may use one address for session
        // after session, so a STUN request always decides anew.
        let known = self.by_address.get(&from).copied();
        if payload.first().is_none_or(|first| *first > 3) {
            return known;
        }
        let Ok(message) = StunMessage::parse(payload) else {
            return known;
        };
        let Some((local, _)) = message.split_username() else {
            return known;
        };
        let peer = *self.by_ufrag.get(local)?;
        if known != Some(peer) {
            self.learn(from, peer);
        }
        Some(peer)
    }

    fn learn(&mut self, from: SocketAddr, peer: PeerId) {
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
