//! How a shard hands the parts of a broadcast's HLS to control, and its previews.
//!
//! Both are media, so they do not go over the link: its JSON would hold them in base64, and a command would
//! wait behind them. The engine listens at the Unix socket [`FILE_NAME`] in the link's folder, and control, or
//! the newest control, reads from there what all shards make. Each part is one frame:
//!
//! ```text
//!   length of the head, 32 bits │ length of the body, 32 bits │ head, JSON │ body
//! ```
//!
//! The head of a preview is another ([`PreviewHead`]) than that of a part ([`FragmentHead`]).
//!
//! Nothing is asked for and nothing repeated: who connects gets what is made from then on. What control does not
//! read in time is left out, and it sees by the numbers in the head that it was.
//!
//! Beside the publisher's video there are the rungs of a ladder, each with parts and numbers of its own.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{id::BroadcastId, video::RenditionSpec, wanted::PreviewFormat};

/// The Unix socket's name in the folder of the link.
pub const FILE_NAME: &str = "fragments.sock";
/// Length of a part in milliseconds. What a segment ends with is shorter, or a little longer.
pub const PART_MS: u32 = 300;
/// No part is longer, in milliseconds: the `PART-TARGET` of playlists. A part has at least 85 % of it.
pub const PART_MS_MAX: u32 = 350;
/// A part that does not end its segment has at least 85 % of the target (RFC 8216bis, 4.4.4.9).
const _: () = assert!(PART_MS * 100 >= PART_MS_MAX * 85);
/// Longest head, in bytes: a name of 511 bytes, and numbers.
pub const HEAD_BYTES_MAX: usize = 4 << 10;
/// Longest body, in bytes. A shard cuts a part at half of it, and one access unit has at most a quarter.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Longest file of a preview, in bytes: the samples of 1.39 million pixels without any compression. What is longer is
/// left out.
pub const PREVIEW_BYTES_MAX: usize = 4 << 20;
/// Bytes of the two lengths in front of a frame.
pub const LENGTHS_BYTES: usize = 8;

/// Which rung of a ladder something is of. Rungs of a ladder differ in height, so no two have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RungName {
    /// Pixels.
    pub height: u32,
    /// Bit rate of the video, in kbit/s.
    pub kbps: u32,
}

impl From<&RenditionSpec> for RungName {
    fn from(spec: &RenditionSpec) -> Self {
        Self {
            height: spec.height,
            kbps: spec.video_bps / 1_000,
        }
    }
}

/// As Ant Media Server has it in names of files: `480p1500kbps`.
impl fmt::Display for RungName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}p{}kbps", self.height, self.kbps)
    }
}

/// What is said of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentHead {
    /// The broadcast that it is of.
    pub broadcast: BroadcastId,
    /// The rung that it is of; `None`: the publisher's video, or what stands in its place.
    #[serde(default)]
    pub rung: Option<RungName>,
    /// The number of its segment. Numbers rise by one from segment to segment, and are never used again: a
    /// broadcast that begins anew goes on with a larger one.
    pub segment: u64,
    /// Which part of the segment, from 0.
    pub part: u32,
    /// Its length on the media clock, in microseconds.
    pub duration_us: u64,
    /// Its first picture is an IDR, or it is of audio alone.
    #[serde(default)]
    pub independent: bool,
    /// The segment ends with it.
    #[serde(default)]
    pub last: bool,
    /// With the first part of each segment.
    #[serde(default)]
    pub begins: Option<SegmentHead>,
    /// No media, and no more of it, of no rung either: the broadcast is over, or is not packaged any more.
    #[serde(default)]
    pub ends: bool,
}

/// What is said of a segment, with its first part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHead {
    /// When its first picture is decoded, in Unix milliseconds.
    pub at_unix_ms: u64,
    /// The same on the media clock, in microseconds: times in fragments are on that.
    #[serde(default)]
    pub at_us: i64,
    /// What is in it does not go on from the segment before: another size, codec or ring.
    pub discontinuity: bool,
    /// Discontinuities before it since the shard began to package the broadcast, its own included.
    pub discontinuities: u64,
    /// So many bytes of the body come before the part: the init segment that this segment needs.
    pub init_bytes: u32,
    /// As `CODECS` of a playlist has it (RFC 6381).
    pub codecs: String,
    /// Pixels; 0 without video.
    pub width: u32,
    /// Lines; 0 without video.
    pub height: u32,
    /// How long segments shall be, in milliseconds.
    pub wanted_ms: u32,
    /// Pictures a second, rounded; 0 where that is not known.
    #[serde(default)]
    pub frames_per_second: u32,
    /// With segments of the publisher's video: the rungs that are packaged beside it. One that is left out has no
    /// parts any more. `None`: rungs are not wanted.
    #[serde(default)]
    pub rungs: Option<Vec<RungName>>,
}

/// What is said of a preview. Its body is the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewHead {
    /// The broadcast that it shows.
    pub broadcast: BroadcastId,
    /// What kind of file it is.
    pub format: PreviewFormat,
    /// When its picture is shown, in Unix milliseconds.
    pub at_unix_ms: u64,
}

/// The head of a preview as it is written, so that no older control takes it for that of a part.
#[derive(Debug, Serialize, Deserialize)]
struct PreviewFrame<T> {
    preview: T,
}

/// What a frame hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// A part of HLS.
    Part(FragmentHead),
    /// A preview.
    Preview(PreviewHead),
}

