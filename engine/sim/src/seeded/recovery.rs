//! The end of a run: nothing goes wrong any more, and every destination has to find back.

use super::{
    connection::Conn,
    trace::note,
    world::{Verdict, World, ms},
};

/// How long a calm run may take to find back, in milliseconds: the longest delay of a refused key
/// with its jitter, and the attempts around it.
const BACK_MS_MAX: u64 = 375_000 + 60_000;

impl World {
    pub(super) fn finish_when_recovered(&mut self) -> Verdict {
        use shardcast_link::DestinationState::Failed;
        if self.now < self.calm_at() {
            return Ok(());
        }
        if let Some(recovered_at) = self.recovered_at {
            let since = self.now - recovered_at;
            if since >= ms(2_000) && !self.publisher.is_over() {
                self.finale()?;
            }
            self.over = since >= ms(6_000);
            return Ok(());
        }
        let back = self.expected.iter().all(|(id, expected)| {
            let well = |conn: &Conn| conn.owner == *id && conn.open && !conn.wire.cut;
            // That a connection leads nowhere is not noticed while there is nothing to be sent.
            let reached = || self.may_starve(id) || self.conns.values().any(well);
            expected.state == Failed || self.is_served(id, expected) && reached()
        });
        if back {
            note!(self, "every destination has recovered");
            self.recovered_at = Some(self.now);
        } else if self.now > self.calm_at() + ms(BACK_MS_MAX) {
            return Err("not every destination has recovered".to_owned());
        }
        Ok(())
    }
}
