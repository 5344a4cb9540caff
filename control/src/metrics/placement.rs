//! Placement: reservations, and what shards may take.

use std::{sync::atomic::Ordering, time::Instant};

use super::Text;
use crate::{shards::PlacementRefusal, state::Control};

impl Text {
    pub(super) fn placement(&mut self, control: &Control) {
        let counters = &control.counters;
        let name = "shardcast_placements_reserved_total";
        self.family(name, "counter", "broadcasts that were promised a shard");
        let reserved = counters.placements_reserved.load(Ordering::Relaxed);
        self.row(name, "", reserved);
        let name = "shardcast_placements_refused_total";
        self.family(name, "counter", "reservations refused, by reason");
        for (word, counter) in PlacementRefusal::WORDS
            .iter()
            .zip(&counters.placements_refused)
        {
            let labels = format!("{{reason=\"{word}\"}}");
            self.row(name, &labels, counter.load(Ordering::Relaxed));
        }
        let now = Instant::now();
        let name = "shardcast_reservations";
        self.family(
            name,
            "gauge",
            "reservations, also of broadcasts that are there",
        );
        let (_, held) = control.shards.reservations(now, 0, 0);
        self.row(name, "", held as u64);
        let rooms = control.shards.rooms(now);
        let name = "shardcast_shard_weight";
        self.family(name, "gauge", "weight in placement, 100 for a core");
        for (shard, room) in &rooms {
            self.row(name, &format!("{{shard=\"{shard}\"}}"), room.weight.into());
        }
        let name = "shardcast_shard_draining";
        self.family(name, "gauge", "1 when nothing new is placed on the shard");
        for (shard, room) in &rooms {
            let labels = format!("{{shard=\"{shard}\"}}");
            self.row(name, &labels, room.draining.into());
        }
    }
}
