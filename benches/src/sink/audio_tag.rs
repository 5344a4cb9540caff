//! Reads the head of an audio message: AAC as FLV has it, or Opus as enhanced RTMP has it.

use shardcast_core::rtmp::enhanced::OPUS_HEADER;

/// What is behind the head of an audio message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AudioTag<'a> {
    /// A sequence header.
    Header(AudioHeader<'a>),
    /// An AAC frame.
    Aac(&'a [u8]),
    /// An Opus packet.
    Opus(&'a [u8]),
}

/// A sequence header of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AudioHeader<'a> {
    /// An AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    Aac(&'a [u8]),
    /// An identification header (RFC 7845, 5.1).
    Opus(&'a [u8]),
}

impl<'a> AudioTag<'a> {
    /// `None` for what is neither AAC nor Opus, and holds no media.
    pub(super) fn read(payload: &'a [u8]) -> Option<Self> {
        let (&first, rest) = payload.split_first()?;
        match first >> 4 {
            9 => {
                // SoundFormat 9 with the packet type in the other half, then the codec ("ExAudioTagHeader").
                let body = rest.strip_prefix(OPUS_HEADER.get(1..)?)?;
                match first & 0xF {
                    0 => Some(Self::Header(AudioHeader::Opus(body))),
                    1 => Some(Self::Opus(body)),
                    _ => None,
                }
            }
            10 => {
                let (&packet_type, body) = rest.split_first()?;
                match packet_type {
                    0 => Some(Self::Header(AudioHeader::Aac(body))),
                    _ => Some(Self::Aac(body)),
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aac_and_opus_are_told_apart_and_others_left_out() {
        let aac = AudioTag::read(&[0xAF, 1, 7]);
        assert_eq!(aac, Some(AudioTag::Aac(&[7])));
        let header = AudioTag::read(&[0xAF, 0, 0x11, 0x90]);
        assert_eq!(
            header,
            Some(AudioTag::Header(AudioHeader::Aac(&[0x11, 0x90])))
        );
        let opus = AudioTag::read(b"\x91Opus\xFC");
        assert_eq!(opus, Some(AudioTag::Opus(&[0xFC])));
        let header = AudioTag::read(b"\x90OpusOpusHead");
        assert_eq!(
            header,
            Some(AudioTag::Header(AudioHeader::Opus(b"OpusHead")))
        );
        for other in [&b"\x91fLaC\x00"[..], b"\x92Opus", b"\x2F\x01", b"\x91", b""] {
            assert_eq!(AudioTag::read(other), None, "{other:?}");
        }
    }
}
