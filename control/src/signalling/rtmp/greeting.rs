//! Reads a client up to its `publish` or `play`, which is answered once it is known who goes on with the connection.

use shardcast_link::socket_lot::READ_BYTES_MAX;
use shardcast_rtmp::{ConnectionError, ServerConfig, ServerOutput, ServerSession};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Read at a time, in bytes: more than the handshake of 3 KB.
const CHUNK_BYTES: usize = 4 << 10;

/// The client is not one that publishes or plays.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetingError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it closed the connection")]
    Closed,
    #[error("{0}")]
    Rtmp(#[from] ConnectionError),
    #[error("it sent {READ_BYTES_MAX} bytes and did neither publish nor play")]
    TooLong,
}

/// A client that waits for the answer to `publish` or `play`.
#[derive(Debug)]
pub(super) struct Greeted {
    /// In the state in which the shard's will be.
    pub(super) rtmp: ServerSession,
    /// All that the client has sent.
    pub(super) read: Vec<u8>,
    /// `app` of `connect`.
    pub(super) application: String,
    /// The name of `publish` or `play`. It may hold a token.
    pub(super) name: String,
    /// It wants to play.
    pub(super) plays: bool,
}

/// Greets the client at the other end of `stream`. How long that may take is the caller's business.
pub(super) async fn greet(stream: &mut TcpStream) -> Result<Greeted, GreetingError> {
    let mut rtmp = ServerSession::new(ServerConfig::default());
    let (mut read, mut application) = (Vec::new(), String::new());
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        let length = stream.read(&mut chunk).await?;
        let bytes = chunk.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Err(GreetingError::Closed);
        }
        if read.len() + bytes.len() > READ_BYTES_MAX {
            return Err(GreetingError::TooLong);
        }
        read.extend_from_slice(bytes);
        rtmp.handle(bytes)?;
        let (mut answer, mut asked) = (Vec::new(), None);
        while let Some(output) = rtmp.poll() {
            match output {
                ServerOutput::Send(bytes) => answer.extend_from_slice(&bytes),
                ServerOutput::Connect {
                    application: named, ..
                } => application = named,
                ServerOutput::Publish { stream_key } => asked = Some((stream_key, false)),
                ServerOutput::Play { stream_key } => asked = Some((stream_key, true)),
                _ => {}
            }
        }
        stream.write_all(&answer).await?;
        if let Some((name, plays)) = asked {
            return Ok(Greeted {
                rtmp,
                read,
                application,
                name,
                plays,
            });
        }
    }
}
