//! The last picture, in every size that it is wanted in: drawn at most once for each.

use super::letterbox::Window;
use super::picture::Picture;
use super::scaler::Scaler;
use crate::MediaError;

/// The last picture and what was drawn from it.
#[derive(Debug)]
pub(crate) struct Canvases {
    last: Picture,
    /// How many pictures have been the last one. 0: there is none.
    generation: u64,
    canvases: Vec<Canvas>,
}

/// A size. The encoder sees nothing of the publisher's sizes but what is drawn here.
#[derive(Debug)]
struct Canvas {
    picture: Picture,
    /// What is not black.
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

    /// Makes this the last picture, and gives the one before.
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

    /// Forgets all sizes but these.
    pub(crate) fn retain(&mut self, wanted: impl Fn(u32, u32) -> bool) {
        self.canvases
            .retain(|canvas| wanted(canvas.picture.width(), canvas.picture.height()));
    }

    /// The last picture in this size: as it came when it has it, otherwise drawn with black around it.
    ///
    /// # Errors
    /// [`MediaError::Scale`] or [`MediaError::Size`] when it cannot be drawn.
    pub(crate) fn in_size(&mut self, width: u32, height: u32) -> Result<&Picture, MediaError> {
        let is_it = |picture: &Picture| (picture.width(), picture.height()) == (width, height);
        if is_it(&self.last) && self.last.is_encodable() {
            return Ok(&self.last);
        }
        let found = self
            .canvases
            .iter()
            .position(|canvas| is_it(&canvas.picture));
        let mut canvas = match found {
            Some(index) => self.canvases.swap_remove(index),
            None => Canvas::new(width, height)?,
        };
        let drawn = if canvas.generation == self.generation {
            Ok(())
        } else {
            self.draw(&mut canvas)
        };
        // It keeps its memory when drawing failed, and is drawn anew the next time.
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
        canvas.generation = self.generation;
        Ok(())
    }
}

impl Canvas {
    fn new(width: u32, height: u32) -> Result<Self, MediaError> {
        Ok(Self {
            picture: Picture::black(width, height)?,
            window: Window::whole(width, height),
            generation: 0,
            from_last: Scaler::default(),
            from_larger: Scaler::default(),
        })
    }
}
