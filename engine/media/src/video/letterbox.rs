//! Where in a canvas a picture of another shape goes.

/// The part of a canvas that shows the picture; all numbers are even, for chroma has half of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Window {
    /// All of a picture.
    pub(crate) fn whole(width: u32, height: u32) -> Self {
        Self {
            left: 0,
            top: 0,
            width,
            height,
        }
    }

    /// The largest part of the source's shape, in the middle. Canvas sides are even and not zero.
    pub(crate) fn fit(source: (u32, u32), canvas: (u32, u32)) -> Self {
        let (source_width, source_height) =
            (u64::from(source.0.max(1)), u64::from(source.1.max(1)));
        let (width, height) = (u64::from(canvas.0), u64::from(canvas.1));
        // Whether the canvas is the wider of the two shapes.
        let (width, height) = if width * source_height >= source_width * height {
            (even_ratio(height, source_width, source_height), canvas.1)
        } else {
            (canvas.0, even_ratio(width, source_height, source_width))
        };
        let (width, height) = (width.min(canvas.0), height.min(canvas.1));
        Self {
            left: (canvas.0 - width) / 4 * 2,
            top: (canvas.1 - height) / 4 * 2,
            width,
            height,
        }
    }

    /// Whether it has at least as many pixels in both directions.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.width >= other.width && self.height >= other.height
    }

    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// `side` × `numerator` ÷ `denominator` to the nearest even number, at least 2.
fn even_ratio(side: u64, numerator: u64, denominator: u64) -> u32 {
    let half = (side * numerator + denominator) / (2 * denominator);
    u32::try_from(half.max(1) * 2).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_the_canvas_shape_fills_it() {
        for source in [(1920, 1080), (640, 360), (320, 180), (1280, 720)] {
            assert_eq!(Window::fit(source, (1280, 720)), Window::whole(1280, 720));
        }
    }

    #[test]
    fn other_shapes_are_centred_on_even_offsets() {
        let upright = Window::fit((720, 1280), (1280, 720));
        assert_eq!((upright.left, upright.width), (436, 406));
        let classic = Window::fit((640, 480), (1280, 720));
        assert_eq!((classic.left, classic.width), (160, 960));
        let wide = Window::fit((1920, 800), (1280, 720));
        assert_eq!((wide.top, wide.height), (92, 534));
    }

    #[test]
    fn no_shape_leaves_the_canvas() {
        let sides = [1, 2, 3, 15, 16, 17, 359, 1080, 4096, 8191];
        for source in sides.iter().flat_map(|w| sides.map(|h| (*w, h))) {
            for canvas in [(16, 16), (1280, 720), (606, 1080), (4096, 16)] {
                let window = Window::fit(source, canvas);
                for number in [window.left, window.top, window.width, window.height] {
                    assert!(number.is_multiple_of(2), "{window:?}");
                }
                assert!(window.width >= 2 && window.height >= 2);
                assert!(window.left + window.width <= canvas.0, "{window:?}");
                assert!(window.top + window.height <= canvas.1, "{window:?}");
            }
        }
    }
}
