//! Carries what the machines want from one to the next, and out.

use std::time::Instant;

use bytes::Bytes;
use shardcast_link::{EndReason, Event};

use super::{BroadcastKey, Shard, TimerKey};
use crate::{
    broadcast::{Broadcast, DestinationKey, Intake, PeerId, Slot, StillRequest},
    destination::DestinationOutput,
    io::{Close, ConnId, LookupId, Output, StillId, StillJob, StillPicture, TcpEvent},
    webrtc::publisher::PublisherOutput,
};

impl Shard {
    pub(super) fn tcp(
        &mut self,
        now: Instant,
        key: BroadcastKey,
        destination: DestinationKey,
        conn: ConnId,
        event: TcpEvent<'_>,
    ) {
        let closed = matches!(event, TcpEvent::Closed { .. });
        if closed {
            self.conns.remove(&conn);
        }
        let Some(broadcast) = self.broadcasts.get_mut(&key) else {
            return;
        };
        if let Some(slot) = broadcast.slot(destination)
            && let Some(index) = slot.conns.iter().position(|(_, known)| *known == conn)
            && let Some((dial, _)) = slot.conns.get(index).copied()
        {
            if closed {
                slot.conns.swap_remove(index);
            }
            slot.destination.tcp(now, dial, event);
        }
        broadcast.feed_one(now, destination);
        self.settle_destination(now, key, destination);
    }

    /// Does what a publisher wants done.
    pub(super) fn settle_peer(&mut self, now: Instant, id: PeerId) {
        let mut touched = false;
        while let Some(peer) = self.peers.get_mut(&id) {
            let key = peer.broadcast;
            match peer.publisher.poll() {
                Some(PublisherOutput::Datagram { from, to, payload }) => {
                    self.counters.datagrams_sent += 1;
                    self.outputs
                        .push_back(Output::Datagram { from, to, payload });
                }
                Some(PublisherOutput::Video {
                    pts_us,
                    codec,
                    access_unit,
                    contiguous,
                }) => {
                    touched |= self.admit(now, key, id);
                    if let Some(broadcast) = self.using(key, id) {
                        let intake = &mut broadcast.intake;
                        let picture = intake.video(now, pts_us, codec, &access_unit, contiguous);
                        if let Some(picture) = picture {
                            broadcast.decode(now, picture);
                        }
                        touched = true;
                    }
                }
                Some(PublisherOutput::Unreadable) => {
                    if let Some(broadcast) = self.using(key, id) {
                        broadcast.intake.damaged(now);
                        touched = true;
                    }
                }
                Some(PublisherOutput::Audio(opus)) => {
                    touched |= self.admit(now, key, id);
                    if let Some(broadcast) = self.using(key, id) {
                        broadcast.intake.audio(now, &opus);
                        touched = true;
                    }
                }
                Some(PublisherOutput::AudioHeld(since_us)) => {
                    if let Some(broadcast) = self.using(key, id) {
                        broadcast.intake.audio_held(now, since_us);
                    }
                }
                Some(PublisherOutput::Ended(reason)) => {
                    self.drop_peer(now, id, reason);
                    return;
                }
                None => {
                    let at = peer.publisher.next_timeout();
                    self.timers.set(TimerKey::Peer(id), at);
                    if touched {
                        if let Some(broadcast) = self.broadcasts.get_mut(&key) {
                            broadcast.feed_all(now);
                        }
                        self.settle_broadcast(now, key);
                    }
                    return;
                }
            }
        }
    }

    /// Media of `id` has arrived: from its first media on, it is the publisher of its broadcast
    /// and replaces the one before.
    fn admit(&mut self, now: Instant, key: BroadcastKey, id: PeerId) -> bool {
        let unix_ms = self.unix_ms(now);
        let Some(peer) = self
            .peers
            .get_mut(&id)
            .filter(|peer| peer.first_media_unix_ms == 0)
        else {
            return false;
        };
        peer.first_media_unix_ms = unix_ms;
        let session = peer.publisher.session.clone();
        let video = peer.publisher.offers().video;
        let Some(broadcast) = self.broadcasts.get_mut(&key) else {
            return false;
        };
        let before = broadcast.peer();
        if before.is_some_and(|before| before > id) {
            // A session that began before the one in use: its client has gone on to a newer one.
            self.drop_peer(now, id, EndReason::Replaced);
            return false;
        }
        broadcast.publish(now, id, video);
        let id_text = broadcast.wanted.id.clone();
        if let Some(before) = before.filter(|before| *before != id) {
            self.drop_peer(now, before, EndReason::Replaced);
        }
        tracing::info!(broadcast = %id_text, %session, "media arrives");
        self.event(Event::Publishing {
            session,
            broadcast: id_text,
        });
        true
    }

