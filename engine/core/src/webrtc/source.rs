//! The RTP streams of one kind that a publisher has: tracks that follow one another, and layers of
//! simulcast that come side by side.

use str0m::media::{Mid, Rid};

use crate::limits::RTP_SOURCES_MAX;

/// An RTP stream: a media section, and of simulcast (RFC 8853) the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceId {
    pub(super) mid: Mid,
    pub(super) rid: Option<Rid>,
}

/// How far the sender reports of two streams may differ from the arrivals of their packets. Beyond
/// that one of them lies, or its sender has set its clock.
const REPORTS_TRUSTED_US: i64 = 1_000_000;

/// Joins streams that follow one another to one RTP clock, since each counts from a random start of
/// its own (RFC 3550, 5.1).
///
/// At a change the streams are laid beside each other by their sender reports, and before both have
/// one by the times at which their packets arrived.
#[derive(Debug)]
pub(super) struct Splice {
    ticks_per_second: i64,
    current: Option<Current>,
    /// The last report of each stream, at most [`RTP_SOURCES_MAX`].
    reports: Vec<(SourceId, Report)>,
}

#[derive(Debug)]
struct Current {
    source: SourceId,
    /// Added to its RTP times.
    shift: i64,
    /// RTP time and arrival of its last packet.
    last_rtp: u64,
    last_us: i64,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    rtp: u64,
    ntp_us: i64,
}

impl Splice {
    pub(super) fn new(ticks_per_second: i64) -> Self {
        Self {
            ticks_per_second,
            current: None,
            reports: Vec::new(),
        }
    }

    /// The RTP time on the one clock of what `source` stamped with `rtp` and arrived at `now_us`.
    /// The source is the current one from now on.
    pub(super) fn place(&mut self, source: SourceId, rtp: u64, now_us: i64) -> u64 {
        let shift = match &self.current {
            None => 0,
            Some(current) if current.source == source => current.shift,
            Some(current) => self.shift_from(current, source, rtp, now_us),
        };
        self.current = Some(Current {
            source,
            shift,
            last_rtp: rtp,
            last_us: now_us,
        });
        rtp.wrapping_add_signed(shift)
    }

    /// Takes a sender report: RTP time `rtp` of `source` is NTP time `ntp_us`. Gives that RTP time on
    /// the one clock, if the report is about the current stream.
    pub(super) fn report(&mut self, source: SourceId, rtp: u64, ntp_us: i64) -> Option<u64> {
        self.reports.retain(|(of, _)| *of != source);
        if self.reports.len() >= RTP_SOURCES_MAX {
            self.reports.remove(0);
        }
        self.reports.push((source, Report { rtp, ntp_us }));
        match &self.current {
            Some(current) if current.source == source => {
                Some(rtp.wrapping_add_signed(current.shift))
            }
            Some(_) => None,
            // Before the first packet: with layers it is open which of them is used.
            None => source.rid.is_none().then_some(rtp),
        }
    }

    fn shift_from(&self, current: &Current, source: SourceId, rtp: u64, now_us: i64) -> i64 {
        let by_arrival_us = now_us - current.last_us;
        let by_reports_us = self
            .ntp_us(current.source, current.last_rtp)
            .zip(self.ntp_us(source, rtp))
            .map(|(before_us, after_us)| after_us - before_us)
            .filter(|us| (us - by_arrival_us).abs() <= REPORTS_TRUSTED_US);
        let since_us = by_reports_us.unwrap_or(by_arrival_us).max(0);
        let ticks = since_us.saturating_mul(self.ticks_per_second) / 1_000_000;
        let joined = current
            .last_rtp
            .wrapping_add_signed(current.shift)
            .wrapping_add_signed(ticks);
        joined.wrapping_sub(rtp).cast_signed()
    }

    fn ntp_us(&self, source: SourceId, rtp: u64) -> Option<i64> {
        let (_, report) = self.reports.iter().find(|(of, _)| *of == source)?;
        // RTP times of reports and of packets are extended apart from each other, so that only the
        // lower 32 bits of both agree.
        let ticks = (rtp as u32).wrapping_sub(report.rtp as u32).cast_signed();
        let us = i64::from(ticks) * 1_000_000 / self.ticks_per_second;
        report.ntp_us.checked_add(us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(rid: &str) -> SourceId {
        SourceId {
            mid: Mid::from("1"),
            rid: Some(Rid::from(rid)),
        }
    }

    /// A frame of the stream that counts from `start`, captured at `us`.
    fn rtp(start: u64, us: i64) -> u64 {
        start + u64::try_from(us).unwrap() * 90 / 1000
    }

    #[test]
    fn one_stream_keeps_its_own_clock() {
        let mut splice = Splice::new(90_000);
        for n in 0..5 {
            assert_eq!(splice.place(source("a"), 1_000 + n, 0), 1_000 + n);
        }
        assert_eq!(splice.report(source("a"), 1_000, 5), Some(1_000));
    }

    #[test]
    fn a_change_of_stream_goes_on_where_reports_say_whatever_the_network_delays() {
        for (start, delay_us) in [
            (0_u64, 0_i64),
            (7_777_777, 40_000),
            (u64::from(u32::MAX), 300_000),
        ] {
            let mut splice = Splice::new(90_000);
            splice.place(source("a"), rtp(500, 1_000_000), 1_010_000);
            let ntp_us = 3_900_000_000_000_000;
            splice.report(source("a"), rtp(500, 900_000), ntp_us + 900_000);
            let told = splice.report(source("b"), rtp(start, 950_000), ntp_us + 950_000);
            assert_eq!(told, None, "a report about another stream");
            let placed = splice.place(source("b"), rtp(start, 1_033_000), 1_043_000 + delay_us);
            assert_eq!(placed, rtp(500, 1_033_000), "start {start}");
            // From then on reports of the new stream are those of the clock.
            let told = splice.report(source("b"), rtp(start, 2_000_000), ntp_us + 2_000_000);
            assert_eq!(told, Some(rtp(500, 2_000_000)));
        }
    }

    #[test]
    fn without_reports_or_with_one_that_cannot_be_true_arrival_decides() {
        for lie_us in [None, Some(3_600_000_000)] {
            let mut splice = Splice::new(90_000);
            splice.place(source("a"), rtp(500, 1_000_000), 1_000_000);
            splice.report(source("a"), rtp(500, 1_000_000), 10_000_000);
            if let Some(lie_us) = lie_us {
                splice.report(source("b"), rtp(9, 1_000_000), 10_000_000 + lie_us);
            }
            let placed = splice.place(source("b"), rtp(9, 1_050_000), 1_050_000);
            assert_eq!(placed, rtp(500, 1_050_000));
        }
    }

    #[test]
    fn time_never_goes_back_at_a_change() {
        let mut splice = Splice::new(90_000);
        let before = splice.place(source("a"), 500, 1_000_000);
        splice.report(source("a"), 500, 10_000_000);
        // A frame that was captured before the last one of the other stream.
        splice.report(source("b"), 7, 9_900_000);
        assert_eq!(splice.place(source("b"), 7, 1_010_000), before);
    }
}
