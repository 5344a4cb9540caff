//! Counts over one stream: steps and gaps of its timestamps, and different sequence headers.

use bytes::Bytes;

/// Steps and gaps in the timestamps of one kind of media.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last_ms: Option<u32>,
    pub(super) steps_back: u64,
    pub(super) gap_ms_max: u32,
}

impl Pace {
    /// Takes the next timestamp. Timestamps wrap after 49 days (RTMP 5.3.1).
    pub(super) fn at(&mut self, now_ms: u32) {
        let Some(last_ms) = self.last_ms.replace(now_ms) else {
            return;
        };
        let gap_ms = now_ms.wrapping_sub(last_ms);
        if gap_ms > u32::MAX / 2 {
            self.steps_back += 1;
        } else {
            self.gap_ms_max = self.gap_ms_max.max(gap_ms);
        }
    }
}

/// Different sequence headers.
#[derive(Debug, Default)]
pub(super) struct Distinct(pub(super) Vec<Bytes>);

impl Distinct {
    pub(super) fn insert(&mut self, header: &Bytes) {
        /// No test needs the exact number of more changes.
        const HEADERS_MAX: usize = 16;
        if self.0.len() < HEADERS_MAX && !self.0.contains(header) {
            self.0.push(header.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_steps_back_are_distinguished_also_where_timestamps_wrap() {
        let mut pace = Pace::default();
        for ms in [u32::MAX - 10, 20, 53, 40, 140] {
            pace.at(ms);
        }
        assert_eq!((pace.steps_back, pace.gap_ms_max), (1, 100));
    }
}