    /// The broadcast, if `id` is the one whose media it uses.
    pub(super) fn using(&mut self, key: BroadcastKey, id: PeerId) -> Option<&mut Broadcast> {
        self.broadcasts
            .get_mut(&key)
            .filter(|broadcast| broadcast.peer() == Some(id))
    }

    /// Ends a session and tells control; what the broadcast makes of it depends on the reason.
    pub(super) fn drop_peer(&mut self, now: Instant, id: PeerId, reason: EndReason) {
        let Some(mut peer) = self.peers.remove(&id) else {
            return;
        };
        self.demux.remove(id);
        self.timers.set(TimerKey::Peer(id), None);
        let session = peer.publisher.session.clone();
        self.sessions.remove(&session);
        if reason != EndReason::Internal {
            peer.publisher.close(now);
            while let Some(output) = peer.publisher.poll() {
                if let PublisherOutput::Datagram { from, to, payload } = output {
                    self.outputs
                        .push_back(Output::Datagram { from, to, payload });
                }
            }
        }
        let key = peer.broadcast;
        let Some(broadcast) = self.broadcasts.get_mut(&key) else {
            return;
        };
        let is_in_use = broadcast.peer() == Some(id);
        if is_in_use {
            match reason {
                EndReason::Wished => broadcast.end(now),
                _ => broadcast.hold(now),
            }
        }
        let broadcast_id = broadcast.wanted.id.clone();
        // Anybody can make sessions that never send media; the log is for the others.
        if is_in_use {
            tracing::info!(broadcast = %broadcast_id, %session, ?reason, "publisher's session ended");
        }
        self.event(Event::Ended {
            session,
            broadcast: broadcast_id,
            reason,
        });
        self.settle_broadcast(now, key);
    }

    /// Does what a broadcast wants: its lanes, its timer, and its destinations.
    pub(super) fn settle_broadcast(&mut self, now: Instant, key: BroadcastKey) {
        let Some(mut broadcast) = self.broadcasts.remove(&key) else {
            return;
        };
        if broadcast.is_on_air() {
            self.plan_pictures(now, key, &mut broadcast);
        } else {
            self.close_lanes(&mut broadcast);
        }
        self.feed_lanes(key, &mut broadcast);
        self.ask_for_still(now, key, &mut broadcast);
        let publishes = broadcast.peer().is_some();
        let wants_keyframe = broadcast.renditions.take_keyframe_wanted() && publishes;
        if wants_keyframe {
            // Repeated until it comes: the lane gets nothing more until then.
            broadcast.intake.keyframe_asked(now);
        }
        self.timers
            .set(TimerKey::Broadcast(key), broadcast.next_timeout());
        self.broadcasts.insert(key, broadcast);
        self.settle_all_destinations(now, key);
        if wants_keyframe {
            self.ask_publisher(now, key);
        }
    }

    fn ask_for_still(&mut self, now: Instant, key: BroadcastKey, broadcast: &mut Broadcast) {
        let Intake { stand_in, ring, .. } = &mut broadcast.intake;
        if let Some(StillRequest { source, target }) = stand_in.take_request(now, ring) {
            let still = StillId(self.id());
            self.stills.insert(still, key);
            broadcast.still = Some(still);
            self.outputs.push_back(Output::Still(StillJob {
                still,
                source,
                target,
            }));
        }
    }

    /// A picture is made, or cannot be. One that was asked for since counts instead.
    pub(super) fn still(
        &mut self,
        now: Instant,
        still: StillId,
        result: Result<StillPicture, String>,
    ) {
        let Some(key) = self.stills.remove(&still) else {
            return;
        };
        if let Some(broadcast) = self.broadcasts.get_mut(&key)
            && broadcast.still == Some(still)
        {
            broadcast.still = None;
            broadcast.intake.stand_in.prepared(result);
            self.settle_broadcast(now, key);
        }
    }

    fn settle_all_destinations(&mut self, now: Instant, key: BroadcastKey) {
        let count = self
            .broadcasts
            .get(&key)
            .map_or(0, |broadcast| broadcast.slots.len());
        for index in 0..count {
            let slot = self
                .broadcasts
                .get(&key)
                .and_then(|broadcast| broadcast.slots.get(index));
            if let Some(slot) = slot.filter(|slot| slot.destination.wants_something()) {
                let destination = slot.key;
                self.settle_destination(now, key, destination);
            }
        }
    }

