//! One connection of a sink: moves bytes between the socket and the pure session.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shardcast_core::rtmp::{ServerConfig, ServerOutput, ServerSession};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};

use super::measure::{Ended, Measure};
use super::{Answer, SinkOptions};
use crate::clock;

const READ_BYTES: usize = 64 * 1_024;
/// Slow readers read so often.
const SLOW_TICK: Duration = Duration::from_millis(100);

pub(super) async fn serve(stream: TcpStream, options: SinkOptions, measure: Arc<Mutex<Measure>>) {
    // Acknowledgements shall not wait for company.
    let _ = stream.set_nodelay(true);
    let mut config = ServerConfig::default();
    if let Some(chunk_bytes) = options.chunk_bytes {
        config.chunk_bytes = chunk_bytes;
    }
    let session = ServerSession::new(config);
    let mut connection = Connection {
        stream,
        session,
        options,
        measure,
        accept_at: None,
        reset_at: None,
    };
    let ended = connection
        .run()
        .await
        .unwrap_or_else(|e| Ended::Broken(e.to_string()));
    connection.measure(|measure| measure.ended(ended));
}

struct Connection {
    stream: TcpStream,
    session: ServerSession,
    options: SinkOptions,
    measure: Arc<Mutex<Measure>>,
    accept_at: Option<Instant>,
    reset_at: Option<Instant>,
}

impl Connection {
    fn measure(&self, change: impl FnOnce(&mut Measure)) {
        change(&mut self.measure.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn run(&mut self) -> std::io::Result<Ended> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let at = self.accept_at.into_iter().chain(self.reset_at).min();
            let timer = async move {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let length = self.read_length();
            let window = buffer.get_mut(..length).unwrap_or_default();
            tokio::select! {
                read = self.stream.read(window) => {
                    let length = read?;
                    if length == 0 {
                        return Ok(Ended::Closed);
                    }
                    if let Err(error) = self.session.handle(window.get(..length).unwrap_or(&[])) {
                        return Ok(Ended::Broken(error.to_string()));
                    }
                    self.act().await;
                    if length == self.read_length() && length < READ_BYTES {
                        sleep(SLOW_TICK).await;
                    }
                }
                () = timer => {
                    if self.reset_at.is_some_and(|at| at <= Instant::now()) {
                        // With a linger time of zero, closing sends a reset.
                        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                        return Ok(Ended::Broken("reset by the sink".to_owned()));
                    }
                    self.accept_at = None;
                    self.accept();
                    self.act().await;
                }
            }
        }
    }

    /// All at once, but for a slow reader, once it has accepted.
    fn read_length(&self) -> usize {
        match self.options.read_bytes_per_second {
            Some(rate) if self.session.is_publishing() => {
                (rate as usize / 10).clamp(1, READ_BYTES - 1)
            }
            _ => READ_BYTES,
        }
    }

    fn accept(&mut self) {
        self.session.accept_publish();
        self.measure(|measure| measure.accepted(clock::now_us()));
        self.reset_at = self.options.reset_after.map(|after| Instant::now() + after);
    }

    /// Does what the session wants.
    async fn act(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                // A client that has said good-bye does not wait for answers. What it said before is
                // still to be read, and reading tells how the connection ended.
                ServerOutput::Send(bytes) => drop(self.stream.write_all(&bytes).await),
                ServerOutput::Connect { application, .. } => {
                    self.measure(|measure| measure.connected(application));
                }
                ServerOutput::Publish { stream_key } => self.asked(stream_key),
                ServerOutput::Metadata(properties) => {
                    self.measure(|measure| measure.metadata(&properties));
                }
                ServerOutput::Media(message) => {
                    let now_us = clock::now_us();
                    self.measure(|measure| measure.media(&message, now_us));
                }
                ServerOutput::Unpublish { by } => self.measure(|measure| measure.unpublished(by)),
                _ => {}
            }
        }
    }

    fn asked(&mut self, stream_key: String) {
        self.measure(|measure| measure.asked(stream_key));
        match self.options.answer.clone() {
            Answer::Accept => self.accept(),
            Answer::Reject { code, description } => {
                self.session.reject_publish(&code, &description);
            }
            Answer::AcceptAfter(wait) => self.accept_at = Some(Instant::now() + wait),
        }
    }
}
