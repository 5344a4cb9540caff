//! H.264 back to pictures, to begin anew from the last one.

use std::fmt;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::Pixel;

use crate::aac_encoder::silence_library_log;
use crate::limits::{ACCESS_UNIT_BYTES_MAX, AVC_RECORD_BYTES_MAX, PICTURE_PIXELS_MAX};
use crate::{I420, MediaError, extradata};

const NAME: &str = "H.264 decoder";

/// Decodes access units of one stream, in order, and keeps the last picture.
pub struct H264Decoder {
    decoder: ffmpeg::decoder::Video,
    frame: ffmpeg::frame::Video,
    last: Option<I420>,
}

impl H264Decoder {
    /// Opens a decoder for streams with this AVCDecoderConfigurationRecord.
    ///
    /// # Errors
    /// [`MediaError::Open`] when the record is not one.
    pub fn new(record: &[u8]) -> Result<Self, MediaError> {
        silence_library_log();
        let open = |reason: String| MediaError::Open {
            codec: NAME,
            reason,
        };
        // configurationVersion; anything else would be taken for Annex B.
        if record.first() != Some(&1) || !(7..=AVC_RECORD_BYTES_MAX).contains(&record.len()) {
            let length = record.len();
            return Err(open(format!("a record of {length} bytes that is not one")));
        }
        let codec = ffmpeg::decoder::find(ffmpeg::codec::Id::H264)
            .ok_or(MediaError::CodecMissing { codec: NAME })?;
        let mut context = ffmpeg::codec::Context::new_with_codec(codec);
        extradata::set(&mut context, record).map_err(|reason| open(reason.to_owned()))?;
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
            .open_as(codec)
            .and_then(ffmpeg::codec::decoder::Opened::video)
            .map_err(|error| open(error.to_string()))?;
        Ok(Self {
            decoder,
            frame: ffmpeg::frame::Video::empty(),
            last: None,
        })
    }

    /// Decodes one access unit: NAL units behind lengths of four bytes. A damaged one gives a
    /// picture with traces of it, or none.
    ///
    /// # Errors
    /// [`MediaError::H264`] when nothing in it can be decoded; the decoder may be used on.
    pub fn decode(&mut self, access_unit: &[u8]) -> Result<(), MediaError> {
        if access_unit.is_empty() || access_unit.len() > ACCESS_UNIT_BYTES_MAX {
            return Err(MediaError::H264(format!("{} bytes", access_unit.len())));
        }
        let sent = self
            .decoder
            .send_packet(&ffmpeg::Packet::copy(access_unit))
            .map_err(|error| MediaError::H264(error.to_string()));
        self.receive()?;
        sent
    }

    /// The last picture of all, once nothing more comes; `None` when there was none.
    ///
    /// # Errors
    /// [`MediaError::H264`] when it is not 4:2:0 with samples of eight bits.
    pub fn finish(mut self) -> Result<Option<I420>, MediaError> {
        self.decoder
            .send_eof()
            .map_err(|error| MediaError::H264(error.to_string()))?;
        self.receive()?;
        Ok(self.last)
    }

    /// Copies out each picture. Only the last is wanted, but which one that is shows at the end.
    fn receive(&mut self) -> Result<(), MediaError> {
        while self.decoder.receive_frame(&mut self.frame).is_ok() {
            let last = self.last.take();
            self.last = Some(copy(&self.frame, last)?);
        }
        Ok(())
    }
}

/// A frame of the decoder as a picture of ours, in the memory of an earlier one if it fits.
fn copy(frame: &ffmpeg::frame::Video, reuse: Option<I420>) -> Result<I420, MediaError> {
    let full_range = match frame.format() {
        Pixel::YUV420P => frame.color_range() == ffmpeg::color::Range::JPEG,
        Pixel::YUVJ420P => true,
        other => return Err(MediaError::H264(format!("pictures in {other:?}"))),
    };
    let (width, height) = (frame.width(), frame.height());
    let alike = |picture: &I420| {
        (picture.width(), picture.height(), picture.full_range()) == (width, height, full_range)
    };
    let mut picture = reuse
        .filter(alike)
        .or_else(|| I420::black(width, height, full_range))
        .ok_or_else(|| MediaError::H264(format!("a picture of {width}x{height} pixels")))?;
    let lengths = picture.row_lengths();
    for (plane, (to, length)) in picture.planes_mut().into_iter().zip(lengths).enumerate() {
        // `data` panics beyond the planes that there are; both formats above have three.
        if plane >= frame.planes() {
            break;
        }
        let rows = frame.data(plane).chunks(frame.stride(plane).max(1));
        for (to, from) in to.chunks_exact_mut(length).zip(rows) {
            if let Some(from) = from.get(..length) {
                to.copy_from_slice(from);
            }
        }
    }
    Ok(picture)
}

impl fmt::Debug for H264Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H264Decoder").finish_non_exhaustive()
    }
}
