//! Pictures in memory of libavcodec, shared by reference and never copied for it.

use std::fmt;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::ffi::{AVColorRange, AVColorSpace, AVPixelFormat};
use ffmpeg_next::format::Pixel;

use super::colours::Matrix;
use super::letterbox::Window;
use crate::limits::{PICTURE_PIXELS_MAX, PICTURE_SIDE_PIXELS_MAX};
use crate::{I420, MediaError};

/// Rows begin at multiples of so many bytes, for the widest instructions that swscale and x264 use.
const ALIGNMENT_BYTES: i32 = 64;

const BLACK: [u8; 3] = [16, 128, 128];

/// One picture: what a decoder gave, or one to draw on.
pub struct Picture {
    frame: ffmpeg::frame::Video,
}

/// Where planes begin and how far apart their rows are, for a library in C.
#[derive(Clone, Copy)]
pub(crate) struct Planes {
    pub(crate) data: [*mut u8; 4],
    pub(crate) strides: [i32; 4],
}

impl Picture {
    /// None yet: without size and samples.
    pub fn empty() -> Self {
        Self {
            frame: ffmpeg::frame::Video::empty(),
        }
    }

    /// A black picture in 4:2:0 of 8 bits and limited range, to be drawn on.
    ///
    /// # Errors
    /// [`MediaError::Size`] when a side is odd, zero or over the limits, or memory is short.
    pub fn black(width: u32, height: u32) -> Result<Self, MediaError> {
        let sides = 2..=PICTURE_SIDE_PIXELS_MAX;
        let even = width.is_multiple_of(2) && height.is_multiple_of(2);
        let small = sides.contains(&width) && sides.contains(&height);
        if !even || !small || width * height > PICTURE_PIXELS_MAX {
            return Err(MediaError::Size { width, height });
        }
        let mut frame = ffmpeg::frame::Video::empty();
        // SAFETY: these are plain fields of a frame that is ours and without samples, and its buffer
        // comes from libavutil, which reports by a negative number that there is none.
        let allocated = unsafe {
            let raw = frame.as_mut_ptr();
            if raw.is_null() {
                return Err(MediaError::Size { width, height });
            }
            // At most 8192.
            (*raw).width = width as i32;
            (*raw).height = height as i32;
            (*raw).format = AVPixelFormat::AV_PIX_FMT_YUV420P as i32;
            (*raw).color_range = AVColorRange::AVCOL_RANGE_MPEG;
            ffmpeg::ffi::av_frame_get_buffer(raw, ALIGNMENT_BYTES)
        };
        if allocated < 0 {
            return Err(MediaError::Size { width, height });
        }
        let mut picture = Self { frame };
        picture.blacken();
        Ok(picture)
    }

    /// A copy of samples that lie in our memory, BT.709.
    ///
    /// # Errors
    /// [`MediaError::Size`] when memory is short.
    pub fn from_i420(samples: &I420) -> Result<Self, MediaError> {
        let mut picture = Self::black(samples.width(), samples.height())?;
        // SAFETY: plain fields of a frame that is ours.
        unsafe {
            let raw = picture.frame.as_mut_ptr();
            if samples.full_range() {
                (*raw).color_range = AVColorRange::AVCOL_RANGE_JPEG;
            }
        }
        picture.set_matrix(Matrix::Bt709);
        let planes = samples.planes().into_iter().zip(samples.row_lengths());
        for (plane, (from, length)) in planes.enumerate() {
            picture.for_each_row(plane, |row, to| {
                if let Some(from) = from.get(row * length..(row + 1) * length) {
                    to.copy_from_slice(from);
                }
            });
        }
        Ok(picture)
    }

