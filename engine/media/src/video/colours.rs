//! The matrix that colours were made with, and the assumption for streams that do not declare one.

use ffmpeg_next::ffi;

use super::picture::Picture;
use shardcast_link::VideoCodec;

/// From so many lines on a stream of unknown colours is taken for BT.709, as players do.
const BT709_HEIGHT_MIN: u32 = 720;

/// The matrix that colours were made with, as far as H.264 declares it (ITU-T H.264 table E-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matrix {
    Bt709,
    Bt601,
}

impl Matrix {
    /// The assumption for a stream of so many lines that declares none.
    pub(crate) fn of_height(height: u32) -> Self {
        if height >= BT709_HEIGHT_MIN {
            Self::Bt709
        } else {
            Self::Bt601
        }
    }

    /// The number of primaries, transfer and matrix in H.264 (ITU-T H.264 tables E-3 to E-5).
    #[cfg(feature = "x264")]
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Bt709 => 1,
            Self::Bt601 => 6,
        }
    }

    /// The number of libswscale.
    pub(crate) fn swscale(self) -> i32 {
        match self {
            Self::Bt709 => ffi::SWS_CS_ITU709,
            Self::Bt601 => ffi::SWS_CS_ITU601,
        }
    }
}

/// The assumption for the pictures of a publisher that declare no matrix. It stays what it was at the first
/// one while the codec does: a browser changes the size with the network, and not its colours.
#[derive(Debug, Default)]
pub(crate) struct Assumption {
    made: Option<(VideoCodec, Matrix)>,
}

impl Assumption {
    /// Tells this picture of a publisher what it is, if it does not know.
    pub(crate) fn apply(&mut self, codec: VideoCodec, picture: &mut Picture) {
        if picture.declared_matrix().is_some() {
            return;
        }
        let matrix = match self.made {
            Some((of, matrix)) if of == codec => matrix,
            _ => Matrix::of_height(picture.height()),
        };
        self.made = Some((codec, matrix));
        picture.set_matrix(matrix);
    }
}

#[cfg(test)]
#[cfg(feature = "x264")]
mod tests {
    use std::io::Cursor;
    use std::time::Duration;

    use bytes::Bytes;
    use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

    use super::*;
    use crate::{Transcoded, Transcoder, VideoDecoder, VideoEncoder};
    use shardcast_link::{Preset, Profile, RenditionSpec};

    /// A red, and what it is in either matrix in the limited range.
    const RED: [u8; 3] = [204, 51, 51];
    const RED_IN_709: [u8; 3] = [88, 113, 195];
    const RED_IN_601: [u8; 3] = [99, 105, 195];

    fn settings(width: u32, height: u32) -> RenditionSpec {
        RenditionSpec {
            width: Some(width),
            height,
            frames_per_second: 30,
            video_bps: 4_000_000,
            gop_ms: 2_000,
            preset: Preset::Superfast,
            profile: Profile::High,
            audio_bps: 128_000,
        }
    }

    fn red(width: u32, height: u32, matrix: Matrix) -> Picture {
        let mut picture = Picture::black(width, height).unwrap();
        picture.paint(match matrix {
            Matrix::Bt709 => RED_IN_709,
            Matrix::Bt601 => RED_IN_601,
        });
        picture.set_matrix(matrix);
        picture
    }

    /// Red in H.264 that declares its matrix: the record and a keyframe.
    fn stream(width: u32, height: u32, matrix: Matrix) -> (Vec<u8>, Vec<u8>) {
        let picture = red(width, height, matrix);
        let settings = settings(width, height);
        let mut encoder = VideoEncoder::new(width, height, &settings, &picture).unwrap();
        let mut unit = Vec::new();
        let coded = encoder.encode(&picture, true, &mut unit).unwrap();
        let (sps, pps) = coded.parameter_sets.unwrap();
        (record(&sps, &pps), unit)
    }

    fn record(sps: &[u8], pps: &[u8]) -> Vec<u8> {
        let mut record = vec![1, sps[1], sps[2], sps[3], 0xFF, 0xE1];
        record.extend_from_slice(&(sps.len() as u16).to_be_bytes());
        record.extend_from_slice(sps);
        record.push(1);
        record.extend_from_slice(&(pps.len() as u16).to_be_bytes());
        record.extend_from_slice(pps);
        record
    }

