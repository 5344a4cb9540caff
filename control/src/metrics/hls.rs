//! HLS: what is packaged, who watches it, and what it takes.

use std::time::Instant;

use super::Text;
use crate::state::Control;

impl Text {
    pub(super) fn hls(&mut self, control: &Control) {
        let total = control.hls.total(Instant::now());
        for (name, what, value) in [
            (
                "shardcast_hls_broadcasts",
                "broadcasts that are packaged for HLS",
                total.broadcasts,
            ),
            (
                "shardcast_hls_viewers",
                "viewers who have asked for a playlist of late",
                total.watchers,
            ),
            (
                "shardcast_hls_bytes",
                "bytes of segments in memory",
                total.bytes,
            ),
        ] {
            self.family(name, "gauge", what);
            self.row(name, "", value);
        }
    }
}
