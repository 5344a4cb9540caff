//! What a receiver sees of a rendition.

use bytes::Bytes;
use shardcast_link::VideoCodec;
use shardcast_media::{I420, Picture, Transcoded, VideoDecoder};

use crate::test_clip::record;

/// Decodes all of a rendition, and checks on the way that it is one stream.
pub(crate) struct Receiver {
    decoder: Option<VideoDecoder>,
    pub(crate) sets: Vec<(Bytes, Bytes)>,
    pub(crate) pictures: Vec<Seen>,
    last: Picture,
}

/// One picture of a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pts_us: i64,
    pub(crate) idr: bool,
    pub(crate) bytes: usize,
    pub(crate) size: (u32, u32),
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            decoder: None,
            sets: Vec::new(),
            pictures: Vec::new(),
            last: Picture::empty(),
        }
    }

    /// Decodes those of one rendition and gives the last picture.
    pub(crate) fn see<'a>(&mut self, key: u64, of: impl IntoIterator<Item = &'a Transcoded>) {
        for picture in of.into_iter().filter(|p| p.key_of_rendition == key) {
            assert_eq!(picture.idr, picture.parameter_sets.is_some());
            if let Some(sets) = &picture.parameter_sets {
                if self.sets.last() != Some(sets) {
                    self.sets.push(sets.clone());
                }
                let record = record(&sets.0, &sets.1);
                self.decoder.get_or_insert_with(|| {
                    VideoDecoder::new(VideoCodec::H264, Some(&record)).unwrap()
                });
            }
            let nals = &picture.unit[..];
            assert_eq!(kinds(nals), [if picture.idr { 5 } else { 1 }]);
            let decoder = self.decoder.as_mut().expect("an IDR first");
            decoder.send(nals, picture.pts_us).unwrap();
            assert!(decoder.receive(&mut self.last).unwrap());
            assert!(!self.last.is_damaged());
            self.pictures.push(Seen {
                pts_us: picture.pts_us,
                idr: picture.idr,
                bytes: nals.len(),
                size: (self.last.width(), self.last.height()),
            });
        }
    }

    pub(crate) fn last(&self) -> I420 {
        self.last.to_i420().unwrap()
    }

    pub(crate) fn times(&self) -> Vec<i64> {
        self.pictures.iter().map(|picture| picture.pts_us).collect()
    }

    pub(crate) fn idr_times(&self) -> Vec<i64> {
        let idrs = self.pictures.iter().filter(|picture| picture.idr);
        idrs.map(|picture| picture.pts_us).collect()
    }
}

/// Types of the NAL units behind lengths.
fn kinds(mut nals: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some((length, rest)) = nals.split_first_chunk::<4>() {
        let (nal, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        kinds.push(nal[0] & 0x1F);
        nals = rest;
    }
    kinds
}

/// Peak signal-to-noise ratio of luma in decibels.
pub(crate) fn psnr(one: &I420, other: &I420) -> f64 {
    assert_eq!((one.width(), one.height()), (other.width(), other.height()));
    let luma = (one.width() * one.height()) as usize;
    let error: f64 = one.samples()[..luma]
        .iter()
        .zip(&other.samples()[..luma])
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 * luma as f64 / error.max(1.0)).log10()
}
