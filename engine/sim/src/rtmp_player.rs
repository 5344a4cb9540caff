//! The client of a player: begins as control reads it, up to `play`, and puts together what it is sent.

use bytes::Bytes;
use shardcast_core::rtmp::{
    ChunkReader, Message, PublishClient, PublishConfig, PublishOutput, RtmpUrl, ServerConfig,
    ServerOutput, ServerSession,
    amf::Value,
    body::{MessageHeader, encode},
    command::Command,
    message::{csid, type_id},
};

/// S0, S1 and S2 (RTMP specification 5.2).
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;
/// A string of AMF 0 of that length, and its bytes.
const PUBLISH: &[u8] = b"\x02\x00\x07publish";
const CHUNK_BYTES_DEFAULT: usize = 128;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct RtmpPlayer {
    reader: ChunkReader,
}

impl RtmpPlayer {
    /// Reads what the client sends up to `play`, and answers as control does; and what was read. Up to the end of
    /// `createStream` a player is an encoder.
    pub(crate) fn begin() -> (Self, Vec<u8>) {
        let url = RtmpUrl::parse("rtmp://shardcast.example/StreamLick/show").unwrap();
        let mut client = PublishClient::new(&url, PublishConfig::default());
        let mut server = ServerSession::new(ServerConfig::default());
        let mut read = client.start().to_vec();
        let mut answers = Vec::new();
        server.handle(&read).unwrap();
        loop {
            match server.poll() {
                Some(ServerOutput::Send(bytes)) => {
                    answers.extend_from_slice(&bytes);
                    client.handle(&bytes).unwrap();
                }
                Some(ServerOutput::Play { .. }) => break,
                Some(_) => {}
                None => {
                    let mut sent = Vec::new();
                    while let Some(output) = client.poll() {
                        match output {
                            PublishOutput::Send(bytes) if asks_to_publish(&bytes) => {
                                sent.extend_from_slice(&play());
                            }
                            PublishOutput::Send(bytes) => sent.extend_from_slice(&bytes),
                            _ => {}
                        }
                    }
                    assert!(!sent.is_empty(), "both wait");
                    server.handle(&sent).unwrap();
                    read.extend_from_slice(&sent);
                }
            }
        }
        let mut reader = ChunkReader::default();
        reader.push(&answers[HANDSHAKE_BYTES..]);
        let mut player = Self { reader };
        player.messages().unwrap();
        (player, read)
    }

    /// What the server has written: the messages that are whole now.
    pub(crate) fn receive(&mut self, slices: &[Bytes]) -> Result<Vec<Message>, String> {
        let mut messages = Vec::new();
        for slice in slices {
            self.reader.push(slice);
            messages.extend(self.messages()?);
        }
        Ok(messages)
    }

    fn messages(&mut self) -> Result<Vec<Message>, String> {
        let next = || self.reader.next_message().transpose();
        let messages = std::iter::from_fn(next).collect::<Result<Vec<_>, _>>();
        messages.map_err(|error| format!("the shard does not speak RTMP: {error}"))
    }
}

fn asks_to_publish(bytes: &[u8]) -> bool {
    bytes.windows(PUBLISH.len()).any(|at| at == PUBLISH)
}

fn play() -> Bytes {
    let command = Command::new("play", 0.0, vec![Value::Null, "show".into()]);
    let header = MessageHeader {
        csid: csid::COMMAND,
        timestamp_ms: 0,
        type_id: type_id::COMMAND_AMF0,
        stream_id: 1,
    };
    // Shorter than any chunk.
    encode(header, &command.encode(), CHUNK_BYTES_DEFAULT)
}
