//! Between the shard and its viewers: what is lost, what takes its time, and what a viewer that means harm says thirty
//! times.

use std::{net::SocketAddr, time::Instant};

use shardcast_core::io::Input;

use super::{
    viewer_ledger::Sent,
    viewer_plan::Manner,
    viewers::{PORT, ViewerEvent, Watcher},
    world::{SimEvent, Verdict, World, ms},
};
use crate::{peers::SHARD_ADDRESS, random::Random, viewer_client::is_rtcp};

/// Who floods says everything so many times, and asks for a keyframe this often.
pub(super) const FLOOD_TIMES: usize = 30;
pub(super) const FLOOD_PLI_MS: u64 = 40;

impl Watcher {
    /// When what the shard sends is at the viewer, if it is not lost.
    pub(super) fn carry(&mut self, now: Instant, sent: Sent, bytes: usize) -> Option<Instant> {
        let lost_permille = match self.plan.manner {
            Manner::Loses(permille) => permille,
            Manner::Floods => 500,
            Manner::ReadsNothing => 1_000,
            _ => 0,
        };
        let (stream, number) = match sent {
            Sent::Other => return Some(now + ms(self.plan.one_way_ms)),
            Sent::Video(number) => (1, number),
            Sent::Audio(number) => (2, number),
            Sent::Repeated(number) => (3, number),
        };
        let mut of = Random::new(self.plan.seed ^ (stream << 60) ^ number);
        if of.between(0, 999) < lost_permille {
            return None;
        }
        match &mut self.way {
            Some(way) => way.carry(now, bytes),
            None => Some(now + ms(self.plan.one_way_ms)),
        }
    }
}

impl World {
    /// A datagram of a viewer is at the shard.
    pub(super) fn datagram_of_viewer(&mut self, index: usize, payload: &[u8]) -> Verdict {
        let from = SocketAddr::from(([127, 0, 0, 1], PORT + u16::try_from(index).unwrap()));
        let to = SHARD_ADDRESS.parse().unwrap();
        // Of one whose session is over nothing comes.
        self.stale = !self.viewers.list[index].is_there();
        self.handle(Input::Datagram { from, to, payload })?;
        self.stale = false;
        Ok(())
    }

    /// Lets a client do what it has to do by now.
    pub(super) fn drive_viewer(&mut self, index: usize) {
        let now = self.now;
        let viewer = &mut self.viewers.list[index];
        let plan = &viewer.plan;
        let (one_way, manner, seed) = (ms(plan.one_way_ms), plan.manner, plan.seed);
        let Some(client) = viewer.client.as_mut().filter(|client| !client.dead) else {
            return;
        };
        if manner == Manner::NeverStarts {
            return;
        }
        let sends = client.run(now);
        let next = client.next_timeout();
        // A client that is closed wants it no more.
        if next > now && viewer.wakes_at.is_none_or(|at| next < at) {
            viewer.wakes_at = Some(next);
            self.at(next, SimEvent::Viewer(index, ViewerEvent::Wakes));
        }
        for datagram in sends {
            // Encrypted, but at the same time in each run.
            let since_us = (now - self.start).as_micros() as u64;
            let chance = Random::new(seed ^ since_us).between(0, 999);
            let is_lost = matches!(manner, Manner::Loses(permille) if chance < permille);
            if !(is_lost && is_rtcp(&datagram)) {
                let event = ViewerEvent::ToShard(datagram);
                self.after(one_way, SimEvent::Viewer(index, event));
            }
        }
    }

    /// One that floods asks for a keyframe, again and again.
    pub(super) fn viewer_floods(&mut self, index: usize) {
        let now = self.now;
        let viewer = &mut self.viewers.list[index];
        if viewer.ended.is_some() || viewer.left.is_some() {
            return;
        }
        if let Some(client) = viewer
            .client
            .as_mut()
            .filter(|it| it.video().next().is_some())
        {
            client.request_keyframe(now);
            self.tally.count("viewer asks for a keyframe");
        }
        self.drive_viewer(index);
        self.viewer_later(index, FLOOD_PLI_MS, ViewerEvent::AsksForKeyframe);
    }

    /// The shard sends a datagram to a viewer.
    pub(super) fn datagram_to_viewer(&mut self, to: SocketAddr, payload: Vec<u8>) -> Verdict {
        let now = self.now;
        let index = usize::from(to.port().wrapping_sub(PORT));
        let Some(viewer) = self.viewers.list.get_mut(index) else {
            return Err(format!("a datagram to {to}, where nobody is"));
        };
        if !viewer.is_there() {
            return Err(format!(
                "a datagram to viewer {index}, whose session is over"
            ));
        }
        let sent = viewer.ledger.sent(now, &payload);
        let sent = sent.map_err(|broken| format!("viewer {index}: {broken}"))?;
        if let Some(at) = viewer.carry(now, sent, payload.len()) {
            self.at(at, SimEvent::Viewer(index, ViewerEvent::ToViewer(payload)));
        }
        Ok(())
    }
}
