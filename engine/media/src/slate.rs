//! A picture file, scaled into a video picture with black around it.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgba, RgbaImage};

use crate::limits::{
    IMAGE_BYTES_MAX, IMAGE_MEMORY_BYTES_MAX, IMAGE_SIDE_PIXELS_MAX, PICTURE_PIXELS_MAX,
    SLATE_SIDE_PIXELS_MAX,
};
use crate::{I420, StillFrameError};

/// Decodes a PNG or JPEG file and draws it, as large as it fits, into the middle of a black picture
/// of this size. What is transparent becomes black.
///
/// # Errors
/// When it is no such file, too large, or the size is not one of a picture.
pub fn draw(
    file: &[u8],
    width: u32,
    height: u32,
    full_range: bool,
) -> Result<I420, StillFrameError> {
    let mut picture =
        I420::black(width, height, full_range).ok_or(StillFrameError::Size { width, height })?;
    let image = decode(file)?;
    let (to_width, to_height) = fit(image.width(), image.height(), width, height);
    let scaled = image.resize_exact(to_width, to_height, FilterType::Triangle);
    let mut canvas = RgbaImage::from_pixel(width, height, Rgba([0, 0, 0, 255]));
    let (left, top) = ((width - to_width) / 2, (height - to_height) / 2);
    imageops::overlay(&mut canvas, &scaled.to_rgba8(), left.into(), top.into());
    convert(&canvas, &mut picture);
    Ok(picture)
}

/// Decodes a PNG or JPEG file and draws it in its own size, or as much smaller as pictures must be.
///
/// # Errors
/// When it is no such file or too large.
pub(crate) fn draw_whole(file: &[u8]) -> Result<I420, StillFrameError> {
    let image = decode(file)?;
    let (mut width, mut height) = (image.width(), image.height());
    if width.saturating_mul(height) > PICTURE_PIXELS_MAX {
        // Sides are at most 4096, so this is the square of the same area or less.
        (width, height) = fit(width, height, SLATE_SIDE_PIXELS_MAX, SLATE_SIDE_PIXELS_MAX);
    }
    let even = |side: u32| side.next_multiple_of(2);
    let (width, height) = (even(width), even(height));
    let scaled = if (image.width(), image.height()) == (width, height) {
        image
    } else {
        image.resize_exact(width, height, FilterType::Triangle)
    };
    let mut canvas = RgbaImage::from_pixel(width, height, Rgba([0, 0, 0, 255]));
    imageops::overlay(&mut canvas, &scaled.to_rgba8(), 0, 0);
    let mut picture =
        I420::black(width, height, false).ok_or(StillFrameError::Size { width, height })?;
    convert(&canvas, &mut picture);
    Ok(picture)
}

fn decode(file: &[u8]) -> Result<DynamicImage, StillFrameError> {
    if file.len() > IMAGE_BYTES_MAX {
        return Err(StillFrameError::ImageTooLong { bytes: file.len() });
    }
    let refused = |error: &dyn std::fmt::Display| StillFrameError::Image(error.to_string());
    let mut reader = ImageReader::new(Cursor::new(file))
        .with_guessed_format()
        .map_err(|error| refused(&error))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(StillFrameError::Image(
            "it is neither PNG nor JPEG".to_owned(),
        ));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(IMAGE_SIDE_PIXELS_MAX);
    limits.max_image_height = Some(IMAGE_SIDE_PIXELS_MAX);
    limits.max_alloc = Some(IMAGE_MEMORY_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| refused(&error))?;
    // A photograph carries the orientation of its camera.
    let orientation = decoder.orientation().map_err(|error| refused(&error))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| refused(&error))?;
    image.apply_orientation(orientation);
    if image.width() == 0 || image.height() == 0 {
        return Err(StillFrameError::Image("it has no pixels".to_owned()));
    }
    Ok(image)
}

/// The largest size of the image's proportions that fits; sides are not zero.
fn fit(width: u32, height: u32, into_width: u32, into_height: u32) -> (u32, u32) {
    let cross = u64::from(width) * u64::from(into_height);
    let other = u64::from(height) * u64::from(into_width);
    let side = |long: u64, by: u32, most: u32| {
        let by = u64::from(by);
        let side = (long + by / 2) / by;
        u32::try_from(side).unwrap_or(most).clamp(1, most)
    };
    if other >= cross {
        (side(cross, height, into_width), into_height)
    } else {
        (into_width, side(other, width, into_height))
    }
}

/// ITU-R BT.709 (06/2015), items 3.2 to 3.4, chroma from the mean of four pixels.
fn convert(canvas: &RgbaImage, picture: &mut I420) {
    let full_range = picture.full_range();
    let [luma_length, chroma_length, _] = picture.row_lengths();
    let [luma, cb, cr] = picture.planes_mut();
    for (row, pixels) in luma.chunks_exact_mut(luma_length).zip(canvas.rows()) {
        for (sample, pixel) in row.iter_mut().zip(pixels) {
            *sample = luma_of(rgb(*pixel), full_range);
        }
    }
    let rows = cb
        .chunks_exact_mut(chroma_length)
        .zip(cr.chunks_exact_mut(chroma_length));
    for (y, (cb, cr)) in (0..).step_by(2).zip(rows) {
        for (x, (cb, cr)) in (0..).step_by(2).zip(cb.iter_mut().zip(cr)) {
            let mut mean = [0.0; 3];
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                if let Some(pixel) = canvas.get_pixel_checked(x + dx, y + dy) {
                    for (sum, part) in mean.iter_mut().zip(rgb(*pixel)) {
                        *sum += part / 4.0;
                    }
                }
            }
            (*cb, *cr) = chroma_of(mean, full_range);
        }
    }
}

/// Red, green and blue, 0 to 1.
fn rgb(Rgba([r, g, b, _]): Rgba<u8>) -> [f32; 3] {
    [r, g, b].map(|part| f32::from(part) / 255.0)
}

fn bt709(rgb: [f32; 3]) -> f32 {
    let [r, g, b] = rgb;
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

fn luma_of(rgb: [f32; 3], full_range: bool) -> u8 {
    let (scale, offset) = if full_range {
        (255.0, 0.0)
    } else {
        (219.0, 16.0)
    };
    // A cast of a float stays within the type.
    (bt709(rgb) * scale + offset).round() as u8
}

fn chroma_of(rgb: [f32; 3], full_range: bool) -> (u8, u8) {
    let luma = bt709(rgb);
    let [r, _, b] = rgb;
    let scale = if full_range { 255.0 } else { 224.0 };
    let sample = |difference: f32| (difference * scale + 128.0).round() as u8;
    (sample((b - luma) / 1.8556), sample((r - luma) / 1.5748))
}
