//! What a publisher's FLV tags carry, which are the payloads of RTMP media messages.
//!
//! Follows "Adobe Flash Video File Format Specification Version 10.1", annex E.4, and for what is told apart
//! to be refused "Enhanced RTMP (V2)". Payloads are slices of the message, never copied.

use bytes::Bytes;

use super::cursor::Cursor;

/// CodecID 7 (E.4.3.1).
const AVC: u8 = 7;
/// FrameType 1, keyframe, and 5, a command for a player without a picture.
const KEY: u8 = 1;
const COMMAND: u8 = 5;
/// The bit of an ExVideoTagHeader.
const EX_VIDEO: u8 = 0x80;
/// SoundFormat 10 (E.4.2.1), and 9, which is an ExAudioTagHeader.
const AAC: u8 = 10;
const EX_AUDIO: u8 = 9;

/// A publisher's video message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoTag {
    /// An AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1).
    SequenceHeader(Bytes),
    /// One access unit.
    Picture {
        /// The tag calls it a keyframe. Encoders say so of pictures that are no IDR.
        key: bool,
        /// Presentation minus decoding time, in milliseconds.
        composition_ms: i32,
        /// NAL units behind their lengths.
        avcc: Bytes,
    },
    /// Nothing to be shown: an end of sequence, a command, or an empty message.
    Nothing,
}

/// A publisher's audio message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioTag {
    /// An AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    SequenceHeader(Bytes),
    /// A raw AAC frame.
    Frame(Bytes),
    /// An empty message.
    Nothing,
}

/// The publisher sends what is not taken. The words are for who has set it up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// Another video codec.
    #[error("the encoder sends {0} video: set it to H.264 (x264, AVC)")]
    VideoCodec(String),
    /// Another audio codec.
    #[error("the encoder sends {0} audio: set it to AAC")]
    AudioCodec(String),
    /// The message ends within its header.
    #[error("the encoder sends a media message that is cut off")]
    CutOff,
}

impl VideoTag {
    /// Reads the payload of a video message.
    ///
    /// # Errors
    /// When it is cut off, or of a codec that is not taken.
    pub fn read(payload: &Bytes) -> Result<Self, TagError> {
        let mut cursor = Cursor::new(payload);
        let Some(first) = cursor.u8() else {
            return Ok(Self::Nothing);
        };
        if first & EX_VIDEO != 0 {
            return Err(TagError::VideoCodec(four_cc(&mut cursor)));
        }
        let (frame_type, codec) = (first >> 4, first & 0xF);
        if frame_type == COMMAND {
            return Ok(Self::Nothing);
        }
        if codec != AVC {
            return Err(TagError::VideoCodec(video_codec(codec)));
        }
        let (Some(kind), Some(composition)) = (cursor.u8(), cursor.u24()) else {
            return Err(TagError::CutOff);
        };
        let body = || payload.slice(payload.len() - cursor.remaining()..);
        Ok(match kind {
            0 if !cursor.is_empty() => Self::SequenceHeader(body()),
            1 if !cursor.is_empty() => Self::Picture {
                key: frame_type == KEY,
                composition_ms: signed_24(composition),
                avcc: body(),
            },
            _ => Self::Nothing,
        })
    }
}

impl AudioTag {
    /// Reads the payload of an audio message.
    ///
    /// # Errors
    /// When it is cut off, or of a codec that is not taken.
    pub fn read(payload: &Bytes) -> Result<Self, TagError> {
        let mut cursor = Cursor::new(payload);
        let Some(first) = cursor.u8() else {
            return Ok(Self::Nothing);
        };
        match first >> 4 {
            AAC => {}
            EX_AUDIO => return Err(TagError::AudioCodec(four_cc(&mut cursor))),
            other => return Err(TagError::AudioCodec(audio_codec(other))),
        }
        let kind = cursor.u8().ok_or(TagError::CutOff)?;
        let body = || payload.slice(payload.len() - cursor.remaining()..);
        Ok(match kind {
            0 if !cursor.is_empty() => Self::SequenceHeader(body()),
            1 if !cursor.is_empty() => Self::Frame(body()),
            _ => Self::Nothing,
        })
    }
}

/// SI24: the upper bit is the sign.
fn signed_24(value: u32) -> i32 {
    (value << 8).cast_signed() >> 8
}

