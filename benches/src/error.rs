//! Errors of measurements, grouped by the party that has to act.

use std::{io, path::PathBuf, time::Duration};

/// A measurement could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// Operator: a program that the harness starts is missing or failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// Name of the program.
        program: String,
        /// Its error output, or why it could not be started.
        reason: String,
    },
    /// Operator: an argument is invalid.
    #[error("{0}")]
    Argument(String),
    /// Operator: a file of the harness cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// Operator: a signal ended the command before it had a result.
    #[error("ended by {signal}")]
    Stopped {
        /// Name of the signal.
        signal: &'static str,
    },
    /// Server: it could not be reached, or closed the connection.
    #[error("{what}: {reason}")]
    Network {
        /// The protocol or step that failed.
        what: &'static str,
        /// The error as text.
        reason: String,
    },
    /// Server: it answered something other than expected.
    #[error("{what} was answered by {answer}")]
    Refused {
        /// The request.
        what: &'static str,
        /// The server's answer.
        answer: String,
    },
    /// Server: it did not answer in time.
    #[error("no {what} within {} ms", waited.as_millis())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
    },
    /// This crate: a certificate of a test could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// This crate: TLS of a test server.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// This crate: a codec.
    #[error(transparent)]
    Media(#[from] shardcast_media::MediaError),
    /// This crate or the server: WebRTC.
    #[error("WebRTC: {0}")]
    Rtc(#[from] str0m::RtcError),
    /// Machine: a socket.
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
