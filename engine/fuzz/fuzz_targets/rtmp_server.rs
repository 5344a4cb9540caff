//! Any bytes in any pieces from whoever connects to the RTMP port: control's session and the shard's neither panic
//! nor hold more than their limits, and how the network cuts bytes into reads changes nothing of what they mean.
//!
//! The first byte chooses the cuts, and whether the handshake is part of the input; without it the fuzzer would
//! spend its time on 3,073 bytes that nothing is read from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shardcast_rtmp::{
    ChunkError, ChunkReader, Message, ServerConfig, ServerOutput, ServerSession,
    limits::BUFFERED_BYTES_MAX,
};

/// C0, C1 and C2 (RTMP specification 5.2).
const HANDSHAKE_BYTES: usize = 1 + 1_536 + 1_536;

/// Pieces of `bytes`, of 1 to 256 bytes, or of 1 to 4.
fn pieces(bytes: &[u8], choice: u8) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut state) = (bytes, u32::from(choice));
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let drawn = (state >> 24) as usize;
        let length = 1 + if choice & 2 == 0 { drawn } else { drawn % 4 };
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Answers all that a session asks.
fn serve(choice: u8, input: &[u8]) {
    let mut session = ServerSession::new(ServerConfig {
        asks_on_connect: choice & 4 != 0,
        takes_opus: choice & 8 != 0,
        ..ServerConfig::default()
    });
    let (mut is_accepted, mut has_media) = (false, false);
    let begins = [&[3][..], &[0; HANDSHAKE_BYTES - 1]].concat();
    let handshake = if choice & 1 == 0 { &begins[..] } else { &[] };
    for piece in std::iter::once(handshake).chain(pieces(input, choice)) {
        let result = session.handle(piece);
        while let Some(output) = session.poll() {
            let _ = format!("{output:?}");
            match output {
                ServerOutput::Connect { .. } => session.accept_connect(),
                ServerOutput::Publish { stream_key } if stream_key.len() == 1 => {
                    session.reject_publish("NetStream.Publish.BadName", "refused");
                }
                ServerOutput::Publish { .. } => {
                    session.accept_publish();
                    is_accepted = true;
                }
                ServerOutput::Play { .. } => session.accept_play(),
                ServerOutput::Media(_) => has_media = true,
                _ => {}
            }
        }
        assert!(
            is_accepted || !has_media,
            "media of a stream that nobody has accepted"
        );
        if let Err(error) = result {
            let _ = error.to_string();
            session.end_publish("NetStream.Publish.Failed", "over");
            return;
        }
    }
}

/// All messages, and what ended them.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, Option<ChunkError>) {
    let mut reader = ChunkReader::default();
    let mut messages = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            assert!(reader.buffered_bytes() <= BUFFERED_BYTES_MAX);
            match reader.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, input)) = data.split_first() else {
        return;
    };
    serve(*choice, input);
    let whole = read(std::iter::once(input));
    assert_eq!(read(pieces(input, *choice)), whole);
});
