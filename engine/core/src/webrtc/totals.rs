//! Counts what each RTP stream of a publisher brought since it was counted last.

use str0m::media::Mid;

use super::source::SourceId;
use crate::limits::RTP_SOURCES_MAX;

/// The last totals of each stream. str0m reports every layer of simulcast on its own, in any order.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// At most [`RTP_SOURCES_MAX`].
    last: Vec<(SourceId, Received)>,
}

/// RTP packets and bytes of a stream, with those that were sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Totals {
    /// What came since the totals of `source` before. Nothing for streams beyond the limit: they are
    /// not used either.
    pub(super) fn since_last(&mut self, source: SourceId, total: Received) -> Received {
        let Some((_, last)) = self.last.iter_mut().find(|(of, _)| *of == source) else {
            if self.last.len() >= RTP_SOURCES_MAX {
                return Received::default();
            }
            self.last.push((source, total));
            return total;
        };
        let before = std::mem::replace(last, total);
        Received {
            packets: total.packets.saturating_sub(before.packets),
            bytes: total.bytes.saturating_sub(before.bytes),
        }
    }

    /// Forgets the streams of media sections that are no longer there.
    pub(super) fn retain(&mut self, is_kept: impl Fn(Mid) -> bool) {
        self.last.retain(|(source, _)| is_kept(source.mid));
    }
}

#[cfg(test)]
mod tests {
    use str0m::media::Rid;

    use super::*;

    fn source(mid: &str, rid: Option<&str>) -> SourceId {
        SourceId {
            mid: Mid::from(mid),
            rid: rid.map(Rid::from),
        }
    }

    fn received(packets: u64) -> Received {
        Received {
            packets,
            bytes: packets * 1_000,
        }
    }

    #[test]
    fn layers_are_counted_apart_in_whatever_order_they_are_reported() {
        let layers = [("q", 1), ("h", 3), ("f", 9)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut totals = Totals::default();
            let mut sum = 0;
            for second in 1..=10 {
                for (rid, packets) in order.map(|index| layers[index]) {
                    let total = received(second * packets);
                    let since = totals.since_last(source("1", Some(rid)), total);
                    assert_eq!(since, received(packets), "{rid} in second {second}");
                    sum += since.packets;
                }
            }
            assert_eq!(sum, 10 * (1 + 3 + 9));
        }
    }

    #[test]
    fn no_more_streams_are_kept_than_are_used_and_others_take_the_place_of_those_gone() {
        let mut totals = Totals::default();
        for n in 0..RTP_SOURCES_MAX + 5 {
            let since = totals.since_last(source(&n.to_string(), None), received(7));
            assert_eq!(since.packets, if n < RTP_SOURCES_MAX { 7 } else { 0 });
        }
        totals.retain(|mid| mid == Mid::from("3"));
        assert_eq!(
            totals.since_last(source("3", None), received(9)),
            received(2)
        );
        assert_eq!(
            totals.since_last(source("99", None), received(4)),
            received(4)
        );
    }
}
