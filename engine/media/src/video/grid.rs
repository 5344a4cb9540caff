//! The constant frame rate: which picture goes into which slot, and which slot is an IDR.
//!
//! ```text
//! slots        0       1       2       3       4       5        k × 1 s ÷ frame rate
//! pictures    a  .   b .       .       .     c .       .
//! encoded     a       b       b'      b'      c                 ' = repeated
//! ```

use std::ops::Range;

use super::settings;
use crate::limits::REPEAT_MS_MAX;
use shardcast_link::RenditionSpec;

const SECOND_US: i128 = 1_000_000;

/// The slots of one rendition. All renditions of a transcoder count from the same origin, so slots of equal
/// time are keyframes in all that have the same keyframe distance.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    frames_per_second: u32,
    /// Slots from one IDR to the next.
    gop: i64,
    /// Of so many slots one is used.
    divisor: i64,
    /// The first slot that is still empty; `None` before the first picture.
    next: Option<i64>,
    /// The slot from which on the next picture is an IDR.
    next_idr: i64,
    /// The next picture is one, whatever its slot is.
    idr_wanted: bool,
}

impl Grid {
    pub(crate) fn new(settings: &RenditionSpec) -> Self {
        Self {
            frames_per_second: settings.frames_per_second.max(1),
            gop: settings::gop_frames(settings),
            divisor: 1,
            next: None,
            next_idr: i64::MIN,
            idr_wanted: false,
        }
    }

    /// Uses one of so many slots from now on.
    pub(crate) fn set_divisor(&mut self, divisor: u32) {
        self.divisor = i64::from(divisor.max(1));
    }

    /// Slots a second that are used now.
    pub(crate) fn frames_per_second(&self) -> u32 {
        let divisor = u32::try_from(self.divisor).unwrap_or(1).max(1);
        (self.frames_per_second / divisor).max(1)
    }

    /// The used slot whose time is nearest.
    pub(crate) fn nearest(&self, origin_us: i64, pts_us: i64) -> i64 {
        let period = SECOND_US * i128::from(self.divisor);
        let ticks = self.ticks(origin_us, pts_us) + period / 2;
        self.slot(ticks.div_euclid(period))
    }

    /// The last used slot that is not later.
    pub(crate) fn last_until(&self, origin_us: i64, until_us: i64) -> i64 {
        let period = SECOND_US * i128::from(self.divisor);
        // The times of slots are rounded to microseconds, so half of one may be missing.
        let rounding = i128::from(self.frames_per_second) / 2;
        let ticks = self.ticks(origin_us, until_us) + rounding;
        self.slot(ticks.div_euclid(period))
    }

    /// The time of a slot, computed from its number so that no error adds up.
    pub(crate) fn time_us(&self, origin_us: i64, slot: i64) -> i64 {
        let rate = i128::from(self.frames_per_second);
        let after = (i128::from(slot) * SECOND_US + rate / 2).div_euclid(rate);
        origin_us.saturating_add(i64::try_from(after).unwrap_or(i64::MAX))
    }

    /// The empty slots before this one, for the picture before. None before the first picture, and
    /// none when there are too many: then the grid is kept and time jumps.
    pub(crate) fn gap_before(&self, slot: i64) -> Range<i64> {
        let from = self.next.unwrap_or(slot);
        let most = i64::from(self.frames_per_second) * REPEAT_MS_MAX / 1_000;
        if slot.saturating_sub(from) > most.max(1) {
            return slot..slot;
        }
        from..slot
    }

    /// Whether a slot is one of those that are used while pictures are left out.
    pub(crate) fn uses(&self, slot: i64) -> bool {
        slot.rem_euclid(self.divisor) == 0
    }

    /// Whether nothing has been encoded for this slot or a later one.
    pub(crate) fn is_empty_at(&self, slot: i64) -> bool {
        self.next.is_none_or(|next| slot >= next)
    }

    /// Whether the picture of this slot is to be an IDR.
    pub(crate) fn is_idr(&self, slot: i64) -> bool {
        self.idr_wanted || slot >= self.next_idr
    }

    /// The next picture is an IDR. Those at the multiples of the GOP stay, so that renditions stay aligned.
    pub(crate) fn request_idr(&mut self) {
        self.idr_wanted = true;
    }

    /// A picture was encoded for this slot.
    pub(crate) fn encoded(&mut self, slot: i64) {
        if self.is_idr(slot) {
            let gops = slot.div_euclid(self.gop).saturating_add(1);
            self.next_idr = gops.saturating_mul(self.gop);
            self.idr_wanted = false;
        }
        self.next = Some(slot.saturating_add(1));
    }

