//! What control asks for.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use shardcast_link::{
    BroadcastId, Command, EndReason, Event, Fault, Problem, SessionId, VideoCodec, WantedBroadcast,
};

use super::{BroadcastKey, Peer, Shard, TimerKey};
use crate::{
    broadcast::{Broadcast, DestinationKey, PeerId, Slate, Slot},
    destination::Destination,
    limits::{BROADCASTS_MAX, DESTINATIONS_MAX, PEERS_MAX, SLATE_BYTES_MAX},
    webrtc::{
        negotiation::{Answer, Offer},
        offer::{Offers, Terms},
        publisher::Publisher,
    },
};

impl Shard {
    pub(super) fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Hello(hello) => self.hello(now, &hello),
            Command::Want { broadcast } => self.want(now, broadcast),
            Command::Slate {
                broadcast,
                name,
                image_base64,
            } => self.slate(now, &broadcast, name, &image_base64),
            Command::Forget { broadcast } => self.forget(now, &broadcast),
            Command::Publish {
                session,
                broadcast,
                sdp,
                start_timeout_ms,
                codecs,
                stereo,
            } => {
                let start_timeout = Duration::from_millis(start_timeout_ms);
                let codecs = self.usable(codecs);
                let terms = Terms { codecs, stereo };
                self.publish(now, session, &broadcast, &sdp, start_timeout, &terms);
            }
            Command::Renegotiate { session, sdp } => self.renegotiate(now, session, &sdp),
            Command::Candidate { session, candidate } => {
                if let Some(peer) = self.sessions.get(&session).copied() {
                    self.with_peer(now, peer, |publisher| publisher.candidate(now, &candidate));
                }
            }
            Command::Unpublish { session } => {
                if let Some(peer) = self.sessions.get(&session).copied() {
                    self.drop_peer(now, peer, EndReason::Lost);
                }
            }
            _ => tracing::warn!("control sent a command of a newer version"),
        }
    }

    /// What is sent in another codec than H.264 reaches nobody where nothing is re-encoded.
    fn usable(&self, mut codecs: Vec<VideoCodec>) -> Vec<VideoCodec> {
        if self.config.codec_capacity_permille == 0 {
            codecs.retain(|codec| *codec == VideoCodec::H264);
        }
        codecs
    }

    fn want(&mut self, now: Instant, wanted: WantedBroadcast) {
        let Some(key) = self.broadcast_key(&wanted.id) else {
            tracing::error!(broadcast = %wanted.id, "the shard holds as many broadcasts as it may");
            return;
        };
        let Some(mut broadcast) = self.broadcasts.remove(&key) else {
            return;
        };
        let beyond = wanted.destinations.len().saturating_sub(DESTINATIONS_MAX);
        if beyond > 0 {
            tracing::error!(
                broadcast = %wanted.id,
                beyond,
                "more destinations are wanted than a broadcast may have: the last are left out"
            );
        }
        let unwanted = broadcast.want(now, wanted, |wanted| {
            let number = self.id();
            let seed = self.config.seed ^ number;
            let rules = Rc::clone(&self.address_rules);
            Slot {
                key: DestinationKey(number),
                destination: Destination::new(now, wanted, rules, seed),
                conns: Vec::new(),
                lookup: None,
            }
        });
        self.broadcasts.insert(key, broadcast);
        for slot in unwanted {
            self.drop_slot(now, key, slot);
        }
        self.settle_broadcast(now, key);
    }

    fn slate(&mut self, now: Instant, id: &BroadcastId, name: String, image_base64: &str) {
        let Some(key) = self.broadcast_keys.get(id).copied() else {
            return;
        };
        let image = match BASE64.decode(image_base64) {
            Ok(image) if image.len() <= SLATE_BYTES_MAX => Bytes::from(image),
            _ => {
                tracing::error!(broadcast = %id, "control sent a slate that is none, or too long");
                return;
            }
        };
        if let Some(broadcast) = self.broadcasts.get_mut(&key) {
            broadcast.set_slate(Slate { name, image });
        }
        self.settle_broadcast(now, key);
    }

    fn forget(&mut self, now: Instant, id: &BroadcastId) {
        let Some(key) = self.broadcast_keys.get(id).copied() else {
            return;
        };
        let peers: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.broadcast == key)
            .map(|(id, _)| *id)
            .collect();
        for peer in peers {
            self.drop_peer(now, peer, EndReason::Wished);
        }
        self.want(now, WantedBroadcast::new(id.clone()));
        self.broadcast_keys.remove(id);
        if let Some(mut broadcast) = self.broadcasts.remove(&key) {
            self.close_lanes(&mut broadcast);
        }
        self.timers.set(TimerKey::Broadcast(key), None);
    }

    fn publish(
        &mut self,
        now: Instant,
        session: SessionId,
        id: &BroadcastId,
        sdp: &str,
        start_timeout: Duration,
        terms: &Terms,
    ) {
        if self.sessions.contains_key(&session) {
            return; // A command may be repeated.
        }
        let full = || Problem {
            fault: Fault::Operator,
            message: "this shard has as many publishers as it may: add shards or machines".into(),
        };
        let key = if self.peers.len() < PEERS_MAX {
            self.broadcast_key(id)
        } else {
            None
        };
        let Some(key) = key else {
            self.event(Event::Refused {
                session,
                problem: full(),
            });
            return;
        };
        let number = self.id();
        let ufrag = format!("s{}p{number:x}", self.config.shard);
        let offer = Offer {
            session: session.clone(),
            ufrag: ufrag.clone(),
            sdp,
            start_timeout,
            terms,
        };
        let accept = || Publisher::accept(now, self.config.epoch, &self.identity, offer);
        match contained(accept) {
            Ok((publisher, answer)) => {
                let peer = PeerId(number);
                let offers = publisher.offers();
                self.peers.insert(
                    peer,
                    Peer {
                        publisher,
                        broadcast: key,
                        first_media_unix_ms: 0,
                        bytes_at_last_status: 0,
                    },
                );
                self.sessions.insert(session.clone(), peer);
                self.demux.add(peer, ufrag);
                self.answered(session, answer, offers);
                self.settle_peer(now, peer);
            }
            Err(problem) => self.event(Event::Refused { session, problem }),
        }
    }

    fn answered(&mut self, session: SessionId, answer: Answer, offers: Offers) {
        self.event(Event::Answer {
            session,
            sdp: answer.sdp,
            candidates: answer.candidates,
            offers_video: offers.video,
            offers_audio: offers.audio,
        });
    }

    /// Changes what a running session sends. Its broadcast goes on with the tracks that are left.
    fn renegotiate(&mut self, now: Instant, session: SessionId, sdp: &str) {
        let Some(id) = self.sessions.get(&session).copied() else {
            let problem = Problem {
                fault: Fault::Publisher,
                message: "the session is over: publish again".into(),
            };
            return self.event(Event::NotRenegotiated { session, problem });
        };
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let publisher = &mut peer.publisher;
        let change = || publisher.renegotiate(now, &self.identity, sdp);
        match catch_unwind(AssertUnwindSafe(change)) {
            Ok(Ok(answer)) => {
                let (offers, key) = (publisher.offers(), peer.broadcast);
                self.demux.rename(id, &answer.ufrag);
                self.answered(session, answer, offers);
                if let Some(broadcast) = self.using(key, id) {
                    broadcast.offers(now, offers.video);
                }
                self.settle_peer(now, id);
                self.settle_broadcast(now, key);
            }
            Ok(Err(problem)) => self.event(Event::NotRenegotiated { session, problem }),
            Err(_) => {
                tracing::error!(%session, "a publisher's session failed and is ended");
                self.drop_peer(now, id, EndReason::Internal);
            }
        }
    }

    fn broadcast_key(&mut self, id: &BroadcastId) -> Option<BroadcastKey> {
        if let Some(key) = self.broadcast_keys.get(id) {
            return Some(*key);
        }
        if self.broadcasts.len() >= BROADCASTS_MAX {
            return None;
        }
        let key = BroadcastKey(self.id());
        self.broadcast_keys.insert(id.clone(), key);
        self.broadcasts
            .insert(key, Broadcast::new(WantedBroadcast::new(id.clone())));
        Some(key)
    }
}

/// Takes an offer. A panic in the protocols below costs this one offer, not the shard.
fn contained<T>(accept: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(accept)).unwrap_or_else(|_| {
        tracing::error!("an offer made the shard fail; it is refused");
        Err(Problem {
            fault: Fault::Internal,
            message: "the SDP offer made the server fail: its operator finds more in the log"
                .into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_that_makes_the_protocols_panic_is_refused() {
        let failed = contained(|| -> Result<(), Problem> { panic!("in str0m") });
        assert_eq!(failed.unwrap_err().fault, Fault::Internal);
        assert_eq!(contained(|| Ok(1)), Ok(1));
    }
}
