//! Where segments of rungs end: at the same times in all of them and with the same numbers, whenever a rung began.
//! Keyframes of all renditions stand at whole groups of pictures from the first picture of their transcoder on
//! (`engine/media`, `Grid`), so the lines of this one are times of keyframes.

use super::stream::early_us;

/// Times are rounded to microseconds, and one that is just before a line is behind it.
const ROUNDING_US: i64 = 10_000;

/// What a grid is made for, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    /// How long segments shall be.
    pub(super) segment_us: i64,
    /// The distance of keyframes.
    pub(super) gop_us: i64,
    /// The first picture of the transcoder.
    pub(super) origin_us: i64,
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    lines: Lines,
    /// Whole groups of pictures.
    length_us: i64,
    /// The cell that has `number`.
    from: i64,
    number: u64,
}

impl Grid {
    /// The segment that is at `at_us` has this number.
    pub(super) fn new(lines: Lines, at_us: i64, number: u64) -> Self {
        let gop_us = lines.gop_us.max(1);
        // A positive number, so this rounds up.
        let groups = (early_us(lines.segment_us) + gop_us - 1) / gop_us;
        let mut grid = Self {
            lines,
            length_us: gop_us * groups.max(1),
            from: 0,
            number,
        };
        grid.from = grid.cell(at_us);
        grid
    }

    /// Whether it is made for these.
    pub(super) fn is_of(&self, lines: Lines) -> bool {
        self.lines == lines
    }

    /// The number of the segment that this time is in.
    pub(super) fn number(&self, at_us: i64) -> u64 {
        self.number
            .saturating_add_signed(self.cell(at_us) - self.from)
    }

    fn cell(&self, at_us: i64) -> i64 {
        (at_us - self.lines.origin_us + ROUNDING_US).div_euclid(self.length_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(segment_ms: i64, gop_ms: i64) -> Lines {
        Lines {
            segment_us: segment_ms * 1_000,
            gop_us: gop_ms * 1_000,
            origin_us: 700_000,
        }
    }

    #[test]
    fn segments_are_whole_groups_of_pictures_of_about_the_wanted_length() {
        for (segment_ms, gop_ms, length_ms) in [
            (2_000, 2_000, 2_000),
            (1_000, 2_000, 2_000),
            (2_000, 1_000, 2_000),
            (3_000, 2_000, 4_000),
            (4_000, 2_000, 4_000),
            (10_000, 4_000, 12_000),
            (2_000, 500, 1_500),
        ] {
            let grid = Grid::new(lines(segment_ms, gop_ms), 0, 0);
            assert_eq!(grid.length_us, length_ms * 1_000, "{segment_ms} {gop_ms}");
        }
    }

    #[test]
    fn numbers_rise_by_one_at_each_line_from_the_first_picture_on() {
        let grid = Grid::new(lines(2_000, 2_000), 7_300_000, 100);
        for (at_us, number) in [
            (700_000, 97),
            (6_680_000, 99),
            (6_699_999, 100),
            (8_680_000, 100),
            (8_700_000, 101),
            (18_699_999, 106),
        ] {
            assert_eq!(grid.number(at_us), number, "{at_us}");
        }
    }
}