/// The codec that an enhanced header names, as people call it.
fn four_cc(cursor: &mut Cursor<'_>) -> String {
    match cursor.take(4) {
        Some(b"hvc1") => "HEVC".to_owned(),
        Some(b"av01") => "AV1".to_owned(),
        Some(b"vp08") => "VP8".to_owned(),
        Some(b"vp09") => "VP9".to_owned(),
        Some(b"avc1") => "H.264 by enhanced RTMP".to_owned(),
        Some(b"mp4a") => "AAC by enhanced RTMP".to_owned(),
        Some(b"Opus") => "Opus".to_owned(),
        Some(b"ac-3") => "AC-3".to_owned(),
        Some(b"ec-3") => "E-AC-3".to_owned(),
        Some(b".mp3") => "MP3".to_owned(),
        Some(b"fLaC") => "FLAC".to_owned(),
        _ => "unknown enhanced".to_owned(),
    }
}

/// CodecID (E.4.3.1); 12 is no part of the specification and means HEVC in the field.
fn video_codec(codec: u8) -> String {
    match codec {
        2 => "Sorenson H.263".to_owned(),
        3 | 6 => "Screen".to_owned(),
        4 | 5 => "VP6".to_owned(),
        12 => "HEVC".to_owned(),
        other => format!("codec {other}"),
    }
}

/// SoundFormat (E.4.2.1).
fn audio_codec(format: u8) -> String {
    match format {
        0 | 3 => "PCM".to_owned(),
        1 => "ADPCM".to_owned(),
        2 | 14 => "MP3".to_owned(),
        4..=6 => "Nellymoser".to_owned(),
        7 | 8 => "G.711".to_owned(),
        11 => "Speex".to_owned(),
        other => format!("format {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(bytes: &'static [u8]) -> Result<VideoTag, TagError> {
        VideoTag::read(&Bytes::from_static(bytes))
    }

    fn audio(bytes: &'static [u8]) -> Result<AudioTag, TagError> {
        AudioTag::read(&Bytes::from_static(bytes))
    }

    #[test]
    fn a_picture_has_its_composition_time_whatever_its_sign() {
        for (bytes, key, composition_ms) in [
            (&b"\x17\x01\x00\x00\x00abc"[..], true, 0),
            (b"\x27\x01\x00\x00\x42abc", false, 66),
            (b"\x27\x01\xFF\xFF\xDFabc", false, -33),
            (b"\x27\x01\x80\x00\x00abc", false, -8_388_608),
            (b"\x37\x01\x7F\xFF\xFFabc", false, 8_388_607),
        ] {
            let avcc = Bytes::from_static(b"abc");
            let picture = VideoTag::Picture {
                key,
                composition_ms,
                avcc,
            };
            assert_eq!(video(bytes), Ok(picture));
        }
    }

    #[test]
    fn headers_frames_and_what_shows_nothing_are_told_apart() {
        let body = Bytes::from_static(b"abc");
        assert_eq!(
            video(b"\x17\x00\x00\x00\x00abc"),
            Ok(VideoTag::SequenceHeader(body.clone()))
        );
        assert_eq!(
            audio(b"\xAF\x00abc"),
            Ok(AudioTag::SequenceHeader(body.clone()))
        );
        assert_eq!(audio(b"\xAE\x01abc"), Ok(AudioTag::Frame(body)));
        for nothing in [
            &b""[..],
            b"\x17\x02\x00\x00\x00",
            b"\x17\x01\x00\x00\x00",
            b"\x57\x00",
            b"\x52\x01",
        ] {
            assert_eq!(video(nothing), Ok(VideoTag::Nothing), "{nothing:x?}");
        }
        // FFmpeg begins with an empty header where the description comes later, as out of MPEG-TS.
        for nothing in [&b""[..], b"\xAF\x00", b"\xAF\x01", b"\xAF\x07abc"] {
            assert_eq!(audio(nothing), Ok(AudioTag::Nothing), "{nothing:x?}");
        }
        for cut in [&b"\x17"[..], b"\x27\x01\x00\x00"] {
            assert_eq!(video(cut), Err(TagError::CutOff), "{cut:x?}");
        }
        assert_eq!(audio(b"\xAF"), Err(TagError::CutOff));
    }

    #[test]
    fn codecs_that_are_not_taken_are_named() {
        for (bytes, word) in [
            (&b"\x90hvc1"[..], "HEVC"),
            (b"\x90av01", "AV1"),
            (b"\x91vp09", "VP9"),
            (b"\x1C\x00\x00\x00\x00", "HEVC"),
            (b"\x22", "H.263"),
            (b"\x90", "unknown"),
        ] {
            let words = video(bytes).unwrap_err().to_string();
            assert!(words.contains(word) && words.contains("H.264"), "{words}");
        }
        for (bytes, word) in [
            (&b"\x2Fabc"[..], "MP3"),
            (b"\xB2abc", "Speex"),
            (b"\x90Opus", "Opus"),
            (b"\x7Fabc", "G.711"),
        ] {
            let words = audio(bytes).unwrap_err().to_string();
            assert!(words.contains(word) && words.contains("AAC"), "{words}");
        }
    }
}
