//! What can go wrong while measuring, and who has to do something about it.

use std::{io, path::PathBuf, time::Duration};

/// A measurement could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The operator's: a program that the harness uses is missing or failed.
    #[error("{program} failed: {reason}")]
    Program { program: String, reason: String },
    /// The operator's: an argument makes no sense.
    #[error("{0}")]
    Argument(String),
    /// The operator's: files of the harness.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// The server's: it could not be reached, or closed.
    #[error("{what}: {reason}")]
    Network { what: &'static str, reason: String },
    /// The server's: it answered something else than expected.
    #[error("{what} was answered by {answer}")]
    Refused { what: &'static str, answer: String },
    /// The server's: it did not answer in time.
    #[error("no {what} within {} ms", waited.as_millis())]
    Late { what: String, waited: Duration },
    /// Ours: a certificate of a test could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Ours: TLS of a test server.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Ours: a codec.
    #[error(transparent)]
    Media(#[from] shardcast_media::MediaError),
    /// Ours or the server's: WebRTC.
    #[error("WebRTC: {0}")]
    Rtc(#[from] str0m::RtcError),
    /// The machine's: a socket.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
}

impl BenchError {
    pub(crate) fn network(what: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Network {
            what,
            reason: error.to_string(),
        }
    }
}