    fn slate(width: u32, height: u32) -> Bytes {
        let image = DynamicImage::from(RgbImage::from_pixel(width, height, Rgb(RED)));
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, ImageFormat::Png).unwrap();
        file.into_inner().into()
    }

    /// The middle of each picture of a rendition, and the matrix that the rendition declares.
    fn seen(of: &[Transcoded], key: u64) -> Vec<([u8; 3], Option<Matrix>)> {
        let mut decoder = None;
        let mut picture = Picture::empty();
        let pictures = of.iter().filter(|picture| picture.key_of_rendition == key);
        pictures
            .map(|coded| {
                if let Some((sps, pps)) = &coded.parameter_sets {
                    let record = record(sps, pps);
                    decoder.get_or_insert_with(|| {
                        VideoDecoder::new(VideoCodec::H264, Some(&record)).unwrap()
                    });
                }
                let decoder = decoder.as_mut().unwrap();
                decoder.send(&coded.unit, 0).unwrap();
                assert!(decoder.receive(&mut picture).unwrap());
                let (x, y) = (picture.width() as usize / 2, picture.height() as usize / 2);
                let sample = |plane: usize| {
                    let half = usize::from(plane > 0);
                    picture.row(plane, y >> half).unwrap()[x >> half]
                };
                ([sample(0), sample(1), sample(2)], picture.declared_matrix())
            })
            .collect()
    }

    fn assert_red(of: &[Transcoded], key: u64, matrix: Matrix, count: usize) {
        let seen = seen(of, key);
        assert_eq!(seen.len(), count);
        let wanted = match matrix {
            Matrix::Bt709 => RED_IN_709,
            Matrix::Bt601 => RED_IN_601,
        };
        for (sample, declared) in &seen {
            assert_eq!(*declared, Some(matrix));
            let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 4;
            assert!(sample.iter().zip(&wanted).all(near), "{key}: {seen:?}");
        }
    }

    #[test]
    fn colours_stay_what_they_are_when_the_matrix_of_the_source_changes() {
        for first in [Matrix::Bt601, Matrix::Bt709] {
            let other = match first {
                Matrix::Bt601 => Matrix::Bt709,
                Matrix::Bt709 => Matrix::Bt601,
            };
            let mut transcoder = Transcoder::new(|| Duration::ZERO);
            // As it comes, smaller, and drawn from the smaller one.
            transcoder.set_renditions(&[
                (1, settings(320, 180)),
                (2, settings(160, 90)),
                (3, settings(64, 36)),
            ]);
            let mut out = Vec::new();
            for (n, matrix) in (0..).zip([first, other, first]) {
                let (record, unit) = stream(320, 180, matrix);
                let codec = VideoCodec::H264;
                transcoder.set_source(codec, Some(&record)).unwrap();
                let pts_us = n * 33_333;
                transcoder.decode(pts_us, &unit, true, &mut out).unwrap();
            }
            transcoder.show(&slate(64, 36)).unwrap();
            assert!(transcoder.fill(100_000, &mut out));
            for key in 1..=3 {
                assert_red(&out, key, first, 4);
            }
        }
    }

    #[test]
    fn a_rendition_begun_while_a_slate_is_shown_has_shape_and_matrix_of_the_source() {
        let free = |height| RenditionSpec {
            width: None,
            ..settings(2, height)
        };
        let mut transcoder = Transcoder::new(|| Duration::ZERO);
        let mut out = Vec::new();
        transcoder.show(&slate(90, 90)).unwrap();
        transcoder.set_renditions(&[(1, free(180))]);
        assert!(transcoder.fill(0, &mut out));
        let (record, unit) = stream(240, 180, Matrix::Bt601);
        let codec = VideoCodec::H264;
        transcoder.set_source(codec, Some(&record)).unwrap();
        transcoder.decode(33_333, &unit, true, &mut out).unwrap();
        transcoder.show(&slate(64, 36)).unwrap();
        transcoder.set_renditions(&[(1, free(180)), (2, free(90))]);
        assert!(transcoder.fill(100_000, &mut out));
        let made = transcoder.report().renditions;
        let sizes: Vec<_> = made.iter().map(|made| (made.width, made.height)).collect();
        assert_eq!(sizes, [(320, 180), (120, 90)]);
        assert_red(&out, 2, Matrix::Bt601, 1);
    }

    #[test]
    fn what_a_stream_does_not_say_follows_from_its_first_picture() {
        let mut assumption = Assumption::default();
        let mut declared = |codec, width, height| {
            let mut picture = Picture::black(width, height).unwrap();
            assert_eq!(picture.declared_matrix(), None);
            assumption.apply(codec, &mut picture);
            picture.declared_matrix()
        };
        assert_eq!(declared(VideoCodec::H264, 1280, 720), Some(Matrix::Bt709));
        assert_eq!(declared(VideoCodec::H264, 640, 360), Some(Matrix::Bt709));
        assert_eq!(declared(VideoCodec::Vp9, 640, 360), Some(Matrix::Bt601));
        assert_eq!(declared(VideoCodec::Vp9, 1280, 720), Some(Matrix::Bt601));
        let mut knows = red(1280, 720, Matrix::Bt601);
        assumption.apply(VideoCodec::H264, &mut knows);
        assert_eq!(knows.declared_matrix(), Some(Matrix::Bt601));
    }
}