    /// A copy in our memory.
    ///
    /// # Errors
    /// [`MediaError::Format`] when it is not 4:2:0 with samples of eight bits and even sides.
    pub fn to_i420(&self) -> Result<I420, MediaError> {
        let refused = || MediaError::Format(format!("{self:?}"));
        if !self.is_yuv420() {
            return Err(refused());
        }
        let mut samples =
            I420::black(self.width(), self.height(), self.full_range()).ok_or_else(refused)?;
        let lengths = samples.row_lengths();
        for (plane, (to, length)) in samples.planes_mut().into_iter().zip(lengths).enumerate() {
            for (row, to) in to.chunks_exact_mut(length).enumerate() {
                if let Some(from) = self.row(plane, row) {
                    to.copy_from_slice(from);
                }
            }
        }
        Ok(samples)
    }

    /// Pixels; 0 when there is no picture.
    pub fn width(&self) -> u32 {
        self.frame.width()
    }

    /// Pixels; 0 when there is no picture.
    pub fn height(&self) -> u32 {
        self.frame.height()
    }

    /// Presentation time as it was given with the access unit.
    pub fn pts_us(&self) -> Option<i64> {
        self.frame.pts()
    }

    /// Pictures that follow need none that came before.
    pub fn is_key(&self) -> bool {
        self.frame.is_key()
    }

    /// Parts of it were lost or cannot be read. VP8 does not report it.
    pub fn is_damaged(&self) -> bool {
        self.frame.is_corrupt() || self.frame.has_decode_errors()
    }

    /// Luma uses all of 0 to 255, and not 16 to 235 only.
    pub fn full_range(&self) -> bool {
        self.frame.color_range() == ffmpeg::color::Range::JPEG
            || matches!(
                self.frame.format(),
                Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P
            )
    }

    /// Whether x264 can take it as it is.
    pub fn is_encodable(&self) -> bool {
        let even = self.width().is_multiple_of(2) && self.height().is_multiple_of(2);
        self.is_yuv420() && even && !self.full_range()
    }

