//! Whether a picture flashes, told by looking at it: renditions have lost the marks of the pictures
//! that they were made from.

use shardcast_media::{Picture, VideoCodec, VideoDecoder};

/// Mean luma of a white picture; everything else in the clip is far below.
const WHITE: u64 = 200;

/// Decodes one stream.
#[derive(Debug)]
pub(super) struct Eye {
    decoder: Option<VideoDecoder>,
    picture: Picture,
    was_white: bool,
}

impl Eye {
    pub(super) fn new() -> Self {
        Self {
            decoder: None,
            picture: Picture::empty(),
            was_white: false,
        }
    }

    /// A new AVC sequence header. One that cannot be used makes it blind.
    pub(super) fn configure(&mut self, record: &[u8]) {
        self.decoder = VideoDecoder::new(VideoCodec::H264, Some(record)).ok();
    }

    /// Whether this picture is white and the one before was not.
    pub(super) fn sees_flash(&mut self, unit: &[u8]) -> bool {
        let Some(decoder) = &mut self.decoder else {
            return false;
        };
        let decoded = decoder.send(unit, 0);
        let decoded = decoded.and_then(|()| decoder.receive(&mut self.picture));
        let is_white = matches!(decoded, Ok(true)) && is_white(&self.picture);
        !std::mem::replace(&mut self.was_white, is_white) && is_white
    }
}

/// By a few rows.
fn is_white(picture: &Picture) -> bool {
    let height = picture.height() as usize;
    let rows = [height / 4, height / 2, height * 3 / 4];
    let rows = rows.iter().filter_map(|row| picture.row(0, *row));
    let (sum, count) = rows.flatten().fold((0, 0), |(sum, count), luma| {
        (sum + u64::from(*luma), count + 1)
    });
    count > 0 && sum / count >= WHITE
}
