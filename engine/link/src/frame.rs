//! Length-prefixed JSON: bytes in, messages out. The caller owns the socket.

use bytes::{Buf, BufMut, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// Largest frame, in bytes. The largest command, a slate of 4 MiB in base64, is below 6 MB; a part of a status
/// is below 2 MB.
pub const FRAME_BYTES_MAX: usize = 32 << 20;
/// The reader skips a longer frame up to this length, in bytes. A length beyond it is not that of a frame.
pub const FRAME_BYTES_SKIPPED_MAX: usize = 1 << 30;

/// Bytes on the link are not a known message: the versions do not match, or we have a defect.
/// [`FrameError::NotFrames`] ends the connection; the others lose one message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("a link frame of {0} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// Longer than [`FRAME_BYTES_SKIPPED_MAX`].
    #[error("a length of {0} bytes: the other side does not write link frames")]
    NotFrames(usize),
    /// Not JSON, or a message of another version.
    #[error("a link frame does not hold a known message: {0}")]
    Json(#[from] serde_json::Error),
}

/// Appends one message to `out`.
///
/// # Errors
/// When the message is over [`FRAME_BYTES_MAX`]; `out` is unchanged then.
pub fn encode<T: Serialize>(message: &T, out: &mut BytesMut) -> Result<(), FrameError> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(|_| FrameError::TooLarge(json.len()))?;
    if json.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(json.len()));
    }
    out.reserve(4 + json.len());
    out.put_u32(length);
    out.put_slice(&json);
    Ok(())
}

/// Cuts the bytes of a connection into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// Bytes still to be skipped of a frame that is too long.
    skip: usize,
}

impl Decoder {
    /// The reader appends the bytes that it has read to this.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message; `None` until one is complete.
    ///
    /// # Errors
    /// When a frame is too long or not a known message. The reader goes on behind it, unless the
    /// error is [`FrameError::NotFrames`].
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let skipped = self.skip.min(self.buffer.len());
        self.buffer.advance(skipped);
        self.skip -= skipped;
        if self.skip > 0 {
            return Ok(None);
        }
        let result = decode(&mut self.buffer);
        if let Err(FrameError::TooLarge(length)) = result {
            self.buffer.advance(4);
            self.skip = length;
        }
        result
    }
}

/// Takes one whole message off the front of `buffer`; `None` until one is complete.
///
/// # Errors
/// When the frame is too large or not a known message. A frame that is not a known message is
/// consumed, so that the reader may go on behind it.
pub fn decode<T: DeserializeOwned>(buffer: &mut BytesMut) -> Result<Option<T>, FrameError> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*prefix) as usize;
    if length > FRAME_BYTES_SKIPPED_MAX {
        return Err(FrameError::NotFrames(length));
    }
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(length));
    }
    if buffer.len() < 4 + length {
        buffer.reserve(4 + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(4);
    let frame = buffer.split_to(length);
    Ok(Some(serde_json::from_slice(&frame)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BroadcastId, Command, WantedBroadcast};

    fn want() -> Command {
        let id = BroadcastId::new("app", "one").unwrap();
        Command::Want {
            broadcast: WantedBroadcast::new(id),
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_read_once_it_is_whole() {
        let mut whole = BytesMut::new();
        encode(&want(), &mut whole).unwrap();
        let mut buffer = BytesMut::new();
        for (n, byte) in whole.iter().enumerate() {
            assert_eq!(
                decode::<Command>(&mut buffer).unwrap(),
                None,
                "after {n} bytes"
            );
            buffer.put_u8(*byte);
        }
        assert_eq!(decode::<Command>(&mut buffer).unwrap(), Some(want()));
        assert!(buffer.is_empty());
    }

    #[test]
    fn an_unknown_message_is_an_error_and_the_next_one_is_still_read() {
        let mut buffer = BytesMut::new();
        encode(&serde_json::json!({"type": "from_the_future"}), &mut buffer).unwrap();
        encode(&want(), &mut buffer).unwrap();
        assert!(decode::<Command>(&mut buffer).is_err());
        assert_eq!(decode::<Command>(&mut buffer).unwrap(), Some(want()));
    }

    #[test]
    fn fields_of_a_newer_version_are_ignored() {
        let json = r#"{"type":"forget","broadcast":"app/one","why":"tomorrow"}"#;
        let command: Command = serde_json::from_str(json).unwrap();
        assert_eq!(
            command,
            Command::Forget {
                broadcast: BroadcastId::new("app", "one").unwrap()
            }
        );
    }

    #[test]
    fn a_frame_over_the_limit_is_skipped_without_memory_for_it_and_the_next_one_is_read() {
        let mut decoder = Decoder::default();
        let (mut left, piece) = (FRAME_BYTES_MAX + 1, vec![b'x'; 64 << 10]);
        decoder.buffer().put_u32(u32::try_from(left).unwrap());
        let refused = decoder.next_message::<Command>();
        assert!(
            matches!(refused, Err(FrameError::TooLarge(_))),
            "{refused:?}"
        );
        while left > 0 {
            let length = left.min(piece.len());
            decoder.buffer().put_slice(&piece[..length]);
            left -= length;
            assert_eq!(decoder.next_message::<Command>().unwrap(), None);
            assert!(decoder.buffer().capacity() < 1 << 20);
        }
        encode(&want(), decoder.buffer()).unwrap();
        assert_eq!(decoder.next_message::<Command>().unwrap(), Some(want()));
    }

    #[test]
    fn what_cannot_be_a_length_is_no_frame() {
        let mut decoder = Decoder::default();
        decoder.buffer().put_u32(u32::MAX);
        let refused = decoder.next_message::<Command>();
        assert!(
            matches!(refused, Err(FrameError::NotFrames(_))),
            "{refused:?}"
        );
    }
}
