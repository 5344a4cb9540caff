//! What the shard reports of destinations, held against the expected-state model.

use shardcast_link::DestinationStatus;

use super::{
    trace::note,
    world::{Verdict, World},
};

impl World {
    /// What the shard tells control of a destination is what the expected-state model allows.
    pub(super) fn reported(&mut self, status: &DestinationStatus) -> Verdict {
        use shardcast_link::DestinationState::{BackingOff, Ended, Failed, Idle, Live};
        let conditions = self.conditions();
        let problem = status.last_problem.as_ref();
        note!(
            self,
            "{} {:?}, {} attempts, {:?}",
            status.id.0,
            status.state,
            status.attempts,
            problem.map(|problem| problem.message.as_str())
        );
        let since_start = self.now - self.start;
        if matches!(status.state, BackingOff | Failed)
            && problem.is_some_and(|it| it.message.contains("acknowledged no data"))
        {
            self.viewers.given_up(since_start);
        }
        if status.frames_dropped > 0 {
            self.tally.count("reported that parts were left out");
        }
        let Some(expected) = self.expected.get_mut(&status.id.0) else {
            return Ok(()); // The last word of one that was removed.
        };
        if expected.state == Idle && status.state == Ended {
            return Ok(()); // The last word of its predecessor.
        }
        expected
            .reported(conditions, status)
            .map_err(|broken| format!("{}: {broken}", status.id.0))?;
        if self.plan.steady[expected.host] && matches!(status.state, BackingOff | Failed) {
            return Err(format!("{} failed at a server that is well", status.id.0));
        }
        let (open, live) = (expected.is_open(), status.state == Live);
        self.tally.count(match status.state {
            BackingOff => "failed and tries again",
            Failed => "gave up",
            Live => "on air",
            _ => "other reports",
        });
        for conn in self.conns.values_mut() {
            if conn.open && conn.owner == status.id.0 {
                conn.taken = open;
                // The answer to a ping may still be under way when the stream is taken, and its
                // acknowledgement looks like one of media.
                let none = conn.checker.media == 0 && conn.unread.is_empty();
                if live && none && !conn.server.interleaves {
                    return Err(format!("{} is called live and got no media", status.id.0));
                }
            }
        }
        Ok(())
    }
}
