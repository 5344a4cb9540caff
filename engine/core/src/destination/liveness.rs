//! Whether the other end still takes what is sent: by what the kernel accepts from us, and by what
//! the peer's TCP acknowledges.
//!
//! Both are needed. The kernel stops accepting when its buffer is full, but a still frame is so
//! small that a buffer takes minutes of it for a peer that is long gone.

use std::time::{Duration, Instant};

use crate::{
    io::TcpInfo,
    limits::{
        DESTINATION_OUTSTANDING_BYTES_MAX, DESTINATION_SILENT_MS, DESTINATION_STALL_MS,
        INSPECT_FIRST_MS, INSPECT_MS,
    },
};

#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// Written and not yet taken by the kernel, in bytes.
    outstanding: usize,
    /// Since when nothing was taken although something is outstanding.
    stuck_since: Option<Instant>,
    /// What was acknowledged before the first media; none until the kernel has told.
    acked_before: Option<u64>,
    acked_bytes: u64,
    /// Since when nothing new is acknowledged although something is in flight.
    silent_since: Option<Instant>,
    inspected: Option<Instant>,
    info: TcpInfo,
}

impl Liveness {
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// So much waits for the kernel that nothing more is written before it has taken some.
    pub(super) fn is_full(&self) -> bool {
        self.outstanding >= DESTINATION_OUTSTANDING_BYTES_MAX
    }

    pub(super) fn info(&self) -> TcpInfo {
        self.info
    }

    pub(super) fn written(&mut self, now: Instant, bytes: usize) {
        self.outstanding += bytes;
        self.stuck_since.get_or_insert(now);
    }

    pub(super) fn accepted(&mut self, now: Instant, bytes: usize) {
        // Bytes of the handshake, which were written before the feed began, are accepted late.
        self.outstanding = self.outstanding.saturating_sub(bytes);
        self.stuck_since = (self.outstanding > 0).then_some(now);
    }

    /// What the kernel tells; gives the number of bytes that are newly acknowledged.
    pub(super) fn inspected(&mut self, now: Instant, info: TcpInfo) -> u64 {
        self.info = info;
        // Before the first media nobody asks again, so what is under way then is not waited for.
        let first = self.acked_before.is_none();
        let before = *self.acked_before.get_or_insert(info.acked_bytes);
        let acked_bytes = info.acked_bytes.saturating_sub(before);
        let news = acked_bytes.saturating_sub(self.acked_bytes);
        self.acked_bytes = self.acked_bytes.max(acked_bytes);
        if first || news > 0 || !info.in_flight {
            self.silent_since = None;
        } else {
            self.silent_since.get_or_insert(now);
        }
        news
    }

    /// Whether the kernel shall be asked now: often until the first media is acknowledged, seldom
    /// afterwards.
    pub(super) fn wants_inspection(&mut self, now: Instant) -> bool {
        let pause_ms = if self.is_acknowledged() {
            INSPECT_MS
        } else {
            INSPECT_FIRST_MS
        };
        let due = self
            .inspected
            .is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_millis(pause_ms));
        if due {
            self.inspected = Some(now);
        }
        due
    }

    /// When the kernel shall be asked although there is no media: while an acknowledgement is missed,
    /// since the connection is given up without one.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.silent_since?;
        Some(self.inspected? + Duration::from_millis(INSPECT_MS))
    }

    /// Something that was sent since the first look has arrived.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.acked_bytes > 0
    }

    /// Nothing was acknowledged for some seconds.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.silent_since.is_some_and(|since| {
            now.saturating_duration_since(since) >= Duration::from_millis(DESTINATION_SILENT_MS)
        })
    }

    /// When the connection is to be given up, unless something moves.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let since = [self.stuck_since, self.silent_since];
        let earliest = since.into_iter().flatten().min()?;
        Some(earliest + Duration::from_millis(DESTINATION_STALL_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(acked_bytes: u64, in_flight: bool) -> TcpInfo {
        TcpInfo {
            acked_bytes,
            in_flight,
            ..TcpInfo::default()
        }
    }

    #[test]
    fn a_peer_that_takes_into_its_buffers_and_acknowledges_nothing_is_noticed() {
        let t0 = Instant::now();
        let at = |s| t0 + Duration::from_secs(s);
        let mut liveness = Liveness::default();
        liveness.inspected(at(0), info(3_000, false));
        liveness.written(at(0), 100);
        liveness.accepted(at(0), 100);
        assert!(!liveness.is_acknowledged());
        assert_eq!(liveness.inspected(at(1), info(3_100, false)), 100);
        assert!(liveness.is_acknowledged());
        for s in 2..=6 {
            assert_eq!(liveness.inspected(at(s), info(3_100, true)), 0);
            liveness.written(at(s), 100);
            liveness.accepted(at(s), 100);
        }
        assert!(liveness.is_silent(at(6)) && !liveness.is_silent(at(4)));
        assert_eq!(liveness.deadline(), Some(at(12)));
        liveness.inspected(at(7), info(3_200, true));
        assert_eq!(liveness.deadline(), None);
    }

    #[test]
    fn what_is_under_way_when_the_stream_is_taken_is_not_waited_for() {
        let t0 = Instant::now();
        let mut liveness = Liveness::default();
        liveness.inspected(t0, info(3_000, true));
        assert_eq!(liveness.deadline(), None);
        assert!(!liveness.is_silent(t0 + Duration::from_secs(30)));
    }

    #[test]
    fn while_an_acknowledgement_is_missed_the_kernel_is_asked_without_media_too() {
        let t0 = Instant::now();
        let mut liveness = Liveness::default();
        liveness.inspected(t0, info(3_000, false));
        assert!(liveness.wants_inspection(t0));
        assert_eq!(liveness.next_look(), None);
        liveness.inspected(t0, info(3_000, true));
        let next = t0 + Duration::from_millis(INSPECT_MS);
        assert_eq!(liveness.next_look(), Some(next));
        assert!(liveness.wants_inspection(next));
        liveness.inspected(next, info(3_100, false));
        assert_eq!(liveness.next_look(), None);
        assert_eq!(liveness.deadline(), None);
    }

    #[test]
    fn a_still_stream_with_nothing_in_flight_is_well() {
        let t0 = Instant::now();
        let mut liveness = Liveness::default();
        for s in 0..30 {
            liveness.inspected(t0 + Duration::from_secs(s), info(3_000, false));
        }
        assert!(!liveness.is_silent(t0 + Duration::from_secs(30)));
        assert_eq!(liveness.deadline(), None);
    }
}
