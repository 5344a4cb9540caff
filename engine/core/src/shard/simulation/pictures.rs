//! Whether each destination is sent the picture that it is to have: soon after it was wanted, while
//! the stream flows, and at the end for certain.

use std::time::Duration;

use shardcast_link::{ContractOverrides, Reencode};

use super::{
    ledger::Entry,
    world::{Verdict, World},
};
use crate::{
    broadcast::Slot,
    destination::Choice,
    io::RenditionId,
    rendition::{Rendition, RingId},
};

/// What an operator wants of a stream that flows has come about within this: a decision once a
/// second, the keyframe of a publisher that hears four of five requests, and one of a rendition.
const CHANGED_MAX: Duration = Duration::from_secs(12);
/// Terms have to be kept for 30 seconds before that, and then a keyframe comes.
const KEPT_MAX: Duration = Duration::from_secs(30 + 12);
/// Whether a rendition is still taken is asked once a second.
const IDLE_MAX: Duration = Duration::from_millis(1_500);

impl World {
    /// A destination may be connected and have nothing to be sent: what the publisher sends is not
    /// for RTMP or not for it, and a rendition is not wanted or may find no room.
    pub(super) fn may_starve(&self, id: &str) -> bool {
        let Some(entry) = self.entries.get(id) else {
            return true;
        };
        let foreign = self.stage.is_foreign();
        match entry.wish.reencode {
            Reencode::Off => foreign,
            Reencode::Auto => foreign && !self.plan.lanes.is_ample(),
            Reencode::Always => !self.plan.lanes.is_ample(),
        }
    }

    /// It is on air with the picture that it is to have, or has none for a reason.
    pub(super) fn is_served(&self, id: &str, entry: &Entry) -> bool {
        let Some(slot) = self.slot_of(id) else {
            return false;
        };
        let ring = slot.destination.ring();
        let passed = ring == Some(RingId::Source);
        match (slot.destination.picture.choice(), entry.wish.reencode) {
            (Choice::Nothing, _) => entry.is_open() && self.may_starve(id),
            (_, Reencode::Always) => entry.is_live() && self.is_made(ring),
            (_, Reencode::Off) => entry.is_live() && passed,
            (_, Reencode::Auto) => entry.is_live() && (passed || self.is_made(ring)),
        }
    }

    /// Lanes are for those who take something of them, and wishes come true.
    pub(super) fn look_at_pictures(&mut self) -> Verdict {
        let idle = self.idle_rendition()?;
        let before = self.loom.idle.filter(|(id, _)| Some(*id) == idle);
        self.loom.idle = idle.map(|id| before.unwrap_or((id, self.now)));
        if let Some((id, since)) = self.loom.idle
            && self.now - since > IDLE_MAX
        {
            return Err(format!("{id:?} is made for nobody"));
        }
        let refused = self.shard.budget.status(0).refused;
        if self.plan.lanes.is_ample() && refused > 0 {
            return Err("a rendition is refused, and there is room".to_owned());
        }
        let Some(flows) = self.stage.flows_since().filter(|_| self.stage.hears()) else {
            return Ok(());
        };
        for (id, entry) in self.entries.iter().filter(|(_, entry)| entry.is_live()) {
            let since = self.now - flows.max(entry.wished_at);
            if since > CHANGED_MAX && self.plan.lanes.is_punctual() {
                self.has_its_wish(id, entry, since)?;
            }
        }
        Ok(())
    }

    /// One that nobody is sent or is to be sent.
    fn idle_rendition(&self) -> Result<Option<RenditionId>, String> {
        let Some(broadcast) = self.shard.broadcasts.values().next() else {
            return Ok(None);
        };
        let renditions = &broadcast.renditions;
        let (open, known) = (self.loom.open(), usize::from(renditions.lane().is_some()));
        if open != known {
            return Err(format!("{open} lanes are open and {known} known"));
        }
        if known > 0 && renditions.list().is_empty() {
            return Err("a lane is open and makes nothing".to_owned());
        }
        let taken = |it: &Rendition| {
            broadcast.slots.iter().any(|slot| {
                slot.destination.picture.choice() == Choice::Rendition(it.spec)
                    || slot.destination.ring() == Some(RingId::Rendition(it.id))
            })
        };
        let idle = renditions.list().iter().find(|it| !taken(it));
        Ok(idle.map(|it| it.id))
    }

    /// The publisher has sent the same kind of stream for so long, under the same wish.
    fn has_its_wish(&self, id: &str, entry: &Entry, since: Duration) -> Verdict {
        let ring = self.slot_of(id).and_then(|slot| slot.destination.ring());
        let terms = entry.wish.contract;
        let most_bps = terms.video_bps_max.map_or(u64::MAX, u64::from);
        let bps = self.stage.bytes_a_frame() * 8_000 / self.plan.frame_ms;
        let broken = self.stage.is_foreign() || bps > most_bps.saturating_mul(2);
        match entry.wish.reencode {
            Reencode::Off if self.is_made(ring) => {
                Err(format!("{id} is sent a rendition, and re-encoding is off"))
            }
            Reencode::Always if self.plan.lanes.is_ample() && !self.is_made(ring) => Err(format!(
                "{id} is to be sent a rendition and is sent {ring:?}"
            )),
            Reencode::Auto if broken && self.plan.lanes.is_ample() && !self.is_made(ring) => {
                Err(format!("{id} is sent {ring:?}, and its terms are broken"))
            }
            Reencode::Auto
                if terms == ContractOverrides::default()
                    && !self.stage.is_foreign()
                    && since > KEPT_MAX
                    && self.is_made(ring) =>
            {
                Err(format!("{id} is sent a rendition, and its terms are kept"))
            }
            _ => Ok(()),
        }
    }

    fn is_made(&self, ring: Option<RingId>) -> bool {
        matches!(ring, Some(RingId::Rendition(id)) if !self.loom.is_failed(id))
    }

    fn slot_of(&self, id: &str) -> Option<&Slot> {
        let mut slots = self.shard.broadcasts.values().flat_map(|it| &it.slots);
        slots.find(|slot| slot.destination.id.0 == id)
    }
}