/// Bytes of the fragment socket are not a frame. Its reader connects anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentFrameError {
    /// Lengths that no frame has.
    #[error("a frame with a head of {head} and a body of {body} bytes is over the limits")]
    TooLarge {
        /// Bytes of JSON.
        head: usize,
        /// Bytes of media.
        body: usize,
    },
    /// The head is not one, or of another version.
    #[error("the head of a part cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

/// The lengths in front of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Bytes of JSON.
    pub head: usize,
    /// Bytes of media.
    pub body: usize,
}

impl Lengths {
    /// Reads them.
    ///
    /// # Errors
    /// When no frame is so long.
    pub fn read(bytes: [u8; LENGTHS_BYTES]) -> Result<Self, FragmentFrameError> {
        let both = u64::from_be_bytes(bytes);
        let lengths = Self {
            head: (both >> 32) as usize,
            body: (both & u64::from(u32::MAX)) as usize,
        };
        lengths.check()?;
        Ok(lengths)
    }

    fn check(&self) -> Result<(), FragmentFrameError> {
        let Self { head, body } = *self;
        if head > HEAD_BYTES_MAX || body > BODY_BYTES_MAX {
            return Err(FragmentFrameError::TooLarge { head, body });
        }
        Ok(())
    }
}

/// What comes before the body of a frame.
///
/// # Errors
/// When head or body is over its limit.
pub fn encode_head(head: &FragmentHead, body: usize) -> Result<Bytes, FragmentFrameError> {
    encode(head, body)
}

/// The same of a preview.
///
/// # Errors
/// When head or body is over its limit.
pub fn encode_preview_head(
    preview: &PreviewHead,
    body: usize,
) -> Result<Bytes, FragmentFrameError> {
    encode(&PreviewFrame { preview }, body)
}

fn encode(head: &impl Serialize, body: usize) -> Result<Bytes, FragmentFrameError> {
    let json = serde_json::to_vec(head)?;
    let head = json.len();
    Lengths { head, body }.check()?;
    let mut out = BytesMut::with_capacity(LENGTHS_BYTES + head);
    // Both are below their limits.
    out.put_u32(head as u32);
    out.put_u32(body as u32);
    out.put_slice(&json);
    Ok(out.freeze())
}

/// Reads the head of a part or a preview.
///
/// # Errors
/// When it is neither.
pub fn decode(json: &[u8]) -> Result<HandedOver, FragmentFrameError> {
    match decode_head(json) {
        Ok(head) => Ok(HandedOver::Part(head)),
        Err(error) => match serde_json::from_slice::<PreviewFrame<PreviewHead>>(json) {
            Ok(frame) => Ok(HandedOver::Preview(frame.preview)),
            Err(_) => Err(error),
        },
    }
}

/// Reads the head of a part.
///
/// # Errors
/// When it is none.
pub fn decode_head(json: &[u8]) -> Result<FragmentHead, FragmentFrameError> {
    Ok(serde_json::from_slice(json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNG: RungName = RungName {
        height: 2_160,
        kbps: 50_000,
    };

    fn head() -> FragmentHead {
        FragmentHead {
            broadcast: BroadcastId::new("app", &"s".repeat(255)).unwrap(),
            rung: Some(RUNG),
            segment: u64::MAX,
            part: u32::MAX,
            duration_us: u64::MAX,
            independent: true,
            last: true,
            begins: Some(SegmentHead {
                at_unix_ms: u64::MAX,
                at_us: 7_000_000,
                discontinuity: true,
                discontinuities: u64::MAX,
                init_bytes: u32::MAX,
                codecs: "avc1.640034,mp4a.40.2".into(),
                width: 8_192,
                height: 8_192,
                wanted_ms: 60_000,
                frames_per_second: 60,
                rungs: Some(vec![RUNG; 16]),
            }),
            ends: false,
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let bytes = encode_head(&head(), 77).unwrap();
        let (lengths, json) = bytes.split_at(LENGTHS_BYTES);
        let lengths = Lengths::read(lengths.try_into().unwrap()).unwrap();
        assert_eq!((lengths.head, lengths.body), (json.len(), 77));
        assert_eq!(decode_head(json).unwrap(), head());
    }

    #[test]
    fn the_head_of_a_preview_is_told_from_that_of_a_part() {
        let preview = PreviewHead {
            broadcast: BroadcastId::new("app", "one").unwrap(),
            format: PreviewFormat::Jpg,
            at_unix_ms: 5,
        };
        let bytes = encode_preview_head(&preview, 9).unwrap();
        let json = &bytes[LENGTHS_BYTES..];
        assert!(
            decode_head(json).is_err(),
            "an older control takes it for a part"
        );
        assert_eq!(decode(json).unwrap(), HandedOver::Preview(preview));
        let bytes = encode_head(&head(), 9).unwrap();
        let part = decode(&bytes[LENGTHS_BYTES..]).unwrap();
        assert_eq!(part, HandedOver::Part(head()));
        assert!(decode(b"{}").is_err());
    }

    #[test]
    fn lengths_beyond_the_limits_are_refused_on_both_sides() {
        assert!(encode_head(&head(), BODY_BYTES_MAX).is_ok());
        assert!(encode_head(&head(), BODY_BYTES_MAX + 1).is_err());
        for bytes in [
            [0xFF; 8],
            [0, 0, 0x20, 0, 0, 0, 0, 0],
            [0, 0, 0, 1, 2, 0, 0, 0],
        ] {
            let refused = Lengths::read(bytes);
            assert!(refused.is_err(), "{refused:?}");
        }
    }
}
