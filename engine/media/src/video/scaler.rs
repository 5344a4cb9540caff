//! Pictures in another size or format, by libswscale.

use std::fmt;
use std::ptr::{self, NonNull};

use ffmpeg_next::{ffi, software::scaling::Flags};

use super::colours::Matrix;
use super::letterbox::Window;
use super::picture::Picture;
use crate::MediaError;

/// What a context of libswscale was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    format: i32,
    full_range: bool,
    from: (u32, u32),
    to: (u32, u32),
    /// Where these differ libswscale goes by way of RGB, which costs more.
    matrices: (Matrix, Matrix),
}

/// Draws pictures into windows of others: 4:2:0, 8 bits, limited range. It keeps what it prepared for
/// the sizes of the last picture; other sizes cost as much again, and no more.
#[derive(Default)]
pub struct Scaler {
    context: Option<(Shape, Context)>,
}

impl Scaler {
    /// Draws all of `from`, in whatever format, over all of `to`, which [`Picture::black`] made. The
    /// matrix of the colours stays.
    ///
    /// # Errors
    /// [`MediaError::Scale`] when libswscale does not do this, or `to` is not one to be drawn on.
    pub fn draw(&mut self, from: &Picture, to: &mut Picture) -> Result<(), MediaError> {
        let source = Window::whole(from.width(), from.height());
        let target = Window::whole(to.width(), to.height());
        to.set_matrix(from.matrix());
        self.draw_window(from, &source, to, &target)
    }

    /// Draws a part of `from` into a part of `to`, which [`Picture::black`] made, with the matrix that
    /// `to` has. A part that is not
    /// all of `from` needs that to be encodable.
    pub(crate) fn draw_window(
        &mut self,
        from: &Picture,
        source: &Window,
        to: &mut Picture,
        target: &Window,
    ) -> Result<(), MediaError> {
        let shape = Shape {
            format: from.format(),
            full_range: from.full_range(),
            from: (source.width, source.height),
            to: (target.width, target.height),
            matrices: (from.matrix(), to.matrix()),
        };
        let failed =
            || MediaError::Scale(format!("{from:?} to {}x{}", target.width, target.height));
        let drawable = to.is_encodable() && to.is_ours();
        if from.is_empty() || !within(source, from) || !within(target, to) || !drawable {
            return Err(failed());
        }
        if self.context.as_ref().is_none_or(|(made, _)| *made != shape) {
            // The old one first: two at a time would be memory for nothing.
            self.context = None;
            let context = Context::new(&shape).ok_or_else(failed)?;
            self.context = Some((shape, context));
        }
        let (_, context) = self.context.as_mut().ok_or_else(failed)?;
        let whole = *source == Window::whole(from.width(), from.height());
        let planes = if whole {
            from.planes()
        } else if from.is_encodable() {
            from.planes_of(source)
        } else {
            return Err(failed());
        };
        let into = to.planes_of(target);
        // SAFETY: the context was made for these sizes and formats, and both windows lie within their
        // pictures, of which `to` is ours alone; a slice of all rows begins at row 0.
        let rows = unsafe {
            ffi::sws_scale(
                context.0.as_ptr(),
                planes.data.as_ptr().cast(),
                planes.strides.as_ptr(),
                0,
                source.height as i32,
                into.data.as_ptr(),
                into.strides.as_ptr(),
            )
        };
        if rows == target.height as i32 {
            Ok(())
        } else {
            Err(failed())
        }
    }
}

fn within(window: &Window, picture: &Picture) -> bool {
    let right = u64::from(window.left) + u64::from(window.width);
    let bottom = u64::from(window.top) + u64::from(window.height);
    right <= picture.width().into() && bottom <= picture.height().into()
}

impl fmt::Debug for Scaler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = self.context.as_ref().map(|(shape, _)| shape);
        f.debug_struct("Scaler").field("shape", &shape).finish()
    }
}

/// A context of libswscale that is ready.
struct Context(NonNull<ffi::SwsContext>);

impl Context {
    fn new(shape: &Shape) -> Option<Self> {
        // SAFETY: the context is checked for null and freed by its owner, also when it does not
        // become ready; names of options are C strings, and it copies them.
        unsafe {
            let context = Self(NonNull::new(ffi::sws_alloc_context())?);
            let set = |name: &std::ffi::CStr, value: i64| {
                ffi::av_opt_set_int(context.0.as_ptr().cast(), name.as_ptr(), value, 0) >= 0
            };
            // Sides are at most 8192.
            let (from, to) = (shape.from, shape.to);
            let ready = set(c"srcw", from.0.into())
                && set(c"srch", from.1.into())
                && set(c"src_format", shape.format.into())
                && set(c"src_range", shape.full_range.into())
                && set(c"dstw", to.0.into())
                && set(c"dsth", to.1.into())
                && set(c"dst_format", ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as i64)
                && set(c"dst_range", 0)
                && set(c"sws_flags", flags(shape).into())
                && ffi::sws_init_context(context.0.as_ptr(), ptr::null_mut(), ptr::null_mut()) >= 0
                && ffi::sws_setColorspaceDetails(
                    context.0.as_ptr(),
                    ffi::sws_getCoefficients(shape.matrices.0.swscale()),
                    shape.full_range.into(),
                    ffi::sws_getCoefficients(shape.matrices.1.swscale()),
                    0,
                    0,
                    SWS_ONE,
                    SWS_ONE,
                ) >= 0;
            ready.then_some(context)
        }
    }
}

/// Contrast and saturation as they are, in libswscale's fixed point of 16 bits.
const SWS_ONE: i32 = 1 << 16;

/// The mean of an area where a picture becomes much smaller, for it is as good there and costs less.
fn flags(shape: &Shape) -> i32 {
    if shape.from.1 >= shape.to.1.saturating_mul(2) {
        Flags::AREA.bits()
    } else {
        Flags::BILINEAR.bits()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody has it after this.
        unsafe { ffi::sws_freeContext(self.0.as_ptr()) }
    }
}

// SAFETY: a context belongs to no thread; it has one owner, who uses it on one thread at a time.
unsafe impl Send for Context {}
