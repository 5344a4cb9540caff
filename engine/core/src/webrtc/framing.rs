//! Datagrams on a TCP connection: each behind its length in two bytes (RFC 4571, 2), as ICE over TCP has
//! them (RFC 6544, 3).

use crate::limits::PEER_FRAME_BYTES_MAX;

/// Length of the length.
const HEADER_BYTES: usize = 2;

/// A frame is announced that is longer than any datagram of WebRTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Cuts what is received into frames, however TCP has cut it.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// The beginning of a frame, its length included; at most one frame.
    partial: Vec<u8>,
    /// What is in `partial` was handed out.
    is_taken: bool,
}

impl FrameReader {
    /// The next frame that has come whole, in place where it came in one piece; `None` when `input` is
    /// used up. Empty frames are passed over.
    ///
    /// # Errors
    /// When a frame is longer than [`PEER_FRAME_BYTES_MAX`]: what follows cannot be read.
    pub(crate) fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<&'a [u8]>, TooLong> {
        if std::mem::take(&mut self.is_taken) {
            self.partial.clear();
        }
        if self.partial.is_empty() {
            while let Some(header) = input.first_chunk() {
                let length = length(*header)?;
                let Some((frame, rest)) = input
                    .get(HEADER_BYTES..)
                    .and_then(|behind| behind.split_at_checked(length))
                else {
                    break;
                };
                *input = rest;
                if !frame.is_empty() {
                    return Ok(Some(frame));
                }
            }
        }
        self.gather(input)
    }

    /// Adds to a frame that comes in pieces.
    fn gather<'a>(&'a mut self, input: &mut &[u8]) -> Result<Option<&'a [u8]>, TooLong> {
        loop {
            let missing = match self.partial.first_chunk() {
                Some(header) => HEADER_BYTES + length(*header)? - self.partial.len(),
                None => HEADER_BYTES - self.partial.len(),
            };
            if missing == 0 && self.partial.len() > HEADER_BYTES {
                break;
            }
            if missing == 0 {
                // An empty frame.
                self.partial.clear();
                continue;
            }
            let (piece, rest) = input.split_at(missing.min(input.len()));
            if piece.is_empty() {
                return Ok(None);
            }
            self.partial.extend_from_slice(piece);
            *input = rest;
        }
        self.is_taken = true;
        Ok(self.partial.get(HEADER_BYTES..))
    }
}

fn length(header: [u8; HEADER_BYTES]) -> Result<usize, TooLong> {
    let length = usize::from(u16::from_be_bytes(header));
    (length <= PEER_FRAME_BYTES_MAX)
        .then_some(length)
        .ok_or(TooLong)
}

/// A datagram as a frame; `None` if it is longer than a frame can be.
pub(crate) fn framed(datagram: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(datagram.len()).ok()?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + datagram.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(datagram);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of lengths at and around what one piece holds, empty ones among them.
    fn stream() -> (Vec<Vec<u8>>, Vec<u8>) {
        let lengths = [20, 1, 0, 0, 2, 1_200, PEER_FRAME_BYTES_MAX, 0, 3];
        let datagrams: Vec<Vec<u8>> = lengths
            .iter()
            .enumerate()
            .map(|(n, length)| vec![n as u8; *length])
            .collect();
        let bytes = datagrams.iter().flat_map(|each| framed(each).unwrap());
        let bytes = bytes.collect();
        let whole = datagrams.into_iter().filter(|each| !each.is_empty());
        (whole.collect(), bytes)
    }

    fn read(reader: &mut FrameReader, mut piece: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut frames = Vec::new();
        while let Some(frame) = reader.next(&mut piece)? {
            frames.push(frame.to_vec());
        }
        assert!(piece.is_empty(), "a piece is used up");
        Ok(frames)
    }

    #[test]
    fn frames_come_whole_and_in_order_wherever_the_stream_is_torn() {
        let (wanted, bytes) = stream();
        for step in [1, 2, 3, 7, 21, 22, 23, 1_201, 1_203, bytes.len()] {
            let mut reader = FrameReader::default();
            let frames: Vec<Vec<u8>> = bytes
                .chunks(step)
                .flat_map(|piece| read(&mut reader, piece).unwrap())
                .collect();
            assert!(frames == wanted, "in pieces of {step}");
        }
        for cut in 0..bytes.len() {
            let mut reader = FrameReader::default();
            let (first, second) = bytes.split_at(cut);
            let mut frames = read(&mut reader, first).unwrap();
            frames.extend(read(&mut reader, second).unwrap());
            assert!(frames == wanted, "torn at {cut}");
        }
    }

    #[test]
    fn a_frame_longer_than_a_datagram_is_refused_before_memory_is_taken_for_it() {
        let header = (PEER_FRAME_BYTES_MAX as u16 + 1).to_be_bytes();
        let mut reader = FrameReader::default();
        assert_eq!(read(&mut reader, &header), Err(TooLong));
        let mut reader = FrameReader::default();
        assert_eq!(read(&mut reader, &header[..1]), Ok(Vec::new()));
        assert_eq!(read(&mut reader, &header[1..]), Err(TooLong));
        assert!(reader.partial.len() <= HEADER_BYTES);
        // What a web browser or a scanner says first.
        for greeting in [
            &b"GET / HTTP/1.1"[..],
            b"\x16\x03\x01\x02\x00",
            b"SSH-2.0-x",
        ] {
            assert_eq!(read(&mut FrameReader::default(), greeting), Err(TooLong));
        }
    }

    #[test]
    fn a_datagram_that_no_frame_holds_is_not_framed() {
        assert_eq!(framed(&[0; 65_535]).map(|frame| frame.len()), Some(65_537));
        assert_eq!(framed(&[0; 65_536]), None);
    }
}
