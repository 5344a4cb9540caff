//! The clock of one RTP stream: where its sender reports, or the arrival of its packets, put an
//! RTP time on the local clock.

use super::{CLOCK_SET_US, EARLY_US, SLEW_PER_MILLE, STEP_US};

/// How fast the line of arrival gives way to packets that stay late, in thousandths: it follows a
/// sender whose clock is slow by up to 1,000 ppm.
const ARRIVAL_CREEP_PER_MILLE: i64 = 1;

/// Packets that stay late for so long are not held back by the network.
const REDRAW_US: i64 = 1_000_000;

/// What the network held back is delivered within so long after a clock began anew.
const SETTLE_US: i64 = 2_000_000;

/// One sender report (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) rtp: u64,
    /// Microseconds since 1970 by the sender's clock.
    pub(super) ntp_us: i64,
    /// When it came, by the local clock.
    pub(super) arrived_us: i64,
}

#[derive(Debug)]
pub(super) struct StreamClock {
    ticks_per_second: i64,
    /// RTP and local time of the packet that came earliest relative to its RTP time. The line
    /// through it is where a packet arrives that the network does not delay.
    earliest: Option<(u64, i64)>,
    /// When `earliest` last crept.
    crept_us: i64,
    /// Since when packets have been late by [`STEP_US`] or more.
    late_since_us: Option<i64>,
    report: Option<Report>,
    /// Where the report puts an RTP time less where the arrival puts it, when they last agreed
    /// with what came. A shift of the sender's clock does not change it.
    report_lead_us: Option<i64>,
    /// RTP time and result of the last frame.
    last: Option<(u64, i64)>,
    /// Until then the burst that led to [`Self::restart`] may go on.
    settled_us: i64,
}

impl StreamClock {
    pub(super) fn new(ticks_per_second: i64) -> Self {
        Self {
            ticks_per_second,
            earliest: None,
            crept_us: i64::MIN,
            late_since_us: None,
            report: None,
            report_lead_us: None,
            last: None,
            settled_us: i64::MIN,
        }
    }

    /// Places the next frame: at its target, or nearer to it by a slew that is not noticed.
    pub(super) fn place(&mut self, rtp: u64, now_us: i64, offset_us: Option<i64>) -> i64 {
        let by_report_us = self.by_report(rtp, offset_us);
        let by_arrival_us = self.by_arrival(rtp, now_us, by_report_us);
        self.report_lead_us = by_report_us.map(|by_report_us| by_report_us - by_arrival_us);
        let target_us = by_report_us.unwrap_or(by_arrival_us);
        let placed_us = match self.last {
            Some((last_rtp, last_us)) => {
                let step_us = self.ticks_us(last_rtp, rtp);
                let free_us = last_us + step_us;
                let error_us = target_us - free_us;
                // Ahead of its arrival just after the clock began anew: it did so within a burst, and
                // came faster than real time since.
                let caught_up =
                    now_us < self.settled_us && free_us - now_us > EARLY_US && error_us < -EARLY_US;
                if caught_up || error_us.abs() > STEP_US {
                    target_us
                } else {
                    let most_us = step_us.abs() * SLEW_PER_MILLE / 1000;
                    free_us + error_us.clamp(-most_us, most_us)
                }
            }
            None => target_us,
        };
        self.last = Some((rtp, placed_us));
        placed_us
    }

    /// Takes a sender report. True if the sender set its NTP clock since the report before: its two
    /// clocks disagree, and the RTP clock is the one that agrees with ours. A microphone that stood
    /// still stops the RTP clock instead; a report that is late sets neither apart.
    pub(super) fn take_report(&mut self, report: Report) -> bool {
        let Some(before) = self.report.replace(report) else {
            return false;
        };
        let by_ntp_us = report.ntp_us - before.ntp_us;
        let by_rtp_us = self.ticks_us(before.rtp, report.rtp);
        let by_arrival_us = report.arrived_us - before.arrived_us;
        (by_ntp_us - by_rtp_us).abs() > CLOCK_SET_US
            && (by_rtp_us - by_arrival_us).abs() < (by_ntp_us - by_arrival_us).abs()
    }

