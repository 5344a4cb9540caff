//! A shard's report in parts, so that no frame grows with the number of its destinations.
//!
//! Parts are [`Event::StatusPart`]s in front of the [`Event::Status`] that ends the report and says
//! how many there were. A report that fits one frame has none, as in earlier versions.

use std::collections::VecDeque;

use crate::{
    message::Event,
    status::{BroadcastStatus, ShardStatus},
};

/// Most that one frame of a report holds, in units of [`weight`]: half a megabyte, with about a kilobyte
/// for each destination. A broadcast is not divided; one with a thousand destinations is a part of its
/// own.
const PART_WEIGHT_MAX: usize = 512;
/// Most broadcasts of one report: twice what a shard may have.
const BROADCASTS_MAX: usize = 20_000;

/// A report that is sent in parts, each made when the receiver is ready for it.
#[derive(Debug)]
pub struct Report {
    status: ShardStatus,
    rest: VecDeque<BroadcastStatus>,
}

impl Report {
    /// Begins to take `status` apart.
    pub fn new(mut status: ShardStatus) -> Self {
        let rest = std::mem::take(&mut status.broadcasts).into();
        status.parts = 0;
        Self { status, rest }
    }

    /// Whether one event holds all of `status`.
    pub fn fits_one_event(status: &ShardStatus) -> bool {
        status.broadcasts.iter().map(weight).sum::<usize>() <= PART_WEIGHT_MAX
    }

    /// The next event; the last one is an [`Event::Status`].
    pub fn next_event(&mut self) -> Event {
        let mut broadcasts = Vec::new();
        let mut heavy = 0;
        while let Some(next) = self.rest.front() {
            heavy += weight(next);
            if heavy > PART_WEIGHT_MAX && !broadcasts.is_empty() {
                break;
            }
            broadcasts.extend(self.rest.pop_front());
        }
        if self.rest.is_empty() {
            let mut status = self.status.clone();
            status.broadcasts = broadcasts;
            return Event::Status(status);
        }
        self.status.parts += 1;
        Event::StatusPart {
            at_unix_ms: self.status.at_unix_ms,
            broadcasts,
        }
    }
}

/// The weight of a broadcast in a report: 1 for itself, each destination and each rendition.
fn weight(broadcast: &BroadcastStatus) -> usize {
    1 + broadcast.destinations.len() + broadcast.renditions.len()
}

/// Puts the parts of reports together again.
#[derive(Debug, Default)]
pub struct Assembly {
    at_unix_ms: u64,
    parts: u32,
    broadcasts: Vec<BroadcastStatus>,
}

impl Assembly {
    /// Takes the next event of a shard. Parts are kept, a report is returned whole, and other events are
    /// returned unchanged. `None`: it was a part, or a report had lost one; the next report comes a
    /// second later.
    pub fn take(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::StatusPart {
                at_unix_ms,
                broadcasts,
            } => {
                if self.at_unix_ms != at_unix_ms {
                    *self = Self::default();
                }
                self.at_unix_ms = at_unix_ms;
                self.parts += 1;
                let room = BROADCASTS_MAX.saturating_sub(self.broadcasts.len());
                self.broadcasts.extend(broadcasts.into_iter().take(room));
                None
            }
            Event::Status(mut status) => {
                let kept = std::mem::take(self);
                if status.parts == 0 {
                    return Some(Event::Status(status));
                }
                let is_whole = kept.parts == status.parts && kept.at_unix_ms == status.at_unix_ms;
                is_whole.then(|| {
                    status.broadcasts.splice(0..0, kept.broadcasts);
                    status.parts = 0;
                    Event::Status(status)
                })
            }
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::{BroadcastId, DestinationId, DestinationState, DestinationStatus, frame};

    fn status(broadcasts: usize, destinations: usize) -> ShardStatus {
        let broadcast = |n: usize| {
            let id = BroadcastId::new("app", &format!("s{n}")).unwrap();
            let mut status = BroadcastStatus::new(id);
            let destination = |n: usize| {
                let id = DestinationId(format!("{n:0>128}"));
                DestinationStatus::new(id, DestinationState::Live)
            };
            status.destinations = (0..destinations).map(destination).collect();
            status
        };
        ShardStatus {
            at_unix_ms: 7,
            cpu_permille: 8,
            broadcasts: (0..broadcasts).map(broadcast).collect(),
            ..ShardStatus::default()
        }
    }

    fn events(status: &ShardStatus) -> Vec<Event> {
        let mut report = Report::new(status.clone());
        let mut events = Vec::new();
        while !matches!(events.last(), Some(Event::Status(_))) {
            events.push(report.next_event());
        }
        events
    }

    #[test]
    fn a_report_of_any_size_arrives_whole_in_frames_of_bounded_size() {
        for (broadcasts, destinations) in [
            (0, 0),
            (1, 0),
            (1, 1_000),
            (3, 511),
            (3, 512),
            (600, 3),
            (60, 1_000),
        ] {
            let status = status(broadcasts, destinations);
            let events = events(&status);
            assert_eq!(
                events.len() == 1,
                broadcasts < 2 || Report::fits_one_event(&status)
            );
            let (mut assembly, mut whole) = (Assembly::default(), None);
            for event in events {
                let mut bytes = BytesMut::new();
                frame::encode(&event, &mut bytes).unwrap();
                assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
                assert_eq!(whole, None);
                whole = assembly.take(event);
            }
            assert_eq!(whole, Some(Event::Status(status)));
        }
    }

    #[test]
    fn a_report_that_lost_a_part_is_left_out_and_the_next_one_is_taken() {
        let status = status(20, 200);
        let all = events(&status);
        for lost in 0..all.len() {
            let mut assembly = Assembly::default();
            let mut left = all.clone();
            left.remove(lost);
            let told: Vec<_> = left.into_iter().filter_map(|e| assembly.take(e)).collect();
            assert_eq!(told, [], "without part {lost}");
            let mut next = status.clone();
            next.at_unix_ms += 1_000;
            let events = events(&next).into_iter();
            let told: Vec<_> = events.filter_map(|e| assembly.take(e)).collect();
            assert_eq!(told, [Event::Status(next)]);
        }
    }
}
