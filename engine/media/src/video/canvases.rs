//! The last picture in every size that a rendition needs: drawn at most once for each.

use super::colours::Matrix;
use super::letterbox::Window;
use super::picture::Picture;
use super::scaler::Scaler;
use crate::MediaError;

/// The last picture and what was drawn from it.
#[derive(Debug)]
pub(crate) struct Canvases {
    last: Picture,
    /// Counts the pictures; 0: there is none yet.
    generation: u64,
    canvases: Vec<Canvas>,
}

/// The picture in one size. Encoders see the publisher's picture only as it is drawn here.
#[derive(Debug)]
struct Canvas {
    picture: Picture,
    /// The part that is not black.
    window: Window,
    /// Of the picture that it shows.
    generation: u64,
    /// One for each kind of source, for they alternate when renditions have other frame rates.
    from_last: Scaler,
    from_larger: Scaler,
}

impl Canvases {
    pub(crate) fn new() -> Self {
        Self {
            last: Picture::empty(),
            generation: 0,
            canvases: Vec::new(),
        }
    }

    /// Makes this the last picture, and returns the one before.
    pub(crate) fn replace(&mut self, picture: Picture) -> Picture {
        self.generation += 1;
        std::mem::replace(&mut self.last, picture)
    }

    /// The last picture as it came; `None` before the first.
    pub(crate) fn last(&self) -> Option<&Picture> {
        (self.generation > 0).then_some(&self.last)
    }

    /// Two pictures are the same if this is.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Drops all sizes but these.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&Picture) -> bool) {
        self.canvases.retain(|canvas| wanted(&canvas.picture));
    }

    /// The last picture in this size and with this matrix: as it came when it has both, otherwise drawn
    /// with black around it.
    ///
    /// # Errors
    /// [`MediaError::Scale`] or [`MediaError::Size`] when it cannot be drawn.
    pub(crate) fn in_size(
        &mut self,
        width: u32,
        height: u32,
        matrix: Matrix,
    ) -> Result<&Picture, MediaError> {
        let is_it = |picture: &Picture| {
            (picture.width(), picture.height(), picture.matrix()) == (width, height, matrix)
        };
        if is_it(&self.last) && self.last.is_encodable() {
            return Ok(&self.last);
        }
        let found = self
            .canvases
            .iter()
            .position(|canvas| is_it(&canvas.picture));
        let mut canvas = match found {
            Some(index) => self.canvases.swap_remove(index),
            None => Canvas::new(width, height, matrix)?,
        };
        let drawn = if canvas.generation == self.generation {
            Ok(())
        } else {
            self.draw(&mut canvas)
        };
        // It keeps its memory when drawing failed, and is drawn again the next time.
        self.canvases.push(canvas);
        drawn?;
        let canvas = self.canvases.last().map(|canvas| &canvas.picture);
        canvas.ok_or(MediaError::Size { width, height })
    }

    /// From the smallest picture that has enough pixels. A canvas shows the whole source in its window,
    /// so windows are of the same shape but for the rounding to even numbers.
    fn draw(&self, canvas: &mut Canvas) -> Result<(), MediaError> {
        let source = Window::whole(self.last.width(), self.last.height());
        let size = (canvas.picture.width(), canvas.picture.height());
        let window = Window::fit((source.width, source.height), size);
        if canvas.window != window {
            canvas.picture.blacken();
            canvas.window = window;
        }
        let larger = self
            .canvases
            .iter()
            .filter(|other| other.generation == self.generation && other.window.covers(&window))
            .filter(|other| other.window.pixels() < source.pixels())
            .filter(|other| other.picture.matrix() == canvas.picture.matrix())
            .min_by_key(|other| other.window.pixels());
        let to = &mut canvas.picture;
        match larger {
            Some(larger) => {
                canvas
                    .from_larger
                    .draw_window(&larger.picture, &larger.window, to, &window)
            }
            None => canvas
                .from_last
                .draw_window(&self.last, &source, to, &window),
        }?;
        // libswscale stores whole vectors, the last of a row beyond its end.
        if window.width < size.0 {
            canvas.picture.blacken_beside(&window);
        }
        canvas.generation = self.generation;
        Ok(())
    }
}

impl Canvas {
    fn new(width: u32, height: u32, matrix: Matrix) -> Result<Self, MediaError> {
        let mut picture = Picture::black(width, height)?;
        picture.set_matrix(matrix);
        Ok(Self {
            picture,
            window: Window::whole(width, height),
            generation: 0,
            from_last: Scaler::default(),
            from_larger: Scaler::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::I420;

    /// Mid-grey in luma and chroma that black has not.
    fn grey(width: u32, height: u32) -> Picture {
        let luma = (width * height) as usize;
        let mut samples = vec![150; luma];
        samples.resize(luma * 3 / 2, 90);
        let samples = I420::from_samples(width, height, false, samples).unwrap();
        Picture::from_i420(&samples).unwrap()
    }

    fn assert_only_the_window_is_grey(picture: &Picture, source: (u32, u32)) {
        let size = (picture.width(), picture.height());
        let window = Window::fit(source, size);
        for (plane, (seen, black)) in [(150, 16), (90, 128), (90, 128)].into_iter().enumerate() {
            let half = |number: u32| number as usize >> usize::from(plane > 0);
            let columns = half(window.left)..half(window.left + window.width);
            let rows = half(window.top)..half(window.top + window.height);
            for y in 0..half(size.1) {
                for (x, sample) in picture.row(plane, y).unwrap().iter().enumerate() {
                    let inside = columns.contains(&x) && rows.contains(&y);
                    let wanted = if inside { seen } else { black };
                    assert_eq!(*sample, wanted, "{source:?}: plane {plane} at {x},{y}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_drawn_outside_of_the_window_whatever_its_width() {
        let mut canvases = Canvases::new();
        for width in (2..=400).step_by(2) {
            let source = (width, 120);
            canvases.replace(grey(source.0, source.1));
            for size in [(320, 180), (160, 90), (854, 480)] {
                let picture = canvases.in_size(size.0, size.1, Matrix::Bt709).unwrap();
                assert_only_the_window_is_grey(picture, source);
            }
        }
    }

    #[test]
    fn a_size_is_drawn_once_and_dropped_when_it_is_not_needed() {
        let mut canvases = Canvases::new();
        canvases.replace(grey(320, 180));
        let first = canvases
            .in_size(160, 90, Matrix::Bt709)
            .unwrap()
            .planes()
            .data;
        let again = canvases
            .in_size(160, 90, Matrix::Bt709)
            .unwrap()
            .planes()
            .data;
        assert_eq!(first, again);
        // As it came.
        canvases.in_size(320, 180, Matrix::Bt709).unwrap();
        assert_eq!(canvases.canvases.len(), 1);
        canvases.retain(|_| false);
        assert!(canvases.canvases.is_empty());
    }
}