    /// Samples of a row of luma (plane 0), Cb or Cr, when they have eight bits and the picture 4:2:0;
    /// `None` for rows that there are not.
    pub fn row(&self, plane: usize, row: usize) -> Option<&[u8]> {
        let (length, rows) = self.extent(plane)?;
        let planes = self.planes();
        let (start, stride) = (planes.data.get(plane)?, planes.strides.get(plane)?);
        if row >= rows || start.is_null() {
            return None;
        }
        // SAFETY: a frame in this format has so many rows of so many bytes, `stride` apart, for as
        // long as it is borrowed.
        unsafe {
            let at = start.offset(row as isize * *stride as isize);
            Some(std::slice::from_raw_parts(at, length))
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.width() == 0 || self.planes().data.first().is_none_or(|data| data.is_null())
    }

    /// Nobody else has its samples: it is none that a decoder may still need.
    pub(crate) fn is_ours(&mut self) -> bool {
        // SAFETY: it looks at the references of a frame that is ours.
        unsafe { ffmpeg::ffi::av_frame_is_writable(self.frame.as_mut_ptr()) > 0 }
    }

    /// As libswscale names formats.
    pub(crate) fn format(&self) -> i32 {
        // SAFETY: a plain field of a frame that is ours.
        unsafe { (*self.frame.as_ptr()).format }
    }

    /// The matrix that it is drawn with: its own, or else the usual one for its height.
    pub(crate) fn matrix(&self) -> Matrix {
        let declared = self.declared_matrix();
        declared.unwrap_or_else(|| Matrix::of_height(self.height()))
    }

    /// From now on its colours are taken to be of this matrix.
    pub(crate) fn set_matrix(&mut self, matrix: Matrix) {
        let space = match matrix {
            Matrix::Bt709 => AVColorSpace::AVCOL_SPC_BT709,
            Matrix::Bt601 => AVColorSpace::AVCOL_SPC_SMPTE170M,
        };
        // SAFETY: a plain field of a frame that is ours.
        unsafe {
            (*self.frame.as_mut_ptr()).colorspace = space;
        }
    }

    /// The matrix that the stream declares, if H.264 can declare it too.
    pub(crate) fn declared_matrix(&self) -> Option<Matrix> {
        match self.frame.color_space() {
            ffmpeg::color::Space::BT709 => Some(Matrix::Bt709),
            ffmpeg::color::Space::BT470BG | ffmpeg::color::Space::SMPTE170M => Some(Matrix::Bt601),
            _ => None,
        }
    }

    /// The frame, for a decoder to put its next picture into.
    pub(crate) fn frame_mut(&mut self) -> &mut ffmpeg::frame::Video {
        &mut self.frame
    }

    /// Valid while the picture is; to be written only when it is borrowed to be changed.
    pub(crate) fn planes(&self) -> Planes {
        let (mut data, mut strides) = ([std::ptr::null_mut(); 4], [0; 4]);
        // SAFETY: plain fields of a frame that is ours.
        let frame = unsafe { &*self.frame.as_ptr() };
        data.iter_mut()
            .zip(frame.data)
            .for_each(|(to, from)| *to = from);
        let strides_of_frame = strides.iter_mut().zip(frame.linesize);
        strides_of_frame.for_each(|(to, from)| *to = from);
        Planes { data, strides }
    }

    /// The planes of a part; of a picture in 4:2:0 with 8 bits, and a part that lies within.
    pub(crate) fn planes_of(&self, window: &Window) -> Planes {
        let mut planes = self.planes();
        let starts = planes.data.iter_mut().zip(planes.strides).take(3);
        for (plane, (start, stride)) in starts.enumerate() {
            let half = u32::from(plane > 0);
            let (left, top) = (window.left >> half, window.top >> half);
            *start = start.wrapping_offset(top as isize * stride as isize + left as isize);
        }
        planes
    }

    /// Makes all of it black; one that [`black`](Self::black) made.
    pub(crate) fn blacken(&mut self) {
        self.paint(BLACK);
    }

    /// Makes all of it this luma, Cb and Cr; one that [`black`](Self::black) made.
    pub(crate) fn paint(&mut self, samples: [u8; 3]) {
        for (plane, sample) in samples.into_iter().enumerate() {
            self.for_each_row(plane, |_, row| row.fill(sample));
        }
    }

    /// Makes what is left and right of a window black.
    pub(crate) fn blacken_beside(&mut self, window: &Window) {
        for (plane, sample) in BLACK.into_iter().enumerate() {
            let half = u32::from(plane > 0);
            let left = (window.left >> half) as usize;
            let right = ((window.left + window.width) >> half) as usize;
            self.for_each_row(plane, |_, row| {
                row.get_mut(..left).unwrap_or_default().fill(sample);
                row.get_mut(right..).unwrap_or_default().fill(sample);
            });
        }
    }

    fn for_each_row(&mut self, plane: usize, mut write: impl FnMut(usize, &mut [u8])) {
        let (Some((length, rows)), planes) = (self.extent(plane), self.planes()) else {
            return;
        };
        let (Some(start), Some(stride)) = (planes.data.get(plane), planes.strides.get(plane))
        else {
            return;
        };
        if start.is_null() {
            return;
        }
        for row in 0..rows {
            // SAFETY: as in `row`; only pictures that `black` made are written, nobody shares those,
            // and this one is borrowed to be changed.
            let samples = unsafe {
                let at = start.offset(row as isize * *stride as isize);
                std::slice::from_raw_parts_mut(at, length)
            };
            write(row, samples);
        }
    }

    fn is_yuv420(&self) -> bool {
        matches!(self.frame.format(), Pixel::YUV420P | Pixel::YUVJ420P)
    }

    /// Bytes of a row and number of rows of a plane, in 4:2:0 with 8 bits.
    fn extent(&self, plane: usize) -> Option<(usize, usize)> {
        if !self.is_yuv420() || plane > 2 {
            return None;
        }
        let (width, height) = (self.width() as usize, self.height() as usize);
        Some(match plane {
            0 => (width, height),
            _ => (width.div_ceil(2), height.div_ceil(2)),
        })
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = (self.width(), self.height());
        let (format, full) = (self.frame.format(), self.full_range());
        write!(f, "{width}x{height} {format:?}, full range: {full}")
    }
}
