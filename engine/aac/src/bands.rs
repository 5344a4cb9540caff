//! Scale factor bands at 48 kHz, and the order in which a frame's lines are coded.

use crate::FRAME_SAMPLES;

/// Lines of one short window.
pub(crate) const SHORT_LINES: usize = 128;
/// Short windows in a frame.
pub(crate) const SHORT_WINDOWS: usize = 8;
/// Scale factor bands of a long window.
pub(crate) const LONG_BANDS: usize = 49;
/// Scale factor bands of a short window.
pub(crate) const SHORT_BANDS: usize = 14;
/// The most bands that a channel can have in a frame: eight groups of one short window.
pub(crate) const BANDS_MAX: usize = SHORT_BANDS * SHORT_WINDOWS;

/// swb_offset_long_window at 44.1 and 48 kHz (ISO/IEC 14496-3, Table 4.129).
pub(crate) const LONG_OFFSETS: [u16; LONG_BANDS + 1] = [
    0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 88, 96, 108, 120, 132, 144, 160,
    176, 196, 216, 240, 264, 292, 320, 352, 384, 416, 448, 480, 512, 544, 576, 608, 640, 672, 704,
    736, 768, 800, 832, 864, 896, 928, 1024,
];

/// swb_offset_short_window at 32, 44.1 and 48 kHz (ISO/IEC 14496-3, Table 4.130).
pub(crate) const SHORT_OFFSETS: [u16; SHORT_BANDS + 1] =
    [0, 4, 8, 12, 16, 20, 28, 36, 44, 56, 68, 80, 96, 112, 128];

/// Which windows a frame has (ISO/IEC 14496-3, Table 4.128).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowSequence {
    /// One long window between long windows.
    OnlyLong = 0,
    /// One long window that ends in a short slope.
    LongStart = 1,
    /// Eight short windows.
    EightShort = 2,
    /// One long window that begins with a short slope.
    LongStop = 3,
}

/// Short windows that share their scale factors: how many there are in each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grouping {
    /// Windows of each group; groups beyond `count` have none.
    pub(crate) windows: [u8; SHORT_WINDOWS],
    /// Groups.
    pub(crate) count: usize,
}

impl Grouping {
    /// The one group of a long window.
    pub(crate) const LONG: Self = Self::new(&[1]);

    /// Groups of so many windows each.
    pub(crate) const fn new(groups: &[u8]) -> Self {
        let mut windows = [0; SHORT_WINDOWS];
        let mut index = 0;
        while index < groups.len() {
            windows[index] = groups[index];
            index += 1;
        }
        Self {
            windows,
            count: groups.len(),
        }
    }
}

/// The coded order of a frame: group after group, in a group band after band, in a band window
/// after window (ISO/IEC 14496-3, 4.5.2.3.5). Lines above the bandwidth have no place in it.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The frame's windows.
    pub(crate) sequence: WindowSequence,
    /// The groups of short windows.
    pub(crate) grouping: Grouping,
    /// Bands in each group.
    pub(crate) max_sfb: usize,
    /// Bands in all groups together.
    pub(crate) bands: usize,
    /// Where each band begins in coded order; `offsets[bands]` is the number of coded lines.
    pub(crate) offsets: [u16; BANDS_MAX + 1],
}

impl Layout {
    /// The order for `sequence`, with the lines that lie below `bandwidth_hz`.
    pub(crate) fn new(sequence: WindowSequence, grouping: Grouping, bandwidth_hz: u32) -> Self {
        let short = sequence == WindowSequence::EightShort;
        let grouping = if short { grouping } else { Grouping::LONG };
        let (table, lines): (&[u16], usize) = if short {
            (&SHORT_OFFSETS, SHORT_LINES)
        } else {
            (&LONG_OFFSETS, FRAME_SAMPLES)
        };
        let cutoff = bandwidth_hz as usize * 2 * lines / crate::SAMPLE_RATE as usize;
        let max_sfb = table[1..]
            .iter()
            .position(|&end| usize::from(end) >= cutoff)
            .map_or(table.len() - 1, |band| band + 1);
        let mut layout = Self {
            sequence,
            grouping,
            max_sfb,
            bands: 0,
            offsets: [0; BANDS_MAX + 1],
        };
        let mut offset = 0;
        for &windows in &grouping.windows[..grouping.count] {
            for band in 0..max_sfb {
                offset += (table[band + 1] - table[band]) * u16::from(windows);
                layout.bands += 1;
                layout.offsets[layout.bands] = offset;
            }
        }
        layout
    }

    /// Whether the frame has eight short windows.
    pub(crate) fn is_short(&self) -> bool {
        self.sequence == WindowSequence::EightShort
    }

    /// Coded lines.
    pub(crate) fn lines(&self) -> usize {
        usize::from(self.offsets[self.bands])
    }

    /// The lines of a band, in coded order.
    pub(crate) fn range(&self, band: usize) -> core::ops::Range<usize> {
        usize::from(self.offsets[band])..usize::from(self.offsets[band + 1])
    }

    /// Brings the lines of a transform into coded order.
    pub(crate) fn interleave(
        &self,
        transform: &[f32; FRAME_SAMPLES],
        coded: &mut [f32; FRAME_SAMPLES],
    ) {
        if !self.is_short() {
            let lines = self.lines();
            coded[..lines].copy_from_slice(&transform[..lines]);
            return;
        }
        let mut at = 0;
        let mut first = 0;
        for &windows in &self.grouping.windows[..self.grouping.count] {
            let windows = usize::from(windows);
            for band in 0..self.max_sfb {
                let (from, to) = (SHORT_OFFSETS[band], SHORT_OFFSETS[band + 1]);
                for window in first..first + windows {
                    let base = window * SHORT_LINES;
                    let source = &transform[base + usize::from(from)..base + usize::from(to)];
                    coded[at..at + source.len()].copy_from_slice(source);
                    at += source.len();
                }
            }
            first += windows;
        }
    }
}
