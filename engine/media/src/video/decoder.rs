//! A publisher's video back to pictures, by libavcodec.

use std::fmt;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::ffi::EAGAIN;

use super::picture::Picture;
use crate::aac_encoder::silence_library_log;
use crate::limits::{
    ACCESS_UNIT_BYTES_MAX, AVC_RECORD_BYTES_MAX, PICTURE_PIXELS_MAX, PICTURE_SIDE_PIXELS_MAX,
};
use crate::{MediaError, extradata};
use shardcast_link::VideoCodec;

/// NAL unit type of a slice of an IDR picture (ITU-T H.264 table 7-1).
const IDR_SLICE: u8 = 5;
/// `obu_type` of a sequence header (AV1 specification, 6.2.2).
const OBU_SEQUENCE_HEADER: u8 = 1;
/// The whole OBU: it has a size, which is 0.
const TEMPORAL_DELIMITER: [u8; 2] = [0x12, 0];

/// Decodes access units of one stream, in order. Each gives its picture at once, unless the stream has
/// pictures in another order than they are shown in.
pub struct VideoDecoder {
    codec: VideoCodec,
    decoder: ffmpeg::decoder::Video,
}

impl VideoDecoder {
    /// Opens a decoder; one for H.264 needs the AVCDecoderConfigurationRecord of the stream.
    ///
    /// # Errors
    /// [`MediaError::Open`] when the record is not one, [`MediaError::CodecMissing`] when libavcodec
    /// was built without the codec.
    pub fn new(codec: VideoCodec, record: Option<&[u8]>) -> Result<Self, MediaError> {
        silence_library_log();
        let open = |reason: String| MediaError::Open {
            codec: codec.name(),
            reason,
        };
        let library = find(codec).ok_or(MediaError::CodecMissing {
            codec: codec.name(),
        })?;
        let mut context = ffmpeg::codec::Context::new_with_codec(library);
        if codec == VideoCodec::H264 {
            let record = record.unwrap_or_default();
            // configurationVersion; anything else would be taken for Annex B.
            if record.first() != Some(&1) || !(7..=AVC_RECORD_BYTES_MAX).contains(&record.len()) {
                let length = record.len();
                return Err(open(format!("a record of {length} bytes that is not one")));
            }
            extradata::set(&mut context, record).map_err(|reason| open(reason.to_owned()))?;
        }
        // SAFETY: the context is ours and not yet open; these are plain fields of it.
        unsafe {
            let raw = context.as_mut_ptr();
            // More threads hold pictures back, and would leave the thread that they work for.
            (*raw).thread_count = 1;
            (*raw).flags |= ffmpeg::ffi::AV_CODEC_FLAG_LOW_DELAY as i32;
            (*raw).max_pixels = PICTURE_PIXELS_MAX.into();
        }
        let decoder = context
            .decoder()
            .open_as(library)
            .and_then(ffmpeg::codec::decoder::Opened::video)
            .map_err(|error| open(error.to_string()))?;
        Ok(Self { codec, decoder })
    }

    /// Gives it one access unit. Then [`receive`](Self::receive) is to be called until it has no more.
    ///
    /// # Errors
    /// [`MediaError::Video`] when nothing in it can be decoded; the decoder may be used on.
    pub fn send(&mut self, unit: &[u8], pts_us: i64) -> Result<(), MediaError> {
        if unit.is_empty() || unit.len() > ACCESS_UNIT_BYTES_MAX {
            return Err(self.refused(format!("{} bytes", unit.len())));
        }
        // libavcodec wants bytes behind the unit that it may read, so this one copy must be.
        let mut packet = ffmpeg::Packet::copy(unit);
        packet.set_pts(Some(pts_us));
        self.decoder
            .send_packet(&packet)
            .map_err(|error| self.refused(error.to_string()))
    }

