//! Pictures as decoders make them and encoders take them: planar, 4:2:0, 8 bits.

use crate::limits::{PICTURE_PIXELS_MAX, PICTURE_SIDE_PIXELS_MAX};

/// One picture in memory, rows without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct I420 {
    width: u32,
    height: u32,
    full_range: bool,
    /// Luma, then Cb and Cr of a quarter of its size each.
    samples: Vec<u8>,
}

impl I420 {
    /// A black picture; `None` when a side is odd or zero, or the picture is too large.
    pub fn black(width: u32, height: u32, full_range: bool) -> Option<Self> {
        let sides = 2..=PICTURE_SIDE_PIXELS_MAX;
        let even = width.is_multiple_of(2) && height.is_multiple_of(2);
        if !even || !sides.contains(&width) || !sides.contains(&height) {
            return None;
        }
        let pixels = width * height;
        if pixels > PICTURE_PIXELS_MAX {
            return None;
        }
        let luma = pixels as usize;
        let mut samples = vec![if full_range { 0 } else { 16 }; luma];
        samples.resize(luma + luma / 2, 128);
        Some(Self {
            width,
            height,
            full_range,
            samples,
        })
    }

    /// A picture of these samples: luma, then Cb and Cr, rows without padding. `None` where
    /// [`black`](Self::black) is, or when there are more or fewer samples.
    pub fn from_samples(
        width: u32,
        height: u32,
        full_range: bool,
        samples: Vec<u8>,
    ) -> Option<Self> {
        let picture = Self::black(width, height, full_range)?;
        (picture.samples.len() == samples.len()).then_some(Self { samples, ..picture })
    }

    /// Pixels, even.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels, even.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Luma uses all of 0 to 255, and not 16 to 235 only.
    pub fn full_range(&self) -> bool {
        self.full_range
    }

    /// The three planes behind each other.
    pub fn samples(&self) -> &[u8] {
        &self.samples
    }

    /// Luma, Cb and Cr.
    pub(crate) fn planes(&self) -> [&[u8]; 3] {
        let luma = (self.width * self.height) as usize;
        let (y, chroma) = self.samples.split_at(luma);
        let (cb, cr) = chroma.split_at(luma / 4);
        [y, cb, cr]
    }

    pub(crate) fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let luma = (self.width * self.height) as usize;
        let (y, chroma) = self.samples.split_at_mut(luma);
        let (cb, cr) = chroma.split_at_mut(luma / 4);
        [y, cb, cr]
    }

    /// Samples of a row of each plane.
    pub(crate) fn row_lengths(&self) -> [usize; 3] {
        let width = self.width as usize;
        [width, width / 2, width / 2]
    }
}
