//! A keyframe as an image file, for pages.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
    },
};
use shardcast_link::PreviewFormat;

use crate::video::{Matrix, Picture, Scaler};
use crate::{StillFrameError, still_frame};

/// Of JPEG, from 1 to 100: what photographs on pages have.
const JPEG_QUALITY: u8 = 80;

/// Makes an image file of a keyframe of H.264, with at most `height` lines and never larger than the video. It
/// decodes, scales and compresses, so it is nothing for a thread that media waits for.
///
/// # Errors
/// See [`StillFrameError`]: the keyframe cannot be decoded, scaled or written.
pub fn make(
    record: &[u8],
    keyframe: &Bytes,
    height: u32,
    format: PreviewFormat,
) -> Result<Vec<u8>, StillFrameError> {
    let whole = still_frame::last_picture(record, std::slice::from_ref(keyframe))?;
    let (width, height) = size(&whole, height);
    let mut small = Picture::black(width, height)?;
    Scaler::default().draw(&whole, &mut small)?;
    encode(&rgb(&small), (width, height), format)
}

/// The size of an image of this picture, even as 4:2:0 needs.
fn size(picture: &Picture, height_max: u32) -> (u32, u32) {
    let even = |side: u32| (side & !1).max(2);
    let height = even(height_max.min(picture.height()));
    let of_shape = u64::from(picture.width()) * u64::from(height);
    let width = of_shape / u64::from(picture.height().max(1));
    // No larger than the picture's own width, of which 8192 is the most.
    let width = u32::try_from(width).unwrap_or(2).min(picture.width());
    (even(width), height)
}

/// What luma and chroma in limited range mean (ITU-R BT.601-7 and BT.709-6, 2.5 and 3.2), in 1/65536.
struct Weights {
    red_of_cr: i32,
    green_of_cb: i32,
    green_of_cr: i32,
    blue_of_cb: i32,
}

impl Weights {
    const LUMA: i32 = 76_309;

    const fn of(matrix: Matrix) -> Self {
        match matrix {
            Matrix::Bt709 => Self {
                red_of_cr: 117_489,
                green_of_cb: 13_975,
                green_of_cr: 34_925,
                blue_of_cb: 138_438,
            },
            Matrix::Bt601 => Self {
                red_of_cr: 104_597,
                green_of_cb: 25_675,
                green_of_cr: 53_279,
                blue_of_cb: 132_201,
            },
        }
    }

    fn rgb(&self, luma: u8, cb: u8, cr: u8) -> [u8; 3] {
        let luma = (i32::from(luma) - 16) * Self::LUMA + (1 << 15);
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        [
            luma + self.red_of_cr * cr,
            luma - self.green_of_cb * cb - self.green_of_cr * cr,
            luma + self.blue_of_cb * cb,
        ]
        // Within the type: it is clamped.
        .map(|sum| (sum >> 16).clamp(0, 255) as u8)
    }
}

/// Red, green and blue of each pixel of a picture in 4:2:0 and limited range.
fn rgb(picture: &Picture) -> Vec<u8> {
    let weights = Weights::of(picture.matrix());
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut out = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        let row = |plane, y| picture.row(plane, y).unwrap_or_default();
        let (luma, cb, cr) = (row(0, y), row(1, y / 2), row(2, y / 2));
        for (pair, (cb, cr)) in luma.chunks_exact(2).zip(cb.iter().zip(cr)) {
            for luma in pair {
                out.extend_from_slice(&weights.rgb(*luma, *cb, *cr));
            }
        }
    }
    out
}

fn encode(
    pixels: &[u8],
    (width, height): (u32, u32),
    format: PreviewFormat,
) -> Result<Vec<u8>, StillFrameError> {
    let mut file = Cursor::new(Vec::new());
    let colours = ExtendedColorType::Rgb8;
    let written = match format {
        PreviewFormat::Png => {
            PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
                .write_image(pixels, width, height, colours)
        }
        PreviewFormat::Jpg => JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY)
            .write_image(pixels, width, height, colours),
    };
    written.map_err(|error| StillFrameError::Encoder(error.to_string()))?;
    Ok(file.into_inner())
}

#[cfg(test)]
#[cfg(feature = "x264")]
mod tests {
    use image::{GenericImageView, ImageFormat};
    use shardcast_link::{Preset, Profile, RenditionSpec};

    use super::*;
    use crate::VideoEncoder;

    /// A red, and what it is in either matrix in the limited range.
    const RED: [u8; 3] = [204, 51, 51];
    const RED_IN_709: [u8; 3] = [88, 113, 195];
    const RED_IN_601: [u8; 3] = [99, 105, 195];

    #[test]
    fn a_keyframe_becomes_an_image_of_its_colours_and_shape_and_is_never_enlarged() {
        for (width, height, matrix, asked, size) in [
            (1_280, 720, Matrix::Bt709, 480, (852, 480)),
            (640, 360, Matrix::Bt601, 480, (640, 360)),
            (360, 640, Matrix::Bt601, 90, (50, 90)),
        ] {
            let (record, keyframe) = keyframe(width, height, matrix);
            for (format, kind) in [
                (PreviewFormat::Png, ImageFormat::Png),
                (PreviewFormat::Jpg, ImageFormat::Jpeg),
            ] {
                let file = make(&record, &keyframe, asked, format).unwrap();
                let image = image::load_from_memory_with_format(&file, kind).unwrap();
                assert_eq!(image.dimensions(), size);
                let pixel = image.get_pixel(size.0 / 2, size.1 / 2).0;
                for (seen, wanted) in pixel.iter().zip(RED) {
                    assert!(seen.abs_diff(wanted) <= 4, "{format:?}: {pixel:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_keyframe_is_refused() {
        let (record, keyframe) = keyframe(640, 360, Matrix::Bt709);
        for (record, unit) in [
            (&record[..], Bytes::from_static(b"nothing")),
            (&record[..], Bytes::new()),
            (&b"no record"[..], keyframe),
        ] {
            assert!(make(record, &unit, 480, PreviewFormat::Png).is_err());
        }
    }

    fn keyframe(width: u32, height: u32, matrix: Matrix) -> (Vec<u8>, Bytes) {
        let spec = RenditionSpec {
            width: Some(width),
            height,
            frames_per_second: 30,
            video_bps: 4_000_000,
            gop_ms: 2_000,
            preset: Preset::Superfast,
            profile: Profile::High,
            audio_bps: 128_000,
        };
        let mut picture = Picture::black(width, height).unwrap();
        picture.paint(match matrix {
            Matrix::Bt709 => RED_IN_709,
            Matrix::Bt601 => RED_IN_601,
        });
        picture.set_matrix(matrix);
        let mut encoder = VideoEncoder::new(width, height, &spec, &picture).unwrap();
        let mut unit = Vec::new();
        let coded = encoder.encode(&picture, true, &mut unit).unwrap();
        let (sps, pps) = coded.parameter_sets.unwrap();
        let mut record = vec![1, sps[1], sps[2], sps[3], 0xFF, 0xE1];
        record.extend_from_slice(&(sps.len() as u16).to_be_bytes());
        record.extend_from_slice(&sps);
        record.push(1);
        record.extend_from_slice(&(pps.len() as u16).to_be_bytes());
        record.extend_from_slice(&pps);
        (record, unit.into())
    }
}
