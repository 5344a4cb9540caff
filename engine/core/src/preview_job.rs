//! Previews of a broadcast, as inputs and outputs ([`crate::io`]).

use bytes::Bytes;
use shardcast_link::{PreviewFormat, fragment::PreviewHead};

use crate::ids::PreviewId;

/// A picture file to be made of one keyframe.
#[derive(Clone, Debug)]
pub struct PreviewJob {
    /// Names the job.
    pub preview: PreviewId,
    /// The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1) that the keyframe is coded with.
    pub record: Bytes,
    /// An IDR: NAL units behind lengths of four bytes.
    pub keyframe: Bytes,
    /// Lines of the picture, at most: it is never larger than the video.
    pub height: u32,
    /// What kind of file it is to be.
    pub format: PreviewFormat,
}

/// A preview that is made.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What it is.
    pub head: PreviewHead,
    /// The file.
    pub file: Bytes,
}