    /// Where the line of arrival puts the RTP time of a report that came at `now_us`.
    pub(super) fn local_us(&self, rtp: u64, now_us: i64) -> i64 {
        match self.lateness_us(rtp, now_us) {
            Some(late_us) if (0..STEP_US).contains(&late_us) => now_us - late_us,
            _ => now_us,
        }
    }

    /// How late a packet is against the line of arrival, in microseconds; negative if it is earlier
    /// than any packet before it. `None` for the first.
    pub(super) fn lateness_us(&self, rtp: u64, arrived_us: i64) -> Option<i64> {
        let (earliest_rtp, earliest_us) = self.earliest?;
        Some(arrived_us - earliest_us - self.ticks_us(earliest_rtp, rtp))
    }

    /// The sender's RTP clock moved against the time in which it sends, by so much: what comes from
    /// now on belongs `shift_us` later than its RTP time says.
    pub(super) fn shift(&mut self, rtp: u64, shift_us: i64, offset_us: Option<i64>) {
        let lead_us = match (self.by_report(rtp, offset_us), self.earliest) {
            (Some(by_report_us), Some((earliest_rtp, earliest_us))) => {
                Some(by_report_us - earliest_us - self.ticks_us(earliest_rtp, rtp))
            }
            _ => None,
        };
        if let Some((_, earliest_us)) = &mut self.earliest {
            *earliest_us += shift_us;
        }
        if let Some((_, last_us)) = &mut self.last {
            *last_us += shift_us;
        }
        let Some(report) = &mut self.report else {
            return;
        };
        // A report that came while the RTP clock stood still knows of the shift already.
        let known = lead_us
            .zip(self.report_lead_us)
            .is_some_and(|(lead_us, usual_us)| {
                let moved_us = lead_us - usual_us;
                (moved_us - shift_us).abs() < moved_us.abs()
            });
        if !known {
            report.ntp_us += shift_us;
        }
    }

    /// Begins anew with a frame whose time cannot be believed.
    pub(super) fn restart(&mut self, rtp: u64, now_us: i64) {
        self.redraw(rtp, now_us);
        self.last = Some((rtp, now_us));
        self.settled_us = now_us + SETTLE_US;
        self.report = None;
        self.report_lead_us = None;
    }

    fn by_report(&self, rtp: u64, offset_us: Option<i64>) -> Option<i64> {
        let (report, offset_us) = self.report.zip(offset_us)?;
        Some(report.ntp_us + offset_us + self.ticks_us(report.rtp, rtp))
    }

    /// Where arrival puts `rtp`: relative to the packet that was delayed least, so that jitter of
    /// the network does not show. The line is drawn anew through a packet that is earlier than it,
    /// and where packets stay late by [`STEP_US`] for [`REDRAW_US`] although the report, if there
    /// is one, says that they are not. What a network held back comes faster than that.
    fn by_arrival(&mut self, rtp: u64, now_us: i64, by_report_us: Option<i64>) -> i64 {
        let elapsed_us = now_us.saturating_sub(self.crept_us).clamp(0, STEP_US);
        self.crept_us = now_us;
        if let Some((_, earliest_us)) = &mut self.earliest {
            *earliest_us += elapsed_us * ARRIVAL_CREEP_PER_MILLE / 1000;
        }
        let late_us = match self.lateness_us(rtp, now_us) {
            Some(late_us) if late_us >= 0 => late_us,
            _ => return self.redraw(rtp, now_us),
        };
        let late_by_report = by_report_us.is_some_and(|at_us| now_us - at_us >= STEP_US);
        if late_us < STEP_US || late_by_report {
            self.late_since_us = None;
        } else if now_us - *self.late_since_us.get_or_insert(now_us) >= REDRAW_US {
            return self.redraw(rtp, now_us);
        }
        now_us - late_us
    }

    fn redraw(&mut self, rtp: u64, now_us: i64) -> i64 {
        self.earliest = Some((rtp, now_us));
        self.late_since_us = None;
        now_us
    }

    /// The distance of two RTP times that are less than half a wrap apart (RFC 3550, 5.1: 32 bits).
    /// Reports and packets are extended to 64 bits apart from each other, so what is above the
    /// lower 32 bits need not agree.
    pub(super) fn ticks_us(&self, from: u64, to: u64) -> i64 {
        let ticks = (to as u32).wrapping_sub(from as u32) as i32;
        i64::from(ticks) * 1_000_000 / self.ticks_per_second
    }
}
