//! What a measurement needs to know of one RTP packet of H.264 (RFC 6184).

use crate::frame_stamp::FrameStamp;

const NAL_TYPE: u8 = 0x1f;
const IDR: u8 = 5;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// What is in the payload of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// It holds a part of an IDR picture.
    pub(super) is_idr: bool,
    /// The stamp of the frame, if it is in this packet.
    pub(super) stamp: Option<FrameStamp>,
}

impl Content {
    /// Reads a payload. A payload that is cut has no content.
    pub(super) fn of(payload: &[u8]) -> Self {
        let Some((first, rest)) = payload.split_first() else {
            return Self::default();
        };
        match first & NAL_TYPE {
            STAP_A => Self::of_aggregate(rest),
            FU_A => Self {
                is_idr: rest.first().is_some_and(|head| head & NAL_TYPE == IDR),
                stamp: None,
            },
            _ => Self::of_nal(payload),
        }
    }

    fn of_nal(nal: &[u8]) -> Self {
        Self {
            is_idr: nal.first().is_some_and(|head| head & NAL_TYPE == IDR),
            stamp: FrameStamp::read(nal),
        }
    }

    /// NAL units behind lengths of two bytes (RFC 6184 5.7.1).
    fn of_aggregate(mut rest: &[u8]) -> Self {
        let mut all = Self::default();
        while let Some((length, body)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(nal) = body.get(..length) else {
                break;
            };
            let one = Self::of_nal(nal);
            all.is_idr |= one.is_idr;
            all.stamp = all.stamp.or(one.stamp);
            rest = body.get(length..).unwrap_or_default();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: FrameStamp = FrameStamp {
        sent_us: 1,
        frame: 2,
        publisher: 3,
        flash: false,
    };

    #[test]
    fn a_stamp_is_found_alone_and_in_an_aggregate() {
        let mut annex_b = Vec::new();
        STAMP.write_annex_b(&mut annex_b);
        let sei = &annex_b[4..];
        assert_eq!(Content::of(sei).stamp, Some(STAMP));
        let mut aggregate = vec![STAP_A, 0, 2, 0x67, 0x42];
        aggregate.extend_from_slice(&(sei.len() as u16).to_be_bytes());
        aggregate.extend_from_slice(sei);
        aggregate.extend_from_slice(&[0, 1, 0x65]);
        let content = Content::of(&aggregate);
        assert_eq!((content.stamp, content.is_idr), (Some(STAMP), true));
        for length in 0..aggregate.len() {
            let _ = Content::of(&aggregate[..length]);
        }
    }

    #[test]
    fn an_idr_is_found_in_each_of_its_fragments() {
        for head in [0x85, 0x05, 0x45] {
            assert!(Content::of(&[0x7c, head, 0]).is_idr);
        }
        assert!(!Content::of(&[0x7c, 0x81, 0]).is_idr);
        assert!(!Content::of(&[0x7c]).is_idr);
        assert!(Content::of(&[0x65]).is_idr);
    }
}