    /// Does what one destination wants done.
    pub(super) fn settle_destination(
        &mut self,
        now: Instant,
        key: BroadcastKey,
        destination: DestinationKey,
    ) {
        let mut wants_keyframe = false;
        let mut changed = false;
        while let Some(slot) = self.slot(key, destination)
            && let Some(output) = slot.destination.poll()
        {
            let (conn, lookup) = (slot.conn(), slot.lookup);
            match self.destination_output(key, destination, conn, lookup, output) {
                Wish::Keyframe => wants_keyframe = true,
                Wish::Report => changed = true,
                Wish::Nothing => {}
            }
        }
        let at = self
            .slot(key, destination)
            .and_then(|slot| slot.destination.next_timeout());
        self.timers.set(TimerKey::Destination(key, destination), at);
        if changed {
            self.report_destination(now, key, destination);
        }
        if wants_keyframe {
            self.want_keyframe(now, key);
        }
    }

    /// A destination waits for a keyframe: of the publisher, or of ours.
    fn want_keyframe(&mut self, now: Instant, key: BroadcastKey) {
        let Some(broadcast) = self.broadcasts.get_mut(&key) else {
            return;
        };
        broadcast.intake.stand_in.keyframe_wanted();
        self.ask_publisher(now, key);
    }

    /// Asks the publisher for a keyframe, if there is one.
    fn ask_publisher(&mut self, now: Instant, key: BroadcastKey) {
        let peer = self.broadcasts.get(&key).and_then(Broadcast::peer);
        if let Some(peer) = peer {
            self.with_peer(now, peer, |publisher| publisher.request_keyframe(now));
        }
    }

    fn destination_output(
        &mut self,
        key: BroadcastKey,
        destination: DestinationKey,
        conn: Option<ConnId>,
        lookup: Option<LookupId>,
        output: DestinationOutput,
    ) -> Wish {
        match output {
            DestinationOutput::Resolve { host, port } => {
                let new = LookupId(self.id());
                if let Some(old) = lookup {
                    self.lookups.remove(&old);
                }
                self.lookups.insert(new, (key, destination));
                if let Some(slot) = self.slot(key, destination) {
                    slot.lookup = Some(new);
                }
                self.outputs.push_back(Output::Resolve {
                    lookup: new,
                    host,
                    port,
                });
            }
            DestinationOutput::Connect { dial, address, tls } => {
                let conn = ConnId(self.id());
                self.conns.insert(conn, (key, destination));
                if let Some(slot) = self.slot(key, destination) {
                    slot.conns.push((dial, conn));
                }
                self.outputs.push_back(Output::Connect {
                    conn,
                    addr: address,
                    tls,
                });
            }
            DestinationOutput::Write(slices) => self.write(conn, slices),
            DestinationOutput::Inspect => {
                if let Some(conn) = conn {
                    self.outputs.push_back(Output::Inspect { conn });
                }
            }
            DestinationOutput::Close(dial, how) => {
                let conns = self.slot(key, destination).map(|slot| slot.leave(dial));
                self.close(conns.unwrap_or_default(), how);
            }
            DestinationOutput::WantsKeyframe => return Wish::Keyframe,
            DestinationOutput::Changed => return Wish::Report,
        }
        Wish::Nothing
    }

    fn write(&mut self, conn: Option<ConnId>, slices: Vec<Bytes>) {
        if let Some(conn) = conn {
            self.outputs.push_back(Output::Write { conn, slices });
        }
    }

    fn close(&mut self, conns: Vec<ConnId>, how: Close) {
        for conn in conns {
            self.conns.remove(&conn);
            self.outputs.push_back(Output::Close { conn, how });
        }
    }

    /// A destination that is no longer wanted has said what it still has to say.
    pub(super) fn drop_slot(&mut self, now: Instant, key: BroadcastKey, mut slot: Slot) {
        while let Some(output) = slot.destination.poll() {
            match output {
                DestinationOutput::Write(slices) => self.write(slot.conn(), slices),
                DestinationOutput::Close(dial, how) => {
                    let conns = slot.leave(dial);
                    self.close(conns, how);
                }
                _ => {}
            }
        }
        if let Some(lookup) = slot.lookup {
            self.lookups.remove(&lookup);
        }
        self.timers.set(TimerKey::Destination(key, slot.key), None);
        let status = slot.destination.status(now, |at| self.unix_ms(at));
        if let Some(broadcast) = self.broadcasts.get(&key) {
            let broadcast = broadcast.wanted.id.clone();
            self.event(Event::Destination { broadcast, status });
        }
    }
}

/// What a destination's output asks of others.
enum Wish {
    Nothing,
    Keyframe,
    Report,
}
