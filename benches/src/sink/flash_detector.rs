//! Finds the white flashes of the test clip in decoded video. A rendition has lost the frame stamps
//! of its source, so decoding is the only way to see a flash in it.

use shardcast_link::VideoCodec;
use shardcast_media::{Picture, VideoDecoder};

/// Lowest mean luma (0 to 255) of a white frame; all other frames of the test clip are far below.
const WHITE: u64 = 200;

/// Decodes one H.264 stream and compares each frame with the one before.
#[derive(Debug)]
pub(super) struct FlashDetector {
    decoder: Option<VideoDecoder>,
    picture: Picture,
    was_white: bool,
}

impl FlashDetector {
    pub(super) fn new() -> Self {
        Self {
            decoder: None,
            picture: Picture::empty(),
            was_white: false,
        }
    }

    /// Takes a new AVC sequence header. After one that the decoder refuses, no flash is found.
    pub(super) fn configure(&mut self, record: &[u8]) {
        self.decoder = VideoDecoder::new(VideoCodec::H264, Some(record)).ok();
    }

    /// Whether this frame is white and the one before was not.
    pub(super) fn starts_flash(&mut self, unit: &[u8]) -> bool {
        let Some(decoder) = &mut self.decoder else {
            return false;
        };
        let decoded = decoder.send(unit, 0);
        let decoded = decoded.and_then(|()| decoder.receive(&mut self.picture));
        let is_white = matches!(decoded, Ok(true)) && is_white(&self.picture);
        !std::mem::replace(&mut self.was_white, is_white) && is_white
    }
}

/// Looks at three rows, which is enough because a flash is white all over.
fn is_white(picture: &Picture) -> bool {
    let height = picture.height() as usize;
    let rows = [height / 4, height / 2, height * 3 / 4];
    let rows = rows.iter().filter_map(|row| picture.row(0, *row));
    let (sum, count) = rows.flatten().fold((0, 0), |(sum, count), luma| {
        (sum + u64::from(*luma), count + 1)
    });
    count > 0 && sum / count >= WHITE
}