    /// Puts the next picture into `picture`, in place of what was there; false when there is none.
    ///
    /// # Errors
    /// [`MediaError::Video`] when it is damaged beyond use, or too large; the decoder may be used on.
    pub fn receive(&mut self, picture: &mut Picture) -> Result<bool, MediaError> {
        match self.decoder.receive_frame(picture.frame_mut()) {
            Ok(()) => {}
            Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: EAGAIN }) => return Ok(false),
            Err(error) => return Err(self.refused(error.to_string())),
        }
        let (width, height) = (picture.width(), picture.height());
        let sides = 1..=PICTURE_SIDE_PIXELS_MAX;
        let small = sides.contains(&width) && sides.contains(&height);
        // No decoder of these turns pictures upside down, and nothing here reads backwards.
        let upright = picture.planes().strides.iter().all(|stride| *stride >= 0);
        if !small || !upright || width * height > PICTURE_PIXELS_MAX {
            *picture = Picture::empty();
            return Err(self.refused(format!("a picture of {width}x{height} pixels")));
        }
        Ok(true)
    }

    /// Flushes the decoder at the end of the stream; frames held for reordering can be received now.
    ///
    /// # Errors
    /// [`MediaError::Video`] when it was called before.
    pub fn finish(&mut self) -> Result<(), MediaError> {
        self.decoder
            .send_eof()
            .map_err(|error| self.refused(error.to_string()))
    }

    /// Forgets pictures that are held back for their order. Go on with a keyframe.
    pub(crate) fn flush(&mut self) {
        self.decoder.flush();
    }

    /// Whether a picture may come later than its access unit: libavcodec does that for H.264 only. If
    /// another codec's unit gives several, they are spatial layers of one picture, lowest first.
    pub(crate) fn delays(&self) -> bool {
        self.codec == VideoCodec::H264
    }

    /// Whether decoding can begin with this access unit, as far as its pictures are not marked themselves.
    /// Those of H.264 may come later. Of AV1 dav1d gives the highest spatial layer alone, which leans on
    /// the ones below it also in a keyframe.
    pub(crate) fn is_keyframe(&self, unit: &[u8]) -> bool {
        match self.codec {
            VideoCodec::H264 => has_idr(unit),
            VideoCodec::Av1 => has_sequence_header(unit),
            VideoCodec::Vp8 | VideoCodec::Vp9 => false,
        }
    }

    /// What it decodes.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    fn refused(&self, reason: String) -> MediaError {
        MediaError::Video {
            codec: self.codec.name(),
            reason,
        }
    }
}

fn has_idr(mut unit: &[u8]) -> bool {
    while let Some((length, rest)) = unit.split_first_chunk::<4>() {
        if rest
            .first()
            .is_some_and(|header| header & 0x1F == IDR_SLICE)
        {
            return true;
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        unit = rest.get(length..).unwrap_or_default();
    }
    false
}

/// Whether a temporal unit of AV1 begins with a sequence header, behind a temporal delimiter if it has
/// one. Encoders of browsers write it in front of keyframes, and nowhere else.
fn has_sequence_header(unit: &[u8]) -> bool {
    let unit = unit.strip_prefix(&TEMPORAL_DELIMITER).unwrap_or(unit);
    unit.first()
        .is_some_and(|header| header >> 3 & 0xF == OBU_SEQUENCE_HEADER)
}

/// The decoder of libavcodec. Its own one for AV1 needs a graphics card, so dav1d comes first.
fn find(codec: VideoCodec) -> Option<ffmpeg::Codec> {
    let id = match codec {
        VideoCodec::H264 => ffmpeg::codec::Id::H264,
        VideoCodec::Vp8 => ffmpeg::codec::Id::VP8,
        VideoCodec::Vp9 => ffmpeg::codec::Id::VP9,
        VideoCodec::Av1 => {
            return ffmpeg::decoder::find_by_name("libdav1d")
                .or_else(|| ffmpeg::decoder::find_by_name("libaom-av1"));
        }
    };
    ffmpeg::decoder::find(id)
}

impl fmt::Debug for VideoDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoDecoder")
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}
