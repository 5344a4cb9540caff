//! One still frame, which replaces the video of a publisher that is away.

use bytes::Bytes;

use crate::limits::{GOP_ACCESS_UNITS_MAX, GOP_BYTES_MAX};
use crate::{I420, MediaError, Picture, VideoDecoder, slate};
use shardcast_link::VideoCodec;

/// What the picture shows.
#[derive(Clone, Copy, Debug)]
pub enum StillFrameSource<'a> {
    /// The last of these pictures.
    LastOf {
        /// The AVCDecoderConfigurationRecord that they are coded with.
        record: &'a [u8],
        /// In decoding order from an IDR on: NAL units behind lengths of four bytes.
        access_units: &'a [Bytes],
    },
    /// A PNG or JPEG file, as large as it fits, with black around it.
    Image(&'a [u8]),
}

/// How it is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillFrameTarget {
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// CABAC, or CAVLC.
    pub cabac: bool,
    /// Whether macroblocks may choose 8×8 transforms (`transform_8x8_mode_flag`).
    pub transform_8x8: bool,
    /// `chroma_qp_index_offset`, -12 to 12.
    pub chroma_qp_offset: i8,
    /// Luma uses all of 0 to 255. Colours of an image are BT.709 either way.
    pub full_range: bool,
}

/// An IDR picture as NAL units without lengths or start codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillFrameNals {
    /// The sequence parameter set (ITU-T H.264, 7.3.2.1).
    pub sps: Bytes,
    /// The picture parameter set (ITU-T H.264, 7.3.2.2).
    pub pps: Bytes,
    /// The slices of the picture, in order.
    pub slices: Vec<Bytes>,
}

/// There is no such picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StillFrameError {
    /// The operator's: this program was built without x264.
    #[error("this build has no H.264 encoder; build it with the cargo feature `x264`")]
    NoEncoder,
    /// The one of who chose the image.
    #[error("the image has {bytes} bytes; at most {IMAGE_BYTES_MAX} are taken", IMAGE_BYTES_MAX = crate::limits::IMAGE_BYTES_MAX)]
    ImageTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The one of who chose the image.
    #[error("the image cannot be used: {0}; give a PNG or JPEG file")]
    Image(String),
    /// The caller's: pictures of another size, or no size of a picture.
    #[error("not a picture of {width}x{height} pixels")]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The caller's: more than is kept of a stream.
    #[error("{units} access units with {bytes} bytes are too many to look for the last picture")]
    TooMuch {
        /// Access units since the keyframe.
        units: usize,
        /// Bytes of them together.
        bytes: usize,
    },
    /// The publisher's: nothing that it sent can be decoded. `last` is the last reason.
    #[error("no picture can be decoded{}", because(.last.as_ref()))]
    NoPicture {
        /// What the decoder said of the last unit, if it said anything.
        last: Option<MediaError>,
    },
    /// Ours or the operator's: no decoder, or no memory for it.
    #[error(transparent)]
    Decoder(#[from] MediaError),
    /// Ours: x264, or the writer of an image file, refused.
    #[error("the picture cannot be coded: {0}")]
    Encoder(String),
}

fn because(error: Option<&MediaError>) -> String {
    error.map_or_else(String::new, |error| format!(": {error}"))
}

/// Makes the picture. Takes some tens of milliseconds for an image, and about three more for each
/// access unit of a stream in 720p.
///
/// # Errors
/// See [`StillFrameError`].
pub fn make(
    source: StillFrameSource<'_>,
    target: &StillFrameTarget,
) -> Result<StillFrameNals, StillFrameError> {
    // Before the work of decoding.
    if cfg!(not(feature = "x264")) {
        return Err(StillFrameError::NoEncoder);
    }
    let picture = match source {
        StillFrameSource::LastOf {
            record,
            access_units,
        } => last_of(record, access_units)?,
        StillFrameSource::Image(file) => {
            slate::draw(file, target.width, target.height, target.full_range)?
        }
    };
    encode(target, &picture)
}

/// The last picture that can be decoded.
///
/// # Errors
/// When there is none, or the stream is too long.
pub fn last_of(record: &[u8], access_units: &[Bytes]) -> Result<I420, StillFrameError> {
    Ok(last_picture(record, access_units)?.to_i420()?)
}

/// The same in whatever format it was decoded to.
pub(crate) fn last_picture(
    record: &[u8],
    access_units: &[Bytes],
) -> Result<Picture, StillFrameError> {
    let (units, bytes) = (
        access_units.len(),
        access_units.iter().map(Bytes::len).sum(),
    );
    if units > GOP_ACCESS_UNITS_MAX || bytes > GOP_BYTES_MAX {
        return Err(StillFrameError::TooMuch { units, bytes });
    }
    let mut decoder = VideoDecoder::new(VideoCodec::H264, Some(record))?;
    // Which picture is the last one shows at the end.
    let (mut picture, mut next) = (None, Picture::empty());
    let mut last = None;
    for unit in access_units {
        last = decoder.send(unit, 0).err().or(last);
        last = receive(&mut decoder, &mut next, &mut picture)
            .err()
            .or(last);
    }
    decoder.finish()?;
    last = receive(&mut decoder, &mut next, &mut picture)
        .err()
        .or(last);
    picture.ok_or(StillFrameError::NoPicture { last })
}

/// Takes all that the decoder has; a damaged picture is better than none.
fn receive(
    decoder: &mut VideoDecoder,
    next: &mut Picture,
    last: &mut Option<Picture>,
) -> Result<(), MediaError> {
    while decoder.receive(next)? {
        let before = last.take().unwrap_or_else(Picture::empty);
        *last = Some(std::mem::replace(next, before));
    }
    Ok(())
}

#[cfg(feature = "x264")]
use crate::still_frame_encoder::encode;

#[cfg(not(feature = "x264"))]
fn encode(_: &StillFrameTarget, _: &I420) -> Result<StillFrameNals, StillFrameError> {
    Err(StillFrameError::NoEncoder)
}
