//! What disks do is nobody's affair but the recording's. Some runs are made twice, and destinations have to be sent
//! the same bytes at the same times: with faults of the disk and on one that is well, or recorded and not.
//!
//! That holds up to the first browser, since a recording of one has its audio coded for it, and frames have numbers by
//! which one sees how often that has begun; and while destinations stay the same: how long one waits before it connects
//! again follows from its number, and files are numbered with them.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use bytes::Bytes;

use super::{
    consumer_plan::{Beside, ConsumerEvent, ConsumerPlan},
    plan::{Plan, ScheduledEvent},
    trace::Trace,
    world::{Verdict, World},
};

/// One of so many runs in question is made twice.
const TWINS_ONE_IN: u64 = 2;
/// They are compared for so long behind what differs, or not at all.
const COMPARED_MS_MIN: u64 = 2_000;
/// Longer than any run.
const FOR_EVER_MS: u64 = 1 << 40;

/// What each destination was sent, and when.
#[derive(Debug)]
pub(super) struct Written {
    /// How the other run differs.
    twin: Beside,
    /// Up to then.
    until_us: i64,
    by_owner: BTreeMap<String, DefaultHasher>,
}

impl Written {
    /// For the run of a seed, if it is one that is made twice.
    pub(super) fn of(seed: u64, plan: &Plan, consumers: &ConsumerPlan) -> Option<Self> {
        // A rendition says in its pictures which number the shard has given it, and files have numbers too.
        if plan.transcoders.capacity_permille > 0 {
            return None;
        }
        let parts = plan.schedule.iter().filter(|(at_ms, event)| match event {
            ScheduledEvent::Publish(session) => session.encoder.is_none(),
            ScheduledEvent::Add(_) => *at_ms > 0,
            ScheduledEvent::Remove(_) | ScheduledEvent::Readdress(_) | ScheduledEvent::Forget => {
                true
            }
            _ => false,
        });
        let until_ms = parts.map(|(at_ms, _)| *at_ms).min().unwrap_or(FOR_EVER_MS);
        let before = |is_it: fn(&ConsumerEvent) -> bool| {
            let mut events = consumers.events.iter();
            events.any(|(at_ms, event)| {
                matches!(event, ScheduledEvent::Consumer(event) if is_it(event))
                    && *at_ms + COMPARED_MS_MIN <= until_ms
            })
        };
        let fails = before(|event| matches!(event, ConsumerEvent::Disk(_)));
        let records = before(|event| matches!(event, ConsumerEvent::Record(Some(_))));
        let twin = if consumers.faults && fails && seed.is_multiple_of(TWINS_ONE_IN) {
            Some(Beside::WellDisk)
        } else if consumers.records && records && !consumers.packages {
            Some(Beside::Nothing)
        } else {
            None
        };
        twin.map(|twin| Self {
            twin,
            until_us: i64::try_from(until_ms * 1_000).unwrap(),
            by_owner: BTreeMap::new(),
        })
    }

    /// These bytes go to a destination.
    pub(super) fn written(&mut self, us: i64, owner: &str, slices: &[Bytes]) {
        if us >= self.until_us {
            return;
        }
        let hasher = self.by_owner.entry(owner.to_owned()).or_default();
        us.hash(hasher);
        slices.iter().for_each(|slice| hasher.write(slice));
    }

    fn sums(&self) -> BTreeMap<&str, u64> {
        let sums = self.by_owner.iter();
        sums.map(|(owner, it)| (owner.as_str(), it.finish()))
            .collect()
    }
}

/// Makes the run a second time, if it is one that is made twice.
pub(super) fn compare(seed: u64, world: &mut World) -> Verdict {
    let Some(written) = &world.written else {
        return Ok(());
    };
    let (beside, until_us) = (written.twin, written.until_us);
    let mut twin = World::new(seed, Trace::default(), beside);
    twin.written = Some(Written {
        twin: beside,
        until_us,
        by_owner: BTreeMap::new(),
    });
    twin.run()
        .map_err(|broken| format!("with {beside:?}: {broken}"))?;
    let same = twin.written.as_ref().map(Written::sums) == Some(written.sums());
    world.tally.count(match beside {
        Beside::Nothing => "same bytes without a recording",
        _ => "same bytes with a disk that is well",
    });
    same.then_some(())
        .ok_or_else(|| format!("destinations are sent other bytes with {beside:?}"))
}