    /// This slot and the empty ones before it are left out. Returns how many of them were used ones;
    /// none before the first picture.
    pub(crate) fn leave_out(&mut self, slot: i64) -> u64 {
        let Some(next) = self.next.filter(|next| *next <= slot) else {
            return 0;
        };
        self.next = Some(slot.saturating_add(1));
        let used = |slot: i64| slot.div_euclid(self.divisor);
        u64::try_from(used(slot).saturating_sub(used(next - 1))).unwrap_or(0)
    }

    /// Time since the origin in units of a slot ÷ 10⁶.
    fn ticks(&self, origin_us: i64, pts_us: i64) -> i128 {
        (i128::from(pts_us) - i128::from(origin_us)) * i128::from(self.frames_per_second)
    }

    /// From the count of used slots to the number of a slot.
    fn slot(&self, count: i128) -> i64 {
        i64::try_from(count * i128::from(self.divisor)).unwrap_or(i64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shardcast_link::{Preset, Profile};

    fn grid(frames_per_second: u32, gop_ms: u32) -> Grid {
        Grid::new(&RenditionSpec {
            width: None,
            height: 360,
            frames_per_second,
            video_bps: 1_000_000,
            gop_ms,
            preset: Preset::Superfast,
            profile: Profile::High,
            audio_bps: 128_000,
        })
    }

    #[test]
    fn slots_do_not_drift_from_real_time() {
        let grid = grid(30, 2_000);
        assert_eq!(grid.time_us(7, 30 * 3_600 * 24), 7 + 86_400_000_000);
        assert_eq!(grid.time_us(7, 1), 7 + 33_333);
        assert_eq!(grid.time_us(7, 2), 7 + 66_667);
    }

    #[test]
    fn each_slot_is_nearest_to_its_own_time_and_the_last_until_it() {
        for frames_per_second in [1, 7, 15, 24, 25, 30, 48, 60, 120] {
            let grid = grid(frames_per_second, 2_000);
            for slot in 0..500 {
                let time = grid.time_us(1_234, slot);
                assert_eq!(grid.nearest(1_234, time), slot);
                assert_eq!(grid.last_until(1_234, time), slot);
                assert_eq!(grid.last_until(1_234, time - 2), slot - 1);
            }
        }
    }

    #[test]
    fn keyframes_come_at_the_multiples_and_at_the_first_picture() {
        let mut grid = grid(30, 2_000);
        let mut idrs = Vec::new();
        // Joined late, with slots left out on the way.
        for slot in (17..300).filter(|slot| !(115..=123).contains(slot)) {
            if grid.is_idr(slot) {
                idrs.push(slot);
            }
            grid.encoded(slot);
        }
        assert_eq!(idrs, [17, 60, 124, 180, 240]);
    }

    #[test]
    fn a_keyframe_that_is_asked_for_comes_at_once_and_moves_no_other() {
        let mut grid = grid(30, 2_000);
        let mut idrs = Vec::new();
        for slot in 0..200 {
            if slot == 75 || slot == 119 {
                grid.request_idr();
            }
            if grid.is_idr(slot) {
                idrs.push(slot);
            }
            grid.encoded(slot);
        }
        assert_eq!(idrs, [0, 60, 75, 119, 120, 180]);
    }

    #[test]
    fn a_short_gap_is_filled_and_a_long_one_jumped() {
        let mut grid = grid(30, 2_000);
        assert_eq!(grid.gap_before(100), 100..100);
        grid.encoded(100);
        assert_eq!(grid.gap_before(104), 101..104);
        assert_eq!(grid.gap_before(100 + 3_600), 3_700..3_700);
    }

    #[test]
    fn with_a_divisor_only_its_multiples_are_used() {
        let mut grid = grid(30, 2_000);
        grid.set_divisor(3);
        assert_eq!(grid.frames_per_second(), 10);
        assert_eq!(grid.nearest(0, 33_333), 0);
        assert_eq!(grid.nearest(0, 66_667), 3);
        assert_eq!(grid.last_until(0, 99_000), 0);
        grid.encoded(0);
        assert_eq!(grid.leave_out(6), 2);
        assert_eq!(grid.leave_out(6), 0);
    }

    #[test]
    fn absurd_times_are_no_panic() {
        let mut grid = grid(120, 2_000);
        for pts in [i64::MIN, -1, 0, i64::MAX] {
            for origin in [i64::MIN, 0, i64::MAX] {
                let slot = grid.nearest(origin, pts);
                let _ = (grid.time_us(origin, slot), grid.gap_before(slot));
                let _ = grid.last_until(origin, pts);
                if grid.is_empty_at(slot) {
                    grid.encoded(slot);
                }
                grid.leave_out(slot);
            }
        }
    }
}
